"""A job as every page shows it: how far it is, how to stop it, what went wrong."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from labeling.models import Job
from labeling.permissions import project_for


@require_GET
def job_status(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    """The progress fragment. Once the job has ended, the page that holds it is asked to load anew."""
    project = project_for(request, project_id, "read")
    job = get_object_or_404(Job, pk=job_id, project=project)
    response = render(request, "jobs/progress.html", {"project": project, "job": job})
    if job.is_finished:
        response["HX-Refresh"] = "true"
    return response


@require_POST
def job_cancel(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    """Ask the job to stop. Asking twice, or asking a finished job, changes nothing."""
    project = project_for(request, project_id, "train")
    job = get_object_or_404(Job, pk=job_id, project=project)
    job.request_cancel()
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "jobs/progress.html", {"project": project, "job": job})
    next_url = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(next_url, allowed_hosts={request.get_host()}):
        next_url = reverse("project_home", args=[project.pk])
    return redirect(next_url)
