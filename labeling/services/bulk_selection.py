"""The texts that are looked at together: found by filters, by a model's scores, or because they resemble one text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from labeling.models import Example, Project
from labeling.models.texts import Split
from labeling.services import scores, search, similar
from labeling.services.bulk import MAX_TEXTS
from labeling.services.filters import Filters

SCANNED = 20_000


@dataclasses.dataclass(frozen=True)
class Selection:
    """`by_model`: a model or a rule chose, so dev and test are not among the texts. `after` leads to the next ones."""

    examples: list[Example]
    by_model: bool
    after: str = ""
    problem: str = ""
    shares: dict[int, float] = dataclasses.field(default_factory=dict)


def by_filters(project: Project, filters: Filters, *, after: str = "") -> Selection:
    """The next texts of the list."""
    page = search.page_of(project, filters, after=after, n=MAX_TEXTS, learnable=filters.by_model)
    return Selection(page.examples, filters.by_model, page.after)


def by_scores(project: Project, *, source: str, label_id: int, percent: int) -> Selection:
    """Texts without a label to which the scores of `source` give this label first, with at least `percent`.

    The surest first; none where the source knows nothing of the label."""
    found = scores.read(project.pk, source) if source in scores.SOURCES else None
    if found is None or label_id not in found.label_ids:
        return Selection([], True)
    column = found.label_ids.index(label_id)
    proba = np.asarray(found.proba[:, column], dtype=np.float32)
    first = np.asarray(found.proba).argmax(axis=1) == column
    rows = np.flatnonzero(first & (proba >= percent / 100))
    rows = rows[np.argsort(-proba[rows], kind="stable")][:SCANNED]
    shares = {int(found.example_ids[row]): float(proba[row]) for row in rows}
    return _open(project, shares)


def by_similarity(project: Project, values: Mapping[str, str]) -> Selection:
    """The texts nearest to a sentence or a text, as the page of similar texts finds them, the nearest first."""
    try:
        found = similar.find(project, similar.Query.of(values))
    except Example.DoesNotExist:
        found = None
    except similar.SimilarUnavailable as error:
        return Selection([], True, problem=str(similar.unavailable_words(error)))
    kept = [one for one in found or [] if one.example.split in (Split.TRAIN, Split.POOL)][:MAX_TEXTS]
    return Selection(
        [one.example for one in kept], True, shares={one.example.pk: one.similarity for one in kept}
    )


def _open(project: Project, shares: dict[int, float]) -> Selection:
    """Those of the texts that may be learnt from and have no label yet, in the order of `shares`."""
    kept: list[Example] = []
    ids = list(shares)
    for start in range(0, len(ids), 1_000):
        part = ids[start : start + 1_000]
        rows = project.examples.filter(
            pk__in=part, label__isnull=True, split__in=[Split.TRAIN, Split.POOL]
        ).in_bulk()
        kept += [rows[pk] for pk in part if pk in rows]
        if len(kept) >= MAX_TEXTS:
            break
    kept = kept[:MAX_TEXTS]
    return Selection(kept, True, shares={example.pk: shares[example.pk] for example in kept})
