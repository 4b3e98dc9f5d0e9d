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
    """Keep this worker's key alive from a daemon thread of its main process."""
    said = json.dumps(
        {
            "name": name,
            "queues": queues,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "devices": devices_here(),
        }
    )

    def keep() -> None:
        while True:
            try:
                with settings.BROKER.client(broker.CACHE) as client:
                    client.set(PREFIX + name, said, ex=LIVES_SECONDS)
            except RedisError as error:
                logger.debug("not announced: %s", error)
            time.sleep(EVERY_SECONDS)

    threading.Thread(target=keep, name="announce", daemon=True).start()


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
