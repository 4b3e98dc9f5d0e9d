"""Nobody gets in without signing in, and a house without accounts leads everybody to its first page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url

from webapp.accounts.services import has_accounts

_OPEN_BEFORE_THE_FIRST_ACCOUNT = {"welcome", "set_language", "healthz"}


class FirstVisitMiddleware:
    """Sends every address to `welcome` while there is no account."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        match = request.resolver_match
        if match is not None and match.url_name in _OPEN_BEFORE_THE_FIRST_ACCOUNT:
            return None
        if request.user.is_authenticated or has_accounts():
            return None
        return redirect("welcome")


class SignInRequiredMiddleware(LoginRequiredMiddleware):
    """Django's, except that a script gets 401 instead of the sign-in page as its answer.

    htmx then leaves for the sign-in page as a whole, rather than showing it inside a fragment.
    """

    def handle_no_permission(self, request: HttpRequest, view_func: Any) -> Any:
        if request.headers.get("HX-Request"):
            return HttpResponse(status=401, headers={"HX-Redirect": resolve_url("sign_in")})
        if request.headers.get("Sec-Fetch-Mode") in {"cors", "same-origin"}:
            return HttpResponse(status=401)
        return super().handle_no_permission(request, view_func)
