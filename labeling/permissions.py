"""Who may do what: the contract's table of roles, in one place.

A view calls `project_for(request, project_id, ability)` first; it answers with the project or 404 for
strangers (a project's existence is nobody else's business) and 403 for members without the ability.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from labeling.models.projects import Membership, Project, Role

O, R, A, V = Role.OWNER, Role.REVIEWER, Role.ANNOTATOR, Role.VIEWER  # noqa: E741

ABILITIES: dict[str, frozenset[str]] = {
    "open": frozenset({O, R, A, V}),  # the project's home, its progress and guidelines
    "read": frozenset({O, R, V}),  # all texts, results, predictions
    "label": frozenset({O, R, A}),
    "review": frozenset({O, R}),  # relabel from lists, bulk, adjudicate
    "setup": frozenset({O, R}),  # labels, words, prompt, import
    "train": frozenset({O, R}),  # train, predict, export
    "download": frozenset({O, R, V}),
    "manage": frozenset({O}),  # members, settings, deletion
}


def abilities_of(role: str | None) -> frozenset[str]:
    """The names of all that `role` may do."""
    return frozenset(name for name, roles in ABILITIES.items() if role in roles)


def project_for(request: HttpRequest, project_id: int, ability: str) -> Project:
    """The project, if the signed-in person may do `ability` there; sets `request.role` and `request.abilities`.

    Raises Http404 for strangers, PermissionDenied for members whose role does not allow it."""
    membership = (
        Membership.objects.select_related("project")
        .filter(project_id=project_id, user_id=request.user.pk or 0)
        .first()
    )
    if membership is None:
        raise Http404("no such project")
    if membership.role not in ABILITIES[ability]:
        raise PermissionDenied(_("你在这个项目里的角色不能做这件事，请联系负责人。"))
    _remember(request, membership)
    return membership.project


def _remember(request: Any, membership: Membership) -> None:
    request.role = membership.role
    request.abilities = abilities_of(membership.role)
