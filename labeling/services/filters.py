"""What the list of texts is narrowed to and ordered by, as it stands in an address.

Each value is compared with those that exist before anything is made of it; no name from an address ever becomes the
name of a column. A value that does not exist is left aside and named in `ignored`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _

from labeling.models import Label, Prediction, Project, Rule
from labeling.models.texts import Split, Status
from labeling.services.text_terms import Terms, read_terms

UNLABELLED = "none"
ANY = "any"
SORTS = {
    "imported": _("最早导入的在前"),
    "newest": _("最近导入的在前"),
    "decided": _("最近标注的在前"),
    "shortest": _("短的在前"),
    "longest": _("长的在前"),
    "unsure": _("模型没把握的在前"),
    "sure": _("模型有把握的在前"),
}
SUGGESTIONS = {"accepted": _("采纳了建议"), "overruled": _("没有采纳建议"), "none": _("没看建议就标了")}
DATED = {"decided": _("标注时间"), "imported": _("导入时间")}
_NUMBER = re.compile(r"[0-9]{1,6}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ZONE = re.compile(r"-?[0-9]{1,3}")


@dataclasses.dataclass(frozen=True)
class Choices:
    """What there is to choose from in a project: the allow-list of `Filters.of`, and what the page offers."""

    labels: list[Label]
    people: dict[int, str]
    rules: list[Rule]
    model_id: int | None

    @classmethod
    def of(cls, project: Project) -> Choices:
        """What `project` has now; `people` are its members."""
        members = project.memberships.values_list("user", flat=True)
        people = {user.pk: str(user) for user in get_user_model().objects.filter(pk__in=members)}
        return cls(
            labels=list(project.labels.filter(archived_at__isnull=True)),
            people=people,
            rules=list(project.rules.filter(applied_at__isnull=False).select_related("label")),
            model_id=newest_model(project),
        )


def newest_model(project: Project) -> int | None:
    """The number of the newest run that has predicted texts of the project."""
    rows = Prediction.objects.filter(project=project).order_by("-model_id")
    return rows.values_list("model_id", flat=True).first()


@dataclasses.dataclass(frozen=True)
class Filters:
    """Each field as it stands in the address; "" means: not by this."""

    q: str = ""
    label: str = ""
    by: str = ""
    status: str = ""
    split: str = ""
    flagged: str = ""
    commented: str = ""
    suggestion: str = ""
    predicted: str = ""
    sure_from: str = ""
    sure_to: str = ""
    length_from: str = ""
    length_to: str = ""
    dated: str = ""
    date_from: str = ""
    date_to: str = ""
    zone: str = ""
    rule: str = ""
    sort: str = ""
    model_id: int | None = None
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], choices: Choices) -> Filters:
        """From an address."""
        labels = {str(label.pk) for label in choices.labels}
        allowed: dict[str, Any] = {
            "label": {UNLABELLED, *labels},
            "by": {str(pk) for pk in choices.people},
            "status": set(Status.values),
            "split": set(Split.values),
            "flagged": {"1"},
            "commented": {"1"},
            "suggestion": set(SUGGESTIONS),
            "predicted": labels,
            "rule": {ANY, *(str(rule.pk) for rule in choices.rules)},
            "dated": set(DATED),
            "sort": set(SORTS),
        }
        found = {name: str(values.get(name) or "") for name in allowed}
        bad = [name for name, value in found.items() if value and value not in allowed[name]]
        ranges = {
            "sure_from": _percent,
            "sure_to": _percent,
            "length_from": _is_number,
            "length_to": _is_number,
            "date_from": _is_day,
            "date_to": _is_day,
            "zone": _is_zone,
        }
        for name, fits in ranges.items():
            found[name] = str(values.get(name) or "").strip()
            if found[name] and not fits(found[name]):
                bad.append(name)
        if choices.model_id is None:
            needs = ("predicted", "sure_from", "sure_to")
            bad += [name for name in needs if found[name] and name not in bad]
            if found["sort"] in ("sure", "unsure"):
                bad.append("sort")
        found.update(dict.fromkeys(bad, ""))
        if not (found["date_from"] or found["date_to"]):
            found["dated"] = found["zone"] = ""
        if found["sort"] == "imported":
            found["sort"] = ""
        query = str(values.get("q") or "").replace("\x00", " ").strip()
        if query and not read_terms(query).words:
            query = ""
        return cls(q=query[:1_000], model_id=choices.model_id, ignored=tuple(bad), **found)

    @cached_property
    def terms(self) -> Terms:
        return read_terms(self.q)

    @property
    def active(self) -> dict[str, str]:
        """All that is set, as it stands in an address; without the order it narrows."""
        values = dataclasses.asdict(self)
        del values["ignored"], values["model_id"]
        return {name: value for name, value in values.items() if value}

    @property
    def narrowing(self) -> dict[str, str]:
        """What narrows the list: `active` without its order and what only explains a date."""
        return {name: value for name, value in self.active.items() if name not in ("sort", "dated", "zone")}

    @property
    def query(self) -> str:
        """The address's query string: shareable, and what a saved view keeps."""
        return urlencode(self.active)

    def without(self, *names: str) -> str:
        """The query string without these."""
        return urlencode({name: value for name, value in self.active.items() if name not in names})

    @property
    def by_model(self) -> bool:
        """Whether a model's answer or a rule decides what is shown or in which order."""
        return bool(
            self.predicted or self.sure_from or self.sure_to or self.rule or self.sort in ("sure", "unsure")
        )

    def moments(self) -> tuple[datetime | None, datetime | None]:
        """From (inclusive) and to (exclusive): whole days in the zone of whoever asked."""
        shift = timedelta(minutes=int(self.zone or 0))

        def start(day: str, plus: int) -> datetime | None:
            if not day:
                return None
            midnight = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
            return midnight + timedelta(days=plus) - shift

        return start(self.date_from, 0), start(self.date_to, 1)


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _percent(value: str) -> bool:
    return _is_number(value) and int(value) <= 100


def _is_day(value: str) -> bool:
    try:
        return _DAY.fullmatch(value) is not None and 1970 <= date.fromisoformat(value).year <= 9000
    except ValueError:
        return False


def _is_zone(value: str) -> bool:
    """Minutes east of Greenwich."""
    return _ZONE.fullmatch(value) is not None and abs(int(value)) <= 840
