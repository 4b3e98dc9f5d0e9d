"""What the workbench shows of runs and of the engine's library; the page itself is `labeling`'s."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

from labeling.models import Project
from training.fewshot.templates import LIBRARY
from training.models import TrainingRun

register = template.Library()

TITLES = {
    "topic": _("主题"),
    "sentiment": _("情感"),
    "intent": _("意图"),
    "pair": _("两段文本的关系"),
    "plain": _("不加句子"),
    "english": _("英文文本"),
}
# Older runs of one version than these are reached from the list of runs.
SHOWN_RUNS = 5


@register.simple_tag
def template_library() -> list[dict[str, Any]]:
    """`[{"title", "templates"}]`: the engine's library in groups."""
    return [
        {"title": TITLES.get(group, group), "templates": templates} for group, templates in LIBRARY.items()
    ]


@register.simple_tag
def runs_by_template(project: Project) -> dict[int, list[int]]:
    """{id of a version of the prompt: numbers of the newest runs that used it}."""
    found: dict[int, list[int]] = {}
    runs = TrainingRun.objects.filter(project=project, template__isnull=False).order_by("-number")
    for version, number in runs.values_list("template_id", "number"):
        if len(found.setdefault(version, [])) < SHOWN_RUNS:
            found[version].append(number)
    return found
