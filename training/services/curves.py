"""The curve of a run, out of the metric events that its worker recorded."""

from __future__ import annotations

from typing import Any

from labeling.job_words import inner_stage
from labeling.models import Job, JobEvent

MAX_POINTS = 600
SMALL_POINTS = 24
# Stages in which another training of the same run begins; the curve is that of the latest.
ANEW = ("adapt", "auto", "refit")
SERIES = ("loss", "dev_accuracy", "dev_macro_f1", "dev_loss", "learning_rate")


def metric_series(job: Job) -> dict[str, list[float | None]]:
    """`{"step": […], "loss": […], …}`, all of one length, steps rising; None where a step has no such value.

    Of the trainings of one run (reading the pool, comparing methods, learning dev at last) the latest one's. A run
    that resumed says some steps twice: the later one counts. Thinned to about MAX_POINTS, never of its evaluations."""
    points: dict[int, dict[str, float]] = {}
    events = JobEvent.objects.filter(job=job, type__in=("metric", "stage")).order_by("pk")
    anew = reading = False
    for kind, data in events.values_list("type", "data").iterator(2_000):
        if kind == "stage":
            stage = inner_stage(data.get("stage") or "")
            anew = anew or stage in ANEW or (reading and stage == "train")
            reading = stage == "adapt" or (reading and stage != "train")
            continue
        if anew:
            points, anew = {}, False
        step = data.get("step")
        if isinstance(step, int) and not isinstance(step, bool):
            found = {name: data[name] for name in SERIES if _is_number(data.get(name))}
            points.setdefault(step, {}).update(found)
    steps = _thinned(sorted(points), points)
    return {"step": list(steps), **{name: [points[step].get(name) for step in steps] for name in SERIES}}


def small_curve(series: dict[str, list[float | None]]) -> dict[str, Any]:
    """`{"of", "values"}` for a table: dev accuracy where it was measured twice, else the loss; [] without either."""
    for name in ("dev_accuracy", "loss"):
        values = [value for value in series.get(name, []) if value is not None]
        if len(values) >= 2:
            every = max(1, -(-len(values) // SMALL_POINTS))
            return {"of": name, "values": [round(float(value), 4) for value in values[::every]]}
    return {"of": "", "values": []}


def _thinned(steps: list[int], points: dict[int, dict[str, float]]) -> list[int]:
    every = max(1, len(steps) // MAX_POINTS)
    last = len(steps) - 1
    return [
        step
        for place, step in enumerate(steps)
        if place % every == 0 or place == last or "dev_accuracy" in points[step]
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
