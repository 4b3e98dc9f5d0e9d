"""Marks of the result pages: intervals, settings and reasons in words."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from training.views import words

register = template.Library()


@register.simple_tag
def interval_bar(value: float, low: float | None, high: float | None) -> SafeString:
    """A line from 0 to 1 with the interval as a band and the value as a tick."""
    low = value if low is None else low
    high = value if high is None else high
    return format_html(
        '<svg class="interval" viewBox="0 0 200 14" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="interval-ground" x1="0" x2="200" y1="7" y2="7"/>'
        '<rect class="interval-band" x="{}" width="{}" y="3" height="8" rx="2"/>'
        '<line class="interval-tick" x1="{}" x2="{}" y1="0" y2="14"/></svg>',
        f"{low * 200:.1f}",
        f"{max(1.0, (high - low) * 200):.1f}",
        f"{value * 200:.1f}",
        f"{value * 200:.1f}",
    )


@register.simple_tag
def difference_bar(value: float, low: float, high: float) -> SafeString:
    """A line from −0.5 to 0.5 with zero marked: the interval of a difference as a band, the value as a tick."""

    def place(share: float) -> float:
        return min(max((share + 0.5) * 200, 0.0), 200.0)

    return format_html(
        '<svg class="interval" viewBox="0 0 200 14" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="interval-ground" x1="0" x2="200" y1="7" y2="7"/>'
        '<line class="interval-zero" x1="100" x2="100" y1="0" y2="14"/>'
        '<rect class="interval-band" x="{}" width="{}" y="3" height="8" rx="2"/>'
        '<line class="interval-tick" x1="{}" x2="{}" y1="0" y2="14"/></svg>',
        f"{place(low):.1f}",
        f"{max(1.0, place(high) - place(low)):.1f}",
        f"{place(value):.1f}",
        f"{place(value):.1f}",
    )


@register.filter
def half_width(evaluation: Any) -> float | None:
    """Half of the accuracy's interval: the number behind ±."""
    if evaluation is None or evaluation.accuracy_low is None or evaluation.accuracy_high is None:
        return None
    return (evaluation.accuracy_high - evaluation.accuracy_low) / 2


@register.filter
def points(value: float | None) -> str:
    """A difference of shares in percentage points with its sign: 0.034 → +3.4."""
    return "–" if value is None else f"{value * 100:+.1f}"


@register.filter
def figure(value: float | None) -> str:
    """A small number with as many digits as say something: 2.4e-06, 0.013."""
    return "–" if value is None else f"{value:.2g}"


@register.filter
def setting_name(name: str) -> Any:
    """A setting in words; its own name where there are none."""
    return words.SETTINGS.get(name, name)


@register.filter
def method_name(name: str) -> Any:
    """A method in a word or two."""
    return words.METHODS.get(name, name)


@register.filter
def refusal(code: str) -> Any:
    """Why a bundle is not let out."""
    return words.REFUSALS.get(code, code)
