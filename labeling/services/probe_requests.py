"""When the fast model is trained anew: after every few decisions, and when a page wants to know.

A request is a message, not a job: what it makes is replaced by the next one, and a lost message costs nothing, since
the next decisions send another. At most one waits in the queue. `workers` registers the function that sends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.core.cache import cache
from django.db import transaction
from redis.exceptions import RedisError

from labeling.services import scores

LOG = logging.getLogger(__name__)

FEWEST = 3
# With many labels a few more change little: one in fifty of what was learnt.
SHARE = 50
WAITS_SECONDS = 60
QUIET_SECONDS = 10

Send = Callable[[int], None]
_send: Send | None = None


def register_probe(send: Send) -> None:
    """Set the function `(project_id) → None` that asks a worker to train a project's probe."""
    global _send
    _send = send


def note_decisions(project_id: int, n: int = 1) -> None:
    """Count `n` decisions, and ask for a training once there are enough. After the commit; never an error."""
    if n > 0:
        transaction.on_commit(lambda: _count(project_id, n), robust=True)


def wish(project_id: int) -> None:
    """Ask for a training because somebody opened a page or changed the labels; at most one in QUIET_SECONDS."""

    def ask() -> None:
        if _in_cache(lambda: cache.add(f"probe:quiet:{project_id}", 1, QUIET_SECONDS)):
            request(project_id)

    transaction.on_commit(ask, robust=True)


def request(project_id: int) -> None:
    """Ask for a training now, unless one waits already."""
    if _send is None or not _in_cache(lambda: cache.add(_waits(project_id), 1, WAITS_SECONDS)):
        return
    try:
        _send(project_id)
    except Exception as error:  # kombu wraps every transport's own errors in several classes
        LOG.warning("probe of project %s is not asked for: %s", project_id, error)
        begun(project_id)


def begun(project_id: int) -> None:
    """The worker has taken the request: what is decided from now on asks for another."""
    _in_cache(lambda: cache.delete(_waits(project_id)))


def every(n_labelled: int) -> int:
    """How many decisions make a training worth while, when the last one learnt `n_labelled` texts."""
    return max(FEWEST, n_labelled // SHARE)


def _count(project_id: int, n: int) -> None:
    key = f"probe:decisions:{project_id}"

    def add() -> int:
        cache.add(key, 0, 3600)
        try:
            return cache.incr(key, n)
        except ValueError:  # the hour ended between the two lines
            return n

    counted = _in_cache(add)
    if not counted:
        return
    present = scores.read(project_id, "probe")
    if counted >= every(present.n_labelled if present else 0):
        _in_cache(lambda: cache.delete(key))
        request(project_id)


def _waits(project_id: int) -> str:
    return f"probe:waits:{project_id}"


def _in_cache(step: Callable[[], int | bool]) -> int:
    """What `step` says, 0 where the cache does not answer: then the next page asks."""
    try:
        return int(step())
    except (RedisError, OSError):
        LOG.debug("probe: the cache does not answer", exc_info=True)
        return 0
