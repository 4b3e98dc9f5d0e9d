"""The Celery application. The database is the truth; a message carries only a job's id.

Start a worker with `celery -A workers.celery worker -Q train`; `workers.options` says which queues go
together.
"""

import os
from typing import Any

from celery import Celery, signals

from workers import tether

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

app = Celery("wanxing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["workers"])


@signals.worker_ready.connect
def announce_this_worker(sender: Any, **_: Any) -> None:
    """Say in the broker that this worker lives, what it listens to, and on what it can train."""
    from workers.announce import announce_forever

    announce_forever(sender.hostname, sorted(sender.app.amqp.queues.consume_from))


@signals.setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Django's LOGGING stands: a connected receiver keeps Celery from adding handlers of its own."""


@signals.worker_process_init.connect
def end_with_the_worker(**_: Any) -> None:
    """A pool process in the middle of a task would outlive a killed worker."""
    tether.die_with_parent()
