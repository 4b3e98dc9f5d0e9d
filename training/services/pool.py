"""The unlabelled pool as a model sees it: by label, by confidence, a page at a time at any depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet

from labeling.models import Prediction
from labeling.models.texts import Split, Status
from training.models import TrainingRun

PER_PAGE = 50
ORDERS = ("low", "high")


@dataclass(frozen=True, slots=True)
class PoolPage:
    """Predictions of still unlabelled texts; `next_key` leads to the page after, "" at the end."""

    predictions: list[Prediction]
    next_key: str


def pool_predictions(run: TrainingRun) -> QuerySet[Prediction]:
    """The answers of this run's model for texts that nobody has labelled yet, never of dev or test."""
    return Prediction.objects.filter(
        model_id=run.pk,
        project_id=run.project_id,
        example__status__in=[Status.OPEN, Status.SKIPPED, Status.DISPUTED],
        example__split__in=[Split.TRAIN, Split.POOL],
    )


def pool_page(run: TrainingRun, *, label_id: int | None, order: str, after: str = "") -> PoolPage:
    """The page after the key `after` (as `next_key` gave it), the least confident first ("low") or the most."""
    rows = pool_predictions(run).select_related("example", "label")
    if label_id is not None:
        rows = rows.filter(label_id=label_id)
    key = _read_key(after)
    if order == "high":
        rows = rows.order_by("-confidence", "pk")
        if key:
            rows = rows.filter(Q(confidence__lt=key[0]) | Q(confidence=key[0], pk__gt=key[1]))
    else:
        rows = rows.order_by("confidence", "pk")
        if key:
            rows = rows.filter(Q(confidence__gt=key[0]) | Q(confidence=key[0], pk__gt=key[1]))
    found = list(rows[: PER_PAGE + 1])
    more = len(found) > PER_PAGE
    found = found[:PER_PAGE]
    return PoolPage(found, f"{found[-1].confidence!r}:{found[-1].pk}" if more else "")


def pool_summary(run: TrainingRun) -> dict[str, Any]:
    """`{"total", "per_label": {label id: n}}` of what `pool_page` goes through."""
    rows = pool_predictions(run).order_by().values("label_id").annotate(n=Count("pk"))
    per_label = {row["label_id"]: row["n"] for row in rows}
    return {"total": sum(per_label.values()), "per_label": per_label}


def _read_key(value: str) -> tuple[float, int] | None:
    confidence, colon, pk = value.partition(":")
    try:
        return (float(confidence), int(pk)) if colon and len(pk) < 19 else None
    except ValueError:
        return None
