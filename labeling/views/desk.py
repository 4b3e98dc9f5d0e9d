"""What stands around the text on the labelling page: a person's own settings, comments, and the guidelines."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.models import Comment, GuidelineVersion, Project
from labeling.permissions import project_for
from labeling.services import comments, desk, guidelines
from labeling.services.annotate import AnnotateError

MAX_GUIDELINES = 20_000
VERSIONS_SHOWN = 100


@require_POST
def label_settings(request: HttpRequest, project_id: int) -> JsonResponse:
    """Change one's own settings: JSON with any of `keys`, `goal`, `hide_suggestions`, `seen_guidelines`.

    What cannot be (two labels on one key) is answered by label id, and nothing is changed."""
    project = project_for(request, project_id, "label")
    try:
        sent = json.loads(request.body)
        if not isinstance(sent, dict):
            raise TypeError
        member = desk.membership_of(project, request.user)
        answer: dict[str, Any] = {}
        if "keys" in sent:
            labels = list(project.labels.filter(archived_at__isnull=True))
            keys = {int(pk): str(key) for pk, key in dict(sent["keys"]).items()}
            answer["keys"] = desk.set_keys(membership=member, labels=labels, keys=keys)
        if "goal" in sent:
            goal = None if sent["goal"] in (None, "") else int(sent["goal"])
            desk.set_goal(membership=member, goal=goal)
            answer["goal"] = member.goal
        if "hide_suggestions" in sent:
            desk.hide_suggestions(membership=member, hidden=sent["hide_suggestions"] is True)
        if "seen_guidelines" in sent:
            guidelines.mark_seen(project=project, user=request.user, version=int(sent["seen_guidelines"]))
    except desk.DeskRefused as error:
        return JsonResponse({"ok": False, "errors": error.errors}, status=422)
    except (ValueError, TypeError, OverflowError):
        return JsonResponse({"ok": False, "errors": {}, "message": _("没有保存：内容不完整。")}, status=400)
    return JsonResponse({"ok": True, **answer})


@require_GET
def label_comments(request: HttpRequest, project_id: int, example_id: int) -> JsonResponse:
    """The comments on one text, oldest first."""
    project = project_for(request, project_id, "label")
    get_object_or_404(project.examples, pk=example_id)
    found = comments.comments_on(project=project, example_id=example_id)
    return JsonResponse({"comments": [_comment_json(comment, request.user) for comment in found]})


@require_POST
def comment_remove(request: HttpRequest, project_id: int, comment_id: int) -> HttpResponse:
    """Take back one's own comment."""
    project = project_for(request, project_id, "label")
    get_object_or_404(Comment, pk=comment_id, project=project)
    try:
        comments.remove_comment(project=project, user=request.user, comment_id=comment_id)
    except AnnotateError as error:
        return JsonResponse({"ok": False, "message": str(error)}, status=422)
    return JsonResponse({"ok": True})


@require_http_methods(["GET", "POST"])
def guidelines_page(request: HttpRequest, project_id: int) -> HttpResponse:
    """The guidelines, their earlier versions (`?version=`: what that one changed), and for owners the editor."""
    project = project_for(request, project_id, "open" if request.method == "GET" else "manage")
    context: dict[str, Any] = {"project": project, "section": "settings", "status": 200, "typed": None}
    if request.method == "POST":
        text = request.POST.get("text", "")
        based_on = request.POST.get("based_on", "")
        if len(text) > MAX_GUIDELINES:
            context |= {"typed": text, "status": 422}
            context["problem"] = _("最多 %(n)d 个字，现在有 %(now)d 个。") % {
                "n": MAX_GUIDELINES,
                "now": len(text),
            }
        else:
            try:
                saved = guidelines.save_guidelines(
                    project=project,
                    user=request.user,
                    text=text,
                    based_on=int(based_on) if based_on.isdecimal() and len(based_on) < 9 else 0,
                )
            except guidelines.GuidelinesChanged as error:
                project.refresh_from_db()
                context |= {"typed": text, "status": 409, "problem": str(error)}
                context["theirs"] = guidelines.compare(text, project.guidelines)
            else:
                messages.success(
                    request,
                    _("已保存为第 %(n)d 版。") % {"n": saved.version} if saved else _("内容没有变。"),
                )
                return redirect("guidelines", project.pk)
    return _guidelines(request, project, context)


def _guidelines(request: HttpRequest, project: Project, context: dict[str, Any]) -> HttpResponse:
    versions = list(project.guideline_versions.select_related("created_by")[:VERSIONS_SHOWN])
    asked = request.GET.get("version", "")
    shown: GuidelineVersion | None = None
    if asked.isdecimal() and len(asked) < 9:
        shown = project.guideline_versions.select_related("created_by").filter(version=int(asked)).first()
    if shown is not None:
        before = project.guideline_versions.filter(version__lt=shown.version).first()
        context |= {
            "shown": shown,
            "before": before,
            "lines": guidelines.compare(before.text if before else "", shown.text),
        }
    context |= {
        "versions": versions,
        "newest": guidelines.newest_version(project),
        "limit": MAX_GUIDELINES,
        "may_edit": "manage" in request.abilities,  # type: ignore[attr-defined]
    }
    return render(request, "labeling/guidelines.html", context, status=context.pop("status"))


def _comment_json(comment: Comment, user: Any) -> dict[str, Any]:
    return {
        "id": comment.pk,
        "text": comment.text,
        "by": str(comment.user) if comment.user else _("已删除的账户"),
        "at": comment.created_at.isoformat(),
        "mine": comment.user_id == user.pk,
    }
