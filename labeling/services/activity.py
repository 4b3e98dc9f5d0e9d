"""What each member of a project has done: how much, how fast, how often as the adjudicator, and when last."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q

from labeling.models import Annotation, Lease, Membership, Project
from labeling.models.annotations import Action, Source
from labeling.services import consensus
from labeling.services.fold import BY_HAND, DECIDING, labels_of, standing
from labeling.services.leases import LEASE_SECONDS, database_now

PACE_OF = 200
Z = 1.96


@dataclasses.dataclass(frozen=True)
class Activity:
    """One member. `texts`: texts of which a decision of theirs stands; `week`: decisions of the last seven days;
    `seconds`: median of the last PACE_OF decisions; `as_settled` of `settled` adjudicated texts they had decided as
    the adjudicator did, with its interval; `holds`: texts they hold now."""

    membership: Membership
    texts: int = 0
    week: int = 0
    seconds: float | None = None
    as_settled: int = 0
    settled: int = 0
    holds: int = 0
    last_seen: datetime | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of the share decided as the adjudicator did (E. B. Wilson, 1927)."""
        n = self.settled
        if not n:
            return None
        share = self.as_settled / n
        middle = share + Z**2 / (2 * n)
        spread = Z * ((share * (1 - share) + Z**2 / (4 * n)) / n) ** 0.5
        return max(0.0, (middle - spread) / (1 + Z**2 / n)), min(1.0, (middle + spread) / (1 + Z**2 / n))

    @property
    def share(self) -> float | None:
        return self.as_settled / self.settled if self.settled else None


def activity_of(project: Project) -> list[Activity]:
    """Every member with what they did, in the order in which they joined."""
    memberships = list(project.memberships.select_related("user").order_by("created_at"))
    now = database_now()
    decided = Q(action__in=DECIDING, undone_by__isnull=True)
    counted = {
        row["user"]: row
        for row in Annotation.objects.filter(project=project, source__in=BY_HAND)
        .order_by()
        .values("user")
        .annotate(
            texts=Count("example", distinct=True, filter=decided),
            week=Count("id", filter=decided & Q(created_at__gt=now - timedelta(days=7))),
            last=Max("created_at"),
        )
    }
    held = {
        row["user"]: row
        for row in Lease.objects.filter(project=project, expires_at__gt=now)
        .order_by()
        .values("user")
        .annotate(n=Count("id"), until=Max("expires_at"))
    }
    settled = _as_settled(project)
    result = []
    for membership in memberships:
        user = membership.user
        done: Any = counted.get(user.pk, {})
        holds: Any = held.get(user.pk, {})
        renewed = holds["until"] - timedelta(seconds=LEASE_SECONDS) if holds else None
        seen = [one for one in (user.last_login, done.get("last"), renewed) if one is not None]
        same, of = settled.get(user.pk, (0, 0))
        result.append(
            Activity(
                membership=membership,
                texts=done.get("texts", 0),
                week=done.get("week", 0),
                seconds=_pace(project, user) if done else None,
                as_settled=same,
                settled=of,
                holds=holds.get("n", 0),
                last_seen=max(seen, default=None),
            )
        )
    return result


def _pace(project: Project, user: Any) -> float | None:
    """Median seconds of the last decisions; None where no page said how long they took."""
    took = (
        Annotation.objects.filter(project=project, user=user, action__in=DECIDING)
        .order_by("-id")
        .values_list("seconds", flat=True)[:PACE_OF]
    )
    known = [seconds for seconds in took if seconds is not None]
    return statistics.median(known) if known else None


def _as_settled(project: Project) -> dict[int, tuple[int, int]]:
    """{user id: (texts decided as the adjudicator did, adjudicated texts that they had decided)}."""
    ids = Annotation.objects.filter(project=project, source=Source.ADJUDICATION).exclude(action=Action.UNDO)
    events: dict[int, list[Annotation]] = defaultdict(list)
    for event in Annotation.objects.filter(example_id__in=ids.order_by().values("example_id")).order_by("id"):
        events[event.example_id].append(event)
    present = consensus.present_labels(project)
    found: dict[int, tuple[int, int]] = {}
    for listed in events.values():
        opinions = consensus.opinions(standing(listed), present)
        if opinions.ruling is None or opinions.ruling.source != Source.ADJUDICATION:
            continue
        truth = frozenset(labels_of(opinions.ruling))
        for user_id, vote in opinions.votes.items():
            same, of = found.get(user_id, (0, 0))
            found[user_id] = (same + (frozenset(labels_of(vote)) == truth), of + 1)
    return found
