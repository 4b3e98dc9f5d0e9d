"""The Take away page: bundles, their reports, and how to run each."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeling.jobs import TooManyJobs
from labeling.models import Project
from labeling.models.jobs import JobStatus
from labeling.permissions import project_for
from training.models import Export
from training.models.exports import Format
from training.services import bundles as service
from training.views.predict import chosen_run, see_with_run, trained_runs
from training.views.train import see

EXPORTS_SHOWN = 30


@require_http_methods(["GET", "HEAD", "POST"])
def bundles(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page, for run `?run=` or the best by dev; POST starts an export for each chosen format."""
    if request.method == "POST":
        return _start(request, project_for(request, project_id, "train"))
    return _page(request, project_for(request, project_id, "download"))


@require_safe
def export_download(request: HttpRequest, project_id: int, export_id: int) -> HttpResponseBase:
    """The bundle as a download, only when it passed its check."""
    project = project_for(request, project_id, "download")
    export = get_object_or_404(Export.objects.select_related("job"), pk=export_id, project=project)
    if not export.passed or export.job.status != JobStatus.SUCCEEDED or not export.filename:
        raise Http404("not passed")
    if not export.path.is_file():
        raise Http404("the file is gone")
    response = FileResponse(
        export.path.open("rb"), as_attachment=True, filename=export.filename, content_type="application/zip"
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_POST
def export_delete(request: HttpRequest, project_id: int, export_id: int) -> HttpResponse:
    """Remove a bundle with its files."""
    project = project_for(request, project_id, "manage")
    export = get_object_or_404(Export.objects.select_related("job", "run"), pk=export_id, project=project)
    run = export.run
    try:
        service.delete_export(export=export)
    except service.ExportBusy:
        messages.error(request, _("这个导出包还在制作。先停止它，再删除。"))
    return see_with_run("bundles", project, run)


def _start(request: HttpRequest, project: Project) -> HttpResponse:
    run = chosen_run(project, request.POST.get("run", ""))
    try:
        if run is None:
            raise service.ExportRefused("not_trained")
        service.request_export(run=run, user=request.user, formats=request.POST.getlist("format"))
    except service.ExportRefused as error:
        problem = (
            _("先选一种格式。")
            if error.code == "no_format"
            else _("这次训练没有可用的模型。请选另一次，或重新训练。")
        )
        messages.error(request, problem)
    except TooManyJobs as error:
        messages.error(request, str(error))
    return see_with_run("bundles", project, run) if run else see("bundles", project.pk)


def _page(request: HttpRequest, project: Project) -> HttpResponse:
    run = chosen_run(project, request.GET.get("run", ""))
    context: dict[str, Any] = {
        "project": project,
        "section": "bundles",
        "run": run,
        "runs": trained_runs(project),
        "formats": Format,
        "best": service.best_run(project),
    }
    if run is not None:
        exports = list(project.exports.select_related("job", "run").order_by("-run__number", "-pk"))
        mine = [export for export in exports if export.run_id == run.pk]
        context |= {
            "exports": mine,
            "others": [
                export
                for export in exports
                if export.run_id != run.pk and export.passed and export.job.status == JobStatus.SUCCEEDED
            ][:EXPORTS_SHOWN],
            "n_held_out": sum(run.counts.get(split, 0) for split in service.held_out_splits(run)),
            "has_model": run.model_folder.is_dir(),
        }
    return render(request, "training/bundles.html", context)
