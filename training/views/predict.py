"""The Predict page: a pasted text, a file, and the pool by label and confidence."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from labeling.jobs import TooManyJobs
from labeling.models import Example, Label, Prediction, Project
from labeling.models.jobs import JobStatus
from labeling.models.projects import Task
from labeling.permissions import project_for
from labeling.services.annotate import Suggested
from training.models import FilePrediction, TrainingRun
from training.services import pool
from training.services import predict as service
from training.services.bundles import best_run
from training.services.live import LiveFailed, LiveTimeout, LiveUnavailable
from training.views.runs import back_with, posted_int, relabel_from
from training.views.train import see
from training.views.words import predict_problem

FILES_SHOWN = 10
SHARES_SHOWN = 5


@require_safe
def predict(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page, for run `?run=` or the best by dev."""
    project = project_for(request, project_id, "read")
    return _page(request, project, chosen_run(project, request.GET.get("run", "")))


@require_POST
def predict_text(request: HttpRequest, project_id: int) -> HttpResponse:
    """Answers for the pasted texts: the fragment for htmx, else the whole page with what was typed."""
    project = project_for(request, project_id, "train")
    run = chosen_run(project, request.POST.get("run", ""))
    typed = request.POST.get("text", "")
    context: dict[str, Any] = {"typed": typed}
    status = 200
    try:
        if run is None:
            raise service.PredictRefused("not_trained")
        context["answers"] = _shown(project, service.ask_live(run, service.pasted_texts(typed)))
    except service.PredictRefused as error:
        context["problem"] = predict_problem(error.code, error.detail)
        status = 422
    except LiveTimeout:
        context["problem"] = _(
            "预测进程没有及时回答。它可能正在载入模型或正忙，请过几秒再试。你写的文本还在。"
        )
        status = 503
    except LiveUnavailable:
        context["problem"] = _(
            "连不上预测进程。请在服务器上运行 manage.py doctor 看它是否还在。你写的文本还在。"
        )
        status = 503
    except LiveFailed as error:
        context["problem"] = _("这个模型没能回答。请选另一次训练，或重新训练。")
        context["detail"] = str(error)
        status = 503
    if request.htmx:  # type: ignore[attr-defined]
        # htmx leaves the page alone on an error status; the fragment itself says what went wrong.
        return render(request, "training/predict.html#answers", {"project": project, **context})
    return _page(request, project, run, status=status, **context)


@require_POST
def predict_file(request: HttpRequest, project_id: int) -> HttpResponse:
    """Start the prediction of an uploaded file."""
    project = project_for(request, project_id, "train")
    run = chosen_run(project, request.POST.get("run", ""))
    upload = request.FILES.get("file")
    column = request.POST.get("text_column", "").strip()
    try:
        if upload is None:
            raise service.PredictRefused("no_file")
        if run is None:
            raise service.PredictRefused("not_trained")
        service.request_file_prediction(
            run=run,
            user=request.user,
            upload=upload,
            filename=upload.name or "",
            options={"text_column": column, "token": request.POST.get("token", "")},
        )
    except service.PredictRefused as error:
        return _page(
            request,
            project,
            run,
            status=422,
            file_problem=predict_problem(error.code, error.detail),
            file_columns=error.columns,
            text_column=column,
        )
    except TooManyJobs as error:
        return _page(request, project, run, status=429, file_problem=str(error), text_column=column)
    return see_with_run("predict", project, run)


