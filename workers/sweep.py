"""Finds what fell: running jobs whose heart stopped, queued jobs whose message was lost.

Runs as a process of its own every few seconds; several at once are harmless, since every move is an
UPDATE filtered on what was seen.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from django.utils import timezone

from labeling.models import Job
from labeling.models.jobs import HEART_STOPPED_AFTER, MAX_ATTEMPTS
from workers.enqueue import enqueue

logger = logging.getLogger(__name__)

SLEPT_SECONDS = 20


@dataclass
class Swept:
    requeued: int = 0
    failed: int = 0
    cancelled: int = 0
    sent_again: int = 0


def sweep_once() -> Swept:
    """Look once at all active jobs and mend what is broken; returns how many of each."""
    now = timezone.now()
    swept = Swept()
    for job in Job.objects.running():
        gone = is_gone(job.worker)
        if gone or (job.heartbeat_at or now) < now - HEART_STOPPED_AFTER:
            _bring_back(job, swept, process_is_gone=gone)
    for job in Job.objects.forgotten(now)[:500]:
        if Job.objects.queued().filter(pk=job.pk, enqueued_at=job.enqueued_at).update(enqueued_at=now):
            swept.sent_again += _send(job)
    return swept


def is_gone(worker: str) -> bool:
    """Whether `worker` ("host:process id") was a process of this host that has ended: no need to wait then."""
    host, _, process_id = worker.rpartition(":")
    if host != socket.gethostname() or not process_id.isdecimal():
        return False
    try:
        os.kill(int(process_id), 0)
        state = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii", errors="replace")
    except ProcessLookupError:
        return True
    except OSError:  # another user's process, or a system without /proc
        return False
    return state.rpartition(")")[2].split()[0] == "Z"  # ended; nobody has collected it yet


def _bring_back(job: Job, swept: Swept, *, process_is_gone: bool) -> None:
    """To the queue as the next attempt; or cancelled if that was wanted; or failed after too many tries."""
    if job.cancel_requested_at:
        swept.cancelled += job.cancelled()
        return
    if job.attempt >= MAX_ATTEMPTS:
        swept.failed += job.fail(
            code="worker_lost",
            message=f"The worker stopped {MAX_ATTEMPTS} times while running this job.",
            hint="Memory may be short: choose a smaller batch or backbone, then start again.",
        )
        return
    if job.requeue(process_is_gone=process_is_gone):
        logger.warning("job %s of %s brought back, attempt %s", job.pk, job.worker, job.attempt)
        swept.requeued += 1
        _send(job)


def _send(job: Job) -> int:
    """Hand the job to the broker; a broker that is down is tried again at a later sweep."""
    try:
        enqueue(job.pk, job.queue)
    except Exception as error:  # kombu wraps every transport's own errors in several classes
        logger.warning("broker does not take job %s: %s", job.pk, error)
        return 0
    return 1


def sweep_forever(*, every_seconds: float) -> None:
    """Sweep until the process is ended.

    After the machine slept all hearts look stopped, so one round is left out for them to beat again."""
    last = time.time()
    while True:
        time.sleep(every_seconds)
        slept = time.time() - last > every_seconds + SLEPT_SECONDS
        last = time.time()
        if slept:
            continue
        try:
            sweep_once()
        except Exception:
            logger.exception("sweep failed; the next one is in %s s", every_seconds)
