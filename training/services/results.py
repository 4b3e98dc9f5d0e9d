"""What a run found: from the engine's files into rows, and back out for the pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from labeling.models import Example, Label, Prediction
from training.models import Evaluation, TrainingRun
from training.services.curves import metric_series, small_curve

CHUNK = 1_000
SPLITS = ("dev", "test")


class ResultUnreadable(Exception):
    """A file that the engine should have written is missing or is not what it should be."""


def record_result(run: TrainingRun) -> None:
    """Evaluation and Prediction rows from `run.folder`; called in the worker's transaction, once or again.

    The job's status is the worker's. Raises ResultUnreadable."""
    result = _read(run.folder / "result.json")
    run.result = {**result, "curve": small_curve(metric_series(run.job))}
    run.backbone_hash = str((result.get("backbone") or {}).get("hash") or "")[:64]
    run.save(update_fields=["result", "backbone_hash"])
    run.evaluations.all().delete()
    for split in SPLITS:
        evaluation = (result.get("evaluations") or {}).get(split)
        if evaluation:
            _evaluation(run, split, evaluation).save()
    Prediction.objects.filter(project_id=run.project_id, model_id=run.pk).delete()
    for split in SPLITS:
        record_predictions(run, read_predictions(run, split))


def read_predictions(run: TrainingRun, split: str) -> Iterator[dict[str, Any]]:
    """`{"id", "label", "predicted", "confidence", "proba"}` of each text of `split`, as at training."""
    path = run.folder / f"predictions.{split}.jsonl"
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ResultUnreadable(f"{path.name}, line {number}: {error}") from error


def judged_rows(run: TrainingRun, split: str) -> Iterator[dict[str, Any]]:
    """The rows of `read_predictions` with each set of labels as one word: as they are compared and shown."""
    for row in read_predictions(run, split):
        yield {**row, "label": in_words(row["label"]), "predicted": in_words(row["predicted"])}


def in_words(labels: Any) -> Any:
    """Several labels joined; what is one label, or None, stays."""
    if not isinstance(labels, list):
        return labels
    return _("、").join(labels) if labels else _("都不合适")


def record_predictions(run: TrainingRun, rows: Iterator[dict[str, Any]]) -> int:
    """Prediction rows for `rows`; texts and labels deleted meanwhile are left out. Returns how many."""
    by_name = {label["name"]: label["id"] for label in run.labels}
    alive = set(Label.objects.filter(project_id=run.project_id).values_list("pk", flat=True))
    written = 0
    for chunk in _chunks(rows):
        ids = Example.objects.filter(project_id=run.project_id, pk__in=[row["id"] for row in chunk])
        present = set(ids.values_list("pk", flat=True))
        found = [
            found_row
            for row in chunk
            if row["id"] in present and (found_row := _prediction(run, row, by_name, alive))
        ]
        Prediction.objects.bulk_create(
            found,
            update_conflicts=True,
            unique_fields=["model_id", "example"],
            update_fields=["label", "label_ids", "confidence", "margin", "probabilities"],
        )
        written += len(found)
    return written


def _prediction(
    run: TrainingRun, row: dict[str, Any], by_name: dict[str, int], alive: set[int]
) -> Prediction | None:
    """The row's answer; None where its label is gone. Several labels: the likeliest of all stands for them."""
    given = row["predicted"]
    label_ids: list[int] = []
    if isinstance(given, list):
        label_ids = [by_name[name] for name in given if by_name.get(name) in alive]
        given = run.labels[max(range(len(row["proba"])), key=lambda place: row["proba"][place])]["name"]
    label_id = by_name.get(given)
    if label_id not in alive:
        return None
    first, second = [*sorted(row["proba"], reverse=True), 0.0, 0.0][:2]
    return Prediction(
        project_id=run.project_id,
        example_id=row["id"],
        model_id=run.pk,
        label_id=label_id,
        label_ids=label_ids,
        confidence=float(row["confidence"]),
        margin=float(first - second),
        probabilities=[round(float(value), 6) for value in row["proba"]],
    )


def _evaluation(run: TrainingRun, split: str, data: dict[str, Any]) -> Evaluation:
    try:
        low, high = data.get("accuracy_interval") or (None, None)
        return Evaluation(
            run=run,
            split=split,
            n=data["n"],
            accuracy=data["accuracy"],
            accuracy_low=low,
            accuracy_high=high,
            macro_f1=data["macro_f1"],
            data=data,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultUnreadable(f"result.json, evaluation of {split}: {error!r}") from error


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultUnreadable(f"{path.name}: {error}") from error
    if not isinstance(value, dict):
        raise ResultUnreadable(f"{path.name} is not a JSON object")
    return value
