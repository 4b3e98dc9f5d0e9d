"""The Celery application. The database is the truth; a message carries only a job's id.

Start a worker with `celery -A workers.celery worker -Q train`; `workers.options` says which queues go
together.
"""

import os
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

app = Celery("wanxing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["workers"])


@signals.setup_logging.connect
def keep_django_logging(**_: Any) -> None:
    """Django's LOGGING stands: a connected receiver keeps Celery from adding handlers of its own."""
