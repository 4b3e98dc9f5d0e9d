"""What the workbench shows of runs and of the engine's library; the page itself is `labeling`'s."""

from __future__ import annotations

from django import template

from labeling.models import Project
from training.models import TrainingRun
from training.services.template_library import Group, library

register = template.Library()

# Older runs of one version than these are reached from the list of runs.
SHOWN_RUNS = 5


@register.simple_tag
def template_library() -> list[Group]:
    """The engine's library in groups, each template with its name and when to use it."""
    return library()


@register.simple_tag
def runs_by_template(project: Project) -> dict[int, list[int]]:
    """{id of a version of the prompt: numbers of the newest runs that used it}."""
    found: dict[int, list[int]] = {}
    runs = TrainingRun.objects.filter(project=project, template__isnull=False).order_by("-number")
    for version, number in runs.values_list("template_id", "number"):
        if len(found.setdefault(version, [])) < SHOWN_RUNS:
            found[version].append(number)
    return found
