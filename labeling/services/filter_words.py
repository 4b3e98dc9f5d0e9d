"""What is narrowed to, in words: one chip for each filter, with the address that takes it away."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.utils.translation import gettext as _

from labeling.models.texts import Split, Status
from labeling.services.filters import ANY, DATED, SUGGESTIONS, UNLABELLED, Choices, Filters


@dataclasses.dataclass(frozen=True)
class Chip:
    """`without`: the query string of the same list without this one. `names`: the fields that it stands for."""

    text: str
    without: str
    names: tuple[str, ...]


def chips_of(filters: Filters, choices: Choices) -> list[Chip]:
    """In the order of the form."""
    labels = {str(label.pk): label.name for label in choices.labels}
    rules = {str(rule.pk): rule_name(rule) for rule in choices.rules}
    found: list[Chip] = []

    def add(text: Any, *names: str) -> None:
        found.append(Chip(str(text), filters.without(*names), names))

    if filters.q:
        add(_("含“%(words)s”") % {"words": "” “".join(filters.terms.words)}, "q")
    if filters.label:
        add(_("没有标签") if filters.label == UNLABELLED else labels.get(filters.label), "label")
    if filters.status:
        add(Status(filters.status).label, "status")
    if filters.split:
        add(Split(filters.split).label, "split")
    if filters.by:
        add(_("%(name)s 标的") % {"name": choices.people.get(int(filters.by))}, "by")
    if filters.suggestion:
        add(SUGGESTIONS[filters.suggestion], "suggestion")
    if filters.flagged:
        add(_("已标记"), "flagged")
    if filters.commented:
        add(_("有评论"), "commented")
    if filters.predicted:
        add(_("模型认为是 %(label)s") % {"label": labels.get(filters.predicted)}, "predicted")
    if filters.sure_from or filters.sure_to:
        low, high = filters.sure_from or "0", filters.sure_to or "100"
        add(_("置信度 %(low)s%%–%(high)s%%") % {"low": low, "high": high}, "sure_from", "sure_to")
    if filters.rule:
        words = (
            _("有规则的弱标签")
            if filters.rule == ANY
            else _("规则：%(rule)s") % {"rule": rules.get(filters.rule)}
        )
        add(words, "rule")
    if filters.length_from or filters.length_to:
        low, high = filters.length_from or "0", filters.length_to or "∞"
        add(_("%(low)s–%(high)s 个字") % {"low": low, "high": high}, "length_from", "length_to")
    if filters.date_from or filters.date_to:
        kind = DATED[filters.dated or "decided"]
        add(f"{kind} {filters.date_from}–{filters.date_to}", "date_from", "date_to", "dated", "zone")
    return found


def rule_name(rule: Any) -> str:
    """A rule in one line."""
    return f"{rule.get_kind_display()} {rule.pattern}".strip() + f" → {rule.label.name}"
