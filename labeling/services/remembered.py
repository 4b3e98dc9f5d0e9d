"""Results kept in the cache for a while. Without the cache they are made each time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import cache
from redis.exceptions import RedisError

LOG = logging.getLogger(__name__)
T = TypeVar("T")


def remembered(key: str, make: Callable[[], T], *, seconds: Callable[[T, float], float]) -> T:
    """What is kept under `key`, or `make()`, then kept for `seconds(result, how long it took)`; 0 keeps nothing."""
    try:
        kept: T | None = cache.get(key)
        if kept is not None:
            return kept
    except (RedisError, OSError):
        LOG.warning("the cache does not answer; %s is worked out anew", key.split(":")[0], exc_info=True)
        return make()
    started = time.perf_counter()
    result = make()
    for_seconds = seconds(result, time.perf_counter() - started)
    if for_seconds > 0:
        try:
            cache.set(key, result, for_seconds)
        except (RedisError, OSError):
            LOG.warning("the cache took nothing", exc_info=True)
    return result
