"""How a service starts a job: the row first, the broker after the commit.

`workers` registers the function that enqueues when Django starts; nothing here knows the broker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from labeling.models.jobs import Job, JobEvent
from labeling.models.projects import Project

LOG = logging.getLogger(__name__)

Enqueue = Callable[[int, str], None]
_enqueue: Enqueue | None = None

# Jobs that one person may start in an hour, by kind; a person at a page does not reach them.
HOURLY_LIMITS = {
    "import": 60,
    "train": 30,
    "export": 60,
    "predict_file": 60,
    "predict_pool": 60,
    "compare": 60,
    "zero_shot": 60,
    "apply_rules": 60,
    "quality": 60,
    "embed": 60,
}
UPLOADS_AN_HOUR = 120


class TooManyJobs(Exception):
    """This person started too many jobs of one kind in the last hour."""


def register_enqueue(function: Enqueue) -> None:
    """Set the function `(job_id, queue) → None` that hands a committed job to the broker."""
    global _enqueue
    _enqueue = function


def enqueue_after_commit(job: Job) -> None:
    """Hand `job` to the broker once its row is there for the worker to see.

    A broker that is down is not an error here: the sweep hands the job over again."""
    if _enqueue is None:
        raise RuntimeError("no enqueue function is registered; is 'workers' in INSTALLED_APPS?")
    transaction.on_commit(lambda: _enqueue(job.pk, job.queue), robust=True)


def create_job(*, project: Project, kind: str, queue: str, user: Any) -> Job:
    """A queued job, to be committed together with the row that says what it is about.

    Without a `user` the house itself starts it, and no rate limits it. Raises TooManyJobs."""
    if user is not None:
        check_rate(user=user, kind=kind)
    job = Job.objects.create(project=project, kind=kind, queue=queue, created_by=user)
    JobEvent.objects.create(job=job, attempt=1, type="status", data={"status": job.status})
    enqueue_after_commit(job)
    return job


def check_rate(*, user: Any, kind: str) -> None:
    """Raise TooManyJobs when `user` has started as many jobs of `kind` as an hour allows."""
    since = timezone.now() - timedelta(hours=1)
    limit = HOURLY_LIMITS[kind]
    if Job.objects.filter(created_by=user, kind=kind, created_at__gt=since).count() >= limit:
        raise TooManyJobs(_("一小时内最多启动 %(limit)d 次这类任务，请稍后再试。") % {"limit": limit})


def check_upload_rate(*, user: Any) -> None:
    """Count one more upload of `user`; raise TooManyJobs when an hour allows no more.

    Counted in the cache, since a file that is looked at and dropped leaves no row."""
    key = f"uploads:{user.pk}"
    try:
        cache.add(key, 0, 3600)
        count = cache.incr(key)
    except ValueError:  # the hour ended between the two lines
        return
    except (RedisError, OSError):
        LOG.warning("uploads are not counted: the cache does not answer", exc_info=True)
        return
    if count > UPLOADS_AN_HOUR:
        raise TooManyJobs(_("一小时内最多上传 %(limit)d 次，请稍后再试。") % {"limit": UPLOADS_AN_HOUR})
