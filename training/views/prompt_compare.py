"""Comparing prompts: which templates and words to put side by side, the job's progress, and what came of it."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from labeling.jobs import TooManyJobs
from labeling.models import Project
from labeling.models.texts import Split
from labeling.permissions import project_for
from labeling.services.words import TemplateRefused, WordsRefusedInForm
from training.models import PromptComparison
from training.services import prompt_comparison, workbench, workbench_choice
from training.services.prompt_comparison import MAX_CANDIDATES, ComparisonRefused
from training.views.train import see
from training.views.words import METHODS

VERSIONS_SHOWN = 10
EARLIER_SHOWN = 10


@require_http_methods(["GET", "POST"])
def prompt_compare(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page; POST starts a comparison of each chosen template with each chosen set of words."""
    if request.method == "GET":
        return _page(request, project_for(request, project_id, "read"))
    project = project_for(request, project_id, "train")
    try:
        comparison = prompt_comparison.request_comparison(
            project=project,
            user=request.user,
            candidates=_candidates(request, project),
            token=_token(request),
        )
    except ComparisonRefused as error:
        return _page(request, project, problem=_why(error), status=422)
    except WordsRefusedInForm as error:
        return _page(request, project, problem=str(error), status=422)
    except TooManyJobs as error:
        return _page(request, project, problem=str(error), status=429)
    return see("prompt_comparison", project.pk, comparison.pk)


@require_http_methods(["GET"])
def prompt_comparison_page(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    """One comparison: how far it is, or what it found."""
    project = project_for(request, project_id, "read")
    return _page(request, project, find_comparison(project, comparison_id))


@require_POST
def prompt_adopt(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    """Words and template of one candidate become the project's; `then=train` goes on to train its group together."""
    project = project_for(request, project_id, "setup")
    comparison = find_comparison(project, comparison_id)
    together = request.POST.get("then") == "train"
    asked = request.POST.get("place", "")
    place = comparison.result["groups"][0][0] if together and comparison.result else asked
    try:
        prompt_comparison.adopt(comparison=comparison, place=int(place), user=request.user)
    except (ValueError, IndexError):
        messages.error(request, _("没有这一种写法。"))
        return see("prompt_comparison", project.pk, comparison.pk)
    except TemplateRefused as error:
        messages.error(request, str(error))
        return see("prompt_comparison", project.pk, comparison.pk)
    messages.success(request, _("已换成这个模板和这些词。"))
    if not together:
        return see("labels", project.pk)
    response = see("train", project.pk)
    response["Location"] += f"?prompts={comparison.pk}"
    return response


def find_comparison(project: Project, comparison_id: int) -> PromptComparison:
    """The comparison with its job, or 404."""
    rows = PromptComparison.objects.select_related("job", "project")
    return get_object_or_404(rows, pk=comparison_id, project=project)


def _candidates(request: HttpRequest, project: Project) -> list[tuple[str, workbench.Draft]]:
    """Each chosen template with each chosen set of words, without repetition, in the order of the page."""
    data = request.POST
    written = [line.strip() for line in data.get("more", "").splitlines()]
    texts = [text for text in dict.fromkeys([*data.getlist("template"), *written]) if text]
    chosen = workbench_choice.choice_of(project)
    labels = list(project.labels.filter(archived_at__isnull=True).values_list("pk", "name"))
    sets: dict[str, dict[str, Any]] = {
        "stored": {},
        "draft": {"names": dict(labels), "words": _typed_words(request)},
        "names": {"words": {pk: "" for pk, _name in labels}},
    }
    titles = {"stored": _("现在的词"), "draft": _("编辑器里的词"), "names": _("标签名")}
    found: dict[workbench.Draft, str] = {}
    for name in [name for name in sets if name in data.getlist("words")] or ["stored"]:
        for text in texts[: MAX_CANDIDATES + 1]:
            draft = workbench.draft_of(
                project, template=text, method=chosen.method, backbone=chosen.backbone, **sets[name]
            )
            found.setdefault(draft, str(titles[name]))
    return [(title, draft) for draft, title in found.items()][: MAX_CANDIDATES + 1]


def _typed_words(request: HttpRequest) -> dict[int, str]:
    return {
        int(key[6:]): str(value)
        for key, value in request.POST.items()
        if key.startswith("words-") and key[6:].isdecimal() and len(key) < 25
    }


def _token(request: HttpRequest) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.POST.get("token", ""))
    except ValueError:
        return None


def _why(error: ComparisonRefused) -> str:
    words = {
        "too_few": _("至少选两种写法才能比较：两个模板，或者两套词。"),
        "too_many": _("一次最多比较 %(n)d 种写法（模板数 × 词的套数）。") % {"n": MAX_CANDIDATES},
        "no_texts": _("还没有可以打分的标注：先标几条训练或验证文本，再来比较。采纳建议得来的标签不算。"),
        "labels_differ": _("标签刚刚变了，请重新选一次。"),
    }
    if error.code == "bad_candidate" and error.check is not None:
        why = error.check.error or _("有标签词不能用。")
        return _("第 %(n)d 种写法不能用：%(why)s") % {"n": (error.place or 0) + 1, "why": why}
    return words.get(error.code, error.code)


def _page(
    request: HttpRequest,
    project: Project,
    comparison: PromptComparison | None = None,
    *,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    versions = list(project.templates.all()[:VERSIONS_SHOWN])
    by_split = comparison.result.get("n_by_split", {}) if comparison else {}
    context = {
        "project": project,
        "section": "labels",
        "comparison": comparison,
        "rows": _rows(comparison) if comparison and comparison.result else [],
        "result": comparison.result if comparison else {},
        "ensemble": prompt_comparison.ensemble_of(comparison) if comparison else [],
        "n_train": sum(n for split, n in by_split.items() if split != Split.DEV),
        "n_dev": by_split.get(Split.DEV, 0),
        "versions": versions,
        "chosen": request.POST.getlist("template") or [one.text for one in versions[:1]],
        "chosen_words": request.POST.getlist("words") or ["stored"],
        "more": request.POST.get("more", ""),
        "problem": problem,
        "token": uuid.uuid4(),
        "earlier": project.prompt_comparisons.select_related("job")[:EARLIER_SHOWN],
        "max_candidates": MAX_CANDIDATES,
    }
    return render(request, "training/prompt_compare.html", context, status=status)


def _rows(comparison: PromptComparison) -> list[dict[str, Any]]:
    """Candidates from the best down, each with the number of its group (from 0) and whether it opens one."""
    result, rows = comparison.result, []
    best = result["groups"][0][0]
    for number, group in enumerate(result["groups"]):
        for place in group:
            measured = result["prompts"][place]
            rows.append(
                {
                    "place": place,
                    "group": number,
                    "opens": place == group[0],
                    "group_size": len(group),
                    "candidate": comparison.candidates[place],
                    "method": METHODS.get(measured["method"], measured["method"]),
                    "share": measured["calibrated"],
                    "agreement": None if place == best else result["agreement"][best][place],
                }
            )
    return rows
