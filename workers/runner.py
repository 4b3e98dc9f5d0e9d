"""Claim → work → record. Delivery twice is harmless: only one claim changes the row."""

from __future__ import annotations

import errno
import logging
import os
import socket
import traceback

from django.db import connection

from labeling.models import Job
from workers.context import AttemptLost, Cancelled, JobFailed, RunningJob
from workers.handlers import HANDLERS

logger = logging.getLogger(__name__)


def worker_name() -> str:
    """Host and process id, as the sweep reads them."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_job(job_id: int) -> str:
    """Run the job if it is still waiting; return what became of it, for the log.

    Every end is written with the attempt that was claimed, so a process that lost its job writes nothing."""
    job = Job.objects.select_related("project").filter(pk=job_id).first()
    if job is None:
        return "gone"
    if not job.claim(worker=worker_name()):
        return f"not claimed: {job.status}"
    try:
        HANDLERS[job.kind](RunningJob(job))
    except AttemptLost:
        return "attempt lost"
    except Cancelled:
        job.cancelled()
        return "cancelled"
    except JobFailed as failure:
        job.fail(code=failure.code, message=failure.message, hint=failure.hint, detail=failure.detail)
        return f"failed: {failure.code}"
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _fail_unexpectedly(job, error)
            raise
        job.fail(
            code="disk_full",
            message="The disk is full.",
            hint="Free some space (see the disk page) and start again.",
            detail=str(error),
        )
        return "failed: disk_full"
    except Exception as error:
        _fail_unexpectedly(job, error)
        raise
    if job.status != "succeeded":
        raise RuntimeError(f"handler of {job.kind} ended without a move of job {job.pk}")
    return "succeeded"


def _fail_unexpectedly(job: Job, error: Exception) -> None:
    """Record an error that nobody foresaw: the page shows that it happened, the log has the traceback."""
    logger.exception("job %s failed", job.pk)
    if connection.in_atomic_block:
        return
    job.fail(
        code="unexpected",
        message=f"{type(error).__name__}: {error}"[:500],
        hint="",
        detail="".join(traceback.format_exception(error)),
    )
