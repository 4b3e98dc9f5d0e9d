"""The next texts for one person.

Order: random (the order fixed at import), as imported, shortest first (of the next few thousand at random), or as a
model ranked them (`labeling.services.queue_orders`). Every split is drawn from: the texts that measure a model need a
person's label too, and get it without a suggestion. Open texts come first; then those that others skipped.

A text that is handed out is leased (`labeling.services.leases`): two people never hold the same one, unless the
project asks several people about each text.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from labeling.models import Annotation, Example, Project
from labeling.models.annotations import Action
from labeling.models.texts import Split, Status
from labeling.services import leases, queue_orders

ORDERS = {
    **queue_orders.ORDERS,
    "random": _("随机"),
    "imported": _("按导入顺序"),
    "shortest": _("短的在前"),
}
PREFETCH = 8
SHORTEST_OF = 5_000
_SHORTEST = 512
_CHUNK = 64
_SCAN_LIMIT = 2000


@dataclasses.dataclass(frozen=True)
class Served:
    """The next texts, and how many open ones were passed over because somebody else holds them."""

    texts: list[Example]
    held_by_others: int = 0


def next_texts(
    *,
    project: Project,
    user: Any,
    n: int = PREFETCH,
    order: str | None = None,
    have: frozenset[int] = frozenset(),
    revisit_skipped: bool = False,
    page: str = "",
    among: Iterable[list[int]] | None = None,
) -> Served:
    """Up to `n` texts for `user`, without those that the page already holds (`have`), now leased to them.

    `page` names the tab, so that only it gives back what it holds. `revisit_skipped` serves what `user` skipped
    instead; `among` only texts of these lists of ids, in their order. An unknown `order` is the project's."""
    order = order if order in ORDERS else project.queue_order
    if revisit_skipped:
        return Served(list(islice(_without(have, skipped_by(project, user).order_by("order", "id")), n)))
    texts: list[Example] = []
    held = 0
    found = _candidates(project, user, order) if among is None else _among(open_to(project, user), among)
    candidates = _without(have, found)
    for chunk in _chunks(islice(candidates, _SCAN_LIMIT), _CHUNK):
        by_id = {example.pk: example for example in chunk}
        free = leases.acquire(
            project=project, user=user, example_ids=list(by_id), n=n - len(texts), page=page
        )
        texts += [by_id[pk] for pk in free.held]
        held += free.held_by_others
        if len(texts) >= n:
            break
    return Served(texts, held)


def open_to(project: Project, user: Any) -> QuerySet[Example]:
    """Open texts that `user` has not had yet: every order of the queue begins here."""
    opened = project.examples.filter(status=Status.OPEN)
    # Where one person decides each text, what they decided is not open.
    return (
        opened if project.overlap == 1 else opened.exclude(pk__in=leases.done_by(project=project, user=user))
    )


def undecided(project: Project, user: Any) -> QuerySet[Example]:
    """Texts that `user` could still decide: open, not decided by them, and not skipped by them."""
    return project.examples.filter(status__in=[Status.OPEN, Status.SKIPPED]).exclude(
        Q(pk__in=leases.done_by(project=project, user=user))
        | Q(status=Status.SKIPPED, pk__in=skipped_by(project, user).values("pk"))
    )


def skipped_by(project: Project, user: Any) -> QuerySet[Example]:
    """Texts that wait for a decision of `user` and that they skipped."""
    skipped = project.examples.filter(status=Status.SKIPPED).filter(_own_skip(user))
    if project.overlap == 1:
        return skipped
    passed = project.examples.filter(status=Status.OPEN).filter(leases.passed_by(user))
    return project.examples.filter(Q(pk__in=skipped.values("pk")) | Q(pk__in=passed.values("pk")))


def _own_skip(user: Any) -> Exists:
    return Exists(
        Annotation.objects.filter(
            example=OuterRef("pk"), user=user, action=Action.SKIP, undone_by__isnull=True
        )
    )


def _candidates(project: Project, user: Any, order: str) -> Iterator[Example]:
    """Open texts in `order`, then those that only others skipped."""
    opened = open_to(project, user)
    if order == "imported":
        # One index range per split, merged: a scan by id alone would walk over all that is decided.
        ranges = [
            _keyset(opened.filter(split=split).order_by("id"), lambda last: {"id__gt": last.pk})
            for split in Split.values
        ]
        yield from heapq.merge(*ranges, key=lambda example: example.pk)
    elif order == "shortest":
        # Of the next few thousand: sorting 930,000 texts by length took ten seconds a page.
        window = opened.order_by("order", "id").values("pk")[:SHORTEST_OF]
        yield from (opened.filter(pk__in=window).order_by("length", "id")[:_SHORTEST])
    elif order in queue_orders.ORDERS:
        yield from queue_orders.candidates(project, order, opened, _by_order(opened))
    else:
        yield from _by_order(opened)
    skipped = project.examples.filter(status=Status.SKIPPED)
    if skipped.exists():
        yield from _by_order(skipped.exclude(_own_skip(user)))


def _among(opened: QuerySet[Example], lists: Iterable[list[int]]) -> Iterator[Example]:
    for ids in lists:
        by_id = {example.pk: example for example in opened.filter(pk__in=ids)}
        yield from (by_id[pk] for pk in ids if pk in by_id)


def _by_order(examples: QuerySet[Example]) -> Iterator[Example]:
    """`examples` by (order, id). Equal orders are finished by id before the next one begins."""
    last: Example | None = None
    while True:
        page = examples.order_by("order", "id")
        if last is not None:
            same = page.filter(order=last.order, id__gt=last.pk)[:_CHUNK]
            found = list(same)
            if len(found) < _CHUNK:
                found += page.filter(order__gt=last.order)[: _CHUNK - len(found)]
        else:
            found = list(page[:_CHUNK])
        yield from found
        if len(found) < _CHUNK:
            return
        last = found[-1]


def _keyset(examples: QuerySet[Example], after: Callable[[Example], dict[str, Any]]) -> Iterator[Example]:
    found = list(examples[:_CHUNK])
    while found:
        yield from found
        if len(found) < _CHUNK:
            return
        found = list(examples.filter(**after(found[-1]))[:_CHUNK])


def _without(have: frozenset[int], examples: Any) -> Iterator[Example]:
    return (example for example in examples if example.pk not in have)


def _chunks(examples: Iterator[Example], size: int) -> Iterator[list[Example]]:
    while chunk := list(islice(examples, size)):
        yield chunk
