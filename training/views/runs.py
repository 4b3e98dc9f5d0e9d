"""One run: live while it goes, judged when it is done; and two runs beside each other."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from labeling.files.columns import escape_formula
from labeling.models import Example, Project
from labeling.models.jobs import JobStatus
from labeling.permissions import project_for
from labeling.services import annotate
from training.models import Evaluation, TrainingRun
from training.services import comparison, review
from training.services.curves import metric_series
from training.services.results import SPLITS, judged_rows
from training.views.train import find_run

HEAT_LEVELS = 8


@require_safe
def run(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """The run's page. `?split=`, `?true=&predicted=` and `?page=` choose the texts that are listed."""
    project = project_for(request, project_id, "read")
    found = find_run(project, number)
    evaluations = {evaluation.split: evaluation for evaluation in found.evaluations.all()}
    context: dict[str, Any] = {
        "project": project,
        "section": "train",
        "run": found,
        "job": found.job,
        "evaluations": [evaluations[split] for split in SPLITS if split in evaluations],
        "labels": _label_marks(project, found),
        "retry_token": uuid.uuid4(),
        "budget_seconds": found.config.get("time_budget_seconds"),
        "has_curve": not found.job.is_finished or found.job.events.filter(type="metric").exists(),
        "has_model": found.job.status == JobStatus.SUCCEEDED and found.model_folder.is_dir(),
    }
    if evaluations:
        context |= _judged(request, found, evaluations)
    return render(request, "training/run.html", context)


