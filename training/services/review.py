"""The texts behind a run's numbers: which were missed, and correcting a label from there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labeling.models import Example, Project
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Status
from labeling.services import annotate
from training.models import TrainingRun
from training.services.results import in_words, judged_rows


@dataclass(frozen=True, slots=True)
class JudgedText:
    """A text as the run judged it. `true` is its label at training; `example` is None once it was deleted."""

    example_id: int
    true: str
    predicted: str
    confidence: float
    example: Example | None = None

    @property
    def is_right(self) -> bool:
        return self.true == self.predicted

    @property
    def relabelled(self) -> bool:
        """Whether its label has been changed since the run."""
        return self.example is not None and self.now != self.true

    @property
    def now(self) -> str | None:
        """Its label now, several as one word; None while it has none."""
        if self.example is None or self.example.status != Status.LABELLED:
            return None
        if self.example.project.task == Task.MULTI_LABEL:
            return in_words([row.label.name for row in self.example.label_rows.all()])
        return self.example.label.name if self.example.label else None


@dataclass(frozen=True, slots=True)
class JudgedPage:
    """One page of judged texts; `total` counts all that match."""

    texts: list[JudgedText]
    total: int
    page: int
    pages: int


PER_PAGE = 20


def judged_texts(
    run: TrainingRun, *, split: str, true: str = "", predicted: str = "", page: int = 1
) -> JudgedPage:
    """The missed texts of `split`, the most confident first; or, with `true` and `predicted`, those of one cell."""
    cell = bool(true and predicted)
    found = [
        JudgedText(row["id"], row["label"], row["predicted"], float(row["confidence"]))
        for row in judged_rows(run, split)
        if (row["label"] == true and row["predicted"] == predicted)
        or (not cell and row["label"] is not None and row["label"] != row["predicted"])
    ]
    found.sort(key=lambda judged: (-judged.confidence, judged.example_id))
    pages = max(1, -(-len(found) // PER_PAGE))
    page = min(max(1, page), pages)
    shown = found[(page - 1) * PER_PAGE : page * PER_PAGE]
    return JudgedPage(list(_with_examples(run.project, shown)), len(found), page, pages)


def judged_text(run: TrainingRun, *, split: str, example_id: int) -> JudgedText | None:
    """How the run judged one text of `split`, with the text as it is now."""
    for row in judged_rows(run, split):
        if row["id"] == example_id:
            judged = JudgedText(row["id"], row["label"], row["predicted"], float(row["confidence"]))
            return next(_with_examples(run.project, [judged]))
    return None


def relabel(
    *,
    project: Project,
    user: Any,
    example_id: int,
    label_ids: Sequence[int],
    client_id: uuid.UUID,
    suggested: annotate.Suggested | None = None,
) -> annotate.Decision:
    """One correction, stored as a decision like any other; with `suggested`, a model's answer was in view.

    Raises AnnotateError."""
    return annotate.decide(
        project=project,
        user=user,
        example_id=example_id,
        action=Action.LABEL if label_ids else Action.NONE,
        label_ids=label_ids,
        client_id=client_id,
        source=Source.REVIEW,
        suggested=suggested,
    )


def _with_examples(project: Project, judged: list[JudgedText]) -> Iterator[JudgedText]:
    ids = [text.example_id for text in judged]
    examples = (
        Example.objects.filter(project=project, pk__in=ids)
        .select_related("label", "project")
        .prefetch_related("label_rows__label")
        .in_bulk()
    )
    for text in judged:
        yield JudgedText(
            text.example_id, text.true, text.predicted, text.confidence, examples.get(text.example_id)
        )
