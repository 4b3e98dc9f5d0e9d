"""A question to the live worker whose answer a page waits for."""

from __future__ import annotations

from celery.exceptions import TimeoutError as CeleryTimeout
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from training.services.live import LiveFailed, LiveTimeout, LiveUnavailable
from workers import broker
from workers.celery import app


def ask(model_folder: str, texts: list[str], timeout_seconds: float) -> list[list[float]]:
    """Probabilities of `texts` by the model in `model_folder`, from the live queue.

    The question expires with the wait, so an answer that nobody awaits is never computed.
    Raises LiveTimeout, LiveUnavailable, LiveFailed."""
    try:
        # Celery tries for 20 s to reach a result store that is down; a page asks it first.
        with settings.BROKER.client(broker.RESULTS, timeout_seconds=2) as client:
            client.ping()
        pending = app.send_task(
            "workers.predict_live",
            args=[model_folder, texts],
            queue="live",
            expires=timeout_seconds,
            retry=False,
        )
        answer = pending.get(timeout=timeout_seconds, interval=0.01, propagate=False)
    except CeleryTimeout as error:
        raise LiveTimeout(f"no answer within {timeout_seconds:.0f} s") from error
    except (OperationalError, RedisError, OSError, RuntimeError) as error:
        raise LiveUnavailable(str(error)) from error
    if pending.failed():
        raise LiveFailed(str(answer))
    return answer
