"""The one door from the services to the broker."""

from __future__ import annotations

from workers.celery import app


def enqueue(job_id: int, queue: str) -> None:
    """Send the id of a committed job to `queue`. Delivery twice is harmless: the job is claimed in the database."""
    app.send_task("workers.run_job", args=[job_id], queue=queue, retry=False)
