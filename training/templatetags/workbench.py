"""What the workbench shows of runs and of the engine's library; the page itself is `labeling`'s."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext_lazy as _

from labeling.models import Project
from training.models import TrainingRun
from training.services import workbench_choice
from training.services.prelabel_state import Standing, standing
from training.services.template_library import Group, library
from training.views.words import METHODS

register = template.Library()

# Older runs of one version than these are reached from the list of runs.
SHOWN_RUNS = 5


@register.simple_tag
def template_library() -> list[Group]:
    """The engine's library in groups, each template with its name and when to use it."""
    return library()


@register.simple_tag
def reading_choice(project: Project) -> dict[str, Any]:
    """`{"chosen", "backbones", "methods"}`: which backbone answers in the workbench, and what may be chosen."""
    return {
        "chosen": workbench_choice.choice_of(project),
        "backbones": workbench_choice.offered(),
        "methods": [("", _("自动选读法")), *((name, METHODS[name]) for name in workbench_choice.METHODS)],
    }


@register.simple_tag
def guesses(project: Project) -> Standing:
    """Where the model's guesses at the unlabelled texts stand."""
    return standing(project)


@register.simple_tag
def any_measurable(project: Project) -> bool:
    """Is there a labelled text that the words may be measured on?"""
    return bool(project.examples.for_training().exists())


@register.simple_tag
def runs_by_template(project: Project) -> dict[int, list[int]]:
    """{id of a version of the prompt: numbers of the newest runs that used it}."""
    found: dict[int, list[int]] = {}
    runs = TrainingRun.objects.filter(project=project, template__isnull=False).order_by("-number")
    for version, number in runs.values_list("template_id", "number"):
        if len(found.setdefault(version, [])) < SHOWN_RUNS:
            found[version].append(number)
    return found
