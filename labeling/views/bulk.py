"""Many at once: up to 200 texts looked at together, the wrong ones unticked, one label for the rest, one undo."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from labeling.models import BulkAction, Project
from labeling.permissions import project_for
from labeling.services import bulk, bulk_selection, scores, similar
from labeling.services.bulk_selection import Selection
from labeling.services.filter_words import chips_of
from labeling.services.filters import Choices, Filters

SOURCES = {"probe": gettext_lazy("快速模型"), "zero_shot": gettext_lazy("没训练过的模型")}


@require_http_methods(["GET", "POST"])
def bulk_label(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the texts that the address selects, all ticked. POST: `label` for the ticked ones (`text`)."""
    project = project_for(request, project_id, "review")
    choices = Choices.of(project)
    query = QueryDict(request.POST.get("query", "")[:4_000]) if request.method == "POST" else request.GET
    filters = Filters.of(query, choices)
    if request.method == "POST":
        return _apply(request, project, query, filters)
    selection, chosen = _selection(project, query, filters, choices)
    action = _action(project, request.GET.get("done", ""))
    context: dict[str, Any] = {
        "project": project,
        "section": "texts",
        "labels": choices.labels,
        "filters": filters,
        "chips": chips_of(filters, choices) if not chosen else [],
        "chosen": chosen,
        "rows": [
            {
                "example": example,
                "shown": bulk.shown_state(example),
                "share": selection.shares.get(example.pk),
            }
            for example in selection.examples
        ],
        "by_model": selection.by_model,
        "problem": selection.problem,
        "back": f"{reverse('similar', args=[project.pk])}?{urlencode({name: value for name, value in chosen.items() if name != 'source'})}"
        if chosen.get("source") == "similar"
        else "",
        "suggested": _suggested(filters, chosen),
        "query": _kept(query, filters, chosen),
        "next_query": _kept(query, filters, chosen, after=selection.after) if selection.after else "",
        "unlabelled_query": filters.query and f"{filters.query}&label=none" if not filters.label else "",
        "bulk_id": uuid.uuid4(),
        "action": action,
        "recent": [one for one in bulk.recent(project=project) if action is None or one.pk != action.pk],
        "sources": [(name, words) for name, words in SOURCES.items() if scores.read(project.pk, name)],
        "has_model": choices.model_id is not None,
        "most": bulk.MAX_TEXTS,
    }
    return render(request, "labeling/bulk.html", context)


@require_POST
def bulk_undo(request: HttpRequest, project_id: int) -> HttpResponse:
    """Take a whole action back; again, it changes nothing."""
    project = project_for(request, project_id, "review")
    back = f"{reverse('bulk', args=[project.pk])}?{request.POST.get('query', '')[:4_000]}"
    try:
        outcome = bulk.undo_bulk(
            project=project, user=request.user, bulk_id=_uuid(request.POST.get("bulk_id"))
        )
    except bulk.BulkRefused as error:
        messages.error(request, str(error))
        return redirect(back)
    words = _("已撤销这次批量标注。")
    if outcome.action.kept:
        words += _("其中 %(n)d 条之后又有人单独标过，保留了后来的决定。") % {"n": outcome.action.kept}
    messages.success(request, words)
    return redirect(back)


def _apply(request: HttpRequest, project: Project, query: QueryDict, filters: Filters) -> HttpResponse:
    _none, chosen = _asked(query, filters)
    kept = _kept(query, filters, chosen)
    here = reverse("bulk", args=[project.pk])
    shown = {}
    for value in request.POST.getlist("text")[: bulk.MAX_TEXTS + 1]:
        pk, colon, state = value.partition(":")
        if colon and pk.isascii() and pk.isdecimal() and len(pk) < 19:
            shown[int(pk)] = state
    label = request.POST.get("label", "")
    try:
        outcome = bulk.apply_bulk(
            project=project,
            user=request.user,
            bulk_id=_uuid(request.POST.get("bulk_id")),
            label_id=int(label) if label.isascii() and label.isdecimal() and len(label) < 19 else 0,
            shown=shown,
            by_model=bool(chosen) or filters.by_model,
        )
    except bulk.BulkRefused as error:
        messages.error(request, str(error))
        return redirect(f"{here}?{kept}")
    done = urlencode({"done": outcome.action.bulk_id})
    return redirect(f"{here}?{kept}&{done}" if kept else f"{here}?{done}")


def _asked(query: QueryDict, filters: Filters) -> tuple[str, dict[str, str]]:
    """(how the texts are chosen, what that takes): by "filters" where nothing else is asked for."""
    source = query.get("source", "")
    if source == "similar":
        address = {name: str(value) for name, value in similar.Query.of(query).address.items()}
        return "similar", {"source": source, **address}
    if source in scores.SOURCES:
        label, percent = query.get("score_label", ""), query.get("score_from", "80")
        if label.isascii() and label.isdecimal() and percent.isascii() and percent.isdecimal():
            return "scores", {"source": source, "score_label": label, "score_from": percent[:3]}
    return "filters", {}


def _selection(
    project: Project, query: QueryDict, filters: Filters, choices: Choices
) -> tuple[Selection, dict[str, str]]:
    kind, chosen = _asked(query, filters)
    if kind == "scores":
        label_id, percent = int(chosen["score_label"][:18]), min(int(chosen["score_from"]), 100)
        found = bulk_selection.by_scores(project, source=chosen["source"], label_id=label_id, percent=percent)
        return found, chosen
    if kind == "similar":
        return bulk_selection.by_similarity(project, chosen), chosen
    return bulk_selection.by_filters(project, filters, after=query.get("after", "")), {}


def _suggested(filters: Filters, chosen: dict[str, str]) -> str:
    """The label that the choice of the texts speaks for."""
    return chosen.get("score_label") or filters.predicted


def _kept(query: QueryDict, filters: Filters, chosen: dict[str, str], *, after: str | None = None) -> str:
    """The address of this selection; with `after`, of the next one."""
    values = dict(chosen or filters.active)
    place = query.get("after", "") if after is None else after
    if place and not chosen:
        values["after"] = place
    return urlencode(values)


def _action(project: Project, text: str) -> BulkAction | None:
    bulk_id = _uuid(text)
    return project.bulk_actions.select_related("label").filter(bulk_id=bulk_id).first()


def _uuid(text: str | None) -> uuid.UUID:
    """The id that the page made; one that nothing has where it cannot be read."""
    try:
        return uuid.UUID(str(text))
    except ValueError:
        return uuid.uuid4()
