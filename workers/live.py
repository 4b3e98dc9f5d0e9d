"""A question to the live worker whose answer a page waits for, and which question of an editor is the newest."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any

from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeout
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from training.services.live import SUPERSEDED, LiveFailed, LiveTimeout, LiveUnavailable
from workers import broker
from workers.announce import worker_listens
from workers.celery import app

QUEUE = "live"
NEWEST = "wanxing:newest:"
# An editor is forgotten after an hour without a question; a page counts on from where it was.
NEWEST_LIVES_SECONDS = 3600
# While a page waits, how often it looks whether the worker is still there.
LOOK_SECONDS = 1.0
LARGEST_NUMBER = 2**53
BROKER_ERRORS = (OperationalError, RedisError, OSError, RuntimeError)

# KEYS: the editor's key. ARGV: number, seconds to live. The highest number that was asked stands afterwards.
_RAISE = """
local standing = tonumber(redis.call('GET', KEYS[1]) or '-1')
local number = tonumber(ARGV[1])
if number > standing then standing = number end
redis.call('SET', KEYS[1], string.format('%.0f', standing), 'EX', ARGV[2])
return string.format('%.0f', standing)
"""


def ask(
    question: str, payload: dict, *, timeout_seconds: float, newest: tuple[str, int] | None = None
) -> Any:
    """The answer of the function registered as `question` in `workers.questions`; see `training.services.live`.

    The question expires with the wait, so an answer that nobody awaits is never computed."""
    deadline = time.time() + timeout_seconds
    try:
        with settings.BROKER.client(broker.CACHE, timeout_seconds=2) as client:
            if not worker_listens(client, QUEUE):
                raise LiveUnavailable("no live worker listens")
            if newest is not None and raise_newest(client, *newest) > newest[1]:
                return SUPERSEDED
        pending = app.send_task(
            "workers.answer",
            args=[question, payload, deadline, newest],
            queue=QUEUE,
            expires=timeout_seconds,
            retry=False,
        )
    except BROKER_ERRORS as error:
        raise LiveUnavailable(str(error)) from error
    envelope = _wait(pending, deadline, timeout_seconds)
    if envelope.get("answer") == SUPERSEDED and (newest is None or time.time() >= deadline):
        # Not a newer question but the end of the wait ended this one; the page asks again.
        raise LiveTimeout(f"no answer within {timeout_seconds:.0f} s")
    if "failed" in envelope:
        failed = envelope["failed"]
        raise LiveFailed(failed["message"], code=failed["code"], hint=failed["hint"], detail=failed["detail"])
    return envelope["answer"]


def _wait(pending: Any, deadline: float, timeout_seconds: float) -> dict:
    """What the task returned. Raises LiveTimeout, LiveUnavailable when the worker goes meanwhile, LiveFailed."""
    try:
        while True:
            left = deadline - time.time()
            try:
                answer = pending.get(
                    timeout=max(0.01, min(LOOK_SECONDS, left)), interval=0.01, propagate=False
                )
                break
            except CeleryTimeout as error:
                if left <= LOOK_SECONDS:
                    raise LiveTimeout(f"no answer within {timeout_seconds:.0f} s") from error
            with settings.BROKER.client(broker.CACHE, timeout_seconds=2) as client:
                if not worker_listens(client, QUEUE):
                    raise LiveUnavailable("the live worker went away")
    except BROKER_ERRORS as error:
        raise LiveUnavailable(str(error)) from error
    finally:
        with contextlib.suppress(*BROKER_ERRORS):
            pending.forget()
    if isinstance(answer, TaskRevokedError):
        raise LiveTimeout(f"no answer within {timeout_seconds:.0f} s")
    if not isinstance(answer, dict):
        # Celery's own exception: the process died under the question.
        raise LiveFailed(str(answer))
    return answer


def raise_newest(client: Any, editor: str, number: int) -> int:
    """Let `number` stand for `editor` unless a higher one does; the number that stands now."""
    number = max(0, min(int(number), LARGEST_NUMBER))
    return int(client.eval(_RAISE, 1, _key(editor), number, NEWEST_LIVES_SECONDS))


def awaited(deadline: float, newest: tuple[str, int] | None) -> Callable[[], bool]:
    """A function that tells whether somebody still waits: before `deadline` (seconds of the epoch), and no newer
    question of the editor.

    A broker that does not answer leaves the question standing: the deadline still ends it."""
    client = settings.BROKER.client(broker.CACHE, timeout_seconds=2) if newest is not None else None

    def still_newest() -> bool:
        if time.time() > deadline:
            return False
        if client is None or newest is None:
            return True
        try:
            standing = client.get(_key(newest[0]))
        except RedisError:
            return True
        return standing is None or int(standing) <= newest[1]

    return still_newest


def _key(editor: str) -> str:
    # A page may send any name; the key stays short.
    return NEWEST + hashlib.sha256(editor.encode("utf-8", "replace")).hexdigest()[:32]
