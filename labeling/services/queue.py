"""The next texts for one person.

Order: random (the order fixed at import), as imported, or shortest first (of the next few thousand at random). Every split is drawn from: the texts that
measure a model need a person's label too, and get it without a suggestion. Open texts come first; then those that
others skipped. A text handed out is leased for a few minutes in the cache, so that two people rarely hold the same
one. The lease is a courtesy: without the cache the queue works on, and a decision never asks for a lease.
"""

from __future__ import annotations

import dataclasses
import heapq
import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.db.models.functions import Length
from django.utils.translation import gettext_lazy as _
from redis.exceptions import RedisError

from labeling.models import Annotation, Example, Project
from labeling.models.annotations import Action
from labeling.models.texts import Split, Status

LOG = logging.getLogger(__name__)

ORDERS = {"random": _("随机"), "imported": _("按导入顺序"), "shortest": _("短的在前")}
PREFETCH = 8
LEASE_SECONDS = 300
SHORTEST_OF = 5_000
_SHORTEST = 512
_CHUNK = 64
_SCAN_LIMIT = 2000


@dataclasses.dataclass(frozen=True)
class Served:
    """The next texts, and how many open ones were passed over because somebody else holds them."""

    texts: list[Example]
    held_by_others: int = 0


@dataclasses.dataclass(frozen=True)
class Progress:
    """`mine` counts the decisions of one person that stand; `per_label` maps label ids to labelled texts."""

    total: int
    labelled: int
    skipped: int
    mine: int
    my_skipped: int
    per_label: dict[int, int]

    @property
    def open(self) -> int:
        return self.total - self.labelled - self.skipped

    @property
    def share(self) -> float:
        return self.labelled / self.total if self.total else 0.0


def next_texts(
    *,
    project: Project,
    user: Any,
    n: int = PREFETCH,
    order: str | None = None,
    have: frozenset[int] = frozenset(),
    revisit_skipped: bool = False,
) -> Served:
    """Up to `n` texts for `user`, without those that the page already holds (`have`).

    `revisit_skipped` serves what `user` skipped instead. An unknown `order` is the project's."""
    order = order if order in ORDERS else project.queue_order
    if revisit_skipped:
        return Served(list(islice(_without(have, skipped_by(project, user).order_by("order", "id")), n)))
    texts: list[Example] = []
    held = 0
    candidates = _without(have, _candidates(project, user, order))
    for chunk in _chunks(islice(candidates, _SCAN_LIMIT), _CHUNK):
        free = _lease(project, user, chunk, n - len(texts))
        texts += free.texts
        held += free.held_by_others
        if len(texts) >= n:
            break
    return Served(texts, held)


def undecided(project: Project, user: Any) -> QuerySet[Example]:
    """Texts that `user` could still decide: without a label, and not skipped by them."""
    return project.examples.filter(status__in=[Status.OPEN, Status.SKIPPED]).exclude(
        status=Status.SKIPPED, pk__in=skipped_by(project, user).values("pk")
    )


def skipped_by(project: Project, user: Any) -> QuerySet[Example]:
    """Texts without a label that `user` skipped."""
    return project.examples.filter(status=Status.SKIPPED).filter(_own_skip(user))


def progress(*, project: Project, user: Any) -> Progress:
    """How far the project and `user` are."""
    by_status = dict(project.examples.order_by().values_list("status").annotate(Count("id")))
    per_label = dict(
        project.examples.filter(label__isnull=False).order_by().values_list("label").annotate(Count("id"))
    )
    mine = project.annotations.filter(user=user, action=Action.LABEL, undone_by__isnull=True)
    return Progress(
        total=sum(by_status.values()),
        labelled=by_status.get(Status.LABELLED, 0),
        skipped=by_status.get(Status.SKIPPED, 0),
        mine=mine.aggregate(n=Count("example", distinct=True))["n"],
        my_skipped=skipped_by(project, user).count() if by_status.get(Status.SKIPPED) else 0,
        per_label=per_label,
    )


def _own_skip(user: Any) -> Exists:
    return Exists(
        Annotation.objects.filter(
            example=OuterRef("pk"), user=user, action=Action.SKIP, undone_by__isnull=True
        )
    )


def _candidates(project: Project, user: Any, order: str) -> Iterator[Example]:
    """Open texts in `order`, then those that only others skipped."""
    opened = project.examples.filter(status=Status.OPEN)
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
        yield from (
            opened.filter(pk__in=window).annotate(length=Length("text")).order_by("length", "id")[:_SHORTEST]
        )
    else:
        yield from _by_order(opened)
    skipped = project.examples.filter(status=Status.SKIPPED)
    if skipped.exists():
        yield from _by_order(skipped.exclude(_own_skip(user)))


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


def _lease(project: Project, user: Any, examples: list[Example], n: int) -> Served:
    """The first `n` of `examples` that nobody else holds, now held by `user`."""
    keys = {example.pk: f"lease:{project.pk}:{example.pk}" for example in examples}
    free: list[Example] = []
    held = 0
    try:
        holders = cache.get_many(list(keys.values()))
        for example in examples:
            if len(free) >= n:
                break
            key = keys[example.pk]
            holder = holders.get(key)
            if holder == user.pk:
                cache.touch(key, LEASE_SECONDS)
            # `add` is one step in the cache: of two people asking at once, one gets the text.
            elif holder is not None or not cache.add(key, user.pk, LEASE_SECONDS):
                held += 1
                continue
            free.append(example)
    except (RedisError, OSError):
        LOG.warning("labelling queue: the cache does not answer; texts go out without leases", exc_info=True)
        return Served(examples[:n])
    return Served(free, held)
