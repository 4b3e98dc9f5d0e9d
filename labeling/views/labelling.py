"""The labelling page: one text, the labels, one key each.

The page holds the next texts already and sends decisions in the background (`label_decisions`); with JavaScript off
the same buttons post a plain form (`label_decide`).
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from labeling.models import Example, Project, SavedView
from labeling.models.annotations import Action, SkipReason, Source
from labeling.models.projects import Task
from labeling.models.quality import SuspectKind
from labeling.models.texts import Status
from labeling.permissions import project_for
from labeling.services import (
    desk,
    guidelines,
    leases,
    narrowed_queue,
    probe_requests,
    quality,
    queue,
    queue_orders,
    saved_views,
)
from labeling.services.progress import progress
from labeling.services.suggestions import are_shown
from labeling.views.labelling_json import is_id, labels_json, progress_json, store, texts_json

MAX_DECISIONS = 100
MAX_HELD = 300
# A minute without the server at one decision every three seconds.
AT_HAND = 20
# More labels than this are not all laid out: those with keys and the latest ones are, the others are found by name.
LAID_OUT = 40


SCRIPTS = [
    f"js/labelling{part}.js"
    for part in (
        "_vault",
        "_store",
        "_leases",
        "_labels",
        "_progress",
        "_comments",
        "_skip",
        "_keys",
        "_settings",
        "",
    )
]


@dataclasses.dataclass(frozen=True)
class Way:
    """How the page was asked to choose texts: an order, a list of texts to look at once more, or a search.

    `within`: the search, as an address keeps it; it came with the address or by the number of a saved view."""

    order: str
    listed: str = ""
    revisit: bool = False
    within: str = ""
    view: SavedView | None = None

    @property
    def query(self) -> dict[str, str]:
        """As it stands in an address."""
        query = {"order": self.order}
        if self.listed:
            query["queue"] = self.listed
        if self.revisit:
            query["skipped"] = "1"
        if self.view:
            query["view"] = str(self.view.pk)
        elif self.within:
            query["in"] = self.within
        return query


@require_GET
def label(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page. `?text=ID` puts that text first, `?skipped=1` serves what the person skipped, `?order=` orders,
    `?queue=` serves a list of the quality pages, `?view=ID` a saved view, `?in=` any search."""
    project = project_for(request, project_id, "label")
    labels = list(project.labels.filter(archived_at__isnull=True).prefetch_related("words"))
    context: dict[str, Any] = {"project": project, "section": "label", "labels": labels}
    if not labels or not project.examples.exists():
        context["missing"] = "texts" if labels else "labels"
        return render(request, "labeling/label.html", context)
    # Labels, words or texts may have changed since the fast model was last trained.
    probe_requests.wish(project.pk)
    way = _way(request, project)
    first = _asked_text(request, project)
    page = uuid.uuid4().hex
    if first:
        leases.acquire(project=project, user=request.user, example_ids=[first.pk], n=1, page=page)
    served, why = _serve(request, project, way, have=frozenset({first.pk} if first else ()), page=page)
    examples = [first, *served.texts] if first else served.texts
    source = Source.REVIEW if way.listed or (first and _asks_review(request)) else Source.BLIND
    counted = progress(project=project, user=request.user)
    member = desk.membership_of(project, request.user)
    keys = desk.keys_for(labels, member.keys)
    version = guidelines.newest_version(project)
    for one in labels:
        *parents, leaf = one.name.split("##")
        one.own_key, one.parents, one.leaf = keys[one.pk], parents, leaf  # type: ignore[attr-defined]
    texts = texts_json(
        project=project, user=request.user, examples=examples, why=why, suggest=source == Source.BLIND
    )
    context |= {
        "current": examples[0] if examples else None,
        "current_labels": set(texts[0]["labels"]) if texts else set(),
        "client_id": uuid.uuid4(),
        "progress": counted,
        "scripts": SCRIPTS,
        "held_by_others": served.held_by_others,
        "orders": queue.ORDERS,
        "way": way,
        "source": source,
        "several": project.task == Task.MULTI_LABEL,
        "skip_reasons": SkipReason.choices,
        "long_names": any(len(one.name) > 5 for one in labels),
        "needs_filter": len(labels) > LAID_OUT or not all(keys.values()),
        "member": member,
        "guideline_version": version,
        "guideline_changes": guidelines.changes_since(project, member.seen_guidelines)
        if member.seen_guidelines < version
        else [],
        "guidelines_changed": 0 < member.seen_guidelines < version,
        "suggestions_offered": project.show_suggestions,
        "page_data": {
            "texts": texts,
            "labels": labels_json(labels, keys),
            **progress_json(counted),
            "goal": member.goal,
            "several": project.task == Task.MULTI_LABEL,
            "laidOut": LAID_OUT,
            "user": request.user.pk,
            "project": project.pk,
            "page": page,
            "renewSeconds": leases.RENEW_SECONDS,
            "way": way.query,
            "source": source,
            "listed": bool(way.listed),
            "showSuggestions": are_shown(project, request.user),
            "guidelines": version or None,
        },
    }
    if version and not member.seen_guidelines:
        # The first look is no change; from now on the page says when they changed.
        guidelines.mark_seen(project=project, user=request.user, version=version)
    return render(request, "labeling/label.html", context)


