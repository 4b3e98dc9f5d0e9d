"""How a job's stage and error are said to a person, by their codes."""

from __future__ import annotations

from typing import Any

from django import template

from labeling.job_words import error_words, stage_words, warning_words
from labeling.models import Job

register = template.Library()


@register.simple_tag
def stage_name(stage: str) -> Any:
    """The stage in words."""
    return stage_words(stage)


@register.simple_tag
def job_error(job: Job) -> dict[str, Any]:
    """{"message", "hint"} of a failed job, translated by its code where the code is known."""
    message, hint = error_words(job.error_code, job.error_message, job.error_hint)
    return {"message": message, "hint": hint}


@register.filter
def warning_name(warning: Any) -> str:
    """A warning of the engine in words."""
    return warning_words(warning)