@require_safe
def run_live(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """The curve as JSON: `{"finished", "series": {"step", "loss", "dev_accuracy", …}}`."""
    project = project_for(request, project_id, "read")
    found = find_run(project, number)
    response = JsonResponse({"finished": found.job.is_finished, "series": metric_series(found.job)})
    response["Cache-Control"] = "no-store"
    return response


@require_safe
def run_predictions(request: HttpRequest, project_id: int, number: int, split: str) -> HttpResponseBase:
    """The run's answers on one split as csv, with what was true at training."""
    project = project_for(request, project_id, "download")
    found = find_run(project, number)
    if split not in SPLITS or not (found.folder / f"predictions.{split}.jsonl").is_file():
        raise Http404("no predictions of this split")
    response = StreamingHttpResponse(_csv_lines(found, split), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="run{found.number}-{split}.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_POST
def run_relabel(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """Correct the label of one listed text, or take the correction back."""
    project = project_for(request, project_id, "review")
    found = find_run(project, number)
    split = request.POST.get("split", "")
    if split not in SPLITS:
        raise Http404("no such split")
    decision, problem = relabel_from(request, project)
    if not request.htmx:  # type: ignore[attr-defined]
        return back_with(request, problem, f"{reverse('run', args=[project.pk, number])}?split={split}#texts")
    judged = review.judged_text(found, split=split, example_id=posted_int(request, "example"))
    if judged is None:
        raise Http404("the run did not judge this text")
    context = {
        "project": project,
        "run": found,
        "split": split,
        "judged": judged,
        "labels": _label_marks(project, found),
        "choices": list(project.labels.filter(archived_at__isnull=True)),
        "client_id": uuid.uuid4(),
        "done": decision,
        "problem": problem,
    }
    # htmx leaves the page alone on an error status; the fragment itself says what went wrong.
    return render(request, "training/judged_text.html", context)


@require_safe
def runs_compare(request: HttpRequest, project_id: int) -> HttpResponse:
    """Runs `?a=` and `?b=` side by side; without them the two newest."""
    project = project_for(request, project_id, "read")
    trained = list(project.runs.succeeded().select_related("job").prefetch_related("evaluations"))
    by_number = {str(found.number): found for found in trained}
    second = by_number.get(request.GET.get("b", "")) or (trained[0] if trained else None)
    others = [found for found in trained if found != second]
    first = by_number.get(request.GET.get("a", "")) or (others[0] if others else None)
    context: dict[str, Any] = {
        "project": project,
        "section": "train",
        "trained": trained,
        "first": first,
        "second": second,
        "same": first is not None and first == second,
    }
    if first and second and first != second:
        context["splits"] = [
            found for split in SPLITS if (found := comparison.compare_split(first, second, split))
        ]
        context["differences"] = comparison.setting_differences(first, second)
        context["same_texts"] = first.snapshot_hash == second.snapshot_hash
    return render(request, "training/compare.html", context)


def relabel_from(
    request: HttpRequest, project: Project, *, suggested: annotate.Suggested | None = None
) -> tuple[annotate.Decision | None, str]:
    """The decision that the posted form asks for, and "" or what went wrong in words."""
    try:
        client_id = uuid.UUID(request.POST.get("client_id", ""))
    except ValueError:
        return None, _("这个请求不完整，请刷新页面再试。")
    try:
        if request.POST.get("undo"):
            target = uuid.UUID(request.POST["undo"])
            return (
                annotate.undo(
                    project=project, user=request.user, client_id=client_id, target_client_id=target
                ),
                "",
            )
        return (
            review.relabel(
                project=project,
                user=request.user,
                example_id=posted_int(request, "example"),
                label_ids=posted_ids(request, "label"),
                client_id=client_id,
                suggested=suggested,
            ),
            "",
        )
    except ValueError:
        return None, _("这个请求不完整，请刷新页面再试。")
    except annotate.AnnotateError as error:
        return None, str(error)


def back_with(request: HttpRequest, problem: str, address: str) -> HttpResponse:
    """303 to `address` with a message: what a correction answers where there is no JavaScript."""
    if problem:
        messages.error(request, problem)
    else:
        messages.success(request, _("已保存。"))
    return HttpResponseRedirect(address, status=303)


def posted_ids(request: HttpRequest, name: str) -> list[int]:
    """The posted ids; empty where none of the labels was meant ("none")."""
    values = request.POST.getlist(name)
    if values == ["none"]:
        return []
    return [int(value) if value.isdecimal() and len(value) < 19 else 0 for value in values] or [0]


def posted_int(request: HttpRequest, name: str) -> int:
    """The posted whole number, or 0, which is no row's id."""
    value = request.POST.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 19 else 0


def _judged(request: HttpRequest, found: TrainingRun, evaluations: dict[str, Evaluation]) -> dict[str, Any]:
    split = request.GET.get("split", "")
    split = split if split in evaluations else next(name for name in SPLITS if name in evaluations)
    evaluation = evaluations[split]
    known = set(evaluation.data.get("labels", []))
    true, predicted = request.GET.get("true", ""), request.GET.get("predicted", "")
    cell = true in known and predicted in known
    # The list of missed test texts is opened on purpose only: correcting by it would spoil the measure.
    listed = split != "test" or cell or bool(request.GET.get("errors"))
    page = request.GET.get("page", "1")
    judged = None
    if listed:
        judged = review.judged_texts(
            found,
            split=split,
            true=true if cell else "",
            predicted=predicted if cell else "",
            page=int(page) if page.isdecimal() and len(page) < 9 else 1,
        )
    return {
        "split": split,
        "evaluation": evaluation,
        "matrix": matrix_of(evaluation),
        "judged": judged,
        "cell": {"true": true, "predicted": predicted} if cell else None,
        "choices": list(found.project.labels.filter(archived_at__isnull=True)),
        "n_wrong": evaluation.n - round(evaluation.accuracy * evaluation.n),
        "rows": [{"client_id": uuid.uuid4(), "judged": text} for text in (judged.texts if judged else [])],
    }


def matrix_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """The confusion matrix as rows of cells with a heat level 0 to 8 within their row, or None without one."""
    confusion, names = evaluation.data.get("confusion"), evaluation.data.get("labels") or []
    if not confusion:
        return None
    rows = []
    for true, counts in zip(names, confusion, strict=True):
        total = sum(counts)
        cells = [
            {
                "predicted": predicted,
                "count": count,
                "right": predicted == true,
                "heat": -(-count * HEAT_LEVELS // total) if total else 0,
            }
            for predicted, count in zip(names, counts, strict=True)
        ]
        rows.append({"true": true, "cells": cells, "total": total})
    return {"names": names, "rows": rows}


def _label_marks(project: Project, found: TrainingRun) -> dict[str, dict[str, Any]]:
    """{name at training: {"name", "color", "id"}}; grey for a label that is gone."""
    present = {label.pk: label for label in project.labels.all()}
    marks = {}
    for label in found.labels:
        alive = present.get(label["id"])
        marks[label["name"]] = {
            "id": label["id"],
            "name": label["name"],
            "color": alive.color if alive else "#888888",
        }
    return marks


class _Echo:
    """A file whose write gives the line back, so that csv can be streamed."""

    def write(self, value: str) -> str:
        return value


def _csv_lines(found: TrainingRun, split: str) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\r\n")
    names = [label["name"] for label in found.labels]
    header = ["id", "text", "label", "predicted", "confidence", *(f"p({name})" for name in names)]
    yield "\ufeff" + writer.writerow([escape_formula(name) for name in header])
    batch: list[dict[str, Any]] = []
    for row in judged_rows(found, split):
        batch.append(row)
        if len(batch) == 500:
            yield from _csv_batch(writer, found, batch)
            batch = []
    yield from _csv_batch(writer, found, batch)


def _csv_batch(writer: Any, found: TrainingRun, batch: list[dict[str, Any]]) -> Iterator[str]:
    ids = [row["id"] for row in batch]
    examples = Example.objects.filter(project_id=found.project_id, pk__in=ids)
    texts = dict(examples.values_list("pk", "text"))
    for row in batch:
        if row["id"] in texts:
            cells = [texts[row["id"]], row["label"] or "", row["predicted"]]
            numbers = [round(float(value), 6) for value in (row["confidence"], *row["proba"])]
            yield writer.writerow([row["id"], *map(escape_formula, cells), *numbers])
