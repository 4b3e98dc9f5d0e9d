"""The list of texts: found by search, filters and order; a page at a time, by key.

Plain SQL, made of fixed pieces, because the way to the rows matters more than anything the database's planner knows.
Three ways, tried in this order:

1. *Few candidates.* A search or a model's answer that at most CANDIDATES texts pass: those are looked at one by one.
2. *A walk in the list's order.* At most WALK texts, until the page is full: for what many texts pass.
3. *The index alone.* `example_find` holds every column that is filtered by; all texts of a project are decided in it.

So no question costs more than one pass over an index; `tests/bench/find_bench.py` has the figures.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.db import connection
from django.utils.dateparse import parse_datetime

from labeling.models import Example, Project
from labeling.models.texts import Split
from labeling.services import text_index
from labeling.services.filters import Filters
from labeling.services.search_sql import (
    COLUMNS,
    EPOCH,
    EXAMPLE,
    ORDERS,
    PREDICTION,
    Clause,
    Condition,
    Key,
    beyond,
    columns_of,
    conditions_of,
    confidence_bounds,
    read_key,
    rows_of,
    write_key,
)

PAGE_ROWS = 50
COUNT_LIMIT = 1_000
CANDIDATES = 10_000
WALK = 20_000
_WALK_STEP = 2_000


@dataclasses.dataclass(frozen=True)
class Found:
    """Keys in the list's order, from the place that was asked for. `whole`: there are no more of them."""

    keys: list[Key]
    whole: bool


@dataclasses.dataclass(frozen=True)
class Page:
    """One page. `before` and `after` lead to its neighbours. `count` is exact, or "at least" where not `counted`;
    None on later pages."""

    examples: list[Example]
    before: str
    after: str
    count: int | None
    counted: bool

    @property
    def more_than_counted(self) -> bool:
        return self.count is not None and self.count > COUNT_LIMIT


def page_of(
    project: Project,
    filters: Filters,
    *,
    after: str = "",
    before: str = "",
    n: int = PAGE_ROWS,
    learnable: bool = False,
) -> Page:
    """The `n` texts after (or before) a place, "" for the first page. A place that cannot be read is the first.

    `learnable`: without the texts of dev and test, which a model's answer must not choose."""
    search = _Search(project, filters, learnable=learnable)
    place = read_key(before or after, search.order)
    back = bool(before) and place is not None
    found = search.find(place, backwards=back, want=(n if place else COUNT_LIMIT) + 1, enough=n + 1)
    keys = found.keys[:n]
    more = len(found.keys) > n or not found.whole
    if back:
        keys.reverse()
    rows = Example.objects.select_related("label", "decided_by").in_bulk([key.example_id for key in keys])
    examples = [rows[key.example_id] for key in keys if key.example_id in rows]
    first = write_key(keys[0]) if keys and (more if back else place is not None) else ""
    last = write_key(keys[-1]) if keys and (back or more) else ""
    if place is not None:
        return Page(examples, first, last, None, False)
    return Page(examples, first, last, len(found.keys), found.whole or len(found.keys) > COUNT_LIMIT)


def iter_ids(
    project: Project,
    filters: Filters,
    *,
    step: int = 2_000,
    in_order: bool = False,
    learnable: bool = False,
) -> Iterator[list[int]]:
    """The ids of all texts that `filters` let through, in lists: for exports, jobs and the queue.

    As imported, or `in_order` of the filters. `learnable`: as in `page_of`."""
    search = _Search(
        project, filters if in_order else dataclasses.replace(filters, sort=""), learnable=learnable
    )
    place: Key | None = None
    while True:
        found = search.find(place, backwards=False, want=step, enough=step)
        if found.keys:
            yield [key.example_id for key in found.keys]
        if found.whole or not found.keys:
            return
        place = found.keys[-1]


