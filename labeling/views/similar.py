"""Texts like a sentence or like a text, and groups of texts that are nearly the same."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from labeling.jobs import TooManyJobs
from labeling.models import Example, Project
from labeling.permissions import project_for
from labeling.services import embeddings, similar


@require_GET
def similar_texts(request: HttpRequest, project_id: int) -> HttpResponse:
    """The texts nearest to `?q=` or to the text `?like=`; the fragment when htmx asks for it."""
    project = project_for(request, project_id, "read")
    query = similar.Query.of(request.GET)
    context = _vectors(project) | {
        "project": project,
        "section": "texts",
        "tab": "similar",
        "query": query,
        "sizes": similar.SIZES,
        "max_chars": similar.MAX_QUERY_CHARS,
        "address": urlencode(query.address),
    }
    if query.like is not None:
        context["source"] = _example(project, query.like)
    try:
        context["found"] = similar.find(project, query)
    except similar.SimilarUnavailable as error:
        context["problem"], context["detail"] = similar.unavailable_words(error), error.detail
    template = "labeling/similar.html#found" if _wants_fragment(request) else "labeling/similar.html"
    # htmx leaves the page alone on an error status; the fragment itself says what went wrong.
    status = 503 if "problem" in context and not _wants_fragment(request) else 200
    return render(request, template, context, status=status)


@require_GET
def duplicates(request: HttpRequest, project_id: int) -> HttpResponse:
    """Groups of texts that are nearly the same: `?at=` how strictly, `?page=`."""
    project = project_for(request, project_id, "read")
    at = request.GET.get("at", "")
    strictness = next((one for one in similar.STRICTNESS if f"{one:.2f}" == at), similar.DEFAULT_STRICTNESS)
    page = request.GET.get("page", "")
    number = int(page) if page.isascii() and page.isdecimal() and len(page) < 7 else 1
    context = _vectors(project) | {
        "project": project,
        "section": "texts",
        "tab": "duplicates",
        "strictness": strictness,
        "choices": similar.STRICTNESS,
        "found": similar.groups(project, strictness=strictness, page=number),
    }
    return render(request, "labeling/duplicates.html", context)


@require_POST
def embed(request: HttpRequest, project_id: int) -> HttpResponse:
    """Go on with the vectors after they were stopped or failed."""
    project = project_for(request, project_id, "train")
    try:
        embeddings.request_embedding(project=project, user=request.user)
    except TooManyJobs as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("已开始计算，可以离开这一页。"))
    return redirect(reverse("similar", args=[project.pk]))


def _vectors(project: Project) -> dict[str, Any]:
    """How far the vectors are: `job` while one goes or after it failed, `index`, `any_texts`."""
    job = embeddings.ensure_embedding(project=project)
    index = embeddings.index_of(project)
    return {
        "job": job,
        "index": index,
        "missing": max(0, index.n_texts - len(index)) if index is not None else 0,
        "any_texts": index is not None or project.examples.exists(),
    }


def _example(project: Project, example_id: int) -> Example:
    found = Example.objects.filter(pk=example_id, project=project).select_related("label").first()
    if found is None:
        raise Http404("no such text")
    return found


def _wants_fragment(request: Any) -> bool:
    return bool(request.htmx) and request.htmx.target == "similar-found"
