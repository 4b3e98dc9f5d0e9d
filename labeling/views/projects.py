"""Making and deleting projects."""

from __future__ import annotations

from pathlib import PurePosixPath

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from labeling.forms import DeleteProjectForm, NewProjectForm
from labeling.jobs import TooManyJobs
from labeling.permissions import project_for
from labeling.services import projects as service
from labeling.services.imports import ImportRefused, request_import
from labeling.services.uploads import UploadRefused


@require_http_methods(["GET", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    """A project by its name; with a file, whose name serves where none was given, its import starts at once."""
    form = NewProjectForm(request.POST or None, request.FILES or None)
    if request.method != "POST" or not form.is_valid():
        return render(
            request, "labeling/project_new.html", {"form": form}, status=422 if form.errors else 200
        )
    file = form.cleaned_data["file"]
    name = form.cleaned_data["name"] or PurePosixPath(file.name).stem[:120]
    try:
        project = service.create_project(name=name, user=request.user)
    except service.ProjectRefused as error:
        form.add_error("name", str(error))
        return render(request, "labeling/project_new.html", {"form": form}, status=422)
    if file is None:
        return redirect("import_new", project.pk)
    try:
        batch = request_import(project=project, user=request.user, upload=file, filename=file.name)
    except (UploadRefused, ImportRefused) as error:
        messages.error(request, error.message)
    except TooManyJobs as error:
        messages.error(request, str(error))
    else:
        return redirect("import_detail", project.pk, batch.pk)
    return redirect("import_new", project.pk)


@require_POST
def project_sample(request: HttpRequest) -> HttpResponse:
    """Open the sample project: the person's own copy, made at the first time."""
    try:
        project = service.open_sample(user=request.user)
    except (service.ProjectRefused, ImportRefused) as error:
        messages.error(request, str(error))
        return redirect("projects")
    return redirect("project_home", project.pk)


@require_http_methods(["GET", "POST"])
def project_delete(request: HttpRequest, project_id: int) -> HttpResponse:
    """Delete the project with everything in it, once its name was typed."""
    project = project_for(request, project_id, "manage")
    form = DeleteProjectForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        name = project.name
        try:
            service.delete_project(project=project)
        except service.ProjectRefused as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("项目“%(name)s”和它的所有内容都已删除。") % {"name": name})
            return redirect("projects")
    context = {
        "project": project,
        "section": "settings",
        "form": form,
        "n_texts": project.examples.count(),
        "n_labelled": project.examples.labelled().count(),
    }
    return render(request, "labeling/project_delete.html", context, status=422 if form.errors else 200)
