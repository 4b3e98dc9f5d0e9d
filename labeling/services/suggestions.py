"""What a model suggests for texts on the labelling page, where anybody wants to know.

Never for texts of dev or test: they measure the model, and a person decides them blind. Never where the project or
the person hides suggestions, and not before the model is worth hearing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labeling.models import Example, Membership, Project
from labeling.models.texts import Split
from labeling.services import scores as score_files
from labeling.services.scores import Scores

SUGGESTED_SPLITS = (Split.TRAIN, Split.POOL)


@dataclass(frozen=True)
class Suggestion:
    """A model's answer for one text: its likeliest label, how likely, and which scores said so.

    `label_ids`: all labels that it would give, the likeliest first (one, unless the project allows several)."""

    label_id: int
    probability: float
    source: str
    label_ids: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the labelling page reads it."""
        return {
            "label": self.label_id,
            "labels": list(self.label_ids),
            "probability": round(self.probability, 4),
            "source": self.source,
        }


def suggestions_for(project: Project, user: Any, examples: Iterable[Example]) -> dict[int, Suggestion]:
    """{example id: Suggestion} for those of `examples` that a model worth hearing has scored."""
    wanted = [one.pk for one in examples if one.split in SUGGESTED_SPLITS]
    if not wanted or not are_shown(project, user):
        return {}
    scores = score_files.best(project.pk)
    if scores is None or not scores.worth_hearing:
        return {}
    present = set(project.labels.filter(archived_at__isnull=True).values_list("pk", flat=True))
    columns = [place for place, label_id in enumerate(scores.label_ids) if label_id in present]
    if not columns:
        return {}
    found = {}
    for example_id, row in scores.rows_of(wanted).items():
        suggestion = _suggest(scores, row, columns)
        if suggestion is not None:
            found[example_id] = suggestion
    return found


def are_shown(project: Project, user: Any) -> bool:
    """Whether the project shows suggestions and `user` has not hidden them."""
    if not project.show_suggestions:
        return False
    return not Membership.objects.filter(project=project, user=user, hide_suggestions=True).exists()


def _suggest(scores: Scores, row: int, columns: list[int]) -> Suggestion | None:
    """The likeliest of `columns`; labels that were deleted since the scoring share their part among the others."""
    proba = np.nan_to_num(scores.proba[row, columns].astype(np.float64))
    if not scores.multi_label:
        proba = proba / max(float(proba.sum()), 1e-9)
    order = np.argsort(-proba, kind="stable")
    top = float(proba[order[0]])
    if top <= 0:
        return None
    given = [place for place in order if proba[place] >= 0.5] if scores.multi_label else [order[0]]
    label_ids = tuple(scores.label_ids[columns[place]] for place in given or order[:1])
    return Suggestion(label_ids[0], min(top, 1.0), scores.source, label_ids)
