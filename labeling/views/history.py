"""What happened to a text, and the log of all decisions as a file."""

from __future__ import annotations

import itertools

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from labeling.models import Example
from labeling.permissions import project_for
from labeling.services import adjudication, comments, history


@require_GET
def text_history(request: HttpRequest, project_id: int, example_id: int) -> HttpResponse:
    """Every change of one text: a page, or the panel alone for htmx."""
    project = project_for(request, project_id, "read")
    example = get_object_or_404(Example.objects.select_related("label"), pk=example_id, project=project)
    context = {
        "project": project,
        "section": "texts",
        "example": example,
        "changes": history.changes_of(project=project, example_id=example.pk),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "labeling/history.html", context)
    context |= {
        "comments": comments.comments_on(project=project, example_id=example.pk),
        "said": adjudication.said_of(project=project, example=example) if project.overlap > 1 else [],
    }
    return render(request, "labeling/text_history.html", context)


@require_GET
def annotation_log(request: HttpRequest, project_id: int) -> HttpResponseBase:
    """Every decision of the project as CSV, streamed."""
    project = project_for(request, project_id, "download")
    pieces = history.iter_log(project=project)
    response = StreamingHttpResponse(
        itertools.chain([next(pieces)], pieces), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="wanxing-{project.pk}-log.csv"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
