"""Whether more labels still help, as the labelling page and the project's home show it."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext as _

from labeling.models import Project
from labeling.services import learning as notes

register = template.Library()


@register.inclusion_tag("labeling/learning.html", takes_context=True)
def learning(context: dict[str, Any], project: Project, compact: bool = False) -> dict[str, Any]:
    """What the fast model's learning says; nothing where nothing is known yet."""
    return {"learning": notes.read(project.pk), "compact": compact, "request": context["request"]}


@register.filter
def points(share: float | None) -> str:
    """A difference of accuracies in percentage points, with its sign: 0.0123 → +1.2."""
    if share is None:
        return _("未知")
    rounded = round(share * 100, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"
