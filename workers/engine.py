"""One engine job in a fresh subprocess: started here, killed with us, speaking JSON lines.

A fork of a process that has trained hangs (Paddle), and a fork of this one would inherit its connections;
hence `subprocess`, and hence nothing of Paddle is ever imported here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings

from workers import tether
from workers.context import JobFailed, RunningJob

logger = logging.getLogger(__name__)

SOFT_STOP_SECONDS = 0.8
TERM_STOP_SECONDS = 0.5
LOG_TAIL_BYTES = 8_000
RECORDED_EVENTS = {"metric", "warning", "checkpoint", "info"}


def run_engine(running: RunningJob, command: str, folder: Path) -> dict[str, Any]:
    """Run `python -m training.fewshot.job <command> <folder>` to its end and return its last event.

    Raises JobFailed with the engine's own error, Cancelled or AttemptLost when it was stopped."""
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(
            tether.command([sys.executable, "-m", "training.fewshot.job", command, str(folder)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=settings.BASE_DIR,
            env=_environment(),
            start_new_session=True,
        )
        try:
            last = _follow(running, process)
        finally:
            _make_sure_it_is_gone(process)
    if last.get("type") == "done" and process.returncode == 0:
        return last
    if running.should_stop():
        raise running.stopped()
    raise _failure(last, process.returncode, folder / "log.txt")


def _environment() -> dict[str, str]:
    """The child's environment: ours, without what only the web needs to know."""
    hidden = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PPNLP_HOME"] = str(settings.WANXING_HOME / "paddlenlp")
    return environment


def _follow(running: RunningJob, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Pass the events on until the process ends; stop it when the job is no longer wanted."""
    last: dict[str, Any] = {}

    def on_event(event: dict[str, Any]) -> None:
        nonlocal last
        last = event
        _record(running, event)

    pipe = cast(IO[bytes], process.stdout)
    lines = _Lines(pipe, on_event)
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=0.3) and not lines.read():
                process.wait(timeout=60)
                return last
            if running.should_stop():
                _stop(process)
                return last


class _Lines:
    """Cuts what a pipe gives into lines and hands each parsed event on."""

    def __init__(self, pipe: IO[bytes], on_event: Callable[[dict[str, Any]], None]) -> None:
        self._descriptor = pipe.fileno()
        self._rest = b""
        self._on_event = on_event

    def read(self) -> bool:
        """Read what is there; False at the end of the file."""
        chunk = os.read(self._descriptor, 65536)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                logger.warning("engine wrote a line that is no event: %r", line[:200])
                continue
            if isinstance(event, dict):
                self._on_event(event)
        return bool(chunk)


def _record(running: RunningJob, event: dict[str, Any]) -> None:
    kind = event.get("type")
    if kind == "stage":
        running.report(stage=_stage(event))
    elif kind == "progress":
        running.report(
            stage=_stage(event),
            step=event.get("step"),
            total=event.get("total"),
            eta_seconds=event.get("eta_seconds"),
        )
    elif kind in RECORDED_EVENTS:
        running.job.record(kind, **{name: value for name, value in event.items() if name != "type"})
        running.keep_alive()


def _stage(event: dict[str, Any]) -> str:
    """The event's stage, behind the part of the run in which it is: `auto:2:5/train`."""
    return "/".join(str(event[name]) for name in ("part", "stage") if event.get(name))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask over stdin, then SIGTERM, then SIGKILL: together under two seconds."""
    with contextlib.suppress(OSError):
        cast(IO[bytes], process.stdin).write(b"cancel\n")
        cast(IO[bytes], process.stdin).close()
    for seconds, signal_number in ((SOFT_STOP_SECONDS, signal.SIGTERM), (TERM_STOP_SECONDS, signal.SIGKILL)):
        try:
            process.wait(timeout=seconds)
            return
        except subprocess.TimeoutExpired:
            _signal_group(process, signal_number)
    process.wait(timeout=10)


def _make_sure_it_is_gone(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the job outlives this function, whatever went wrong in it."""
    _signal_group(process, signal.SIGKILL)
    process.wait(timeout=10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _failure(last: dict[str, Any], code: int, log: Path) -> JobFailed:
    if last.get("type") == "error":
        detail = last.get("detail") or ""
        return JobFailed(
            code=str(last.get("code") or "engine_error"),
            message=str(last.get("message") or ""),
            hint=str(last.get("hint") or ""),
            detail=(detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False))
            + "\n"
            + _tail(log),
        )
    if code == -signal.SIGKILL:
        return JobFailed(
            code="killed",
            message="The system killed the job, most likely because memory ran out.",
            hint="Close other programs, or choose a smaller batch or backbone.",
            detail=_tail(log),
        )
    return JobFailed(
        code="engine_crashed",
        message=f"The job ended without a result (exit code {code}).",
        hint="Try again; if it happens again, keep the technical details below for a report.",
        detail=_tail(log),
    )


def _tail(log: Path) -> str:
    """The end of the job's log, waiting a moment for its last words."""
    time.sleep(0.05)
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
