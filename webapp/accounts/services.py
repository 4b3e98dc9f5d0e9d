"""Accounts: the first one, joining by a link, leaving for good, and who runs the server."""

from __future__ import annotations

import math
from typing import Any

from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.db.models import Count, ProtectedError
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Invitation, Membership, Project
from labeling.models.projects import Role
from labeling.services import leases, members
from webapp import setup_code

# "!" is not allowed in a name that somebody chooses, so nobody can hold it.
_NAMELESS = "deleted!"


class AccountError(Exception):
    """What a person asked of an account cannot be done; the message says why and what to do."""


class NotTheFirst(AccountError):
    """There is an account already."""


class WrongSetupCode(AccountError):
    """The server can be reached from elsewhere and the code printed at its start was not given."""


class NameTaken(AccountError):
    """Somebody took this user name a moment ago."""


def has_accounts() -> bool:
    """Whether the house has any account."""
    return get_user_model().objects.exists()


def create_first_account(*, username: str, password: str, language: str, code: str) -> Any:
    """The first account, a server administrator. Only one of several simultaneous callers gets it.

    Raises WrongSetupCode, NotTheFirst."""
    if not setup_code.accepts(code):
        raise WrongSetupCode(_("安装码不对。它印在启动服务器的终端里，形如 ABCD-EFGH-JKMN。"))
    with transaction.atomic():
        # A row that always exists serves as the lock: PostgreSQL has nothing else to hold on to before the
        # first account, and SQLite's transactions (IMMEDIATE) already wait for one another.
        list(ContentType.objects.select_for_update().filter(app_label="webapp", model="user"))
        if has_accounts():
            raise NotTheFirst(_("第一个账号已经建好了，请直接登录。"))
        user = get_user_model().objects.create_user(
            username=username, password=password, language=language, is_superuser=True
        )
    setup_code.forget()
    return user


def join_with_new_account(
    *, token: str, username: str, password: str, language: str
) -> tuple[Any, Invitation]:
    """A new account that has used up the invitation; neither exists without the other.

    Raises members.InvitationError, NameTaken."""
    try:
        with transaction.atomic():
            user = get_user_model().objects.create_user(
                username=username, password=password, language=language
            )
            return user, members.accept_invitation(token=token, user=user)
    except IntegrityError as error:
        raise NameTaken(_("这个用户名刚刚被别人用了，请换一个。")) from error


def sole_owner_projects(user: Any) -> list[Project]:
    """Projects that nobody could look after without `user`."""
    owners = Membership.objects.filter(role=Role.OWNER)
    others = owners.filter(user__is_active=True).exclude(user=user)
    return list(
        Project.objects.filter(pk__in=owners.filter(user=user).values("project_id")).exclude(
            pk__in=others.values("project_id")
        )
    )


def is_last_administrator(user: Any) -> bool:
    """Whether nobody else who can sign in runs the server."""
    administrators = get_user_model().objects.filter(is_superuser=True, is_active=True)
    return user.is_superuser and not administrators.exclude(pk=user.pk).exists()


def delete_account(*, user: Any) -> None:
    """Remove the person: the account, its memberships and open invitations.

    Decisions stay with their projects. Where rows of a project must name who made them, a nameless, closed
    account stands in for the person. Raises AccountError while projects would lose their only owner, or the
    server its only administrator."""
    with transaction.atomic():
        user = get_user_model().objects.select_for_update().get(pk=user.pk)
        if sole_owner_projects(user):
            raise AccountError(_("有的项目只有你一位负责人。请先移交或删除它们。"))
        if is_last_administrator(user):
            raise AccountError(
                _(
                    "你是唯一的管理员。请先让另一个账号成为管理员；要清空整台服务器，停止后删除它的数据目录即可。"
                )
            )
        try:
            with transaction.atomic():
                user.delete()
        except ProtectedError:
            _leave_a_nameless_account(user)


def _leave_a_nameless_account(user: Any) -> None:
    user.memberships.all().delete()
    leases.release_all(user=user)
    Invitation.objects.filter(created_by=user, used_at__isnull=True).delete()
    user.username = f"{_NAMELESS}{user.pk}"
    user.display_name = _("已注销的账号")
    user.first_name = user.last_name = user.email = user.language = user.theme = ""
    user.is_active = user.is_superuser = user.is_staff = False
    user.set_unusable_password()
    user.save()


def give_back_texts(user: Any) -> None:
    """Free what `user` holds in every labelling queue."""
    leases.release_all(user=user)


def set_active(*, user: Any, active: bool, by: Any) -> None:
    """Open or close an account; a closed one is signed out at its next request.

    Raises AccountError when `by` would close their own account."""
    if user.pk == by.pk:
        raise AccountError(_("不能停用自己的账号。"))
    get_user_model().objects.filter(pk=user.pk).update(is_active=active)
    if not active:
        leases.release_all(user=user)


def set_administrator(*, user: Any, administrator: bool, by: Any) -> None:
    """Give or take the server's administration. Raises AccountError for one's own account."""
    if user.pk == by.pk:
        raise AccountError(_("不能取消自己的管理员身份；可以请另一位管理员来做。"))
    get_user_model().objects.filter(pk=user.pk).update(is_superuser=administrator)


def people() -> Any:
    """All accounts that somebody can own, with their number of projects; administrators first."""
    return (
        get_user_model()
        .objects.exclude(username__startswith=_NAMELESS)
        .annotate(project_count=Count("memberships"))
        .order_by("-is_superuser", "date_joined")
    )


def minutes_until_unlocked(*, username: str, ip_address: str) -> int:
    """Minutes, rounded up, until this name may try to sign in again from this address; 0 when it may now."""
    last = (
        AccessAttempt.objects.filter(username=username, ip_address=ip_address)
        .order_by("-attempt_time")
        .values_list("attempt_time", flat=True)
        .first()
    )
    wait = get_cool_off()
    if last is None or wait is None:
        return 0
    return max(0, math.ceil((last + wait - timezone.now()).total_seconds() / 60))
