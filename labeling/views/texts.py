"""The texts of a project: searched, filtered, relabelled one at a time, taken away as a file."""

from __future__ import annotations

import itertools
from typing import Any

from django.contrib import messages
from django.db.models import prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.models import Example, Label, Prediction, Project
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Split, Status
from labeling.permissions import project_for
from labeling.services import annotate, exports, saved_views, search
from labeling.services.filter_words import chips_of, rule_name
from labeling.services.filters import DATED, SORTS, SUGGESTIONS, UNLABELLED, Choices, Filters
from labeling.services.states import label_ids_of

EXPORT_NAMES = {
    "xlsx": gettext_lazy("Excel 工作簿（.xlsx）"),
    "csv": gettext_lazy("CSV（Excel 可直接打开）"),
    "tsv": gettext_lazy("TSV，制表符分隔"),
    "txt": gettext_lazy("TXT，一行一条"),
    "json": gettext_lazy("JSON"),
    "jsonl": gettext_lazy("JSONL，一行一个对象"),
    "recipe": gettext_lazy("五个 txt 的 zip（train、dev、test、data、label）"),
}


@require_GET
def texts(request: HttpRequest, project_id: int) -> HttpResponse:
    """The list. Search, filters, order and place stand in the address, so that it can be shared."""
    project = project_for(request, project_id, "read")
    choices = Choices.of(project)
    filters = Filters.of(request.GET, choices)
    page = search.page_of(
        project, filters, after=request.GET.get("after", ""), before=request.GET.get("before", "")
    )
    if project.task == Task.MULTI_LABEL:
        prefetch_related_objects(page.examples, "label_rows__label")
    context: dict[str, Any] = {
        "project": project,
        "section": "texts",
        "labels": choices.labels,
        "choices": choices,
        "filters": filters,
        "chips": chips_of(filters, choices),
        "page": page,
        "rows": rows_of(project, page.examples, choices),
        "query": filters.query,
        "splits": Split.choices,
        "statuses": Status.choices,
        "suggestions": SUGGESTIONS.items(),
        "dated": DATED.items(),
        "sorts": [
            (name, words)
            for name, words in SORTS.items()
            if choices.model_id is not None or name not in ("sure", "unsure")
        ],
        "rules": [(str(rule.pk), rule_name(rule)) for rule in choices.rules],
        "views": saved_views.views_for(project=project, user=request.user),
        "any_texts": bool(page.examples) or project.examples.exists(),
        "export_names": EXPORT_NAMES,
        "imports": project.imports.select_related("job", "created_by")[:20],
    }
    template = "labeling/texts.html#list" if _wants_list(request) else "labeling/texts.html"
    return render(request, template, context)


def rows_of(project: Project, examples: list[Example], choices: Choices) -> list[dict[str, Any]]:
    """Each text with all its labels and what the newest model said of it."""
    predictions = {
        one.example_id: one
        for one in Prediction.objects.filter(
            model_id=choices.model_id or 0, example__in=[example.pk for example in examples]
        ).select_related("label")
    }
    held = label_ids_of(project=project, examples=examples) if project.task == Task.MULTI_LABEL else {}
    names = {label.pk: label for label in choices.labels}
    return [
        {
            "example": example,
            "labels": [names[pk] for pk in held.get(example.pk, [example.label_id]) if pk in names],
            "prediction": predictions.get(example.pk),
        }
        for example in examples
    ]


@require_POST
def view_save(request: HttpRequest, project_id: int) -> HttpResponse:
    """Keep the list that `query` stands for under a name."""
    project = project_for(request, project_id, "read")
    filters = Filters.of(QueryDict(request.POST.get("query", "")[:4_000]), Choices.of(project))
    try:
        view = saved_views.save_view(
            project=project,
            user=request.user,
            name=request.POST.get("name", ""),
            filters=filters,
            shared=request.POST.get("shared") == "1" and "review" in request.abilities,  # type: ignore[attr-defined]
        )
    except saved_views.ViewRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("视图“%(name)s”已保存。") % {"name": view.name})
    return redirect(f"{reverse('texts', args=[project.pk])}?{filters.query}")


@require_POST
def view_delete(request: HttpRequest, project_id: int, view_id: int) -> HttpResponse:
    """Remove one's own view; an owner may also remove what others share."""
    project = project_for(request, project_id, "read")
    view = get_object_or_404(saved_views.views_for(project=project, user=request.user), pk=view_id)
    manages = "manage" in request.abilities  # type: ignore[attr-defined]
    if saved_views.delete_view(project=project, user=request.user, view_id=view.pk, any_shared=manages):
        messages.success(request, _("视图已删除。"))
    else:
        messages.error(request, _("这个视图是别人共享的，只有保存它的人或负责人能删除。"))
    return redirect("texts", project.pk)


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
            action=Action.CLEAR if asked == UNLABELLED else Action.LABEL,
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
    """What the list shows as a file, streamed: `?format=` and the list's own address."""
    project = project_for(request, project_id, "download")
    format_ = request.GET.get("format", "")
    if format_ not in EXPORT_NAMES:
        raise Http404("no such format")
    filters = Filters.of(request.GET, Choices.of(project))
    if filters.ignored:  # an export of more than was asked for would pass unnoticed
        messages.error(request, _("地址里有不认识的筛选值，没有导出。"))
        return redirect("texts", project.pk)
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
