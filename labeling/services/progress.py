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
from labeling.services.remembered import remembered

LARGE = 20_000


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
    """Counts of the project's texts, and of what `user` did.

    Those of a large project (counting a million texts takes a tenth of a second, and every page of every annotator
    asks) are a few seconds old."""
    by_status, per_label = remembered(f"progress:{project.pk}", lambda: _counts(project), seconds=_keep_for)
    mine = project.annotations.filter(user=user, action__in=DECIDING, undone_by__isnull=True)
    return Progress(
        total=sum(by_status.values()),
        labelled=by_status.get(Status.LABELLED, 0),
        skipped=by_status.get(Status.SKIPPED, 0),
        disputed=by_status.get(Status.DISPUTED, 0),
        mine=mine.aggregate(n=Count("example", distinct=True))["n"],
        my_skipped=skipped_by(project, user).count() if by_status.get(Status.SKIPPED) else 0,
        per_label=per_label,
    )


def _counts(project: Project) -> tuple[dict[str, int], dict[int, int]]:
    """Texts by status, and labelled texts by label id."""
    by_status = dict(project.examples.order_by().values_list("status").annotate(Count("id")))
    rows: QuerySet[Any] = project.examples.filter(label__isnull=False)
    if project.task == Task.MULTI_LABEL:
        rows = ExampleLabel.objects.filter(example__project=project)
    return by_status, dict(rows.order_by().values_list("label").annotate(Count("id")))


def _keep_for(counts: tuple[dict[str, int], dict[int, int]], took_seconds: float) -> float:
    """So that counting takes at most a twentieth of one core's time; small projects are counted each time."""
    if sum(counts[0].values()) < LARGE:
        return 0
    return min(max(20 * took_seconds, 1.0), 30.0)
