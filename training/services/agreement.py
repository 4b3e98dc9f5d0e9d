"""How far the people of a project agree: the figures of the page, worked out again when somebody has decided."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from labeling.models import Label, Project
from labeling.services import opinions
from labeling.services.opinions import OpinionTable
from labeling.services.remembered import remembered
from training.fewshot import agreement
from training.fewshot.agreement import Figure

KEPT_SECONDS = 3600
MAX_PEOPLE = 40


@dataclasses.dataclass(frozen=True)
class PerLabel:
    label: Label
    alpha: Figure
    n_texts: int


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two people: how they agree, and on how many of their shared texts they differ."""

    kappa: Figure
    differ: int


@dataclasses.dataclass(frozen=True)
class Agreement:
    """`alpha`: nominal, or with MASI's distances where a text may have several labels. `fleiss` rests on the texts
    with the commonest number of opinions, `fleiss_people`. `pairs[a][b]`: None on the diagonal and for people who
    share no text. `on[x][y]`: texts for which one person gave label x and another y."""

    n_texts: int
    n_opinions: int
    people: list[Any]
    labels: list[Label]
    n_same: int
    share_suggested: float
    alpha: Figure
    fleiss: Figure
    fleiss_people: int
    per_label: list[PerLabel]
    pairs: list[list[Pair | None]]
    on: list[list[int]]

    @property
    def most_on(self) -> int:
        return max((cell for row in self.on for cell in row), default=0)


def agreement_of(project: Project) -> Agreement | None:
    """The figures of `project` by its present opinions; None where no text was decided by two people."""
    names = sorted(project.labels.filter(archived_at__isnull=True).values_list("pk", "name", "color"))
    mark = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
    key = f"agreement:{project.pk}:{opinions.newest(project)}:{mark}"

    def make() -> Agreement | None:
        table = opinions.opinions_of(project)
        if not len(table.example_ids):
            return None
        return figures_of(table, several=any(len(value) != 1 for value in table.values))

    return remembered(key, make, seconds=lambda _figures, _took: KEPT_SECONDS)


def figures_of(table: OpinionTable, *, several: bool) -> Agreement:
    """The figures of a table of opinions. `several`: values are sets, compared by MASI."""
    n_values = len(table.values)
    counts = agreement.counts_of(table.codes, n_values)
    people = counts.sum(1)
    member = np.stack(
        [
            counts[:, [code for code, value in enumerate(table.values) if label.pk in value]].sum(1)
            for label in table.labels
        ],
        axis=1,
    )
    distance = agreement.masi_distances(table.values) if several else None
    commonest = int(np.bincount(people.astype(int)).argmax())
    per_label = agreement.alpha_per_label(member, people)
    between, _on = agreement.disagreements(table.codes, n_values)
    return Agreement(
        n_texts=len(table.example_ids),
        n_opinions=table.n_opinions,
        people=table.people,
        labels=table.labels,
        n_same=int((counts.max(1) == people).sum()),
        share_suggested=table.n_suggested / table.n_opinions,
        alpha=agreement.krippendorff_alpha(counts, distance),
        fleiss=agreement.fleiss_kappa(counts[people == commonest]),
        fleiss_people=commonest,
        per_label=[
            PerLabel(label, figure, int((column > 0).sum()))
            for label, figure, column in zip(table.labels, per_label, member.T, strict=True)
        ],
        pairs=_pairs(table, between),
        on=_on_labels(table, member),
    )


def _pairs(table: OpinionTable, between: np.ndarray) -> list[list[Pair | None]]:
    n = len(table.people)
    pairs: list[list[Pair | None]] = [[None] * n for _ in range(n)]
    if n > MAX_PEOPLE:
        return pairs
    for one in range(n):
        for other in range(one + 1, n):
            kappa = agreement.cohen_kappa(table.codes[one], table.codes[other], len(table.values))
            if kappa.n:
                pairs[one][other] = pairs[other][one] = Pair(kappa, int(between[one, other]))
    return pairs


def _on_labels(table: OpinionTable, member: np.ndarray) -> list[list[int]]:
    """Texts for which somebody gave the one label and somebody else, instead of it, the other.

    Where a text may have several labels, two labels that one person gave together are no disagreement by
    themselves; the people must also differ."""
    codes = table.codes
    counts = agreement.counts_of(codes, len(table.values))
    differs = (counts > 0).sum(1) > 1
    given = ((member > 0) & differs[:, None]).astype(np.int64)
    on = given.T @ given
    np.fill_diagonal(on, 0)
    return on.tolist()