@require_safe
def file_prediction_download(request: HttpRequest, project_id: int, prediction_id: int) -> HttpResponseBase:
    """The answered file, under the name of the uploaded one."""
    project = project_for(request, project_id, "download")
    prediction = get_object_or_404(FilePrediction, pk=prediction_id, project=project)
    path = prediction.folder / prediction.result_name
    if not prediction.result_name or not path.is_file():
        raise Http404("not predicted")
    stem = prediction.filename.rpartition(".")[0] or prediction.filename
    name = re.sub(r'[\x00-\x1f\x7f"\\/]', "_", stem)[:80] + "-predicted" + path.suffix
    response = FileResponse(
        path.open("rb"), as_attachment=True, filename=name, content_type="application/octet-stream"
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_POST
def file_prediction_delete(request: HttpRequest, project_id: int, prediction_id: int) -> HttpResponse:
    """Remove an uploaded file and its answers."""
    project = project_for(request, project_id, "manage")
    prediction = get_object_or_404(FilePrediction, pk=prediction_id, project=project)
    run = prediction.run
    try:
        service.delete_file_prediction(prediction=prediction)
    except service.PredictBusy:
        messages.error(request, _("这个文件还在预测。先停止它，再删除。"))
    return see_with_run("predict", project, run)


@require_POST
def predict_pool(request: HttpRequest, project_id: int) -> HttpResponse:
    """Start predicting the pool."""
    project = project_for(request, project_id, "train")
    run = chosen_run(project, request.POST.get("run", ""))
    try:
        if run is None:
            raise service.PredictRefused("not_trained")
        service.request_pool_prediction(run=run, user=request.user)
    except service.PredictRefused as error:
        messages.error(request, predict_problem(error.code, error.detail))
    except TooManyJobs as error:
        messages.error(request, str(error))
    return see_with_run("predict", project, run)


@require_safe
def pool_browse(request: HttpRequest, project_id: int) -> HttpResponse:
    """The pool's predictions by label and confidence; `?after=` goes on at any depth."""
    project = project_for(request, project_id, "read")
    run = chosen_run(project, request.GET.get("run", ""))
    labels = list(project.labels.filter(archived_at__isnull=True))
    label_id = request.GET.get("label", "")
    chosen = next((label for label in labels if str(label.pk) == label_id), None)
    order = request.GET.get("order", "")
    order = order if order in pool.ORDERS else pool.ORDERS[0]
    context: dict[str, Any] = {
        "project": project,
        "section": "predict",
        "run": run,
        "runs": trained_runs(project),
        "labels": labels,
        "chosen": chosen,
        "order": order,
    }
    if run is not None:
        page = pool.pool_page(
            run, label_id=chosen.pk if chosen else None, order=order, after=request.GET.get("after", "")
        )
        context |= {
            "rows": [{"prediction": found, "client_id": uuid.uuid4()} for found in page.predictions],
            "next_key": page.next_key,
            "summary": pool.pool_summary(run),
            "deeper": bool(request.GET.get("after")),
        }
    return render(request, "training/pool.html", context)


@require_POST
def pool_decide(request: HttpRequest, project_id: int) -> HttpResponse:
    """Accept or correct one prediction of the pool, or take that back."""
    project = project_for(request, project_id, "review")
    run = chosen_run(project, request.POST.get("run", ""))
    if run is None:
        raise Http404("no trained run")
    prediction = (
        Prediction.objects.select_related("label")
        .filter(project=project, example_id=posted_int(request, "example"), model_id=run.pk)
        .first()
    )
    suggested = None
    if prediction is not None:
        several = project.task == Task.MULTI_LABEL
        given = tuple(prediction.label_ids) if several else (prediction.label_id,)
        suggested = Suggested(given, prediction.confidence, f"run:{run.pk}")
    decision, problem = relabel_from(request, project, suggested=suggested)
    if not request.htmx:  # type: ignore[attr-defined]
        return back_with(request, problem, f"{reverse('pool_browse', args=[project.pk])}?run={run.number}")
    if prediction is None:
        raise Http404("no such prediction")
    prediction.example = Example.objects.select_related("label").get(pk=prediction.example_id)
    context = {
        "project": project,
        "run": run,
        "prediction": prediction,
        "labels": Label.objects.filter(project=project, archived_at__isnull=True),
        "client_id": uuid.uuid4(),
        "done": decision,
        "problem": problem,
    }
    return render(request, "training/pool_text.html", context)


def chosen_run(project: Project, number: str) -> TrainingRun | None:
    """Trained run `number`; the best by dev when no number is given or it is none of theirs."""
    if number.isdecimal() and len(number) < 10:
        found = project.runs.succeeded().select_related("job", "project").filter(number=int(number)).first()
        if found is not None:
            return found
    return best_run(project)


def trained_runs(project: Project) -> list[dict[str, Any]]:
    """Trained runs for a select, each with its dev evaluation."""
    runs = project.runs.succeeded().prefetch_related("evaluations")
    return [
        {"run": run, "dev": next((found for found in run.evaluations.all() if found.split == "dev"), None)}
        for run in runs
    ]


def see_with_run(name: str, project: Project, run: TrainingRun | None) -> HttpResponse:
    """303 to a page of `project` that shows `run`."""
    response = see(name, project.pk)
    if run is not None:
        response["Location"] = f"{reverse(name, args=[project.pk])}?run={run.number}"
    return response


def _page(
    request: HttpRequest, project: Project, run: TrainingRun | None, *, status: int = 200, **extra: Any
) -> HttpResponse:
    context: dict[str, Any] = {
        "project": project,
        "section": "predict",
        "run": run,
        "runs": trained_runs(project),
        "token": uuid.uuid4(),
        **extra,
    }
    if run is not None:
        context |= {
            "files": run.file_predictions.select_related("job")[:FILES_SHOWN],
            "pool_job": (pool_job := _latest_pool_job(run)),
            "pool_going": pool_job is not None and not pool_job.is_finished,
            "pool_total": Example.objects.filter(project=project).pool().count(),
            "pool_done": pool.pool_predictions(run).count(),
        }
    return render(request, "training/predict.html", context, status=status)


def _latest_pool_job(run: TrainingRun) -> Any:
    latest = run.pool_predictions.select_related("job").first()
    if latest is None or latest.job.status in (JobStatus.SUCCEEDED, JobStatus.CANCELLED):
        return None
    return latest.job


def _shown(project: Project, answers: list[service.TextAnswer]) -> list[dict[str, Any]]:
    colors = dict(project.labels.values_list("pk", "color"))
    shown = []
    for answer in answers:
        shares = [
            {
                "name": label["name"],
                "color": colors.get(label["id"], "#888888"),
                "share": share,
                "given": label["name"] in answer.given,
            }
            for label, share in answer.ranked
        ]
        shares.sort(key=lambda share: not share["given"])
        n = max(SHARES_SHOWN, len(answer.given))
        shown.append({"text": answer.text, "first": shares[:n], "rest": shares[n:], "none": not answer.given})
    return shown
