"""Small marks for the pages: icons, colour dots, bars, and numbers as people read them.

The content security policy forbids inline styles, so colours and lengths are SVG attributes.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the vendored set. It is decoration: the words beside it carry the meaning."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("vendor/lucide/sprite.svg"),
        name,
    )


@register.simple_tag
def dot(color: str) -> SafeString:
    """The small mark of a label's colour."""
    return format_html(
        '<svg class="dot" viewBox="0 0 10 10" aria-hidden="true"><circle cx="5" cy="5" r="4.5" fill="{}"/></svg>',
        color,
    )


@register.simple_tag
def bar(value: float | None, color: str = "currentColor") -> SafeString:
    """A bar filled to `value`, a share between 0 and 1."""
    share = min(max(float(value or 0), 0.0), 1.0)
    return format_html(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-ground" width="100" height="6"/><rect width="{}" height="6" fill="{}"/></svg>',
        f"{share * 100:.1f}",
        color,
    )


@register.simple_tag
def sparkline(values: list[float]) -> SafeString:
    """A small curve of `values` (shares between 0 and 1), oldest first."""
    if len(values) < 2:
        return SafeString("")
    low, high = min(values), max(values)
    if high == low:
        low, high = low - 0.5, high + 0.5
    span = high - low
    points = " ".join(
        f"{index * 96 / (len(values) - 1) + 2:.1f},{22 - (value - low) / span * 20:.1f}"
        for index, value in enumerate(values)
    )
    return format_html(
        '<svg class="sparkline" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">'
        '<polyline points="{}" fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke"/></svg>',
        points,
    )


@register.filter
def text_parts(text: str) -> list[str]:
    """A pair's two texts; any other text alone."""
    return text.split("\t", 1)


@register.filter
def percent(value: float | None, digits: int = 1) -> str:
    """0.5432 → 54.3%; a dash where there is no number."""
    return "–" if value is None else f"{float(value) * 100:.{digits}f}%"


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as people say them, rounded to what matters."""
    if seconds is None:
        return "–"
    whole = max(0, round(float(seconds)))
    if whole < 60:
        return ngettext("%(n)d 秒", "%(n)d 秒", whole) % {"n": whole}
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return (
            _("%(m)d 分 %(s)d 秒") % {"m": minutes, "s": rest}
            if minutes < 10 and rest
            else (ngettext("%(n)d 分钟", "%(n)d 分钟", minutes) % {"n": minutes})
        )
    hours, minutes = divmod(minutes, 60)
    return _("%(h)d 小时 %(m)d 分") % {"h": hours, "m": minutes}


@register.filter
def get_item(mapping: dict[Any, Any], key: Any) -> Any:
    """`mapping[key]`, or None."""
    return mapping.get(key) if mapping else None
