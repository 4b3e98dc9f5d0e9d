"""How far the model's guesses have come, and how sure it is of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils.translation import gettext_lazy as _

from labeling.models import Job, Project
from labeling.models.jobs import JobStatus
from labeling.services import scores
from training.services import prelabelling

# From here on the likeliest label counts as sure, as likely; below as unsure.
SURE, LIKELY = 0.8, 0.5
TITLES = (_("很有把握（80% 以上）"), _("比较像（50%–80%）"), _("拿不准"))


@dataclass(frozen=True)
class Level:
    """`n` of the texts, a `share` of all."""

    title: Any
    n: int
    share: float


@dataclass(frozen=True)
class Standing:
    """What the page shows; `held_out` is accuracy on `n_held_out` texts labelled without a suggestion in view."""

    job: Job | None
    active: bool
    failed: bool
    n_texts: int
    levels: tuple[Level, ...]
    held_out: float | None
    n_held_out: int
    stale: bool


def standing(project: Project) -> Standing:
    """Where a project's guesses stand."""
    state = prelabelling.state_of(project)
    status = state.job.status if state.job else ""
    return Standing(
        job=state.job,
        active=status in (JobStatus.QUEUED, JobStatus.RUNNING),
        failed=status == JobStatus.FAILED,
        n_texts=state.n_texts,
        levels=_levels(project.pk) if state.n_texts else (),
        held_out=state.held_out,
        n_held_out=state.n_held_out,
        stale=state.stale,
    )


def _levels(project_id: int) -> tuple[Level, ...]:
    found = scores.read(project_id, prelabelling.SOURCE)
    if found is None or not len(found):
        return ()
    likeliest = found.proba.max(axis=1).astype(np.float32)
    counts = [
        (likeliest >= SURE).sum(),
        ((likeliest >= LIKELY) & (likeliest < SURE)).sum(),
        (likeliest < LIKELY).sum(),
    ]
    return tuple(Level(title, int(n), float(n) / len(found)) for title, n in zip(TITLES, counts, strict=True))
