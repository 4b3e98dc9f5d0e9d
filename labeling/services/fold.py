"""A text's state as a fold over its decisions: pure, without the database.

Decisions are appended and struck out by UNDO events, never changed; what is kept on the text's row is what this
module makes of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime

from labeling.models.annotations import Action, Annotation, Source
from labeling.models.texts import Status, SuggestionUse

# What gives a text its labels: one, several, or the answer that none of them fits (projects with several labels).
DECIDING = (Action.LABEL, Action.NONE)
# Decided by a person for one text; the rest came with a file or was done to many texts in one go.
BY_HAND = (Source.BLIND, Source.SUGGESTION, Source.REVIEW, Source.ADJUDICATION)


@dataclasses.dataclass(frozen=True)
class State:
    """What is kept on the text's row.

    `label_ids` in the labels' order; empty with the status labelled means: none of them fits. `decided_by_id` is
    None for what came with a file. `n_deciders` counts people whose decision of labels stands."""

    label_ids: tuple[int, ...] = ()
    status: str = Status.OPEN
    flagged: bool = False
    decided_at: datetime | None = None
    decided_by_id: int | None = None
    suggestion: str = SuggestionUse.NONE
    n_deciders: int = 0

    @property
    def label_id(self) -> int | None:
        """The first label."""
        return self.label_ids[0] if self.label_ids else None

    def without_labels(self) -> State:
        """The state of a text that waits for its decision; its flag stays."""
        return State(flagged=self.flagged)


def labels_of(event: Annotation) -> tuple[int, ...]:
    """The ids of the labels that a deciding event gave."""
    if event.labels:
        return tuple(event.labels)
    return (event.label_id,) if event.label_id is not None else ()


def use_of(event: Annotation) -> str:
    """What a deciding event made of the suggestion in view."""
    if event.source != Source.SUGGESTION:
        return SuggestionUse.NONE
    suggested = set(event.suggested_labels) or {event.suggested_label_id} - {None}
    return SuggestionUse.ACCEPTED if suggested == set(labels_of(event)) else SuggestionUse.OVERRULED


def standing(events: Iterable[Annotation]) -> list[Annotation]:
    """`events` (oldest first) without UNDO events and what they struck out."""
    listed = list(events)
    struck = {event.undoes_id for event in listed if event.action == Action.UNDO}
    return [event for event in listed if event.action != Action.UNDO and event.pk not in struck]


def deciders(events: Iterable[Annotation]) -> dict[int, Annotation]:
    """{user id: their last deciding event} of standing `events`, those taken away by a later CLEAR left out."""
    found: dict[int, Annotation] = {}
    for event in events:
        if event.action == Action.CLEAR:
            found.clear()
        elif event.action in DECIDING and event.source in BY_HAND and event.user_id is not None:
            found[event.user_id] = event
    return found


def apply(state: State, event: Annotation) -> State:
    """The state after `event`. A skip leaves a decision that is there in place."""
    if event.action in DECIDING:
        return dataclasses.replace(
            state,
            label_ids=labels_of(event),
            status=Status.LABELLED,
            decided_at=event.created_at,
            decided_by_id=event.user_id,
            suggestion=use_of(event),
        )
    if event.action == Action.CLEAR:
        return state.without_labels()
    if event.action == Action.SKIP and state.status != Status.LABELLED:
        return dataclasses.replace(state, status=Status.SKIPPED, decided_at=event.created_at)
    if event.action in (Action.FLAG, Action.UNFLAG):
        return dataclasses.replace(state, flagged=event.action == Action.FLAG)
    return state


def replay(base: State, events: Iterable[Annotation]) -> State:
    """`base` after standing `events` (oldest first): the last decision counts."""
    listed = list(events)
    state = base
    for event in listed:
        state = apply(state, event)
    return dataclasses.replace(state, n_deciders=len(deciders(listed)))
