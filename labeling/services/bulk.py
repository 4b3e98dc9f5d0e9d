"""One label for many texts in one go, taken back in one go.

What a model or a rule chose never touches dev and test: their labels measure the model, and a person who is shown a
page of "probably this" agrees too easily. What was found by words or filters alone may.

Everything stands or falls in one transaction. The page sends what it showed of each text; one that was decided
otherwise since is left alone and counted. The page also makes the action's id, so sending it again changes nothing.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Annotation, BulkAction, Example, Label, Project
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Status
from labeling.services import leases
from labeling.services.annotate import BLIND_SPLITS
from labeling.services.fold import DECIDING
from labeling.services.labels import hold_labels
from labeling.services.states import keep_again, label_ids_of

MAX_TEXTS = 200


class BulkRefused(Exception):
    """Nothing was changed; the message is for the page."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`repeated`: the action was done before under this id, nothing changed now."""

    action: BulkAction
    repeated: bool = False


def apply_bulk(
    *,
    project: Project,
    user: Any,
    bulk_id: uuid.UUID,
    label_id: int,
    shown: Mapping[int, str],
    by_model: bool,
) -> Outcome:
    """Give the label to the texts `shown` ({text id: its state on the page, see `shown_state`}).

    Where a project allows several labels it is added to those there are. `by_model`: a model or a rule chose the
    texts. Raises BulkRefused for no text or too many, and when the label is gone."""
    if not shown:
        raise BulkRefused(_("没有选中任何文本。"))
    if len(shown) > MAX_TEXTS:
        raise BulkRefused(_("一次最多标注 %(most)d 条。") % {"most": MAX_TEXTS})
    try:
        with transaction.atomic():
            earlier = BulkAction.objects.filter(project=project, bulk_id=bulk_id).first()
            if earlier:
                return Outcome(earlier, repeated=True)
            action = BulkAction.objects.create(project=project, user=user, bulk_id=bulk_id)
            labels = hold_labels(project=project, label_ids=[label_id])
            if not labels:
                raise BulkRefused(_("这个标签已被删除，请刷新页面后重选。"))
            _give(action, labels[0], shown, by_model)
            return Outcome(action)
    except IntegrityError:
        return Outcome(BulkAction.objects.get(project=project, bulk_id=bulk_id), repeated=True)


def undo_bulk(*, project: Project, user: Any, bulk_id: uuid.UUID) -> Outcome:
    """Take the whole action back. Texts that somebody decided on since keep that decision, and are counted.

    Raises BulkRefused for an action that does not exist."""
    with transaction.atomic():
        action = BulkAction.objects.select_for_update().filter(project=project, bulk_id=bulk_id).first()
        if action is None:
            raise BulkRefused(_("找不到这次批量标注。"))
        if action.undone_at is not None:
            return Outcome(action, repeated=True)
        events = list(
            Annotation.objects.filter(project=project, bulk_id=bulk_id, undone_by__isnull=True)
            .exclude(action=Action.UNDO)
            .order_by("id")
        )
        last = {event.example_id: event.pk for event in events}
        examples = list(Example.objects.select_for_update(of=("self",)).filter(pk__in=last).order_by("pk"))
        Annotation.objects.bulk_create(
            Annotation(
                project=project,
                example_id=event.example_id,
                user=user,
                action=Action.UNDO,
                undoes=event,
                source=Source.BULK,
            )
            for event in events
        )
        later = Annotation.objects.filter(
            example_id__in=last, action__in=[*DECIDING, Action.CLEAR], undone_by__isnull=True
        ).exclude(bulk_id=bulk_id)
        decided = {pk for pk, event in later.values_list("example_id", "id") if event > last[pk]}
        keep_again(project=project, examples=examples)
        action.kept = len(decided)
        action.undone_at = timezone.now()
        action.save(update_fields=["kept", "undone_at"])
        return Outcome(action)


def shown_state(example: Example) -> str:
    """What the page says that it showed of a text: whether it was decided otherwise since is seen by this."""
    return f"{example.status}.{example.label_id or ''}"


def recent(*, project: Project, n: int = 8) -> list[BulkAction]:
    """The newest actions that changed something."""
    rows = project.bulk_actions.filter(done__gt=0).select_related("label", "user")
    return list(rows[:n])


def _give(action: BulkAction, label: Label, shown: Mapping[int, str], by_model: bool) -> None:
    project = action.project
    examples = list(
        project.examples.select_for_update(of=("self",)).filter(pk__in=list(shown)).order_by("pk")
    )
    held = label_ids_of(project=project, examples=examples)
    several = project.task == Task.MULTI_LABEL
    places = dict(project.labels.values_list("pk", "position"))
    events: list[Annotation] = []
    given: list[Example] = []
    action.label = label
    action.gone = len(shown) - len(examples)
    for example in examples:
        if by_model and example.split in BLIND_SPLITS:
            action.held_back += 1
        elif shown_state(example) != shown[example.pk]:
            action.changed += 1
        elif label.pk in held[example.pk]:
            action.same += 1
        else:
            label_ids = [label.pk]
            if several:
                label_ids = sorted({*held[example.pk], label.pk}, key=lambda pk: (places[pk], pk))
            events.append(
                Annotation(
                    project=project,
                    example=example,
                    user=action.user,
                    action=Action.LABEL,
                    label_id=label_ids[0],
                    labels=label_ids if several else [],
                    previous_label_id=example.label_id,
                    source=Source.BULK,
                    bulk_id=action.bulk_id,
                    client_id=uuid.uuid5(action.bulk_id, str(example.pk)),
                )
            )
            given.append(example)
    Annotation.objects.bulk_create(events)
    keep_again(project=project, examples=given)
    leases.close(project=project, example_ids=[one.pk for one in given if one.status == Status.LABELLED])
    action.done = len(given)
    action.save()
