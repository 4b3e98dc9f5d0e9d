"""What the model says while somebody edits words and prompt: fragments for the labels page.

Each POST carries the draft (`name-<id>`, `words-<id>`, `template`; what is not sent is taken as stored), the editor
(a tab) and the number of the change. Nothing is stored, and no text of the test split is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from labeling.job_words import ERRORS
from labeling.models import Project
from labeling.permissions import project_for
from labeling.services.words import WordsRefusedInForm
from training.services import live, workbench
from training.services import workbench_choice as choice
from training.services.workbench_shown import shown
from training.views.words import METHODS

FIELD = re.compile(r"(name|words)-(\d{1,18})")
# Alternatives shown at each mask, and masks shown of a long word.
N_FILLS, N_MASKS = 3, 4


@require_POST
def workbench_answers(request: HttpRequest, project_id: int) -> HttpResponse:
    """Ten texts: the fills at the masks and the label that follows, raw and calibrated."""
    project = project_for(request, project_id, "read")
    data = request.POST
    chosen = shown(
        project, which=data.get("show", ""), page=_number(data.get("page")), query=data.get("q", "")
    )
    if not chosen.ids:
        return _render(request, "answers", project, texts=[], chosen=chosen)
    return _asked(request, project, "answers", lambda draft, **at: _answers(project, draft, chosen, at))


@require_POST
def workbench_words(request: HttpRequest, project_id: int) -> HttpResponse:
    """Beside each word: does it read naturally, and does the model take it for another label's."""
    project = project_for(request, project_id, "read")

    def read(draft: workbench.Draft, **at: Any) -> dict[str, Any]:
        names = {label.id: label.name for label in draft.labels}
        readings: dict[int, list[dict[str, Any]]] = {label.id: [] for label in draft.labels}
        for one in workbench.ask_words(draft, **at):
            near = [{"word": near.word, "label": names.get(near.label_id, "")} for near in one.near[:2]]
            readings[one.label_id].append({"word": one.word, "reads": one.reads, "near": near})
        return {"readings": readings}

    return _asked(request, project, "words", read)


@require_POST
def workbench_accuracy(request: HttpRequest, project_id: int) -> HttpResponse:
    """Accuracy without training on the labelled texts so far, with its interval, per label."""
    project = project_for(request, project_id, "read")

    def measure(draft: workbench.Draft, **at: Any) -> dict[str, Any]:
        accuracy = workbench.ask_accuracy(draft, **at)
        chosen = accuracy.of(accuracy.chosen)
        labels = {label.pk: label for label in project.labels.filter(archived_at__isnull=True)}
        per_label = (
            [(labels[one.label_id], one.share) for one in chosen.per_label if one.label_id in labels]
            if chosen
            else []
        )
        others = [
            (METHODS[one.method], one.calibrated)
            for one in accuracy.measured
            if one.method != accuracy.chosen
        ]
        return {
            "accuracy": accuracy,
            "shares": [("calibrated", chosen.calibrated), ("raw", chosen.raw)] if chosen else [],
            "method": METHODS.get(accuracy.chosen, ""),
            "per_label": sorted(per_label, key=lambda pair: pair[1].value),
            "others": others,
        }

    return _asked(request, project, "accuracy", measure)


@require_POST
def workbench_proposals(request: HttpRequest, project_id: int, label_id: int) -> HttpResponse:
    """Words for one label, each with its expected effect."""
    project = project_for(request, project_id, "setup")
    label = get_object_or_404(project.labels, pk=label_id, archived_at__isnull=True)

    def propose(draft: workbench.Draft, **at: Any) -> dict[str, Any]:
        return {"found": workbench.ask_proposals(draft, label_id=label.pk, **at)}

    return _asked(request, project, "proposals", propose, label=label)


