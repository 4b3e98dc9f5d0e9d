"""Decisions about texts: append the event, carry the text's present state along, in one short transaction.

The present state of a text (label, status, flag, time) is a fold over its events. `decide` applies one event to
the state that is kept on the row; `undo` strikes one out and folds again; `derive` folds from the beginning, and
equals what is kept.

Each decision carries a `client_id` that the page made, so a resend finds the earlier event and changes nothing.
PostgreSQL holds the text's row for the length of the transaction; SQLite has one writer at a time.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from labeling.models import Annotation, Example, Label, Project
from labeling.models.annotations import Action, Source
from labeling.models.texts import Split, Status
from labeling.services import leases
from labeling.services.labels import hold_label

UNDO_DEPTH = 50
MAX_SECONDS = 3600.0
BLIND_SPLITS = (Split.DEV, Split.TEST)
DECIDABLE = (Action.LABEL, Action.SKIP, Action.CLEAR, Action.FLAG, Action.UNFLAG)
BY_HAND = (Source.BLIND, Source.SUGGESTION, Source.REVIEW)


class AnnotateError(Exception):
    """A decision that cannot be stored, now or later. `code` is stable; the message is for the person."""

    code = "bad_decision"


class UnknownText(AnnotateError):
    code = "unknown_text"


class LabelGone(AnnotateError):
    code = "label_gone"


class BlindOnly(AnnotateError):
    """Texts that measure a model are never decided with a model's answer in view."""

    code = "blind_only"


class NothingToUndo(AnnotateError):
    code = "nothing_to_undo"


@dataclasses.dataclass(frozen=True)
class State:
    """What is kept on the text's row."""

    label_id: int | None = None
    status: str = Status.OPEN
    flagged: bool = False
    decided_at: datetime | None = None


@dataclasses.dataclass(frozen=True)
class Decision:
    """What came of a decision.

    `repeated`: this client_id was stored before, nothing changed now. `overruled`: the decision was taken back,
    but somebody decided about the text since, so its present label stays."""

    annotation: Annotation
    example: Example
    repeated: bool = False
    overruled: bool = False


def decide(
    *,
    project: Project,
    user: Any,
    example_id: int,
    action: str,
    label_id: int | None = None,
    client_id: uuid.UUID | None = None,
    source: str = Source.BLIND,
    seconds: float | None = None,
    reason: str = "",
) -> Decision:
    """Append one decision of `user` and bring the text's row up to date.

    `seconds` is the time that the text was looked at, cut to an hour. Raises UnknownText, LabelGone, BlindOnly, or
    AnnotateError for an action or source that a person cannot take."""
    if action not in DECIDABLE or source not in BY_HAND:
        raise AnnotateError(_("不认识的操作。"))
    try:
        with transaction.atomic():
            earlier = _earlier(project, client_id)
            if earlier:
                return earlier
            example = _held(project, example_id)
            # A resend may have waited for the row while the first one was stored.
            earlier = _earlier(project, client_id)
            if earlier:
                return earlier
            if source == Source.SUGGESTION and example.split in BLIND_SPLITS:
                raise BlindOnly(_("验证集和测试集的文本只能在看不到模型答案时标注。"))
            label = _present_label(project, label_id) if action == Action.LABEL else None
            annotation = Annotation.objects.create(
                project=project,
                example=example,
                user=user,
                action=action,
                label=label,
                previous_label_id=example.label_id,
                source=source,
                client_id=client_id,
                seconds=_clean_seconds(seconds),
                reason=reason.strip()[:200],
            )
            _keep(example, apply(_kept(example), annotation))
            if action == Action.CLEAR:
                leases.forget(example_ids=[example.pk])
            elif action in (Action.LABEL, Action.SKIP):
                leases.settle(
                    example=example,
                    user=user,
                    overlap=project.overlap,
                    decided=action == Action.LABEL,
                    passed=action == Action.SKIP,
                )
            return Decision(annotation, example)
    except IntegrityError:
        # The same client_id for another text, stored at the same moment: the first one counts.
        earlier = _earlier(project, client_id)
        if earlier is None:
            raise
        return earlier


def undo(
    *,
    project: Project,
    user: Any,
    client_id: uuid.UUID | None = None,
    target_client_id: uuid.UUID | None = None,
) -> Decision:
    """Take back `user`'s last decision in `project` that still stands (or the one sent as `target_client_id`).

    The event is struck out by an UNDO event, never removed. It reaches back over the last 50 decisions, whatever
    page they were made on. When somebody has decided about the text since, their decision stays and the answer says
    `overruled`. Raises NothingToUndo."""
    try:
        with transaction.atomic():
            earlier = _earlier(project, client_id)
            if earlier:
                return earlier
            found = _last_standing(project, user, target_client_id)
            example = _held(project, found.example_id)
            earlier = _earlier(project, client_id)
            if earlier:
                return earlier
            # Read again under the lock: another tab may have taken the same decision back.
            undone = _last_standing(project, user, target_client_id)
            if undone.pk != found.pk:
                example = _held(project, undone.example_id)
            annotation = Annotation.objects.create(
                project=project,
                example=example,
                user=user,
                action=Action.UNDO,
                undoes=undone,
                previous_label_id=example.label_id,
                source=undone.source,
                client_id=client_id,
            )
            _keep(example, derive(example))
            if undone.action not in (Action.FLAG, Action.UNFLAG):
                leases.settle(example=example, user=user, overlap=project.overlap, decided=False, again=True)
            return Decision(annotation, example, overruled=_overruled(undone, user))
    except IntegrityError:
        earlier = _earlier(project, client_id)
        if earlier is None:
            raise NothingToUndo(_("这个决定已经撤销过了。")) from None
        return earlier


