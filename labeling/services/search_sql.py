"""The pieces of SQL by which texts are found, and the places in their orders. Nothing here comes from a client but values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from labeling.models import Example, ExampleLabel, Prediction, Project, WeakLabel
from labeling.models.projects import Task
from labeling.services.filters import ANY, UNLABELLED, Filters

EXAMPLE = Example._meta.db_table
PREDICTION = Prediction._meta.db_table
_EXAMPLE_LABEL = ExampleLabel._meta.db_table
_WEAK = WeakLabel._meta.db_table
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# All of them stand in the index `example_find`.
COLUMNS = ("status", "split", "label_id", "decided_by_id", "flagged", "suggestion", "n_comments", "length",
           "decided_at", "created_at")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Order:
    """`column` of the text (or "confidence" of its prediction), then its id; both in one direction."""

    column: str
    falling: bool = False

    @property
    def by_id(self) -> bool:
        return self.column == "id"

    @property
    def by_model(self) -> bool:
        return self.column == "confidence"


ORDERS = {
    "": Order("id"),
    "newest": Order("id", falling=True),
    "decided": Order("decided_at", falling=True),
    "shortest": Order("length"),
    "longest": Order("length", falling=True),
    "unsure": Order("confidence"),
    "sure": Order("confidence", falling=True),
}


@dataclasses.dataclass(frozen=True, order=True)
class Key:
    """A text's place in an order: the value ordered by, what divides equal ones, and the text."""

    value: Any
    tie: int
    example_id: int = dataclasses.field(compare=False, default=0)


@dataclasses.dataclass
class Clause:
    """SQL about the text `x`, with its parameters."""

    sql: str
    params: list[Any]


@dataclasses.dataclass
class Condition:
    """What another table says of a text: which ids pass (`ids`), and whether one text does (`exists`)."""

    ids: Clause
    exists: Clause


def write_key(key: Key) -> str:
    """A place for an address."""
    value = key.value
    if isinstance(value, datetime):
        value = (value - EPOCH) // timedelta(microseconds=1)
    return f"{value!r}~{key.tie}"


def read_key(text: str, order: Order) -> Key | None:
    """The place that `write_key` wrote, or None."""
    value, _, tie = text.partition("~")
    try:
        number = float(value) if order.by_model else int(value)
        if len(text) > 60 or not 0 <= int(tie) < 2**63 or not abs(number) < 2**62:
            return None
        if order.column == "decided_at":
            return Key(EPOCH + timedelta(microseconds=number), int(tie))
    except (ValueError, OverflowError):
        return None
    return Key(number, int(tie))


def rows_of(sql: str, params: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def _moment(value: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(value)


def beyond(value: str, tie: str, place: Key | None, falling: bool) -> Clause:
    """The part of a list that stands after `place`; `value` and `tie` are columns of our own naming."""
    if place is None:
        return Clause("", [])
    sign = "<" if falling else ">"
    if value == tie:
        return Clause(f" AND {value} {sign} %s", [place.tie])
    at = _moment(place.value) if isinstance(place.value, datetime) else place.value
    return Clause(f" AND ({value}, {tie}) {sign} (%s, %s)", [at, place.tie])


def columns_of(project: Project, filters: Filters) -> list[Clause]:
    """The conditions on the text's own columns, all of them in `example_find`."""
    found: list[Clause] = []

    def add(sql: str, *params: Any) -> None:
        found.append(Clause(sql, list(params)))

    if filters.label == UNLABELLED:
        add("x.label_id IS NULL")
    elif filters.label and project.task != Task.MULTI_LABEL:
        add("x.label_id = %s", int(filters.label))
    if filters.by:
        add("x.decided_by_id = %s", int(filters.by))
    if filters.status:
        add("x.status = %s", filters.status)
    if filters.split:
        add("x.split = %s", filters.split)
    if filters.flagged:
        add("x.flagged = %s", True)
    if filters.commented:
        add("x.n_comments > 0")
    if filters.suggestion == "none":
        add("x.suggestion = '' AND x.status = 'labelled'")
    elif filters.suggestion:
        add("x.suggestion = %s", filters.suggestion)
    if filters.length_from:
        add("x.length >= %s", int(filters.length_from))
    if filters.length_to:
        add("x.length <= %s", int(filters.length_to))
    start, end = filters.moments()
    column = "x.created_at" if filters.dated == "imported" else "x.decided_at"
    if start:
        add(f"{column} >= %s", _moment(start))
    if end:
        add(f"{column} < %s", _moment(end))
    return found


def confidence_bounds(filters: Filters) -> Clause:
    sql = ""
    params: list[Any] = []
    if filters.sure_from:
        sql, params = sql + " AND p.confidence >= %s", [*params, int(filters.sure_from) / 100]
    if filters.sure_to:
        sql, params = sql + " AND p.confidence <= %s", [*params, int(filters.sure_to) / 100]
    return Clause(sql, params)


def conditions_of(project: Project, filters: Filters) -> list[Condition]:
    """The conditions that other tables decide."""
    found = []
    if filters.predicted or filters.sure_from or filters.sure_to:
        bounds = confidence_bounds(filters)
        sql, params = f" WHERE p.model_id = %s{bounds.sql}", [filters.model_id, *bounds.params]
        if filters.predicted:
            sql, params = sql + " AND p.label_id = %s", [*params, int(filters.predicted)]
        found.append(_condition(f"{PREDICTION} p{sql}", "p.example_id", params))
    if filters.rule == ANY:
        source = f"{_WEAK} v WHERE v.project_id = %s"
        found.append(_condition(source, "v.example_id", [project.pk], own=f"{_WEAK} v WHERE 1 = 1"))
    elif filters.rule:
        found.append(_condition(f"{_WEAK} v WHERE v.rule_id = %s", "v.example_id", [int(filters.rule)]))
    if filters.label not in ("", UNLABELLED) and project.task == Task.MULTI_LABEL:
        source = f"{_EXAMPLE_LABEL} m WHERE m.label_id = %s"
        found.append(_condition(source, "m.example_id", [int(filters.label)]))
    return found


def _condition(source: str, column: str, params: list[Any], *, own: str = "") -> Condition:
    """`own`: what the single text is asked, where `source` holds more than it needs."""
    return Condition(
        Clause(f"SELECT {column} FROM {source}", params),  # noqa: S608
        Clause(f"EXISTS (SELECT 1 FROM {own or source} AND {column} = x.id)", [] if own else params),  # noqa: S608
    )
