"""What several people's decisions about one text make of it, where the project asks more than one person.

A text stays open until `overlap` people have decided. If all of them say the same it is labelled; if they differ it
is disputed, has no label, and waits for somebody who may adjudicate. What a reviewer decides (from a list of results,
in one go, by adjudication), or what came with a file, counts whatever the others say; taking such a label away lets
everybody decide anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from labeling.models import Annotation, Example, Project
from labeling.models.annotations import Action, Source
from labeling.models.texts import Status
from labeling.services import leases
from labeling.services.fold import BY_HAND, DECIDING, State, apply, labels_of, standing, use_of

# Decides for all; a blind decision, or one with a suggestion in view, is one opinion among others.
RULING = (Source.REVIEW, Source.ADJUDICATION, Source.BULK, Source.IMPORT)


@dataclasses.dataclass
class Opinions:
    """What people say of one text: {user id: their deciding event}, who passed it over, and what rules over them.

    People whose account is gone count as one, under the id 0."""

    votes: dict[int, Annotation] = dataclasses.field(default_factory=dict)
    passed: set[int] = dataclasses.field(default_factory=set)
    ruling: Annotation | None = None
    cleared: bool = False


def opinions(events: Iterable[Annotation], present: Collection[int]) -> Opinions:
    """The opinions that standing `events` (oldest first) leave.

    One whose labels were all deleted since (none is in `present`) counts as not given."""
    found = Opinions()
    for event in events:
        rules = event.source in RULING
        person = event.user_id or 0
        if event.action == Action.LABEL and not any(one in present for one in labels_of(event)):
            continue
        if event.action in DECIDING:
            if rules:
                found.ruling, found.cleared = event, False
            else:
                found.votes[person] = event
                found.passed.discard(person)
        elif event.action == Action.CLEAR:
            if rules:
                found = Opinions(cleared=True)
            else:
                found.votes.pop(person, None)
        elif event.action == Action.SKIP and person not in found.votes:
            found.passed.add(person)
    return found


def state_of_many(
    *, base: State, events: Sequence[Annotation], overlap: int, present: Collection[int]
) -> State:
    """The state that `overlap` people's standing `events` make of `base`; `present` are the labels still there."""
    found = opinions(events, present)
    flags = [event for event in events if event.action in (Action.FLAG, Action.UNFLAG)]
    flagged = flags[-1].action == Action.FLAG if flags else base.flagged
    votes = {
        user_id: frozenset(one for one in labels_of(event) if one in present)
        for user_id, event in found.votes.items()
    }
    people = set(votes)
    if found.ruling is not None:
        if found.ruling.source in BY_HAND and found.ruling.user_id is not None:
            people.add(found.ruling.user_id)
        state = apply(State(), found.ruling)
    elif base.status == Status.LABELLED and not found.cleared:
        state = base
    elif len(votes) >= overlap:
        state = _agreed(list(found.votes.values()), set(votes.values()))
    elif votes or not found.passed:
        state = State()
    else:
        last = max((event for event in events if event.action == Action.SKIP), key=lambda event: event.pk)
        state = State(status=Status.SKIPPED, decided_at=last.created_at)
    return dataclasses.replace(state, flagged=flagged, n_deciders=len(people))


def settle(*, project: Project, example: Example, user: Any, action: str, again: bool = False) -> None:
    """Bring the places at `example` in line with what `user` did (`action`), inside that transaction.

    `again`: they took it back and have the text before them."""
    if project.overlap == 1:
        if action == Action.CLEAR and not again:
            leases.forget(example_ids=[example.pk])
        elif again or action in (*DECIDING, Action.SKIP):
            leases.settle(
                example=example,
                user=user,
                overlap=1,
                decided=action in DECIDING and not again,
                passed=action == Action.SKIP and not again,
                again=again,
            )
        return
    events = standing(Annotation.objects.filter(example=example).order_by("id"))
    found = opinions(events, present_labels(project))
    if found.cleared and not found.votes:
        leases.forget(example_ids=[example.pk])
        return
    leases.settle(
        example=example,
        user=user,
        overlap=project.overlap,
        decided=user.pk in found.votes,
        passed=user.pk in found.passed,
        again=again and user.pk not in found.votes and user.pk not in found.passed,
    )


def present_labels(project: Project) -> set[int]:
    """Ids of the labels that were not deleted."""
    return set(project.labels.filter(archived_at__isnull=True).values_list("pk", flat=True))


def _agreed(votes: list[Annotation], said: set[frozenset[int]]) -> State:
    """Labelled when all said the same, else disputed."""
    last = max(votes, key=lambda event: event.pk)
    if len(said) > 1:
        return State(status=Status.DISPUTED, decided_at=last.created_at)
    return State(
        label_ids=tuple(next(iter(said))),
        status=Status.LABELLED,
        decided_at=last.created_at,
        decided_by_id=last.user_id,
        suggestion=use_of(last),
    )
