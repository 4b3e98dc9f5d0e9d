"""One's own account: name, language, look, password, leaving. And for administrators: who has an account."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model, logout, update_session_auth_hash
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webapp.accounts import services
from webapp.accounts.forms import DeleteAccountForm, PasswordForm, ProfileForm
from webapp.accounts.views import speak


def administrator_required(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """403 for everybody but server administrators."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_superuser:
            raise PermissionDenied(_("只有服务器管理员能看这一页。"))
        return view(request, *args, **kwargs)

    return guarded


@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """Display name, language and theme; the doors to password and deletion; one's projects."""
    # The form writes into its instance even when invalid: the page's own header must not show that.
    user: Any = request.user
    mine = get_user_model().objects.get(pk=user.pk)
    mine.language = mine.language or get_language() or ""
    form = ProfileForm(request.POST or None, instance=mine)
    if request.method == "POST" and form.is_valid():
        form.save()
        with override(mine.language):
            messages.success(request, _("已保存。"))
        return speak(redirect("account"), mine.language)
    memberships = user.memberships.select_related("project")
    return render(
        request,
        "accounts/account.html",
        {"form": form, "memberships": memberships},
        status=422 if form.errors else 200,
    )


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Change one's password; other browsers are signed out."""
    form = PasswordForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, _("密码已更换。其他浏览器上的登录都已失效。"))
        return redirect("account")
    return render(request, "accounts/password.html", {"form": form}, status=422 if form.errors else 200)


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def account_delete(request: HttpRequest) -> HttpResponse:
    """Delete one's account, after the name was typed; says first which projects stand in the way."""
    form = DeleteAccountForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        user = request.user
        try:
            services.delete_account(user=user)
        except services.AccountError as error:
            form.add_error(None, str(error))
        else:
            logout(request)
            messages.success(request, _("账号已删除。"))
            return redirect("sign_in")
    context = {
        "form": form,
        "sole_projects": services.sole_owner_projects(request.user),
        "last_administrator": services.is_last_administrator(request.user),
    }
    return render(request, "accounts/delete.html", context, status=422 if form.errors else 200)


@require_GET
@administrator_required
def people(request: HttpRequest) -> HttpResponse:
    """Every account, with what an administrator may change about it."""
    return render(request, "accounts/people.html", {"people": services.people()})


@require_POST
@administrator_required
def person_update(request: HttpRequest, user_id: int) -> HttpResponse:
    """Close or open an account, give or take the administration."""
    person = get_object_or_404(services.people(), pk=user_id)
    do = request.POST.get("do")
    try:
        if do in {"open", "close"}:
            services.set_active(user=person, active=do == "open", by=request.user)
        elif do in {"promote", "demote"}:
            services.set_administrator(user=person, administrator=do == "promote", by=request.user)
        else:
            return HttpResponse(status=400)
    except services.AccountError as error:
        messages.error(request, str(error))
    else:
        done = {
            "open": _("“%(who)s”可以登录了。"),
            "close": _("“%(who)s”已停用，登录立即失效。"),
            "promote": _("“%(who)s”现在是管理员。"),
            "demote": _("“%(who)s”不再是管理员。"),
        }
        messages.success(request, done[do] % {"who": person})
    return redirect("people")
