"""Which texts the workbench shows, calibrates with and measures on: never one of the test split.

Measured are only texts whose label people gave by themselves. Where a model's suggestion was in view the label is
left aside, accepted or not: accepted ones would flatter the model, overruled ones are by choice its mistakes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labeling.models import Example, Project
from labeling.models.projects import Task
from labeling.models.texts import ExampleQuerySet, Split, SuggestionUse

N_SHOWN = 10
N_MEASURED = 240
N_REFERENCE = 32
LOOKED_AT = 3000
TRAIN_SPLITS = (Split.TRAIN, Split.POOL)
CHOOSING_SPLITS = (Split.TRAIN, Split.POOL, Split.DEV)


@dataclass(frozen=True, slots=True)
class Measured:
    """Labelled texts; `right[i]` are the class ids (places in the label ids asked about) that people gave text i."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    right: tuple[frozenset[int], ...]

    def __len__(self) -> int:
        return len(self.ids)


def measured_texts(
    project: Project,
    label_ids: Sequence[int],
    *,
    splits: Sequence[str] = TRAIN_SPLITS,
    limit: int = N_MEASURED,
) -> Measured:
    """Up to `limit` labelled texts of `splits`, spread over the labels, in an order that does not change.

    Raises ValueError when the test split is asked for."""
    if Split.TEST in splits:
        raise ValueError("nothing is chosen by the test split")
    place = {label_id: number for number, label_id in enumerate(label_ids)}
    rows = (
        Example.objects.filter(project=project, split__in=splits, suggestion=SuggestionUse.NONE)
        .labelled()
        .filter(label_id__in=label_ids)
        .order_by("order", "id")
        .values_list("pk", "label_id")[: max(LOOKED_AT, limit)]
    )
    by_label: dict[int, list[int]] = defaultdict(list)
    first: dict[int, int] = {}
    for pk, label_id in rows:
        by_label[label_id].append(pk)
        first[pk] = label_id
    chosen = _spread([by_label[label_id] for label_id in label_ids if by_label[label_id]], limit)
    right = {pk: {place[first[pk]]} for pk in chosen}
    if project.task == Task.MULTI_LABEL:
        for one in Example.objects.filter(pk__in=chosen).prefetch_related("label_rows"):
            right[one.pk] |= {place[row.label_id] for row in one.label_rows.all() if row.label_id in place}
    texts = dict(Example.objects.filter(pk__in=chosen).values_list("pk", "text"))
    present = [pk for pk in chosen if pk in texts]
    return Measured(
        tuple(present), tuple(texts[pk] for pk in present), tuple(frozenset(right[pk]) for pk in present)
    )


def reference_texts(project: Project, limit: int = N_REFERENCE) -> list[str]:
    """The first texts of the pool: what the scores are calibrated with. Labelled training texts where it is short."""
    texts = list(_ordered(project.examples.pool())[:limit])
    if len(texts) < limit:
        texts += list(_ordered(project.examples.for_training())[: limit - len(texts)])
    return texts


def shown_texts(project: Project, *, page: int = 0) -> list[int]:
    """Ids of ten texts to show, of the pool and training texts, never of dev or test; past the end the first ten."""
    texts = (project.examples.pool() | project.examples.for_training()).order_by("order", "id")
    ids = texts.values_list("pk", flat=True)
    start = max(0, page) * N_SHOWN
    return list(ids[start : start + N_SHOWN]) or list(ids[:N_SHOWN])


def _ordered(examples: ExampleQuerySet) -> Any:
    return examples.order_by("order", "id").values_list("text", flat=True)


def _spread(groups: list[list[int]], limit: int) -> list[int]:
    """Up to `limit` members, one of each group in turn, each group in its own order."""
    chosen: list[int] = []
    for turn in range(max(map(len, groups), default=0)):
        chosen += [group[turn] for group in groups if turn < len(group)]
        if len(chosen) >= limit:
            break
    return chosen[:limit]
