"""Leases: two people never hold the same text, unless the project asks for several opinions of each.

A lease is a row, and the database's unique constraints decide every race: (text, slot) and (text, person). What is
read before only saves work. SQLite has one writer, so the write is one short transaction; PostgreSQL lets several
insert at once, and the second of two waits for the first and then finds its row (ON CONFLICT DO NOTHING).

Time is the database's: all web processes of all hosts compare with one clock. Where that clock jumps forward, leases
end early: somebody else may get the text, the first holder's page is told at its next renewal, and both decisions
are kept. Where it jumps back, a lease that would last longer than any new one counts as one that has run out.
Nothing else depends on time: a decision never asks for a lease.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from labeling.models import Example, Lease, Project
from labeling.models.texts import Status
from labeling.services import turns

LEASE_SECONDS = 300
RENEW_SECONDS = 60
CLOCK_SLACK_SECONDS = 5  # two requests read the clock at slightly different moments
SERVED_STATUSES = (Status.OPEN, Status.SKIPPED)


@dataclasses.dataclass(frozen=True)
class Acquired:
    """Ids of texts now held by the person, in the order asked for, and how many others hold in full."""

    held: list[int]
    held_by_others: int = 0


@dataclasses.dataclass(frozen=True)
class Renewed:
    """Ids that the person still holds, and those that are decided or somebody else's by now."""

    held: list[int]
    lost: list[int]


@dataclasses.dataclass
class _Places:
    """The places at some texts: slots that others hold or that are used up, own leases, texts done with."""

    taken: dict[int, set[int]]
    mine: set[int]
    done: set[int]

    def free(self, example_id: int, overlap: int) -> int | None:
        others = self.taken.get(example_id, ())
        return next((slot for slot in range(overlap) if slot not in others), None)


def acquire(*, project: Project, user: Any, example_ids: Sequence[int], n: int, page: str = "") -> Acquired:
    """Hold the first `n` of `example_ids` that have a free place for LEASE_SECONDS.

    Own leases are renewed and come to this `page` (a tab). Texts that the person is done with, or that were decided
    since they were read, are passed over."""
    now = database_now()
    places = _read(example_ids, user, now)
    wanted: list[int] = []
    full = 0
    for example_id in example_ids:
        if len(wanted) >= n:
            break
        if example_id in places.done:
            continue
        if example_id in places.mine or places.free(example_id, project.overlap) is not None:
            wanted.append(example_id)
        else:
            full += 1
    if not wanted:
        return Acquired([], full)
    missing = [pk for pk in wanted if pk not in places.mine]
    # A transaction each: whoever waits for a row here holds none that was taken in an earlier pass.
    for attempt in range(project.overlap):
        with turns.write():
            if attempt == 0:
                _renew(user, [pk for pk in wanted if pk in places.mine], page, now)
            if missing:
                _drop_expired(missing, now)
                _insert(project, user, missing, places, page, now)
        # Of two who wanted one place, the other's row shows now, with the slot that it took.
        places = _read(wanted, user, now)
        missing = [
            pk for pk in missing if pk not in places.mine and places.free(pk, project.overlap) is not None
        ]
        if not missing:
            break
    # Decided between the reading of the list and this moment: nobody needs to hold them.
    served = Example.objects.filter(pk__in=places.mine, status__in=SERVED_STATUSES)
    held = places.mine & set(served.values_list("pk", flat=True))
    if decided := places.mine - held:
        _held().filter(user=user, example_id__in=decided).delete()
    found = [pk for pk in wanted if pk in held]
    return Acquired(found, full + len(wanted) - len(found))


def renew(*, project: Project, user: Any, example_ids: Sequence[int], page: str = "") -> Renewed:
    """Hold `example_ids` for another LEASE_SECONDS; those that ran out are taken again where there is a place."""
    ids = list(dict.fromkeys(example_ids))
    known = list(project.examples.filter(pk__in=ids).values_list("pk", flat=True))
    held = set(acquire(project=project, user=user, example_ids=known, n=len(known), page=page).held)
    return Renewed([pk for pk in ids if pk in held], [pk for pk in ids if pk not in held])


def release(*, project: Project, user: Any, example_ids: Iterable[int], page: str = "") -> int:
    """Give back what this `page` holds of `example_ids`; how many. What another tab took over stays."""
    return _held().filter(project=project, user=user, example_id__in=list(example_ids), page=page).delete()[0]


def release_all(*, user: Any, project: Project | None = None) -> int:
    """Give back all that `user` holds, in one project or everywhere: on signing out, or when they are taken out."""
    rows = _held().filter(user=user)
    return (rows if project is None else rows.filter(project=project)).delete()[0]


def done_by(*, project: Project, user: Any) -> QuerySet[Lease, Any]:
    """Ids of the texts that `user` is done with while others may not be: decided, or passed over.

    For `exclude(pk__in=…)`: both databases then walk the queue's index and look each text up in a table made once.
    NOT EXISTS took PostgreSQL seconds as long as its statistics did not know of a person's first thousands."""
    used = Lease.objects.filter(user=user, project=project, expires_at__isnull=True)
    return used.values_list("example_id", flat=True)


def passed_by(user: Any) -> Exists:
    """Whether `user` skipped a text that is still open for others (where several people decide each)."""
    return Exists(
        Lease.objects.filter(example=OuterRef("pk"), user=user, expires_at__isnull=True, slot__isnull=True)
    )


