"""Decisions about texts: append the event, bring the text's present state along, in one short transaction.

The present state of a text (labels, status, flag, who and when) is a fold over its events (`fold`, `states`).
Each decision carries a `client_id` that the page made, so a resend finds the earlier event and changes nothing.
PostgreSQL holds the text's row for the length of the transaction; SQLite has one writer at a time.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext as _

from labeling.models import Annotation, Example, Label, Project
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Split
from labeling.permissions import ABILITIES
from labeling.services import consensus, turns
from labeling.services.fold import BY_HAND, DECIDING
from labeling.services.labels import hold_labels
from labeling.services.states import derive, keep

UNDO_DEPTH = 50
MAX_SECONDS = 3600.0
BLIND_SPLITS = (Split.DEV, Split.TEST)
DECIDABLE = (*DECIDING, Action.SKIP, Action.CLEAR, Action.FLAG, Action.UNFLAG)


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
class Suggested:
    """A model's answer that was in view: its labels (the likeliest first), how likely, and whose it was."""

    label_ids: tuple[int, ...]
    probability: float
    source: str


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
    label_ids: Sequence[int] | None = None,
    client_id: uuid.UUID | None = None,
    source: str = Source.BLIND,
    suggested: Suggested | None = None,
    guideline_version: int | None = None,
    seconds: float | None = None,
    reason: str = "",
) -> Decision:
    """Append one decision of `user` and bring the text's row up to date.

    `label_ids` where the project allows several labels; the action "none" says that no label fits. With `suggested`
    in view the source is "suggestion", whatever was passed. `seconds` is the time that the text was looked at, cut
    to an hour. Raises UnknownText, LabelGone, BlindOnly, or AnnotateError for what a person cannot decide."""
    if suggested is not None and source != Source.ADJUDICATION:
        source = Source.SUGGESTION
    elif source in (Source.REVIEW, Source.ADJUDICATION) and not _may_review(project, user):
        # What rules over others' decisions is no annotator's to say; theirs is one among them.
        source = Source.BLIND
    several = project.task == Task.MULTI_LABEL
    asked = list(dict.fromkeys(label_ids or ([label_id] if label_id is not None else [])))
    if (
        action not in DECIDABLE
        or source not in BY_HAND
        or (source == Source.SUGGESTION and suggested is None)
        or (not several and (len(asked) > 1 or action == Action.NONE))
    ):
        raise AnnotateError(_("不认识的操作。"))
    try:
        with turns.write():
            example = _held(project, example_id)
            # Asked once the row is held: a resend may have waited for it while the first one was stored.
            earlier = _earlier(project, client_id)
            if earlier:
                return earlier
            if suggested is not None and example.split in BLIND_SPLITS:
                raise BlindOnly(_("验证集和测试集的文本只能在看不到模型答案时标注。"))
            labels = _present_labels(project, asked) if action == Action.LABEL else []
            annotation = Annotation(
                project=project,
                example=example,
                user=user,
                action=action,
                label=labels[0] if labels else None,
                labels=[label.pk for label in labels] if several else [],
                previous_label_id=example.label_id,
                source=source,
                client_id=client_id,
                seconds=_clean_seconds(seconds),
                reason=reason.strip()[:200],
                guideline_version=_seen_version(project, guideline_version),
            )
            _put_suggestion(annotation, suggested, several)
            annotation.save(force_insert=True)
            keep(project=project, example=example, state=derive(project=project, example=example))
            if action not in (Action.FLAG, Action.UNFLAG):
                consensus.settle(project=project, example=example, user=user, action=action)
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
        with turns.write():
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
            keep(project=project, example=example, state=derive(project=project, example=example))
            if undone.action not in (Action.FLAG, Action.UNFLAG):
                consensus.settle(
                    project=project, example=example, user=user, action=undone.action, again=True
                )
            return Decision(annotation, example, overruled=_overruled(undone, user))
    except IntegrityError:
        earlier = _earlier(project, client_id)
        if earlier is None:
            raise NothingToUndo(_("这个决定已经撤销过了。")) from None
        return earlier


def _may_review(project: Project, user: Any) -> bool:
    return project.role_of(user) in ABILITIES["review"]


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


def _present_labels(project: Project, label_ids: Sequence[int]) -> list[Label]:
    """The labels of these ids in their order; all of them must still be there."""
    labels = hold_labels(project=project, label_ids=label_ids)
    if not labels or len(labels) != len(label_ids):
        raise LabelGone(_("这个标签已被删除，请刷新页面后重选。"))
    return labels


def _put_suggestion(annotation: Annotation, suggested: Suggested | None, several: bool) -> None:
    """Carry what was in view. A suggested label that is gone by now leaves its probability and source."""
    if suggested is None:
        return
    known = set(
        Label.objects.filter(project_id=annotation.project_id, pk__in=suggested.label_ids).values_list(
            "pk", flat=True
        )
    )
    label_ids = [one for one in dict.fromkeys(suggested.label_ids) if one in known]
    annotation.suggested_label_id = label_ids[0] if label_ids else None
    annotation.suggested_labels = label_ids if several else []
    annotation.suggestion_probability = min(max(suggested.probability, 0.0), 1.0)
    annotation.suggestion_source = suggested.source[:20]


def _seen_version(project: Project, version: int | None) -> int | None:
    """The version of the guidelines that was in view, as far as there is one."""
    if version is None or not 0 < version < 2**31:
        return None
    return version if project.guideline_versions.filter(version=version).exists() else None


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
        later = later.filter(action__in=[*DECIDING, Action.CLEAR])
    return later.exclude(user=user).exists()


def _clean_seconds(seconds: float | None) -> float | None:
    """Seconds between 0 and an hour, or None: a clock that jumps says nothing."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return min(float(seconds), MAX_SECONDS)
