"""The texts of a project: searched, filtered, relabelled one at a time, taken away as a file."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from labeling.models import Example, Label, Project
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Split, Status
from labeling.permissions import project_for
from labeling.services import annotate, exports, search

EXPORT_NAMES = {
    "xlsx": gettext_lazy("Excel 工作簿（.xlsx）"),
    "csv": gettext_lazy("CSV（Excel 可直接打开）"),
    "tsv": gettext_lazy("TSV，制表符分隔"),
    "txt": gettext_lazy("TXT，一行一条"),
    "json": gettext_lazy("JSON"),
    "jsonl": gettext_lazy("JSONL，一行一个对象"),
    "recipe": gettext_lazy("五个 txt 的 zip（train、dev、test、data、label）"),
}
EXPORT_FILTERS = ("label", "split", "status")


@require_GET
def texts(request: HttpRequest, project_id: int) -> HttpResponse:
    """The list. Filters and place stand in the address, so that it can be shared."""
    project = project_for(request, project_id, "read")
    labels = _labels(project)
    filters = search.Filters.of(request.GET, label_ids={label.pk for label in labels})
    page = search.page_of(
        search.matching(project, filters),
        after=_number(request.GET.get("after")),
        before=_number(request.GET.get("before")),
    )
    if project.task == Task.MULTI_LABEL:
        prefetch_related_objects(page.examples, "label_rows__label")
    exported = {
        name: value for name, value in filters.active.items() if name in EXPORT_FILTERS and value != "none"
    }
    context: dict[str, Any] = {
        "project": project,
        "section": "texts",
        "labels": labels,
        "filters": filters,
        "page": page,
        "query": urlencode(filters.active),
        "splits": Split.choices,
        "statuses": Status.choices,
        "any_texts": bool(page.examples) or project.examples.exists(),
        "export_names": EXPORT_NAMES,
        "export_query": urlencode(exported),
        "export_narrowed": bool(exported),
        "imports": project.imports.select_related("job", "created_by")[:20],
    }
    template = "labeling/texts.html#list" if _wants_list(request) else "labeling/texts.html"
    return render(request, template, context)


@require_http_methods(["GET", "POST"])
def text_relabel(request: HttpRequest, project_id: int, example_id: int) -> HttpResponse:
    """GET: the choice of labels for one row. POST: decide (`label`: an id, or "none" to take the label away)."""
    project = project_for(request, project_id, "review")
    example = get_object_or_404(Example.objects.select_related("label"), pk=example_id, project=project)
    context = {"project": project, "example": example, "labels": _labels(project), "section": "texts"}
    back = _own_address(request, reverse("texts", args=[project.pk]))
    if request.method == "GET":
        context["next"] = back
        partial = "choice" if request.GET.get("cancel") != "1" else "cell"
        template = f"labeling/texts.html#{partial}" if request.htmx else "labeling/text_relabel.html"  # type: ignore[attr-defined]
        return render(request, template, context)
    asked = request.POST.get("label", "")
    try:
        decision = annotate.decide(
            project=project,
            user=request.user,
            example_id=example.pk,
            action=Action.CLEAR if asked == search.UNLABELLED else Action.LABEL,
            label_id=_number(asked),
            source=Source.REVIEW,
        )
    except annotate.AnnotateError as error:
        if request.htmx:  # type: ignore[attr-defined]
            return render(request, "labeling/texts.html#choice", {**context, "error": str(error)}, status=200)
        messages.error(request, str(error))
        return redirect(back)
    if not request.htmx:  # type: ignore[attr-defined]
        messages.success(request, _("已改好。"))
        return redirect(back)
    example = Example.objects.select_related("label").get(pk=decision.example.pk)
    return render(request, "labeling/texts.html#cell", {**context, "example": example})


@require_GET
def texts_export(request: HttpRequest, project_id: int) -> HttpResponseBase:
    """The texts with labels as a file, streamed: `?format=` and the list's label, split and status."""
    project = project_for(request, project_id, "download")
    format_ = request.GET.get("format", "")
    filters = {name: request.GET.get(name, "") for name in EXPORT_FILTERS}
    if format_ not in EXPORT_NAMES:
        raise Http404("no such format")
    try:
        pieces = exports.iter_export(project, format=format_, filters=filters)
        first = next(pieces, b"")  # what refuses only when it begins must not break a started download
    except exports.ExportRefused as error:
        messages.error(request, str(error))
        return redirect("texts", project.pk)
    response = StreamingHttpResponse(
        itertools.chain([first], pieces), content_type=exports.MEDIA_TYPES[format_]
    )
    response["Content-Disposition"] = (
        f'attachment; filename="{exports.export_filename(project, format=format_)}"'
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _labels(project: Project) -> list[Label]:
    return list(project.labels.filter(archived_at__isnull=True))


def _wants_list(request: Any) -> bool:
    return bool(request.htmx) and request.htmx.target == "text-list"


def _number(value: str | None) -> int | None:
    """A row's id from an address, or None."""
    return int(value) if value and value.isascii() and value.isdecimal() and len(value) < 19 else None


def _own_address(request: HttpRequest, otherwise: str) -> str:
    """Where to go back to: an address of this house, or `otherwise`."""
    asked = request.POST.get("next") or request.GET.get("next") or ""
    return asked if url_has_allowed_host_and_scheme(asked, allowed_hosts={request.get_host()}) else otherwise
