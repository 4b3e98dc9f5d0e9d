"""The doors from the services to the broker."""

from __future__ import annotations

from django.conf import settings

from workers import broker
from workers.celery import app

PROBE_EXPIRES_SECONDS = 300


def enqueue(job_id: int, queue: str) -> None:
    """Send the id of a committed job to `queue`. Delivery twice is harmless: the job is claimed in the database."""
    app.send_task("workers.run_job", args=[job_id], queue=queue, retry=False, ignore_result=True)


def ask_probe(project_id: int) -> None:
    """Ask for a project's fast model to be trained. The request goes stale: the next decisions send another.

    Raises RedisError at once where the broker does not answer: Celery would try for seconds, while a page waits."""
    with settings.BROKER.client(broker.QUEUES, timeout_seconds=1) as client:
        client.ping()
    app.send_task(
        "workers.train_probe",
        args=[project_id],
        queue="probe",
        retry=False,
        expires=PROBE_EXPIRES_SECONDS,
        ignore_result=True,
    )
