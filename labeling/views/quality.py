"""The quality pages: start a look at the labels, read its lists, take what is right off them."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.jobs import TooManyJobs
from labeling.models import Example
from labeling.models.annotations import Action, Source
from labeling.models.quality import SuspectKind
from labeling.permissions import project_for
from labeling.services import annotate, quality

SHOWN = 100


@require_http_methods(["GET", "POST"])
def quality_home(request: HttpRequest, project_id: int) -> HttpResponse:
    """What the newest look found; POST starts a new one."""
    if request.method == "POST":
        project = project_for(request, project_id, "review")
        try:
            quality.request_check(project=project, user=request.user)
        except (quality.QualityRefused, TooManyJobs) as error:
            messages.error(request, str(error))
        return redirect("quality", project.pk)
    project = project_for(request, project_id, "read")
    check = quality.latest_check(project)
    return render(
        request,
        "labeling/quality/home.html",
        {
            "project": project,
            "section": "quality",
            "tab": "home",
            "check": check,
            "going": quality.active_check(project),
            "failed": quality.failed_check(project),
            "counts": quality.counts(project),
            "n_labelled": project.examples.for_training().count(),
            "min_labelled": quality.MIN_LABELLED,
            "any_texts": project.examples.exists(),
        },
    )


@require_GET
def quality_list(request: HttpRequest, project_id: int, kind: str) -> HttpResponse:
    """One list, the surest first."""
    project = project_for(request, project_id, "read")
    if kind not in SuspectKind.values:
        raise Http404("no such list")
    suspects = quality.standing(project, kind).select_related(
        "example__label", "suggested_label", "other__label"
    )
    count = suspects.count()
    return render(
        request,
        "labeling/quality/list.html",
        {
            "project": project,
            "section": "quality",
            "tab": kind,
            "kind": SuspectKind(kind),
            "check": quality.latest_check(project),
            "going": quality.active_check(project),
            "suspects": list(suspects[:SHOWN]),
            "count": count,
            "shown": SHOWN,
        },
    )


@require_POST
def quality_decide(request: HttpRequest, project_id: int, kind: str, example_id: int) -> HttpResponse:
    """Take a text off a list: its label is right as it is (`do=keep`), or the proposed one is (`do=take`)."""
    project = project_for(request, project_id, "review")
    if kind not in SuspectKind.values:
        raise Http404("no such list")
    example = get_object_or_404(Example.objects.select_related("label"), pk=example_id, project=project)
    suspect = quality.standing(project, kind).filter(example=example).select_related("example__label").first()
    if suspect is not None:
        take = request.POST.get("do") == "take" and suspect.suggested_label_id is not None
        label_id = suspect.suggested_label_id if take else example.label_id
        try:
            annotate.decide(
                project=project,
                user=request.user,
                example_id=example.pk,
                action=Action.LABEL if label_id else Action.SKIP,
                label_id=label_id,
                client_id=uuid.uuid4(),
                source=Source.REVIEW,
            )
        except annotate.AnnotateError as error:
            messages.error(request, str(error))
    if request.htmx:  # type: ignore[attr-defined]
        return render(
            request, "labeling/quality/done.html", {"project": project, "example": example, "kind": kind}
        )
    messages.success(request, _("记下了。"))
    return redirect(reverse("quality_list", args=[project.pk, kind]))
