"""The labelling page: one text, the labels, one key each.

The page holds the next texts already and sends decisions in the background (`label_decisions`); with JavaScript off
the same buttons post a plain form (`label_decide`).
"""

from __future__ import annotations

import json
import math
import uuid
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from labeling.models import Example, Project
from labeling.models.annotations import Action, Source
from labeling.models.texts import Status
from labeling.permissions import project_for
from labeling.services import annotate, leases, queue
from labeling.services.new_labels import MAX_LABELS

MAX_DECISIONS = 100
MAX_HELD = 300


@require_GET
def label(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page. `?text=ID` puts that text first, `?skipped=1` serves what the person skipped, `?order=` orders."""
    project = project_for(request, project_id, "label")
    labels = list(project.labels.filter(archived_at__isnull=True))
    context: dict[str, Any] = {"project": project, "section": "label", "labels": labels}
    if not labels or not project.examples.exists():
        context["missing"] = "texts" if labels else "labels"
        return render(request, "labeling/label.html", context)
    order = _order(request, project)
    revisit = request.GET.get("skipped") == "1"
    first = _asked_text(request, project)
    page = uuid.uuid4().hex
    if first:
        leases.acquire(project=project, user=request.user, example_ids=[first.pk], n=1, page=page)
    served = queue.next_texts(
        project=project,
        user=request.user,
        n=queue.PREFETCH,
        order=order,
        have=frozenset({first.pk} if first else ()),
        revisit_skipped=revisit,
        page=page,
    )
    texts = [first, *served.texts] if first else served.texts
    progress = queue.progress(project=project, user=request.user)
    context |= {
        "current": texts[0] if texts else None,
        "client_id": uuid.uuid4(),
        "progress": progress,
        "held_by_others": served.held_by_others,
        "orders": queue.ORDERS,
        "order": order,
        "revisit": revisit,
        "source": _asked_source(request) if first else Source.BLIND,
        "long_names": any(len(one.name) > 5 for one in labels),
        "needs_filter": any(not one.key for one in labels),
        "page_data": {
            "texts": [_as_json(example) for example in texts],
            "labels": [
                {"id": one.pk, "name": one.name, "color": one.color, "key": one.key} for one in labels
            ],
            "perLabel": progress.per_label,
            "total": progress.total,
            "done": progress.labelled,
            "mine": progress.mine,
            "user": request.user.pk,
            "project": project.pk,
            "page": page,
            "renewSeconds": leases.RENEW_SECONDS,
            "order": order,
            "revisit": revisit,
            "source": _asked_source(request) if first else Source.BLIND,
        },
    }
    return render(request, "labeling/label.html", context)


@require_POST
def label_decide(request: HttpRequest, project_id: int) -> HttpResponse:
    """One decision from the plain form, then the next text."""
    project = project_for(request, project_id, "label")
    back = reverse("label", args=[project.pk])
    kept = {name: request.POST[name] for name in ("order", "skipped") if request.POST.get(name)}
    action = request.POST.get("action") or Action.LABEL
    values = {
        "client_id": request.POST.get("client_id"),
        "example": request.POST.get("example"),
        "action": action,
        "label": request.POST.get("label"),
        "source": request.POST.get("source") or Source.BLIND,
    }
    result = _store(project, request.user, values)
    if not result["ok"]:
        messages.error(request, result["error"]["message"])
    elif result.get("overruled"):
        messages.warning(request, result["notice"])
    if action in (Action.UNDO, Action.FLAG, Action.UNFLAG) and result["ok"]:
        kept["text"] = result["example"]["id"]
    return redirect(f"{back}?{urlencode(kept)}" if kept else back)


@require_POST
def label_decisions(request: HttpRequest, project_id: int) -> HttpResponse:
    """Store decisions sent as JSON `{"decisions": [...]}`, oldest first; each stands or falls alone.

    An answer that names an error is final: sending it again will not help. Everything else may be sent again."""
    project = project_for(request, project_id, "label")
    try:
        decisions = json.loads(request.body)["decisions"]
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": "bad_json"}, status=400)
    if not isinstance(decisions, list) or len(decisions) > MAX_DECISIONS:
        return JsonResponse({"error": "bad_decisions"}, status=400)
    return JsonResponse({"results": [_store(project, request.user, decision) for decision in decisions]})


@require_GET
def label_next(request: HttpRequest, project_id: int) -> HttpResponse:
    """More texts for the page, as JSON, without those that it says it has (`?have=1,2,3`)."""
    project = project_for(request, project_id, "label")
    have = frozenset(int(word) for word in request.GET.get("have", "").split(",")[:MAX_HELD] if _is_id(word))
    served = queue.next_texts(
        project=project,
        user=request.user,
        order=_order(request, project),
        have=have,
        revisit_skipped=request.GET.get("skipped") == "1",
        page=request.GET.get("page", "")[:36],
    )
    progress = queue.progress(project=project, user=request.user)
    return JsonResponse(
        {
            "texts": [_as_json(example) for example in served.texts],
            "held_by_others": served.held_by_others,
            "total": progress.total,
            "done": progress.labelled,
            "mine": progress.mine,
            "perLabel": progress.per_label,
        }
    )


@require_POST
def label_lease(request: HttpRequest, project_id: int) -> HttpResponse:
    """Keep (`do=renew`, the page asks each minute) or give back (`do=release`, the page is left) texts.

    `texts` are ids joined by commas, `page` is the tab's name. A plain form, so that a beacon can send it. The
    answer names those that are no longer this person's."""
    project = project_for(request, project_id, "label")
    words = request.POST.get("texts", "").split(",")[:MAX_HELD]
    ids = [int(word) for word in words if _is_id(word)]
    page = request.POST.get("page", "")[:36]
    if request.POST.get("do") == "release":
        leases.release(project=project, user=request.user, example_ids=ids, page=page)
        return HttpResponse(status=204)
    renewed = leases.renew(project=project, user=request.user, example_ids=ids, page=page)
    return JsonResponse({"held": renewed.held, "lost": renewed.lost})


def _store(project: Project, user: Any, sent: Any) -> dict[str, Any]:
    """What came of one decision as the page sent it."""
    client_id = sent.get("client_id") if isinstance(sent, dict) else None
    answer: dict[str, Any] = {"client_id": client_id if isinstance(client_id, str) else None}
    try:
        decision = _decide(project, user, sent)
    except annotate.AnnotateError as error:
        return answer | {"ok": False, "error": {"code": error.code, "message": str(error)}}
    answer |= {"ok": True, "repeated": decision.repeated, "example": _as_json(decision.example)}
    if decision.overruled:
        answer |= {
            "overruled": True,
            "notice": _("你的决定已收回；但别人之后又改过这条文本，它现在的标签没有变。"),
        }
    return answer


def _decide(project: Project, user: Any, sent: Any) -> annotate.Decision:
    """The decision stored; raises AnnotateError for what cannot be read."""
    unreadable = annotate.AnnotateError(_("这个决定的内容不完整，没有保存。"))
    if not isinstance(sent, dict):
        raise unreadable
    try:
        client_id = uuid.UUID(str(sent["client_id"]))
        if sent.get("action") == Action.UNDO:
            target = sent.get("target")
            return annotate.undo(
                project=project,
                user=user,
                client_id=client_id,
                target_client_id=uuid.UUID(str(target)) if target else None,
            )
        seconds = sent.get("seconds")
        return annotate.decide(
            project=project,
            user=user,
            client_id=client_id,
            example_id=_id(sent.get("example")),
            action=str(sent.get("action")),
            label_ids=_label_ids(sent),
            source=_source(sent),
            suggested=_suggested(sent.get("suggestion")),
            guideline_version=_id(sent["guidelines"]) if sent.get("guidelines") else None,
            seconds=None if seconds is None else float(seconds),
            reason=str(sent.get("reason") or ""),
        )
    except (KeyError, ValueError, TypeError, OverflowError):
        raise unreadable from None


def _source(sent: dict[str, Any]) -> str:
    """What the page may say of how it was decided; the rest follows from what was in view or is no page's to say."""
    source = str(sent.get("source") or Source.BLIND)
    if source not in (Source.BLIND, Source.REVIEW):
        raise ValueError("not a page's source")
    return source


def _label_ids(sent: dict[str, Any]) -> list[int]:
    """The labels of a decision: `labels` (a list of ids), or `label`."""
    if sent.get("labels") is not None:
        return [_id(one) for one in list(sent["labels"])[:MAX_LABELS]]
    return [_id(sent["label"])] if sent.get("label") else []


def _suggested(sent: Any) -> annotate.Suggested | None:
    """The suggestion that the page says was in view."""
    if not sent:
        return None
    probability = float(sent["probability"])
    if not math.isfinite(probability):
        raise ValueError("not a probability")
    return annotate.Suggested(
        tuple(_id(one) for one in list(sent["labels"])[:MAX_LABELS]), probability, str(sent["source"])
    )


def _id(value: Any) -> int:
    """A row's id, or ValueError: no database takes more than 63 bits."""
    number = int(str(value))
    if not 0 < number < 2**63:
        raise ValueError("not an id")
    return number


def _is_id(word: str) -> bool:
    return word.isdecimal() and word.isascii() and len(word) < 19


def _asked_text(request: HttpRequest, project: Project) -> Example | None:
    """The text of `?text=`. An annotator reaches what is undecided and what they decided themselves."""
    asked = request.GET.get("text", "")
    if not asked:
        return None
    example = project.examples.filter(pk=int(asked)).first() if _is_id(asked) else None
    may_read = "read" in request.abilities  # type: ignore[attr-defined]
    if example is not None and (
        may_read
        or example.status != Status.LABELLED
        or example.annotations.filter(user_id=request.user.pk or 0).exists()
    ):
        return example
    messages.warning(request, _("找不到那条文本，或者它不在你的队列里。"))
    return None


def _asked_source(request: HttpRequest) -> str:
    return Source.REVIEW if request.GET.get("source") == Source.REVIEW else Source.BLIND


def _order(request: HttpRequest, project: Project) -> str:
    """The order asked for, else the project's, else random."""
    for name in (request.GET.get("order"), project.queue_order):
        if name in queue.ORDERS:
            return name
    return "random"


def _as_json(example: Example) -> dict[str, Any]:
    return {
        "id": example.pk,
        "text": example.text,
        "label": example.label_id,
        "status": example.status,
        "flagged": example.flagged,
    }
