"""What one person has set for their labelling page: own keys, a goal, suggestions hidden, guidelines looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from labeling.models import Label, Membership, Project
from labeling.services.new_labels import KEYS

MAX_GOAL = 10_000_000
RESERVED = {"f": "flag", "c": "comment"}


class DeskRefused(Exception):
    """Nothing was changed; `errors` says what is wrong, by label id, for the page."""

    def __init__(self, errors: dict[int, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(errors.values()))


def membership_of(project: Project, user: Any) -> Membership:
    """The person's place in the project. Raises Membership.DoesNotExist."""
    return Membership.objects.get(project=project, user=user)


def keys_for(labels: Sequence[Label], own: Mapping[str, str]) -> dict[int, str]:
    """{label id: key}: a person's own keys before the project's; "" where a label has none.

    A project's key that the person gave to another label is nobody's second key."""
    mine = {label.pk: own[str(label.pk)] for label in labels if str(label.pk) in own}
    taken = set(mine.values())
    return {label.pk: mine.get(label.pk, "" if label.key in taken else label.key) for label in labels}


def set_keys(*, membership: Membership, labels: Sequence[Label], keys: Mapping[int, str]) -> dict[int, str]:
    """Give the person these keys; only what differs from the project's is kept. Returns the keys that hold now.

    Raises DeskRefused with each conflict by name."""
    names = {label.pk: label.name for label in labels}
    wanted = {pk: keys.get(pk, "").strip().lower() for pk in names}
    errors: dict[int, str] = {}
    holder: dict[str, int] = {}
    for pk, key in wanted.items():
        if not key:
            continue
        if key in RESERVED:
            errors[pk] = _("F 用来标记，C 用来评论，请换一个键。")
        elif len(key) != 1 or key not in KEYS:
            errors[pk] = _("快捷键是一个数字或字母。")
        elif key in holder:
            errors[pk] = _("这个键已经给了“%(name)s”。") % {"name": names[holder[key]]}
        else:
            holder[key] = pk
    if errors:
        raise DeskRefused(errors)
    own = {str(label.pk): wanted[label.pk] for label in labels if wanted[label.pk] != label.key}
    membership.keys = own
    membership.save(update_fields=["keys"])
    return keys_for(labels, own)


def set_goal(*, membership: Membership, goal: int | None) -> None:
    """How many labelled texts the person aims at; None or less than 1: all of them."""
    membership.goal = None if goal is None or goal < 1 else min(goal, MAX_GOAL)
    membership.save(update_fields=["goal"])


def hide_suggestions(*, membership: Membership, hidden: bool) -> None:
    """Whether the person works without a model's answers in view."""
    membership.hide_suggestions = hidden
    membership.save(update_fields=["hide_suggestions"])
