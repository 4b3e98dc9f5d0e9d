"""How many texts stand on each list of the quality pages."""

from __future__ import annotations

from typing import Any

from django import template

from labeling.models import Project, Suspect
from labeling.services import adjudication, quality

register = template.Library()


@register.simple_tag
def suspect_counts(project: Project) -> dict[str, int]:
    """{kind: texts that nobody has decided about since they were named}, and those that are `disputed`."""
    return {**quality.counts(project), "disputed": adjudication.count(project)}


@register.filter
def suspect_reason(suspect: Suspect) -> Any:
    """Why a text is on its list, in words."""
    return quality.reason(suspect)
