"""Who belongs to a project: inviting, joining by a link that works once, roles, leaving."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Invitation, Membership, Project
from labeling.models.projects import Role
from labeling.permissions import ABILITIES
from labeling.services import leases


class MembersError(Exception):
    """The change is not possible; the message says why and what to do."""


class LastOwner(MembersError):
    """The project would have no owner."""


class InvitationError(MembersError):
    """The link does not let anybody in (any more)."""


class InvitationUnknown(InvitationError):
    """There is no such link, or it was withdrawn."""


class InvitationUsed(InvitationError):
    """Somebody has joined by this link already."""


class InvitationExpired(InvitationError):
    """The link is too old."""


class AlreadyMember(InvitationError):
    """This person belongs to the project already; the link is left for somebody else."""


def invite(*, project: Project, role: str, by: Any) -> tuple[Invitation, str]:
    """A new single-use invitation and its secret, which is shown once. Raises MembersError on another role."""
    if role not in Role.values:
        raise MembersError(_("没有这种角色。"))
    return Invitation.issue(project=project, role=role, created_by=by)


def open_invitations(project: Project) -> list[Invitation]:
    """Invitations that still let somebody in, newest first."""
    return list(
        project.invitations.filter(used_at__isnull=True, expires_at__gt=timezone.now()).select_related(
            "created_by"
        )
    )


def revoke_invitation(*, project: Project, invitation_id: int) -> bool:
    """Withdraw an unused invitation; False when it was used or withdrawn already."""
    deleted, _rows = project.invitations.filter(pk=invitation_id, used_at__isnull=True).delete()
    return bool(deleted)


def find_invitation(token: str) -> Invitation:
    """The invitation that `token` opens. Raises InvitationUnknown, InvitationUsed, InvitationExpired."""
    invitation = (
        Invitation.objects.select_related("project", "created_by")
        .filter(token_hash=Invitation.hash_of(token))
        .first()
    )
    if invitation is None:
        raise InvitationUnknown(_("这个邀请链接无效，或者已被撤回。请向邀请你的人要一个新的。"))
    if invitation.used_at is not None:
        raise InvitationUsed(
            _("这个邀请链接已经用过了，每个链接只能用一次。如果不是你用的，请让项目负责人检查成员名单。")
        )
    if invitation.expires_at <= timezone.now():
        raise InvitationExpired(_("这个邀请链接已经过期。请向邀请你的人要一个新的。"))
    return invitation


def accept_invitation(*, token: str, user: Any) -> Invitation:
    """Make `user` a member with the invitation's role and use the link up: for one caller, however many race.

    Raises InvitationError and its children; nothing has changed then."""
    invitation = find_invitation(token)
    with transaction.atomic():
        if Membership.objects.filter(project=invitation.project, user=user).exists():
            raise AlreadyMember(_("你已经是这个项目的成员了。链接没有用掉，可以转给别人。"))
        now = timezone.now()
        mine = Invitation.objects.filter(pk=invitation.pk, used_at__isnull=True, expires_at__gt=now).update(
            used_at=now, used_by=user
        )
        if not mine:
            raise InvitationUsed(_("这个邀请链接刚刚被别人用掉了。请向邀请你的人要一个新的。"))
        Membership.objects.create(project=invitation.project, user=user, role=invitation.role)
    invitation.refresh_from_db()
    return invitation


def change_role(*, project: Project, membership_id: int, role: str) -> Membership:
    """The membership with its new role. Raises Membership.DoesNotExist, MembersError, LastOwner."""
    if role not in Role.values:
        raise MembersError(_("没有这种角色。"))
    with transaction.atomic():
        membership = _locked(project, membership_id)
        if membership.role == Role.OWNER and role != Role.OWNER:
            _keep_an_owner(project, membership)
        membership.role = role
        membership.save(update_fields=["role"])
        if role not in ABILITIES["label"]:
            leases.release_all(user=membership.user, project=project)
    return membership


def remove_member(*, project: Project, membership_id: int) -> Membership:
    """The membership that was removed; what the person decided stays, what they hold is free for others.

    Raises DoesNotExist, LastOwner."""
    with transaction.atomic():
        membership = _locked(project, membership_id)
        if membership.role == Role.OWNER:
            _keep_an_owner(project, membership)
        leases.release_all(user=membership.user, project=project)
        membership.delete()
    return membership


def leave_project(*, project: Project, user: Any) -> None:
    """Take `user` out of the project. Raises LastOwner."""
    remove_member(project=project, membership_id=project.memberships.get(user=user).pk)


def _locked(project: Project, membership_id: int) -> Membership:
    # The project's row is the lock: two owners who demote each other at once must not both succeed.
    Project.objects.select_for_update().get(pk=project.pk)
    return project.memberships.select_related("user").get(pk=membership_id)


def _keep_an_owner(project: Project, membership: Membership) -> None:
    # An account that is closed cannot look after a project.
    others = project.memberships.filter(role=Role.OWNER, user__is_active=True).exclude(pk=membership.pk)
    if not others.exists():
        raise LastOwner(_("项目至少要有一位负责人。请先把另一位成员设为负责人。"))
