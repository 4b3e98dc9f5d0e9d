"""What the live workers say of themselves: queues, host, devices. A key in the broker that expires."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from importlib import metadata
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError

from workers import broker

logger = logging.getLogger(__name__)

PREFIX = "wanxing:worker:"
EVERY_SECONDS = 10
LIVES_SECONDS = 35
# A page that waits is told soon that nobody listens.
LISTENS = "wanxing:listens:"
LISTENS_EVERY_SECONDS = 2
LISTENS_LIVES_SECONDS = 8


def devices_here() -> list[str]:
    """["cpu"], and "gpu" where the CUDA wheel and a card are both present. Paddle is not imported."""
    found = ["cpu"]
    try:
        metadata.version("paddlepaddle-gpu")
    except metadata.PackageNotFoundError:
        return found
    program = shutil.which("nvidia-smi")
    if program and subprocess.run([program, "-L"], capture_output=True, timeout=20).stdout.strip():
        found.append("gpu")
    return found


def announce_forever(name: str, queues: list[str]) -> None:
    """Keep this worker's keys alive from a daemon thread of its main process; they are there when this returns."""
    said = json.dumps(
        {
            "name": name,
            "queues": queues,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "devices": devices_here(),
        }
    )

    here = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})

    def announce(told: dict[str, int]) -> None:
        try:
            with settings.BROKER.client(broker.CACHE) as client:
                for key, seconds in told.items():
                    client.set(key, said if key.startswith(PREFIX) else here, ex=seconds)
        except RedisError as error:
            logger.debug("not announced: %s", error)

    def keep() -> None:
        beat = 0
        while True:
            time.sleep(LISTENS_EVERY_SECONDS)
            beat += 1
            announce(listens if beat % (EVERY_SECONDS // LISTENS_EVERY_SECONDS) else {**listens, **whole})

    whole = {PREFIX + name: LIVES_SECONDS}
    listens = {LISTENS + queue: LISTENS_LIVES_SECONDS for queue in queues}
    announce({**listens, **whole})
    threading.Thread(target=keep, name="announce", daemon=True).start()


def worker_listens(client: Any, queue: str) -> bool:
    """Whether a worker listens to `queue`, known to within some seconds; on this machine to the moment.

    `client`: of the broker's CACHE part. Raises RedisError."""
    found = client.get(LISTENS + queue)
    if found is None:
        return False
    here = json.loads(found)
    return here["host"] != socket.gethostname() or _process_lives(here["pid"])


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def live_workers() -> list[dict[str, Any]]:
    """What each live worker announced, by name; empty when the broker does not answer."""
    try:
        with settings.BROKER.client(broker.CACHE, timeout_seconds=2) as client:
            keys = sorted(client.scan_iter(match=PREFIX + "*", count=200))
            return [json.loads(value) for value in (client.mget(keys) if keys else []) if value]
    except RedisError:
        return []


def announced_devices() -> list[str]:
    """Devices on which a run can be trained now: those of live workers that listen to `train` or `gpu`."""
    found = {"cpu"}
    for worker in live_workers():
        if "gpu" in worker["queues"]:
            found |= set(worker["devices"])
    return sorted(found)