def settle(
    *, example: Example, user: Any, overlap: int, decided: bool, passed: bool = False, again: bool = False
) -> None:
    """Bring the places at `example` in line with what `user` has just done; inside that transaction.

    `decided`: a label of theirs stands; `passed`: only a skip of theirs does; `again`: they took a decision back and
    have the text before them, so they hold it once more where there is a place."""
    if example.status not in SERVED_STATUSES:
        again = False
        if overlap == 1:
            Lease.objects.filter(example=example).delete()
            return
        _held().filter(example=example).exclude(user=user).delete()
    if overlap == 1 and (decided or passed):
        Lease.objects.filter(example=example, user=user).delete()
        return
    if not (decided or passed or again):
        Lease.objects.filter(example=example, user=user).delete()
        return
    now = database_now()
    places = _read([example.pk], user, now)
    row = Lease.objects.filter(example=example, user=user).first() or Lease()
    slot = row.slot
    if passed and not decided:
        slot = None
    elif slot is None:
        slot = places.free(example.pk, overlap)
    until = now + timedelta(seconds=LEASE_SECONDS) if again else None
    if row.pk and row.slot == slot:
        row.expires_at = until
        row.save(update_fields=["expires_at"])
        return
    if row.pk:
        row.delete()
    if again and slot is None:
        return
    row = Lease(project_id=example.project_id, example=example, user=user, slot=slot, expires_at=until)
    _drop_expired([example.pk], now)
    # Somebody who reads the queue may take the place at this moment: then this person stands beside the places.
    Lease.objects.bulk_create([row], ignore_conflicts=True)
    if not again and not Lease.objects.filter(example=example, user=user).exists():
        row.slot = None
        Lease.objects.bulk_create([row], ignore_conflicts=True)


def align(*, project: Project, opinions: dict[int, tuple[set[int], set[int]]]) -> None:
    """Make the used places at some texts what `opinions` say: {text id: (who has decided, who passed it over)}.

    What is held stays held as far as there are places. Where one person decides each text no place is kept."""
    rows = Lease.objects.filter(example_id__in=list(opinions))
    if project.overlap == 1:
        rows.filter(expires_at__isnull=True).delete()
        rows.exclude(slot=0).delete()
        return
    held: dict[int, list[Lease]] = {}
    for row in rows.filter(expires_at__isnull=False).order_by("slot"):
        held.setdefault(row.example_id, []).append(row)
    rows.delete()
    new = []
    for example_id, (decided, passed) in opinions.items():
        slots = iter(range(project.overlap))
        for user_id in sorted(decided):
            new.append(Lease(project=project, example_id=example_id, user_id=user_id, slot=next(slots, None)))
        new += [
            Lease(project=project, example_id=example_id, user_id=user_id) for user_id in passed - decided
        ]
        for row in held.get(example_id, ()):
            if row.user_id not in decided | passed and (slot := next(slots, None)) is not None:
                row.pk, row.slot = None, slot
                new.append(row)
    Lease.objects.bulk_create(new, ignore_conflicts=True)


def close(*, project: Project, example_ids: Iterable[int]) -> None:
    """These texts are decided: nobody holds them any more. Where several decide each text, the places of those who
    have decided stay used."""
    rows = Lease.objects.filter(example_id__in=list(example_ids))
    (rows if project.overlap == 1 else rows.filter(expires_at__isnull=False)).delete()


def forget(*, example_ids: Iterable[int]) -> None:
    """Every place at these texts is free again: their label was taken away and all may decide anew."""
    Lease.objects.filter(example_id__in=list(example_ids)).delete()


def database_now() -> datetime:
    """The database's time. SQLite lives in this process, so there it is the machine's."""
    if connection.vendor == "sqlite":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def _held() -> QuerySet[Lease]:
    return Lease.objects.filter(expires_at__isnull=False)


def _runs(expires_at: datetime, now: datetime) -> bool:
    """Whether a lease still holds. One that would outlast a new one dates from before a clock jumped back."""
    return now < expires_at <= now + timedelta(seconds=LEASE_SECONDS + CLOCK_SLACK_SECONDS)


def _expired(now: datetime) -> Q:
    latest = now + timedelta(seconds=LEASE_SECONDS + CLOCK_SLACK_SECONDS)
    return Q(expires_at__lte=now) | Q(expires_at__gt=latest)


def _read(example_ids: Iterable[int], user: Any, now: datetime) -> _Places:
    places = _Places({}, set(), set())
    rows = Lease.objects.filter(example_id__in=list(example_ids))
    for example_id, slot, holder, expires_at in rows.values_list("example_id", "slot", "user", "expires_at"):
        if holder == user.pk:
            if expires_at is None:
                places.done.add(example_id)
            elif _runs(expires_at, now):
                places.mine.add(example_id)
        elif slot is not None and (expires_at is None or _runs(expires_at, now)):
            places.taken.setdefault(example_id, set()).add(slot)
    return places


def _renew(user: Any, example_ids: list[int], page: str, now: datetime) -> None:
    if example_ids:
        _held().filter(user=user, example_id__in=example_ids).update(
            expires_at=now + timedelta(seconds=LEASE_SECONDS), page=page
        )


def _drop_expired(example_ids: list[int], now: datetime) -> None:
    """Remove what has run out. A row that another writer is at is left to it, so that nobody waits here."""
    rows = _held().filter(_expired(now), example_id__in=example_ids)
    ids = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    if ids:
        Lease.objects.filter(pk__in=ids).delete()


def _insert(
    project: Project, user: Any, example_ids: list[int], places: _Places, page: str, now: datetime
) -> None:
    """Take the lowest free place at each text. Sorted, so that two writers never wait for each other in a ring."""
    until = now + timedelta(seconds=LEASE_SECONDS)
    rows = [
        Lease(project=project, example_id=pk, user=user, slot=slot, page=page, expires_at=until)
        for pk in sorted(example_ids)
        if (slot := places.free(pk, project.overlap)) is not None
    ]
    Lease.objects.bulk_create(rows, ignore_conflicts=True)
