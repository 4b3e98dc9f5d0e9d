"""The supervisor: starts again what dies, stops all, and leaves nothing behind, whatever happens to it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workers import supervise, tether, undertaker
from workers.supervise import ChildSpec, Supervisor

ROOT = Path(__file__).resolve().parents[2]

# A child with a grandchild in the same group and another in a session of its own, both deaf to SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
subprocess.Popen([sys.executable, "-c", deaf])
subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
print("family is here", flush=True)
time.sleep(300)
"""

SUPERVISOR = f"""
import sys, pathlib
from workers.supervise import ChildSpec, Supervisor
folder = pathlib.Path(sys.argv[1])
s = Supervisor(folder=folder, logs=folder / "logs", report=lambda line: print(line, flush=True))
(folder / "token").write_text(s._token)
s.start(ChildSpec("family", [sys.executable, "-c", {FAMILY!r}]))
s.run()
"""


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, reports: list[str]):
    made = Supervisor(folder=tmp_path, logs=tmp_path / "logs", report=reports.append)
    yield made
    made.stop()


def python(code: str, name: str = "child", **options) -> ChildSpec:
    return ChildSpec(name, [sys.executable, "-c", code], **options)


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def holders(token: str) -> list[int]:
    return [pid for pid in undertaker.holders(token) if is_alive(pid)]


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_sigkill_of_the_supervisor_leaves_nobody(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], cwd=ROOT)
    log = tmp_path / "logs" / "family.log"
    wait_for(lambda: log.is_file() and "family is here" in log.read_text())
    token = (tmp_path / "token").read_text()
    assert len(holders(token)) == 3
    process.kill()
    process.wait()
    wait_for(lambda: not holders(token), 5)


@linux_only
def test_stop_leaves_nobody_even_the_deaf(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python(FAMILY, "family"))
    wait_for(lambda: "family is here" in supervisor.log_tail("family"))
    assert len(holders(supervisor._token)) == 3
    supervisor.stop()
    assert holders(supervisor._token) == []


@linux_only
def test_a_tethered_process_dies_with_its_parent(tmp_path: Path) -> None:
    """Without an undertaker too, as a training subprocess under a killed worker."""
    code = f"""
import subprocess, sys, time
from workers import tether
child = subprocess.Popen(tether.command([sys.executable, "-c", "import time; time.sleep(300)"]), start_new_session=True)
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(300)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: b"time.sleep(300)" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2])
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(pid), 5)


def test_what_dies_is_started_again_and_said(
    supervisor: Supervisor, reports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "BACKOFF_SECONDS", (0.01, 0.3))
    supervisor.start(python("import sys; print('once more', flush=True); sys.exit(7)"))
    wait_for(lambda: supervisor.tend() or len(reports) >= 3)
    assert "child" in reports[0]
    assert "7" in reports[0]
    assert "0.01 秒" in reports[0]
    assert "0.3 秒" in reports[2]
    assert supervisor.log_tail("child").count("once more") >= 3


def test_a_death_by_signal_is_named(supervisor: Supervisor, reports: list[str]) -> None:
    supervisor.start(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    wait_for(lambda: supervisor.tend() or reports)
    assert "SIGSEGV" in reports[0]


def test_a_program_that_is_not_there(supervisor: Supervisor, reports: list[str]) -> None:
    supervisor.start(ChildSpec("absent", ["/nowhere/program"]))
    wait_for(lambda: supervisor.tend() or reports)
    wait_for(lambda: "/nowhere/program" in supervisor.log_tail("absent"))


def test_ranks_stop_in_order(supervisor: Supervisor, tmp_path: Path) -> None:
    code = """
import signal, sys, time
def leave(*_):
    open({path!r}, "a").write({name!r} + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
while True: time.sleep(0.05)
"""
    path = str(tmp_path / "order")
    supervisor.start(python(code.format(path=path, name="broker"), "broker", stop_rank=1))
    supervisor.start(python(code.format(path=path, name="worker"), "worker", stop_rank=0))
    wait_for(lambda: all("ready" in supervisor.log_tail(name) for name in ("broker", "worker")))
    supervisor.stop()
    assert Path(path).read_text().split() == ["worker", "broker"]


def test_logs_rotate_and_stay_bounded(supervisor: Supervisor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(supervise, "LOG_FILE_BYTES", 2_000)
    monkeypatch.setattr(supervise, "LOG_FILES_KEPT", 2)
    supervisor.start(
        python(
            "for i in range(500): print('x' * 50, i)\nprint('the end', flush=True)\nimport time; time.sleep(60)"
        )
    )
    wait_for(lambda: "the end" in supervisor.log_tail("child"))
    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert files == ["child.log", "child.log.1", "child.log.2"]
    assert all(path.stat().st_size <= 2_100 for path in (tmp_path / "logs").iterdir())


@pytest.mark.skipif(not hasattr(os, "nice"), reason="needs nice")
def test_niceness_reaches_the_program(supervisor: Supervisor) -> None:
    supervisor.start(
        python("import os, time; print('nice', os.nice(0), flush=True); time.sleep(60)", niceness=7)
    )
    wait_for(lambda: "nice" in supervisor.log_tail("child"))
    assert f"nice {os.nice(0) + 7}" in supervisor.log_tail("child")


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel has no autogroups")
def test_niceness_counts_between_sessions_too() -> None:
    """A nice process in a session of its own would else take as much of the processor as any other session."""
    code = "print(open('/proc/self/autogroup').read())"
    nested = f"""
import subprocess, sys
from workers import tether
subprocess.run(tether.command([sys.executable, "-c", {code!r}]), start_new_session=True)
"""
    for program in (code, nested):  # the second inherits its niceness, as a run's process does
        command = tether.command([sys.executable, "-c", program], niceness=7)
        told = subprocess.run(command, start_new_session=True, capture_output=True, text=True, cwd=ROOT)
        assert told.stdout.split()[-2:] == ["nice", "7"], told.stderr


def test_tether_refuses_a_parent_that_is_gone() -> None:
    command = tether.command([sys.executable, "-c", "print('ran')"])
    command[3] = "1"  # not the real parent
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""


def test_stop_signal_is_the_spec_s_own(supervisor: Supervisor, tmp_path: Path) -> None:
    path = str(tmp_path / "seen")
    code = f"""
import signal, sys, time
for number in (signal.SIGTERM, signal.SIGQUIT):
    signal.signal(number, lambda n, f: (open({path!r}, "w").write(signal.Signals(n).name), sys.exit(0)))
print("ready", flush=True)
while True: time.sleep(0.05)
"""
    supervisor.start(python(code, stop_signal=signal.SIGQUIT))
    wait_for(lambda: "ready" in supervisor.log_tail("child"))
    supervisor.stop()
    assert Path(path).read_text() == "SIGQUIT"
