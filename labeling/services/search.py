"""Which texts a list shows: a search, filters from fixed lists, and pages by key.

What comes from the address is compared with the values that exist; nothing of it becomes the name of a column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from django.db.models import QuerySet

from labeling.models import Example, Project
from labeling.models.texts import Split, Status

PAGE_ROWS = 50
COUNT_LIMIT = 1_000
MAX_QUERY = 200
UNLABELLED = "none"


@dataclasses.dataclass(frozen=True)
class Filters:
    """What the list is narrowed to; "" means: not by this. `label` is an id as text, or "none"."""

    q: str = ""
    label: str = ""
    split: str = ""
    status: str = ""
    flagged: str = ""
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, str], *, label_ids: set[int]) -> Filters:
        """From an address; values that do not exist are left aside and named in `ignored`."""
        allowed = {
            "label": {UNLABELLED, *(str(pk) for pk in label_ids)},
            "split": set(Split.values),
            "status": set(Status.values),
            "flagged": {"1"},
        }
        found = {name: values.get(name, "") for name in allowed}
        ignored = tuple(name for name, value in found.items() if value and value not in allowed[name])
        found.update(dict.fromkeys(ignored, ""))
        query = values.get("q", "").replace("\x00", "").strip()[:MAX_QUERY]
        return cls(q=query, ignored=ignored, **found)

    @property
    def active(self) -> dict[str, str]:
        """Only those that narrow, as they stand in an address."""
        values = dataclasses.asdict(self)
        del values["ignored"]
        return {name: value for name, value in values.items() if value}


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of a list. `count` stops at COUNT_LIMIT + 1."""

    examples: list[Example]
    before: int | None
    after: int | None
    count: int

    @property
    def more_than_counted(self) -> bool:
        return self.count > COUNT_LIMIT


def matching(project: Project, filters: Filters) -> QuerySet[Example]:
    """The texts of `project` that `filters` let through, in no order."""
    found = project.examples.all()
    if filters.label == UNLABELLED:
        found = found.filter(label__isnull=True)
    elif filters.label:
        found = found.filter(label_id=int(filters.label))
    if filters.split:
        found = found.filter(split=filters.split)
    if filters.status:
        found = found.filter(status=filters.status)
    if filters.flagged:
        found = found.filter(flagged=True)
    if filters.q:
        found = found.filter(text__icontains=filters.q)
    return found


def page_of(
    examples: QuerySet[Example], *, after: int | None = None, before: int | None = None, n: int = PAGE_ROWS
) -> Page:
    """The `n` texts after (or before) an id, in the order in which they came."""
    if before is not None:
        rows = list(examples.filter(pk__lt=before).order_by("-pk").select_related("label")[: n + 1])
        more = len(rows) > n
        rows = rows[:n][::-1]
        first = rows[0].pk if rows and more else None
        last = rows[-1].pk if rows else None
    else:
        following = examples if after is None else examples.filter(pk__gt=after)
        rows = list(following.order_by("pk").select_related("label")[: n + 1])
        more = len(rows) > n
        rows = rows[:n]
        first = rows[0].pk if rows and after is not None else None
        last = rows[-1].pk if rows and more else None
    count = examples.order_by().values("pk")[: COUNT_LIMIT + 1].count()
    return Page(rows, first, last, count)
