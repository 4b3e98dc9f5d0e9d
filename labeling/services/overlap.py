"""Another number of people for each text: everything that was decided, folded anew."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from django.db import transaction

from labeling.models import Annotation, Example, Project
from labeling.models.texts import Status
from labeling.services import consensus, leases
from labeling.services.fold import BY_HAND, standing
from labeling.services.states import keep_again

CHUNK_ROWS = 500


@dataclasses.dataclass
class Rederived:
    """What a new number of people made of the texts that somebody had decided, by their status now."""

    texts: int = 0
    opened: int = 0
    labelled: int = 0
    disputed: int = 0


def change_overlap(*, project: Project, overlap: int) -> Rederived:
    """Ask `overlap` people about each text from now on, and fold what was decided anew by that."""
    Project.objects.filter(pk=project.pk).update(overlap=overlap)
    project.overlap = overlap
    return rederive(project=project)


def rederive(
    *,
    project: Project,
    example_ids: Sequence[int] | None = None,
    on_chunk: Callable[[int], None] = lambda done: None,
) -> Rederived:
    """Fold all texts of `project` that somebody decided (or just `example_ids`) anew, for its present `overlap`.

    In short transactions; a decision that comes meanwhile is folded by the same rule. The places of those who have
    decided, or passed over what is still open, are used up; nobody gets a text twice."""
    result = Rederived()
    present = consensus.present_labels(project)
    for ids in _chunks_of(project, example_ids):
        with transaction.atomic():
            examples = list(
                Example.objects.select_for_update().filter(project=project, pk__in=ids).order_by("pk")
            )
            before = {example.pk: example.status for example in examples}
            keep_again(project=project, examples=examples)
            events = defaultdict(list)
            for event in Annotation.objects.filter(example_id__in=ids).order_by("id"):
                events[event.example_id].append(event)
            leases.align(
                project=project,
                opinions={
                    pk: (set(found.votes) - {0}, found.passed - {0})
                    for pk in before
                    for found in [consensus.opinions(standing(events[pk]), present)]
                },
            )
        for example in examples:
            result.texts += 1
            if example.status != before[example.pk]:
                result.opened += example.status in (Status.OPEN, Status.SKIPPED)
                result.labelled += example.status == Status.LABELLED
                result.disputed += example.status == Status.DISPUTED
        on_chunk(result.texts)
    return result


def _chunks_of(project: Project, example_ids: Sequence[int] | None) -> Iterable[list[int]]:
    if example_ids is not None:
        for start in range(0, len(example_ids), CHUNK_ROWS):
            yield list(example_ids[start : start + CHUNK_ROWS])
        return
    last = 0
    while True:
        by_hand = Annotation.objects.filter(project=project, source__in=BY_HAND, example_id__gt=last)
        ids = list(
            by_hand.order_by("example_id").values_list("example_id", flat=True).distinct()[:CHUNK_ROWS]
        )
        if not ids:
            return
        yield ids
        last = ids[-1]
