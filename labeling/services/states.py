"""The present state of texts: folded from their events and kept on their rows.

Every change of a text's labels goes through `keep` or `keep_again`, so that the row, its `ExampleLabel` rows and the
fold say the same. PostgreSQL: whoever calls them holds the texts' rows."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db import connection

from labeling.models import Annotation, Example, ExampleLabel, Label, Project
from labeling.models.projects import Task
from labeling.models.texts import Status
from labeling.services import consensus, probe_requests
from labeling.services.fold import State, replay, standing

_FIELDS = ("label", "status", "flagged", "decided_at", "decided_by", "suggestion", "n_deciders")


def state_of(
    *, project: Project, base: State, events: Sequence[Annotation], present: Collection[int]
) -> State:
    """The state that standing `events` (oldest first) make of `base`; `present` are the labels that are still there.

    The last decision counts, or the agreement of as many people as the project asks."""
    if project.overlap == 1:
        return replay(base, events)
    return consensus.state_of_many(base=base, events=events, overlap=project.overlap, present=present)


def derive(*, project: Project, example: Example) -> State:
    """The state of `example` by its events alone."""
    return derive_all(project=project, examples=[example])[example.pk]


def derive_all(*, project: Project, examples: Iterable[Example]) -> dict[int, State]:
    """{text id: its state by its events alone}.

    A text may have come with a label: that is what its first event found (`previous_label`), or what the row holds
    while there is no event. Labels that were deleted since count as never given."""
    rows = {example.pk: example for example in examples}
    events: dict[int, list[Annotation]] = defaultdict(list)
    for event in Annotation.objects.filter(example_id__in=rows).order_by("id"):
        events[event.example_id].append(event)
    places = dict(
        Label.objects.filter(project=project, archived_at__isnull=True).values_list("pk", "position")
    )
    found = {}
    for pk, example in rows.items():
        listed = events[pk]
        came_with = listed[0].previous_label_id if listed else example.label_id
        base = State()
        if came_with is not None:
            base = State((came_with,), Status.LABELLED, decided_at=example.created_at)
        state = state_of(project=project, base=base, events=standing(listed), present=places.keys())
        label_ids = tuple(
            sorted((one for one in state.label_ids if one in places), key=lambda one: (places[one], one))
        )
        if state.label_ids and not label_ids:
            state = state.without_labels()
        found[pk] = dataclasses.replace(state, label_ids=label_ids)
    return found


def keep(*, project: Project, example: Example, state: State) -> None:
    """Write `state` to the text's row and its label rows; what is there already is not written again."""
    if project.task == Task.MULTI_LABEL:
        _keep_label_rows({example.pk: state})
    before = example.label_id
    if _write(example, state):
        example.save(update_fields=_FIELDS)
    if example.label_id != before:
        probe_requests.note_decisions(project.pk)


def keep_again(*, project: Project, examples: Sequence[Example]) -> dict[int, State]:
    """Fold the events of `examples` anew and keep what comes of them: after many events in one go."""
    found = derive_all(project=project, examples=examples)
    if project.task == Task.MULTI_LABEL:
        _keep_label_rows(found)
    changed = [example for example in examples if _write(example, found[example.pk])]
    _write_rows(changed)
    probe_requests.note_decisions(project.pk, len(changed))
    return found


def label_ids_of(*, project: Project, examples: Iterable[Example]) -> dict[int, list[int]]:
    """{text id: ids of its labels in the labels' order}, as they are kept."""
    listed = list(examples)
    if project.task != Task.MULTI_LABEL:
        return {example.pk: [example.label_id] if example.label_id else [] for example in listed}
    found: dict[int, list[int]] = {example.pk: [] for example in listed}
    rows = ExampleLabel.objects.filter(example_id__in=found).order_by("label__position", "label_id")
    for example_id, label_id in rows.values_list("example_id", "label_id"):
        found[example_id].append(label_id)
    return found


def _write(example: Example, state: State) -> bool:
    """Put `state` into the object; whether anything changed."""
    values = {
        "label_id": state.label_id,
        "status": state.status,
        "flagged": state.flagged,
        "decided_at": state.decided_at,
        "decided_by_id": state.decided_by_id,
        "suggestion": state.suggestion,
        "n_deciders": state.n_deciders,
    }
    changed = {name: value for name, value in values.items() if getattr(example, name) != value}
    for name, value in changed.items():
        setattr(example, name, value)
    return bool(changed)


def _write_rows(examples: Sequence[Example]) -> None:
    """Store the states that the objects hold. `bulk_update` spent a millisecond a row on building its CASEs."""
    fields: list[Any] = [Example._meta.get_field(name) for name in _FIELDS]
    columns = ", ".join(f'"{field.column}" = %s' for field in fields)
    rows = [
        [*(field.get_db_prep_save(getattr(one, field.attname), connection) for field in fields), one.pk]
        for one in examples
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(f'UPDATE "{Example._meta.db_table}" SET {columns} WHERE id = %s', rows)  # noqa: S608 - our own names


def _keep_label_rows(states: dict[int, State]) -> None:
    there: dict[int, set[int]] = defaultdict(set)
    for example_id, label_id in ExampleLabel.objects.filter(example_id__in=states).values_list(
        "example_id", "label_id"
    ):
        there[example_id].add(label_id)
    new = []
    for example_id, state in states.items():
        wanted = set(state.label_ids)
        if gone := there[example_id] - wanted:
            ExampleLabel.objects.filter(example_id=example_id, label_id__in=gone).delete()
        new += [
            ExampleLabel(example_id=example_id, label_id=one)
            for one in state.label_ids
            if one not in there[example_id]
        ]
    ExampleLabel.objects.bulk_create(new)
