"""The Celery app, thin tasks, the runner of jobs, the sweep, and the embedded broker."""

from workers.celery import app as celery_app

__all__ = ["celery_app"]
