"""Rules: tried out while one types, kept, applied as weak labels, withdrawn."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.jobs import TooManyJobs
from labeling.models import Project, Rule
from labeling.models.finding import PATTERN_LENGTH, RuleKind
from labeling.models.jobs import JobKind
from labeling.permissions import project_for
from labeling.services import rules as service
from labeling.services.filter_words import rule_name
from labeling.services.labels import present_labels


@require_http_methods(["GET", "POST"])
def rules(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the rules with how each does. POST: keep a new one."""
    project = project_for(request, project_id, "review" if request.method == "POST" else "read")
    if request.method == "POST":
        try:
            service.add_rule(project=project, user=request.user, **_asked(request.POST))
        except service.RuleRefused as error:
            return render(
                request, "labeling/rules.html", {**_page(project), "error": str(error), "asked": request.POST}
            )
        return redirect("rules", project.pk)
    return render(request, "labeling/rules.html", _page(project))


@require_GET
def rule_preview(request: HttpRequest, project_id: int) -> HttpResponse:
    """How the rule of the form would do, before it is kept."""
    project = project_for(request, project_id, "review")
    context: dict[str, Any] = {"project": project, "section": "texts"}
    try:
        rule = service.draft(project=project, **_asked(request.GET))
        others = list(project.rules.select_related("label").prefetch_related("label__words"))
        judged = service.judge(project=project, rules=[rule], among=others)[0]
        names = {other.pk: rule_name(other) for other in others}
        context |= {
            "rule": rule,
            "judged": judged,
            "error": judged.error,
            "conflicts": [(names[pk], n) for pk, n in judged.conflicts.items()],
        }
    except service.RuleRefused as error:
        context["error"] = str(error) if request.GET.get("pattern") or request.GET.get("label") else ""
    return render(request, "labeling/rules.html#preview", context)


@require_POST
def rules_apply(request: HttpRequest, project_id: int) -> HttpResponse:
    """Queue the application of the ticked rules (`rule`), or of all."""
    project = project_for(request, project_id, "review")
    ids = [
        int(one)
        for one in request.POST.getlist("rule")
        if one.isascii() and one.isdecimal() and len(one) < 19
    ]
    return _change(request, project, ids, wanted=True)


@require_POST
def rule_withdraw(request: HttpRequest, project_id: int, rule_id: int) -> HttpResponse:
    """Queue the removal of the rule's weak labels."""
    project = project_for(request, project_id, "review")
    _own(project, rule_id)
    return _change(request, project, [rule_id], wanted=False)


@require_POST
def rule_delete(request: HttpRequest, project_id: int, rule_id: int) -> HttpResponse:
    """Remove a rule without weak labels."""
    project = project_for(request, project_id, "review")
    _own(project, rule_id)
    try:
        service.delete_rule(project=project, rule_id=rule_id)
    except service.RuleRefused as error:
        messages.error(request, str(error))
    return redirect("rules", project.pk)


def _change(request: HttpRequest, project: Project, ids: list[int], *, wanted: bool) -> HttpResponse:
    try:
        job = service.request_change(project=project, user=request.user, rule_ids=ids, wanted=wanted)
    except (service.RuleRefused, TooManyJobs) as error:
        messages.error(request, str(error))
    else:
        if job is None:
            messages.error(request, _("没有选中规则。"))
    return redirect("rules", project.pk)


def _own(project: Project, rule_id: int) -> Rule:
    return get_object_or_404(Rule, pk=rule_id, project=project)


def _asked(values: Any) -> dict[str, Any]:
    label = values.get("label", "")
    return {
        "kind": values.get("kind", ""),
        "pattern": values.get("pattern", "")[: PATTERN_LENGTH + 1],
        "label_id": int(label) if label.isascii() and label.isdecimal() and len(label) < 19 else None,
    }


def _page(project: Project) -> dict[str, Any]:
    listed = list(project.rules.select_related("label", "created_by", "job").prefetch_related("label__words"))
    names = {rule.pk: rule_name(rule) for rule in listed}
    judged = service.judge(project=project, rules=listed) if listed else []
    return {
        "project": project,
        "section": "texts",
        "labels": present_labels(project),
        "kinds": RuleKind.choices,
        "rows": [
            {
                "rule": rule,
                "judged": result,
                "conflicts": [(names[pk], n) for pk, n in result.conflicts.items()],
                "busy": rule.job is not None and not rule.job.is_finished,
            }
            for rule, result in zip(listed, judged, strict=True)
        ],
        "waiting": [rule.pk for rule in listed if not rule.applied_at],
        "job": project.jobs.filter(kind=JobKind.APPLY_RULES).first(),
    }
