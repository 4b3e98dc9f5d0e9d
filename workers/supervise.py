"""One process that starts the others, starts again those that die, keeps their logs, and stops them all.

Nothing outlives it: children are tethered (see `workers.tether`), and the undertaker kills the rest.
"""

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

from workers import tether, undertaker

LOG_FILE_BYTES, LOG_FILES_KEPT = 5_000_000, 5
BACKOFF_SECONDS = (0.5, 1, 2, 5, 10, 30)
# Having run this long, a process is well: its next death is the first again.
WELL_AFTER_SECONDS = 60
STOP_SECONDS = 6.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One long-lived process. `stop_rank`: lower ranks are stopped, and gone, before higher ones."""

    name: str
    command: Sequence[str]
    niceness: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_rank: int = 0


class _Child:
    """A spec with its present process, its deaths in a row, and its log file."""

    def __init__(self, spec: ChildSpec, log_file: Path) -> None:
        self.spec = spec
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_again_at = 0.0
        self.deaths = 0
        self._writer = RotatingFileHandler(
            log_file, maxBytes=LOG_FILE_BYTES, backupCount=LOG_FILES_KEPT, encoding="utf-8", delay=True
        )

    def start(self, environment: Mapping[str, str], folder: Path) -> int:
        """Start the process; return its process group, which is also its session and its own id."""
        self.process = subprocess.Popen(
            tether.command(self.spec.command, niceness=self.spec.niceness),
            cwd=folder,
            env={**environment, **self.spec.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started_at = time.monotonic()
        threading.Thread(target=self._keep_log, args=(self.process,), daemon=True).start()
        return self.process.pid

    def _keep_log(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stdout
        if stream is None:
            return
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip("\n")
            # A full disk must not stop the process that writes: its line is dropped, the pipe goes on.
            with contextlib.suppress(OSError):
                self._writer.emit(logging.LogRecord(self.spec.name, 20, "", 0, text, None, None))

    def signal_group(self, number: signal.Signals) -> None:
        """Send `number` to every process of the group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs the children of `specs` in order until `stop` is called or a signal comes.

    `report(line)` is shown to the person at the terminal. Use from the main thread only.
    """

    def __init__(self, *, folder: Path, logs: Path, report: Report) -> None:
        self._folder = folder
        self._logs = logs
        self._report = report
        self._children: list[_Child] = []
        self._token = secrets.token_hex(16)
        self._environment = {
            **os.environ,
            undertaker.TOKEN_VARIABLE: self._token,
            "PYTHONUNBUFFERED": "1",
        }
        self._stopping = False
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._undertaker = subprocess.Popen(
            [sys.executable, "-ISs", os.path.abspath(undertaker.__file__), self._token],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )

    def start(self, spec: ChildSpec) -> None:
        """Start one process and keep it running from now on."""
        child = _Child(spec, self._logs / f"{spec.name}.log")
        self._children.append(child)
        self._spawn(child)

    def _spawn(self, child: _Child) -> None:
        group = child.start(self._environment, self._folder)
        self._tell_undertaker(str(group))

    def _tell_undertaker(self, word: str) -> None:
        pipe = self._undertaker.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(f"{word}\n".encode())
                pipe.flush()

    def request_stop(self, *_: object) -> None:
        """Have `run` return soon. A signal handler."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._stopping

    def tend(self) -> None:
        """Look once after every child: note deaths, start again those whose pause is over."""
        now = time.monotonic()
        for child in self._children:
            if child.is_running():
                continue
            if not child.start_again_at:
                self._note_death(child, now)
            elif now >= child.start_again_at:
                child.start_again_at = 0.0
                self._spawn(child)

    def _note_death(self, child: _Child, now: float) -> None:
        if child.process is None:
            return
        code = child.process.returncode
        child.signal_group(signal.SIGKILL)  # what it left in its group
        self._tell_undertaker(f"-{child.process.pid}")
        child.deaths = 1 if now - child.started_at > WELL_AFTER_SECONDS else child.deaths + 1
        pause = BACKOFF_SECONDS[min(child.deaths, len(BACKOFF_SECONDS)) - 1]
        child.start_again_at = now + pause
        how = f"信号 {signal.Signals(-code).name}" if code < 0 else f"代码 {code}"
        self._report(
            f"! {child.spec.name} 意外退出（{how}），{pause:g} 秒后重新启动。日志：{child.log_file}"
            f" / {child.spec.name} died; starting it again"
        )

    def run(self) -> None:
        """Tend the children until a stop is asked for."""
        while not self._stopping:
            self.tend()
            time.sleep(0.2)

    def died(self, name: str) -> bool:
        """Whether the child of that name has died at least once since it was last well."""
        return any(child.deaths for child in self._children if child.spec.name == name)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The last lines of a child's log, "" when it has none."""
        with contextlib.suppress(OSError):
            text = (self._logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def stop(self) -> None:
        """Stop everything, rank by rank, within seconds; what does not listen is killed. Leaves nothing."""
        self._stopping = True
        for rank in sorted({child.spec.stop_rank for child in self._children}):
            chosen = [child for child in self._children if child.spec.stop_rank == rank]
            for child in chosen:
                if child.is_running() and child.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        child.process.send_signal(child.spec.stop_signal)
            deadline = time.monotonic() + STOP_SECONDS
            while any(child.is_running() for child in chosen) and time.monotonic() < deadline:
                time.sleep(0.05)
            for child in chosen:
                child.signal_group(signal.SIGKILL)
                if child.process is not None:
                    child.process.wait()
        if self._undertaker.stdin is not None:
            self._undertaker.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._undertaker.wait(timeout=12)