@require_POST
def workbench_choose(request: HttpRequest, project_id: int) -> HttpResponse:
    """Which backbone answers, and how it reads the prompt: for everybody in the project."""
    project = project_for(request, project_id, "setup")
    choice.choose(
        project=project, backbone=request.POST.get("backbone", ""), method=request.POST.get("method", "")
    )
    return HttpResponse(status=204)


def _asked(
    request: HttpRequest,
    project: Project,
    name: str,
    ask: Callable[..., dict[str, Any]],
    **more: Any,
) -> HttpResponse:
    """The fragment `name` with what `ask` found, or with one line that says why there is nothing."""
    data = request.POST
    try:
        found = ask(
            draft_from(request, project),
            # A person's own editors only: nobody ends another's question.
            editor=f"{request.user.pk}.{project.pk}.{data.get('editor', '')[:40]}",
            number=_number(data.get("number")),
        )
    except workbench.Superseded:
        return HttpResponse(status=204)
    except (workbench.DraftRefused, WordsRefusedInForm):
        return _render(request, name, project, wait=_("先改好标红的词或模板，答案就会接着来。"), **more)
    except live.LiveTimeout:
        return _render(
            request, name, project, trouble=_("模型这次没有及时回答，稍后会再问。"), again=True, **more
        )
    except live.LiveUnavailable:
        return _render(
            request,
            name,
            project,
            trouble=_(
                "推理进程没有在运行，看不到模型的答案；编辑和保存不受影响。请在服务器上重新启动完形，或用 manage.py doctor 查看。"
            ),
            again=True,
            **more,
        )
    except live.LiveFailed as error:
        words, hint = ERRORS.get(error.code, ERRORS["unexpected"])
        return _render(request, name, project, trouble=words, hint=hint, detail=str(error), **more)
    return _render(request, name, project, **found, **more)


def draft_from(request: HttpRequest, project: Project) -> workbench.Draft:
    """The draft in the editor. Raises WordsRefusedInForm."""
    typed: dict[str, dict[int, str]] = {"name": {}, "words": {}}
    for key, value in request.POST.items():
        if (match := FIELD.fullmatch(key)) and isinstance(value, str):
            typed[match[1]][int(match[2])] = value
    chosen = choice.choice_of(project)
    return workbench.draft_of(
        project,
        names=typed["name"],
        words=typed["words"],
        template=request.POST.get("template"),
        method=chosen.method,
        backbone=chosen.backbone,
    )


def _answers(project: Project, draft: workbench.Draft, chosen: Any, at: dict[str, Any]) -> dict[str, Any]:
    answers = workbench.ask_answers(draft, example_ids=chosen.ids, **at)
    labels = {label.pk: label for label in project.labels.filter(archived_at__isnull=True)}
    texts = [
        {
            "text": one.text,
            "truncated": one.truncated,
            "fills": [mask[:N_FILLS] for mask in one.fills[:N_MASKS]],
            "known": labels.get(one.label_id or 0),
            "says": {
                kind: _best(proba, answers.label_ids, labels, one.label_id)
                for kind, proba in (("raw", one.raw), ("calibrated", one.calibrated))
            },
        }
        for one in answers.texts
    ]
    return {"texts": texts, "answers": answers, "chosen": chosen, "method": METHODS.get(answers.method, "")}


def _best(
    proba: tuple[float, ...], label_ids: tuple[int, ...], labels: dict[int, Any], known: int | None
) -> dict[str, Any]:
    place = max(range(len(proba)), key=proba.__getitem__)
    label = labels.get(label_ids[place])
    return {
        "label": label,
        "probability": proba[place],
        "right": None if known is None or label is None else label.pk == known,
    }


def _render(request: HttpRequest, name: str, project: Project, **context: Any) -> HttpResponse:
    context |= {"project": project, "may_edit": "setup" in request.abilities}  # type: ignore[attr-defined]
    return render(request, f"training/workbench/{name}.html", context)


def _number(typed: str | None) -> int:
    return int(typed) if typed and typed.isdecimal() and typed.isascii() and len(typed) < 13 else 0
