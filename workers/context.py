"""What a handler holds while it works on a job: the claim, its heart, its progress, its stop sign."""

from __future__ import annotations

import logging
import time
from typing import Any

from labeling.models import Job
from labeling.models.jobs import HEARTBEAT_SECONDS

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.7
LOOK_SECONDS = 0.5


class AttemptLost(Exception):
    """The job is no longer this attempt's: somebody else has it, write nothing more."""


class Cancelled(Exception):
    """The user asked for a stop, and the work has stopped."""


class JobFailed(Exception):
    """The work failed in a way that has a name. `message` and `hint` are for people, `detail` for the fold."""

    def __init__(self, *, code: str, message: str, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.detail = detail


class RunningJob:
    """A claimed job. `report` writes progress at most every 0.7 s and is the heartbeat too."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._pending: dict[str, Any] = {}
        self._written_at = 0.0
        self._looked_at = 0.0
        self._wanted = True

    def report(
        self,
        *,
        stage: str | None = None,
        step: int | None = None,
        total: int | None = None,
        eta_seconds: float | None = None,
    ) -> None:
        """Tell how far the work is. A new stage is written at once and appended to the events.

        Raises AttemptLost when the job has been taken away."""
        if stage is not None and stage != self.job.stage:
            self._pending = {"stage": stage, "step": 0, "total": 0, "eta_seconds": None}
            self.job.record("stage", stage=stage)
            self._written_at = 0.0
        if step is not None:
            self._pending |= {"step": step, "eta_seconds": eta_seconds}
        if total is not None:
            self._pending["total"] = total
        self.keep_alive()

    def keep_alive(self) -> None:
        """Write what is due: progress when there is some, else the bare heartbeat. Raises AttemptLost."""
        due = PROGRESS_SECONDS if self._pending else HEARTBEAT_SECONDS
        now = time.monotonic()
        if now - self._written_at < due:
            return
        self._written_at = now
        pending, self._pending = self._pending, {}
        if not self.job.beat(**pending):
            raise AttemptLost(f"job {self.job.pk} attempt {self.job.attempt}")

    def should_stop(self) -> bool:
        """Whether to stop, looked up at most twice a second. Also keeps the heart beating."""
        now = time.monotonic()
        if self._wanted and now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._wanted = self.job.still_wanted()
        if self._wanted:
            self.keep_alive()
        return not self._wanted

    def stopped(self) -> Exception:
        """The right exception for having stopped: Cancelled by the user, or AttemptLost."""
        self.job.refresh_from_db(fields=["status", "attempt", "cancel_requested_at"])
        return Cancelled() if self.job.cancel_requested_at else AttemptLost()
