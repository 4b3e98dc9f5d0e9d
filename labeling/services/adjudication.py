"""Texts about which people differ: which come next, who said what, and the decision that settles them."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from labeling.models import Annotation, Example, Label, Project
from labeling.models.annotations import Action, Source
from labeling.models.texts import Status
from labeling.services import annotate, consensus
from labeling.services.fold import labels_of, standing


class AlreadySettled(annotate.AnnotateError):
    """Somebody has decided about the text in the meantime, or a decision was taken back: it is not disputed now."""

    code = "already_settled"


@dataclasses.dataclass(frozen=True)
class Said:
    """One person's standing opinion of a text. `name` is None where names are hidden."""

    name: str | None
    labels: list[Label]
    event: Annotation


@dataclasses.dataclass(frozen=True)
class Dispute:
    """A disputed text, what was said of it, and how many are left after it."""

    example: Example
    said: list[Said]
    left: int


def count(project: Project) -> int:
    """How many texts wait for a decision between people who differ."""
    return project.examples.filter(status=Status.DISPUTED).count()


def next_dispute(
    *, project: Project, after: int | None = None, example_id: int | None = None, names: bool = True
) -> Dispute | None:
    """The first disputed text in the queue's order after the text `after` (around to the beginning); or the text
    `example_id`, disputed or not. None when nothing is disputed."""
    disputed = project.examples.filter(status=Status.DISPUTED)
    if example_id is not None:
        example = project.examples.filter(pk=example_id).first()
    else:
        ordered = disputed.order_by("order", "id")
        past = project.examples.filter(pk=after).first() if after else None
        example = None
        if past is not None:
            example = ordered.filter(order=past.order, pk__gt=past.pk).first() or (
                ordered.filter(order__gt=past.order).first()
            )
        example = example or ordered.exclude(pk=after or 0).first() or ordered.first()
    if example is None:
        return None
    return Dispute(example, said_of(project=project, example=example, names=names), disputed.count())


def said_of(*, project: Project, example: Example, names: bool = True) -> list[Said]:
    """Who said what of a text: by name; without names by what was said, so that the order tells nothing."""
    events = standing(Annotation.objects.filter(example=example).select_related("user").order_by("id"))
    found = consensus.opinions(events, consensus.present_labels(project))
    labels = project.labels.in_bulk()
    said = [
        Said(
            name=(str(event.user) if event.user else _("已注销的账号")) if names else None,
            labels=[labels[one] for one in labels_of(event) if one in labels],
            event=event,
        )
        for event in found.votes.values()
    ]
    if names:
        return sorted(said, key=lambda one: one.name or "")
    return sorted(said, key=lambda one: [(label.position, label.pk) for label in one.labels])


def settle(
    *,
    project: Project,
    user: Any,
    example_id: int,
    label_ids: Sequence[int],
    client_id: uuid.UUID,
    seconds: float | None = None,
) -> annotate.Decision:
    """Decide a disputed text for all; no labels mean that none fits. Raises AlreadySettled, AnnotateError."""
    stored = Annotation.objects.filter(project=project, client_id=client_id).exists()
    if not stored and not project.examples.filter(pk=example_id, status=Status.DISPUTED).exists():
        raise AlreadySettled(_("这条文本已经不是待裁决的了：别人刚刚裁决过，或者有人收回了决定。"))
    return annotate.decide(
        project=project,
        user=user,
        example_id=example_id,
        action=Action.LABEL if label_ids else Action.NONE,
        label_ids=label_ids,
        client_id=client_id,
        source=Source.ADJUDICATION,
        seconds=seconds,
    )


def undo(*, project: Project, user: Any, client_id: uuid.UUID) -> annotate.Decision:
    """Take back `user`'s last adjudication that still stands. Raises NothingToUndo."""
    last = _last(project, user)
    if last is None or last.client_id is None:
        raise annotate.NothingToUndo(_("没有可以撤销的裁决了。"))
    return annotate.undo(project=project, user=user, client_id=client_id, target_client_id=last.client_id)


def can_undo(*, project: Project, user: Any) -> bool:
    """Whether an adjudication of `user` still stands."""
    return _last(project, user) is not None


def _last(project: Project, user: Any) -> Annotation | None:
    mine = Annotation.objects.filter(project=project, user=user, source=Source.ADJUDICATION)
    return mine.exclude(action=Action.UNDO).filter(undone_by__isnull=True).order_by("-id").first()
