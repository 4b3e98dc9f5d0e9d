"""Who said what of the texts that several people decided: the material of agreement, and the texts behind a figure.

An opinion is a person's standing decision of labels, made blind or with a suggestion in view. What was decided from
lists of results, in one go, or between people who differ is nobody's independent opinion and is left out; so is what
came before a reviewer took the label away.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from django.contrib.auth import get_user_model
from django.db.models import Count

from labeling.models import Annotation, Label, Project
from labeling.models.annotations import Source
from labeling.services import consensus
from labeling.services.fold import DECIDING, labels_of, standing

VOTING = (Source.BLIND, Source.SUGGESTION)
CHUNK_ROWS = 2_000


@dataclasses.dataclass(frozen=True)
class OpinionTable:
    """Opinions of the texts that at least two people decided.

    `codes`: (n_people, n_texts) int, the index in `values`, -1 for none. A value is the set of label ids given."""

    people: list[Any]
    example_ids: np.ndarray
    values: list[frozenset[int]]
    codes: np.ndarray
    labels: list[Label]
    n_suggested: int

    @property
    def n_opinions(self) -> int:
        return int((self.codes >= 0).sum())


def newest(project: Project) -> int:
    """The number of the project's last event: what was worked out of its opinions holds until it changes."""
    return project.annotations.order_by("-id").values_list("id", flat=True).first() or 0


def opinions_of(project: Project) -> OpinionTable:
    """The opinions of all texts of `project` with two or more of them."""
    labels = list(project.labels.filter(archived_at__isnull=True))
    present = {label.pk for label in labels}
    votes: dict[int, dict[int, Annotation]] = {}
    for example_id, events in _events_of_shared_texts(project):
        found = consensus.opinions(standing(events), present).votes
        found.pop(0, None)
        if len(found) >= 2:
            votes[example_id] = found
    user_ids = sorted({user_id for found in votes.values() for user_id in found})
    people = sorted(get_user_model().objects.filter(pk__in=user_ids), key=str)
    row_of = {user.pk: row for row, user in enumerate(people)}
    example_ids = sorted(votes)
    said = {
        (example_id, user_id): frozenset(one for one in labels_of(event) if one in present)
        for example_id, found in votes.items()
        for user_id, event in found.items()
    }
    place = {label.pk: number for number, label in enumerate(labels)}
    values = sorted(set(said.values()), key=lambda value: sorted(place[one] for one in value))
    code_of = {value: code for code, value in enumerate(values)}
    column_of = {example_id: column for column, example_id in enumerate(example_ids)}
    codes = np.full((len(people), len(example_ids)), -1, dtype=np.int64)
    for (example_id, user_id), value in said.items():
        codes[row_of[user_id], column_of[example_id]] = code_of[value]
    n_suggested = sum(
        event.source == Source.SUGGESTION for found in votes.values() for event in found.values()
    )
    return OpinionTable(people, np.array(example_ids, dtype=np.int64), values, codes, labels, n_suggested)


def differing(
    table: OpinionTable, *, people: tuple[int, int] | None = None, labels: tuple[int, int] | None = None
) -> list[int]:
    """Ids of the texts that two people decided differently, or for which one gave the one label and another the
    other; without either, of all texts about which anybody differs."""
    if people is not None:
        rows = [row for row, user in enumerate(table.people) if user.pk in people]
        if len(rows) != 2:
            return []
        one, other = table.codes[rows[0]], table.codes[rows[1]]
        chosen = (one >= 0) & (other >= 0) & (one != other)
    elif labels is not None:
        given = [_given(table, label_id) for label_id in labels]
        chosen = given[0] & given[1]
    else:
        high = table.codes.max(axis=0, initial=-1)
        low = np.where(table.codes >= 0, table.codes, len(table.values)).min(
            axis=0, initial=len(table.values)
        )
        chosen = high > low
    return [int(example_id) for example_id in table.example_ids[chosen]]


def _given(table: OpinionTable, label_id: int) -> np.ndarray:
    """(n_texts,) bool: whether anybody gave the label (alone, or in a set)."""
    codes = [code for code, value in enumerate(table.values) if label_id in value]
    return np.isin(table.codes, codes).any(axis=0)


def _events_of_shared_texts(project: Project) -> Iterable[tuple[int, list[Annotation]]]:
    """(text id, its events, oldest first) of texts that two or more people decided."""
    mine = Annotation.objects.filter(project=project, source__in=VOTING, action__in=DECIDING)
    shared = (
        mine.order_by()
        .values("example_id")
        .annotate(people=Count("user", distinct=True))
        .filter(people__gte=2)
        .values_list("example_id", flat=True)
    )
    ids = sorted(shared)
    for start in range(0, len(ids), CHUNK_ROWS):
        events: dict[int, list[Annotation]] = defaultdict(list)
        chunk = Annotation.objects.filter(example_id__in=ids[start : start + CHUNK_ROWS]).order_by("id")
        for event in chunk.only(
            "example_id", "user_id", "action", "label_id", "labels", "source", "undoes_id"
        ):
            events[event.example_id].append(event)
        yield from events.items()