class _Search:
    def __init__(self, project: Project, filters: Filters, *, learnable: bool = False) -> None:
        self.project = project
        self.filters = filters
        self.order = ORDERS[filters.sort]
        self.columns = columns_of(project, filters)
        if learnable:
            self.columns.append(Clause("x.split IN (%s, %s)", [Split.TRAIN, Split.POOL]))
        self.sqlite = connection.vendor == "sqlite"
        self._narrowed: tuple[set[int] | None, list[Condition], bool] | None = None

    def find(self, place: Key | None, *, backwards: bool, want: int, enough: int) -> Found:
        """Up to `want` keys after `place`, fewer than that but at least `enough` where looking further is dear."""
        candidates, conditions, dense_terms = self._candidates()
        if candidates is not None:
            return self._among(candidates, conditions, dense_terms, place, backwards, want)
        if self.order.by_id and not dense_terms:
            keys = self._scan(conditions, place, backwards, want)
            return Found(keys, len(keys) < want)
        found = self._walk(conditions, dense_terms, place, backwards, want, enough)
        if found.whole or len(found.keys) >= enough:
            return found
        return self._all(conditions, dense_terms, place, backwards, want)

    # What narrows

    def _candidates(self) -> tuple[set[int] | None, list[Condition], bool]:
        """The texts that pass all that few texts pass (None: nothing does); the conditions left; and whether the
        words are among what is left."""
        if self._narrowed is None:
            self._narrowed = self._narrow()
        return self._narrowed

    def _narrow(self) -> tuple[set[int] | None, list[Condition], bool]:
        few: set[int] | None = None
        left: list[Condition] = []
        dense_terms = False
        if self.filters.terms.words:
            ids = text_index.candidates(self.project.pk, self.filters.terms, limit=CANDIDATES)
            few, dense_terms = (set(ids), False) if ids is not None else (None, True)
        for condition in conditions_of(self.project, self.filters):
            sql = f"{condition.ids.sql} LIMIT {CANDIDATES + 1}"
            passing = {row[0] for row in rows_of(sql, condition.ids.params)} if few is None else None
            if passing is not None and len(passing) <= CANDIDATES:
                few = passing
            else:
                left.append(condition)
        return few, left, dense_terms

    # The three ways

    def _among(
        self,
        ids: set[int],
        conditions: list[Condition],
        dense_terms: bool,
        place: Key | None,
        backwards: bool,
        want: int,
    ) -> Found:
        """Every one of `ids` looked at; the order is made here."""
        terms = self.filters.terms
        read = bool(terms.words) and (dense_terms or not terms.exact)
        where = self._where(conditions)
        inside, id_params = self._inside(ids)
        value, tie, join, join_params = self._value()
        text = ", x.text" if read else ""
        sql = (
            f"SELECT {value}, {tie}, x.id{text} FROM {EXAMPLE} x{join}"  # noqa: S608
            f" WHERE {inside} AND {where.sql}{self._decided_only()}"
        )
        rows = rows_of(sql, [*join_params, *id_params, *where.params])
        keys = [self._key(row) for row in rows if not read or terms.holds(row[3])]
        falling = self.order.falling != backwards
        keys.sort(reverse=falling)
        if place is not None:
            keys = [key for key in keys if (key < place if falling else key > place)]
        return Found(keys[:want], len(keys) <= want)

    def _walk(
        self,
        conditions: list[Condition],
        dense_terms: bool,
        place: Key | None,
        backwards: bool,
        want: int,
        enough: int,
    ) -> Found:
        """At most WALK texts in the list's order. With words, in steps: each text has to be read.

        The first step says whether the rest is worth it: where hardly a text passes, the index alone is faster."""
        promising = enough * _WALK_STEP / WALK / 2
        keys, seen, last = self._walk_step(
            conditions, place, backwards, _WALK_STEP, None if dense_terms else want, read=dense_terms
        )
        if seen < _WALK_STEP:
            return Found(keys[:want], len(keys) <= want)
        if len(keys) < promising:
            return Found(keys, False)
        if not dense_terms:
            keys, seen, _last = self._walk_step(conditions, place, backwards, WALK, want, read=False)
            return Found(keys, seen < WALK and len(keys) < want)
        looked = seen
        while looked < WALK and len(keys) < enough:
            found, seen, last = self._walk_step(conditions, last, backwards, _WALK_STEP, None, read=True)
            keys += found
            looked += seen
            if seen < _WALK_STEP:
                return Found(keys[:want], len(keys) <= want)
        return Found(keys[:want], False)

    def _walk_step(
        self,
        conditions: list[Condition],
        place: Key | None,
        backwards: bool,
        size: int,
        want: int | None,
        *,
        read: bool,
    ) -> tuple[list[Key], int, Key | None]:
        """(keys that pass, how many texts were looked at or `size`, the last one looked at) of `size` texts."""
        falling = self.order.falling != backwards
        direction = "DESC" if falling else "ASC"
        where = self._where(conditions, own=False)
        if self.order.by_model:
            after = beyond("p.confidence", "p.id", place, falling)
            bounds = confidence_bounds(self.filters)
            inner = (
                f"SELECT p.confidence AS value, p.id AS tie, p.example_id FROM {PREDICTION} p"  # noqa: S608
                f" WHERE p.model_id = %s{bounds.sql}{after.sql} ORDER BY p.confidence {direction}, p.id {direction}"
                f" LIMIT {size}"
            )
            params = [self.filters.model_id, *bounds.params, *after.params]
            cross = "CROSS JOIN" if self.sqlite else "JOIN"
            on = "" if self.sqlite else " ON TRUE"
            source = f"({inner}) w {cross} {EXAMPLE} x{on}"
            joined = "x.id = w.example_id AND x.project_id = %s AND "
            value, tie, own = "w.value", "w.tie", [self.project.pk]
        else:
            column = self.order.column
            after = beyond(column, "id", place, falling)
            only = " AND decided_at IS NOT NULL" if column == "decided_at" else ""
            text = ", text" if read else ""
            inner = (
                f"SELECT id, project_id, {', '.join(COLUMNS)}{text} FROM {EXAMPLE}"  # noqa: S608
                f" WHERE project_id = %s{only}{after.sql} ORDER BY {column} {direction}, id {direction} LIMIT {size}"
            )
            params = [self.project.pk, *after.params]
            source, joined, value, tie, own = f"({inner}) x", "", f"x.{column}", "x.id", []
        text = ", x.text" if read else ""
        # SQLite goes through the walk as it comes; PostgreSQL may join in any order.
        order = "" if self.sqlite else f" ORDER BY {value} {direction}, {tie} {direction}"
        if not read:
            limit = f" LIMIT {want}" if want is not None else ""
            sql = f"SELECT {value}, {tie}, x.id FROM {source} WHERE {joined}{where.sql}{order}{limit}"  # noqa: S608
            rows = rows_of(sql, [*params, *own, *where.params])
            # How far the walk came is known only where it was not cut short: counted by the inner query's own limit.
            seen = size if want is not None and len(rows) >= want else self._size_of(inner, params, size)
            return [self._key(row) for row in rows], seen, None
        passes = f"CASE WHEN {where.sql} THEN 1 ELSE 0 END"
        sql = f"SELECT {value}, {tie}, x.id{text}, {passes} FROM {source}"  # noqa: S608
        if joined:
            sql += f" WHERE {joined.removesuffix(' AND ')}"
        rows = rows_of(f"{sql}{order}", [*where.params, *params, *own])
        keys = [self._key(row) for row in rows]
        terms = self.filters.terms
        kept = [key for key, row in zip(keys, rows, strict=True) if row[4] and terms.holds(row[3])]
        return kept, len(rows), keys[-1] if keys else None

    def _size_of(self, inner: str, params: list[Any], size: int) -> int:
        """How many rows the walk had before it: `size`, or fewer where the texts came to an end."""
        return int(rows_of(f"SELECT count(*) FROM ({inner}) w", params)[0][0])  # noqa: S608

    def _all(
        self,
        conditions: list[Condition],
        dense_terms: bool,
        place: Key | None,
        backwards: bool,
        want: int,
    ) -> Found:
        """Every text of the project, decided in the index; the words by the search index, or read where few pass."""
        if not dense_terms:
            keys = self._scan(conditions, place, backwards, want)
            return Found(keys, len(keys) < want)
        where = self._where(conditions)
        index = " INDEXED BY example_find" if self.sqlite else ""
        sql = f"SELECT x.id FROM {EXAMPLE} x{index} WHERE {where.sql} LIMIT {CANDIDATES + 1}"  # noqa: S608
        ids = {row[0] for row in rows_of(sql, where.params)}
        if len(ids) <= CANDIDATES:
            return self._among(ids, [], True, place, backwards, want)
        terms = self.filters.terms
        found = text_index.select_ids()
        words = Clause(f"x.id IN ({found})", [text_index.match(self.project.pk, terms)])
        if terms.exact:
            keys = self._scan(conditions, place, backwards, want, words)
            return Found(keys, len(keys) < want)
        keys = []
        while True:  # the index says "perhaps": read, and go on while too few are left
            some = self._scan(conditions, place, backwards, want, words)
            texts = dict(
                Example.objects.filter(pk__in=[key.example_id for key in some]).values_list("pk", "text")
            )
            keys += [key for key in some if terms.holds(texts.get(key.example_id, ""))]
            if len(some) < want or len(keys) >= want:
                return Found(keys[:want], len(some) < want and len(keys) <= want)
            place = some[-1]

    def _scan(
        self,
        conditions: list[Condition],
        place: Key | None,
        backwards: bool,
        want: int,
        words: Clause | None = None,
    ) -> list[Key]:
        """The first `want` keys of all texts that pass."""
        falling = self.order.falling != backwards
        direction = "DESC" if falling else "ASC"
        where = self._where(conditions)
        value, tie, join, join_params = self._value()
        after = beyond(value, tie, place, falling)
        more = f" AND {words.sql}" if words else ""
        index = " INDEXED BY example_find" if self.sqlite else ""
        selected = (
            f"SELECT {value} AS value, {tie} AS tie, x.id FROM {EXAMPLE} x{index}{join}"  # noqa: S608
            f" WHERE {where.sql}{self._decided_only()}{after.sql}{more}"
        )
        params = [*join_params, *where.params, *after.params, *(words.params if words else [])]
        if self.order.by_id or self.sqlite:
            sql = f"{selected} ORDER BY {value} {direction}, {tie} {direction} LIMIT {want}"
        else:
            # Kept apart from the order, which the planner would walk with a visit to each row.
            sql = (
                f"WITH found AS MATERIALIZED ({selected}) SELECT value, tie, id FROM found"  # noqa: S608
                f" ORDER BY value {direction}, tie {direction} LIMIT {want}"
            )
        return [self._key(row) for row in rows_of(sql, params)]

    # Pieces

    def _where(self, conditions: list[Condition], *, own: bool = True) -> Clause:
        parts = ["x.project_id = %s"] if own else []
        params: list[Any] = [self.project.pk] if own else []
        for clause in [*self.columns, *(condition.exists for condition in conditions)]:
            parts.append(clause.sql)
            params += clause.params
        return Clause(" AND ".join(parts) or "1 = 1", params)

    def _inside(self, ids: set[int]) -> tuple[str, list[Any]]:
        if self.sqlite:
            return "x.id IN (SELECT value FROM json_each(%s))", [json.dumps(sorted(ids))]
        return "x.id = ANY(%s)", [list(ids)]

    def _value(self) -> tuple[str, str, str, list[Any]]:
        """(the value ordered by, the tie, the join that it needs, that one's parameters)."""
        if not self.order.by_model:
            return f"x.{self.order.column}", "x.id", "", []
        join = "CROSS JOIN" if self.sqlite else "JOIN"
        on = "ON p.example_id = x.id AND p.model_id = %s"
        return "p.confidence", "p.id", f" {join} {PREDICTION} p {on}", [self.filters.model_id]

    def _decided_only(self) -> str:
        return " AND x.decided_at IS NOT NULL" if self.order.column == "decided_at" else ""

    def _key(self, row: Any) -> Key:
        value = row[0]
        if self.order.column == "decided_at":  # SQLite gives a string, or a moment without its zone
            moment = parse_datetime(value) if isinstance(value, str) else value
            value = (moment or EPOCH).replace(tzinfo=UTC)
        return Key(value, row[1], row[2])
