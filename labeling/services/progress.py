"""How far a project and one person are."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.db.models import Count, QuerySet

from labeling.models import ExampleLabel, Project
from labeling.models.projects import Task
from labeling.models.texts import Status
from labeling.services.fold import DECIDING
from labeling.services.queue import skipped_by


@dataclasses.dataclass(frozen=True)
class Progress:
    """`mine` counts texts whose decision by one person stands; `per_label` maps label ids to labelled texts."""

    total: int
    labelled: int
    skipped: int
    disputed: int
    mine: int
    my_skipped: int
    per_label: dict[int, int]

    @property
    def open(self) -> int:
        return self.total - self.labelled - self.skipped - self.disputed

    @property
    def share(self) -> float:
        return self.labelled / self.total if self.total else 0.0


def progress(*, project: Project, user: Any) -> Progress:
    """Counts of the project's texts, and of what `user` did."""
    by_status = dict(project.examples.order_by().values_list("status").annotate(Count("id")))
    rows: QuerySet[Any] = project.examples.filter(label__isnull=False)
    if project.task == Task.MULTI_LABEL:
        rows = ExampleLabel.objects.filter(example__project=project)
    mine = project.annotations.filter(user=user, action__in=DECIDING, undone_by__isnull=True)
    return Progress(
        total=sum(by_status.values()),
        labelled=by_status.get(Status.LABELLED, 0),
        skipped=by_status.get(Status.SKIPPED, 0),
        disputed=by_status.get(Status.DISPUTED, 0),
        mine=mine.aggregate(n=Count("example", distinct=True))["n"],
        my_skipped=skipped_by(project, user).count() if by_status.get(Status.SKIPPED) else 0,
        per_label=dict(rows.order_by().values_list("label").annotate(Count("id"))),
    )