def apply(state: State, event: Annotation) -> State:
    """The state after `event`. A skip leaves a label that is there in place."""
    if event.action == Action.LABEL:
        return dataclasses.replace(
            state, label_id=event.label_id, status=Status.LABELLED, decided_at=event.created_at
        )
    if event.action == Action.CLEAR:
        return dataclasses.replace(state, label_id=None, status=Status.OPEN, decided_at=None)
    if event.action == Action.SKIP and state.label_id is None:
        return dataclasses.replace(state, status=Status.SKIPPED, decided_at=event.created_at)
    if event.action in (Action.FLAG, Action.UNFLAG):
        return dataclasses.replace(state, flagged=event.action == Action.FLAG)
    return state


def replay(base: State, events: Iterable[Annotation]) -> State:
    """`base` after `events` (oldest first), without those that a later UNDO struck out."""
    listed = list(events)
    struck = {event.undoes_id for event in listed if event.action == Action.UNDO}
    state = base
    for event in listed:
        if event.pk not in struck:
            state = apply(state, event)
    return state


def derive(example: Example) -> State:
    """The state of `example` by its events alone.

    A text may have come with a label: that is what its first event found (`previous_label`), or what the row holds
    while there is no event. A label that was deleted since counts as none."""
    events = list(example.annotations.order_by("id"))
    base_label_id = events[0].previous_label_id if events else example.label_id
    base = State()
    if base_label_id is not None:
        base = State(label_id=base_label_id, status=Status.LABELLED, decided_at=example.created_at)
    state = replay(base, events)
    if state.label_id and not Label.objects.filter(pk=state.label_id, archived_at__isnull=True).exists():
        return dataclasses.replace(state, label_id=None, status=Status.OPEN, decided_at=None)
    return state


def _earlier(project: Project, client_id: uuid.UUID | None) -> Decision | None:
    """The decision that was stored under `client_id` before."""
    if client_id is None:
        return None
    annotation = (
        Annotation.objects.select_related("example").filter(project=project, client_id=client_id).first()
    )
    if annotation is None:
        return None
    overruled = annotation.undoes is not None and _overruled(annotation.undoes, annotation.user)
    return Decision(annotation, annotation.example, repeated=True, overruled=overruled)


def _held(project: Project, example_id: int) -> Example:
    """The text, its row held until the transaction ends where the database can."""
    try:
        return Example.objects.select_for_update().get(project=project, pk=example_id)
    except Example.DoesNotExist:
        raise UnknownText(_("这条文本已经不在项目里了。")) from None


def _present_label(project: Project, label_id: int | None) -> Label:
    label = hold_label(project=project, label_id=label_id)
    if label is None:
        raise LabelGone(_("这个标签已被删除，请刷新页面后重选。"))
    return label


def _last_standing(project: Project, user: Any, target_client_id: uuid.UUID | None) -> Annotation:
    recent = (
        Annotation.objects.filter(project=project, user=user, source__in=BY_HAND)
        .exclude(action=Action.UNDO)
        .order_by("-id")
        .select_related("undone_by")[:UNDO_DEPTH]
    )
    for annotation in recent:
        if target_client_id is not None and annotation.client_id != target_client_id:
            continue
        if not hasattr(annotation, "undone_by"):
            return annotation
    raise NothingToUndo(_("没有可以撤销的决定了。"))


def _overruled(undone: Annotation, user: Any) -> bool:
    """Whether somebody else decided about the text after `undone`, and that decision still stands."""
    later = Annotation.objects.filter(
        example_id=undone.example_id, pk__gt=undone.pk, undone_by__isnull=True
    ).exclude(action=Action.UNDO)
    if undone.action in (Action.FLAG, Action.UNFLAG):
        later = later.filter(action__in=[Action.FLAG, Action.UNFLAG])
    else:
        later = later.filter(action__in=[Action.LABEL, Action.CLEAR])
    return later.exclude(user=user).exists()


def _kept(example: Example) -> State:
    return State(example.label_id, example.status, example.flagged, example.decided_at)


def _keep(example: Example, state: State) -> None:
    if state == _kept(example):
        return
    example.label_id = state.label_id
    example.status = state.status
    example.flagged = state.flagged
    example.decided_at = state.decided_at
    example.save(update_fields=["label", "status", "flagged", "decided_at"])


def _clean_seconds(seconds: float | None) -> float | None:
    """Seconds between 0 and an hour, or None: a clock that jumps says nothing."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return min(float(seconds), MAX_SECONDS)
