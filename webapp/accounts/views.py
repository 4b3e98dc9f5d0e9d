"""Coming in: the first visit, signing in and out, joining by a link, the language, and the health check."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django.views.i18n import set_language as django_set_language

from labeling.services import members
from webapp import setup_code
from webapp.accounts import services
from webapp.accounts.forms import FirstAccountForm, NewAccountForm, SignInForm

_BACKEND = "django.contrib.auth.backends.ModelBackend"


@login_not_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def welcome(request: HttpRequest) -> HttpResponse:
    """The first visit makes the first account; afterwards this address only leads to the sign-in page."""
    if services.has_accounts():
        return redirect("projects" if request.user.is_authenticated else "sign_in")
    form = FirstAccountForm(
        request.POST or None,
        needs_code=setup_code.current() is not None,
        initial={"language": get_language()},
    )
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            user = services.create_first_account(
                username=values["username"],
                password=values["password1"],
                language=values["language"],
                code=values.get("code", ""),
            )
        except services.WrongSetupCode as error:
            form.add_error("code" if "code" in form.fields else None, str(error))
        except services.NotTheFirst as error:
            messages.warning(request, str(error))
            return redirect("sign_in")
        else:
            return _enter(request, user, "projects")
    return render(request, "accounts/welcome.html", {"form": form}, status=422 if form.errors else 200)


@method_decorator(never_cache, name="dispatch")
class SignIn(LoginView):
    """Django's sign-in with our words; `locked_out` answers instead after too many failures."""

    template_name = "accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        return speak(super().form_valid(form), form.get_user().language)


def locked_out(
    request: HttpRequest, original_response: HttpResponse | None = None, credentials: Any = None
) -> HttpResponse:
    """429: the sign-in page with the waiting time and the name that was typed (AXES_LOCKOUT_CALLABLE)."""
    username = request.POST.get("username", "")
    minutes = services.minutes_until_unlocked(
        username=username, ip_address=getattr(request, "axes_ip_address", None) or ""
    )
    form = SignInForm(request, initial={"username": username})
    context = {"form": form, "locked_minutes": max(1, minutes), "next": request.POST.get("next", "")}
    response = render(request, "accounts/sign_in.html", context, status=429)
    response["Retry-After"] = str(max(1, minutes) * 60)
    return response


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session; texts that the person held are free for others."""
    services.give_back_texts(request.user)
    logout(request)
    messages.success(request, _("已退出登录。"))
    return redirect("sign_in")


@login_not_required
@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Join a project by a single-use link: with a new account, or as the person who is signed in."""
    try:
        invitation = members.find_invitation(token)
    except members.InvitationError as error:
        return _closed_link(request, error)
    if request.user.is_authenticated:
        return _join_signed_in(request, token, invitation)
    form = NewAccountForm(request.POST or None, initial={"language": get_language()})
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            user, invitation = services.join_with_new_account(
                token=token,
                username=values["username"],
                password=values["password1"],
                language=values["language"],
            )
        except services.NameTaken as error:
            form.add_error("username", str(error))
        except members.InvitationError as error:
            return _closed_link(request, error)
        else:
            return _enter(request, user, "project_home", invitation.project_id)
    context = {"form": form, "invitation": invitation, "token": token}
    return render(request, "accounts/join.html", context, status=422 if form.errors else 200)


def _join_signed_in(request: HttpRequest, token: str, invitation: Any) -> HttpResponse:
    if request.method == "POST":
        try:
            members.accept_invitation(token=token, user=request.user)
        except members.AlreadyMember as error:
            messages.info(request, str(error))
        except members.InvitationError as error:
            return _closed_link(request, error)
        else:
            messages.success(request, _("你加入了“%(project)s”。") % {"project": invitation.project})
        return redirect("project_home", invitation.project_id)
    already = invitation.project.role_of(request.user) is not None
    return render(request, "accounts/join.html", {"invitation": invitation, "already": already})


def _closed_link(request: HttpRequest, error: members.InvitationError) -> HttpResponse:
    # 410 only where a link once worked; an unknown one has never been anything.
    status = 404 if isinstance(error, members.InvitationUnknown) else 410
    return render(request, "accounts/join_closed.html", {"reason": str(error)}, status=status)


@login_not_required
@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Change the language of the pages, and remember it for whoever is signed in."""
    response = django_set_language(request)
    code = request.POST.get("language", "")
    if request.user.is_authenticated and code in dict(settings.LANGUAGES):
        request.user.language = code
        request.user.save(update_fields=["language"])
    return response


@login_not_required
@never_cache
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """200 `ok` when the server can ask its database, else 503. Says nothing else to anybody."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse("database unavailable\n", status=503, content_type="text/plain")
    return HttpResponse("ok\n", content_type="text/plain")


def _enter(request: HttpRequest, user: Any, to: str, *args: Any) -> HttpResponse:
    login(request, user, backend=_BACKEND)
    return speak(redirect(to, *args), user.language)


def speak(response: HttpResponse, language: str) -> HttpResponse:
    """`response`, making the browser ask for `language` from now on."""
    if language:
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=365 * 24 * 3600,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )
    return response
