"""Celery's settings, as Django settings named CELERY_*; and which queues one worker process serves."""

from dataclasses import dataclass
from typing import Any

from workers import broker

# Redelivery is by the sweep, which knows the job's state and heartbeat; a task that outlives the
# visibility timeout would be started a second time, so the timeout is longer than any job.
VISIBILITY_TIMEOUT_SECONDS = 30 * 24 * 3600


def celery_settings(server: broker.BrokerAddress) -> dict[str, Any]:
    """The CELERY_* settings for the broker at `server`."""
    transport = {
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        # Without these two a dead worker's messages come back only after about 100 s.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }
    return {
        "CELERY_BROKER_URL": server.for_celery(broker.QUEUES),
        "CELERY_RESULT_BACKEND": server.for_celery(broker.RESULTS),
        "CELERY_BROKER_TRANSPORT_OPTIONS": transport,
        "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": {"visibility_timeout": VISIBILITY_TIMEOUT_SECONDS},
        "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "CELERY_BROKER_CONNECTION_TIMEOUT": 4,
        # A page does not wait for a broker that is down: the sweep hands the job over later.
        "CELERY_TASK_PUBLISH_RETRY_POLICY": {
            "max_retries": 2,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
        "CELERY_TASK_ACKS_LATE": True,
        "CELERY_TASK_REJECT_ON_WORKER_LOST": False,  # the sweep decides what a lost worker means
        "CELERY_TASK_CREATE_MISSING_QUEUES": True,
        "CELERY_TASK_DEFAULT_QUEUE": "data",
        "CELERY_TASK_SERIALIZER": "json",
        "CELERY_RESULT_SERIALIZER": "json",
        "CELERY_ACCEPT_CONTENT": ["json"],
        "CELERY_RESULT_EXPIRES": 600,
        "CELERY_TASK_IGNORE_RESULT": False,
        "CELERY_WORKER_PREFETCH_MULTIPLIER": 1,
        "CELERY_WORKER_CONCURRENCY": 1,
        "CELERY_WORKER_HIJACK_ROOT_LOGGER": False,
        "CELERY_WORKER_REDIRECT_STDOUTS": False,
        "CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS": False,
        "CELERY_WORKER_SEND_TASK_EVENTS": False,
        "CELERY_ENABLE_UTC": True,
        "CELERY_TIMEZONE": "UTC",
    }


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """One worker process: its name, queues in order, and how it yields to the others.

    `max_memory_mb`: the prefork child is replaced after the task in which it passed this size.
    """

    name: str
    queues: tuple[str, ...]
    niceness: int
    max_memory_mb: int

    def command(self, python: str) -> list[str]:
        """The command line of this worker."""
        return [
            *(python, "-m", "celery", "-A", "workers.celery", "worker"),
            *("-Q", ",".join(self.queues), "-n", f"{self.name}@%h"),
            *("-c", "1", "-P", "prefork"),
            *("--max-memory-per-child", str(self.max_memory_mb * 1024)),
            *("--without-gossip", "--without-mingle", "-l", "INFO"),
        ]


WORKER_GROUPS = (
    WorkerGroup("train", ("train",), niceness=10, max_memory_mb=512),
    WorkerGroup("data", ("data", "export"), niceness=0, max_memory_mb=1024),
    WorkerGroup("live", ("live",), niceness=0, max_memory_mb=4096),
    WorkerGroup("bulk", ("bulk",), niceness=5, max_memory_mb=2048),
    WorkerGroup("probe", ("probe",), niceness=5, max_memory_mb=1536),
)
GPU_GROUP = WorkerGroup("gpu", ("gpu",), niceness=0, max_memory_mb=512)