@require_POST
def label_decide(request: HttpRequest, project_id: int) -> HttpResponse:
    """One decision from the plain form, then the next text."""
    project = project_for(request, project_id, "label")
    back = reverse("label", args=[project.pk])
    kept = {
        name: request.POST[name]
        for name in ("order", "skipped", "queue", "view", "in")
        if request.POST.get(name)
    }
    action = request.POST.get("action") or Action.LABEL
    values = {
        "client_id": request.POST.get("client_id"),
        "example": request.POST.get("example"),
        "action": action,
        "label": request.POST.get("label"),
        "source": request.POST.get("source") or Source.BLIND,
    }
    result = store(project, request.user, values)
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

    An answer that names an error is final: sending it again will not help. Everything else may be sent again.
    `user` is who made them: where somebody else has signed in since, they wait (409)."""
    project = project_for(request, project_id, "label")
    try:
        body = json.loads(request.body)
        decisions = body["decisions"]
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": "bad_json"}, status=400)
    if not isinstance(decisions, list) or len(decisions) > MAX_DECISIONS:
        return JsonResponse({"error": "bad_decisions"}, status=400)
    if body.get("user") not in (None, request.user.pk):
        return JsonResponse({"error": "other_user"}, status=409)
    return JsonResponse({"results": [store(project, request.user, decision) for decision in decisions]})


@require_GET
def label_next(request: HttpRequest, project_id: int) -> HttpResponse:
    """More texts for the page, as JSON, without those that it says it has (`?have=1,2,3`)."""
    project = project_for(request, project_id, "label")
    have = frozenset(int(word) for word in request.GET.get("have", "").split(",")[:MAX_HELD] if is_id(word))
    way = _way(request, project)
    served, why = _serve(request, project, way, have=have, page=request.GET.get("page", "")[:36])
    return JsonResponse(
        {
            "texts": texts_json(
                project=project,
                user=request.user,
                examples=served.texts,
                why=why,
                suggest=not way.listed,
            ),
            "held_by_others": served.held_by_others,
            **progress_json(progress(project=project, user=request.user)),
        }
    )


@require_POST
def label_lease(request: HttpRequest, project_id: int) -> HttpResponse:
    """Keep (`do=renew`, the page asks each minute) or give back (`do=release`, the page is left) texts.

    `texts` are ids joined by commas, `page` is the tab's name. A plain form, so that a beacon can send it. The
    answer names those that are no longer this person's."""
    project = project_for(request, project_id, "label")
    words = request.POST.get("texts", "").split(",")[:MAX_HELD]
    ids = [int(word) for word in words if is_id(word)]
    page = request.POST.get("page", "")[:36]
    if request.POST.get("do") == "release":
        leases.release(project=project, user=request.user, example_ids=ids, page=page)
        return HttpResponse(status=204)
    renewed = leases.renew(project=project, user=request.user, example_ids=ids, page=page)
    return JsonResponse({"held": renewed.held, "lost": renewed.lost})


def _serve(
    request: HttpRequest, project: Project, way: Way, *, have: frozenset[int], page: str
) -> tuple[queue.Served, Mapping[int, str]]:
    """The next texts by `way`, and {text id: why it comes next, in words}."""
    if way.listed:
        examples = quality.queue_texts(project, way.listed, n=AT_HAND, have=have)
        return queue.Served(examples), quality.why(project, way.listed, [one.pk for one in examples])
    served = queue.next_texts(
        project=project,
        user=request.user,
        n=AT_HAND,
        order=way.order,
        have=have,
        revisit_skipped=way.revisit,
        page=page,
        among=narrowed_queue.open_ids(project, way.within) if way.within else None,
    )
    ids = [one.pk for one in served.texts]
    return served, {} if way.revisit or way.within else queue_orders.reasons(project, way.order, ids)


def _way(request: HttpRequest, project: Project) -> Way:
    """What the address asks for, else the project's order, else random. Lists are for whoever may review, searches
    for whoever reads all texts; a view that was shared is for everybody who labels."""
    asked = request.GET.get("order")
    order = next((name for name in (asked, project.queue_order) if name in queue.ORDERS), "random")
    listed = request.GET.get("queue", "")
    if listed not in SuspectKind.values:
        listed = ""
    if listed and "review" not in request.abilities:  # type: ignore[attr-defined]
        raise PermissionDenied(_("你在这个项目里的角色不能做这件事，请联系负责人。"))
    view, within = None, request.GET.get("in", "")[:4_000]
    number = request.GET.get("view", "")
    if is_id(number):
        view = saved_views.views_for(project=project, user=request.user).filter(pk=int(number)).first()
    if number and view is None:
        messages.warning(request, _("找不到那个视图，它可能已被删除。"))
    if view is not None:
        within = view.query
    elif within and "read" not in request.abilities:  # type: ignore[attr-defined]
        raise PermissionDenied(_("你在这个项目里的角色不能做这件事，请联系负责人。"))
    return Way(order, listed, request.GET.get("skipped") == "1", within, view)


def _asked_text(request: HttpRequest, project: Project) -> Example | None:
    """The text of `?text=`. An annotator reaches what is undecided and what they decided themselves."""
    asked = request.GET.get("text", "")
    if not asked:
        return None
    example = project.examples.filter(pk=int(asked)).first() if is_id(asked) else None
    may_read = "read" in request.abilities  # type: ignore[attr-defined]
    if example is not None and (
        may_read
        or example.status != Status.LABELLED
        or example.annotations.filter(user_id=request.user.pk or 0).exists()
    ):
        return example
    messages.warning(request, _("找不到那条文本，或者它不在你的队列里。"))
    return None


def _asks_review(request: HttpRequest) -> bool:
    return request.GET.get("source") == Source.REVIEW
