"""The Train page: what stands in the way, one button, the live run, the runs so far."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from labeling.jobs import TooManyJobs
from labeling.models import Project
from labeling.models.jobs import JobStatus
from labeling.permissions import project_for
from labeling.services.words import present_template
from training.models import PromptComparison, TrainingRun
from training.services import runs
from training.services.prompt_comparison import ensemble_of
from training.services.readiness import Readiness, check_readiness
from training.services.run_form import MAX_EXTRA_TEMPLATES, RunForm

RUNS_SHOWN = 20


def find_run(project: Project, number: int) -> TrainingRun:
    """Run `number` of the project, with its job, or 404."""
    rows = TrainingRun.objects.select_related("job", "project", "template")
    return get_object_or_404(rows, project=project, number=number)


def see(name: str, *args: object) -> HttpResponseRedirect:
    """303 to an address: what a form that changed something answers with."""
    return HttpResponseRedirect(reverse(name, args=args), status=303)


@require_http_methods(["GET", "HEAD", "POST"])
def train(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page; POST starts a run."""
    if request.method == "POST":
        return _start(request, project_for(request, project_id, "train"))
    project = project_for(request, project_id, "read")
    form = RunForm(project=project, initial=_together(project, request.GET.get("prompts", "")))
    return _page(request, project, form, check_readiness(project=project))


@require_POST
def run_retry(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """The same settings on the texts of now."""
    project = project_for(request, project_id, "train")
    run = find_run(project, number)
    token = request.POST.get("token") or str(uuid.uuid4())
    try:
        again = runs.retry_run(run=run, user=request.user, token=token)
    except TooManyJobs as error:
        messages.error(request, str(error))
        return see("run", project.pk, number)
    except runs.RunRefused as error:
        return _page(request, project, error.form, error.readiness, status=422)
    return see("run", project.pk, again.number)


@require_POST
def run_delete(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """Delete a finished run with its files."""
    project = project_for(request, project_id, "manage")
    run = find_run(project, number)
    try:
        runs.delete_run(run=run)
    except runs.RunBusy:
        messages.error(request, _("这次训练还有任务在进行。先停止它，再删除。"))
        return see("run", project.pk, number)
    messages.success(request, _("已删除第 %(number)d 次训练和它的文件。") % {"number": number})
    return see("train", project.pk)


@require_POST
def run_note(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """Change the note of a run."""
    project = project_for(request, project_id, "train")
    run = find_run(project, number)
    run.note = request.POST.get("note", "").strip()[:200]
    run.save(update_fields=["note"])
    return see("run", project.pk, number)


def _together(project: Project, comparison: str) -> dict[str, object]:
    """What the form begins with: the prompts of a comparison's best group beside the project's own."""
    if not comparison.isdecimal() or len(comparison) > 18:
        return {}
    found = PromptComparison.objects.filter(pk=int(comparison), project=project).first()
    present = present_template(project)
    templates = (
        [text for text in ensemble_of(found) if present is None or text != present.text] if found else []
    )
    return {"extra_templates": templates[:MAX_EXTRA_TEMPLATES]} if templates else {}


def _start(request: HttpRequest, project: Project) -> HttpResponse:
    try:
        run = runs.request_run(project=project, user=request.user, form_data=request.POST)
    except TooManyJobs as error:
        messages.error(request, str(error))
        form = RunForm(request.POST, project=project)
        return _page(request, project, form, check_readiness(project=project), status=429)
    except runs.RunRefused as error:
        return _page(request, project, error.form, error.readiness, status=422)
    return see("run", project.pk, run.number)


def _page(
    request: HttpRequest, project: Project, form: RunForm, readiness: Readiness | None, *, status: int = 200
) -> HttpResponse:
    everything = project.runs.select_related("job").prefetch_related("evaluations")
    listed = list(everything if request.GET.get("all") else everything[: RUNS_SHOWN + 1])
    more = not request.GET.get("all") and len(listed) > RUNS_SHOWN
    listed = listed[:RUNS_SHOWN] if more else listed
    active = [run for run in listed if run.job.status in (JobStatus.QUEUED, JobStatus.RUNNING)]
    context = {
        "project": project,
        "section": "train",
        "form": form,
        "readiness": readiness or check_readiness(project=project),
        "rows": [row_of(run) for run in listed],
        "more": more,
        "active": active[:2],
        "comparable": sum(run.job.status == JobStatus.SUCCEEDED for run in listed) >= 2,
        "changed": form.is_bound,
        "together": form.together,
    }
    return render(request, "training/train.html", context, status=status)


def row_of(run: TrainingRun) -> dict[str, object]:
    """One line of a table of runs."""
    found = {evaluation.split: evaluation for evaluation in run.evaluations.all()}
    return {
        "run": run,
        "dev": found.get("dev"),
        "test": found.get("test"),
        "curve": (run.result or {}).get("curve") or {},
    }
