"""Adjudication: the texts about which people differ, one after the other, one key each."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from labeling.models.projects import Project, Task
from labeling.models.texts import Split, Status
from labeling.permissions import project_for
from labeling.services import adjudication, annotate, comments, history
from labeling.services.suggestions import suggestions_for


@require_http_methods(["GET", "POST"])
def adjudicate(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the next disputed text (`?after=ID`, `?text=ID`, `?names=0` hides who said it).

    POST `label` (one or several ids), `action=none`, or `action=undo` decides, then leads to the next."""
    project = project_for(request, project_id, "review")
    names = "0" if (request.POST or request.GET).get("names") == "0" else ""
    if request.method == "POST":
        return _decide(request, project, names)
    dispute = adjudication.next_dispute(
        project=project,
        after=_number(request.GET.get("after")),
        example_id=_number(request.GET.get("text")),
        names=not names,
    )
    context: dict[str, Any] = {
        "project": project,
        "section": "quality",
        "tab": "adjudicate",
        "dispute": dispute,
        "names": names,
        "several": project.task == Task.MULTI_LABEL,
        "labels": list(project.labels.filter(archived_at__isnull=True)),
        "client_id": uuid.uuid4(),
        "can_undo": adjudication.can_undo(project=project, user=request.user),
    }
    if dispute is not None:
        example = dispute.example
        said = {label.pk for one in dispute.said for label in one.labels}
        context |= {
            "is_disputed": example.status == Status.DISPUTED,
            "blind": example.split in (Split.DEV, Split.TEST),
            "said_labels": said,
            "comments": comments.comments_on(project=project, example_id=example.pk),
            "changes": history.changes_of(project=project, example_id=example.pk),
            "suggestion": suggestions_for(project, request.user, [example]).get(example.pk),
            "by_id": {label.pk: label for label in context["labels"]},
        }
    return render(request, "labeling/quality/adjudicate.html", context)


def _decide(request: HttpRequest, project: Project, names: str) -> HttpResponse:
    back = {"names": names} if names else {}
    example_id = _number(request.POST.get("example"))
    action = request.POST.get("action")
    try:
        if action == "undo":
            undone = adjudication.undo(project=project, user=request.user, client_id=_uuid(request))
            back["text"] = str(undone.example.pk)
        elif example_id is None:
            raise annotate.AnnotateError(_("这个决定的内容不完整，没有保存。"))
        else:
            label_ids = [number for one in request.POST.getlist("label") if (number := _number(one))]
            if not label_ids and action != "none":
                raise annotate.AnnotateError(_("先选一个标签。"))
            adjudication.settle(
                project=project,
                user=request.user,
                example_id=example_id,
                label_ids=label_ids,
                client_id=_uuid(request),
                seconds=_seconds(request.POST.get("seconds")),
            )
            back["after"] = str(example_id)
    except annotate.AnnotateError as error:
        messages.error(request, str(error))
        if example_id is not None and not isinstance(error, adjudication.AlreadySettled):
            back["text"] = str(example_id)
    return redirect(f"{reverse('adjudicate', args=[project.pk])}?{urlencode(back)}")


def _uuid(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get("client_id", ""))
    except ValueError:
        raise annotate.AnnotateError(_("这个决定的内容不完整，没有保存。")) from None


def _seconds(value: str | None) -> float | None:
    try:
        return float(value or "")
    except ValueError:
        return None


def _number(value: str | None) -> int | None:
    """A row's id, or None."""
    return int(value) if value and value.isascii() and value.isdecimal() and len(value) < 19 else None
