"""`manage.py up` as a person meets it: one clear line for each problem, and a real start and end."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from webapp import startup
from workers import options, undertaker

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_up(environment: dict[str, str], **changes: str) -> subprocess.CompletedProcess[str]:
    """`manage.py up` that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env={**environment, **changes},
        capture_output=True,
        text=True,
        timeout=90,
    )


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def command_of(pid: int) -> bytes:
    """The command line of a living process, its words parted by NUL; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class House:
    """A running `manage.py up` with its output so far."""

    def __init__(self, environment: dict[str, str], **changes: str) -> None:
        self.port = free_port()
        self.environment = {**environment, "PORT": str(self.port), **changes}
        self.home = Path(self.environment["WANXING_HOME"])
        self._output = self.home.with_suffix(f".{self.port}.out")
        with open(self._output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while "✓" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    @property
    def output(self) -> str:
        return self._output.read_text("utf-8")

    def members(self) -> set[int]:
        """Every living process of this house, the undertaker apart."""
        child = next(
            pid for pid in all_pids() if b"manage.py\0sweep" in command_of(pid) and self.is_parent_of(pid)
        )
        pairs = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        name = undertaker.TOKEN_VARIABLE.encode() + b"="
        self.token = next(pair for pair in pairs if pair.startswith(name)).removeprefix(name).decode()
        return self.survivors()

    def is_parent_of(self, pid: int) -> bool:
        return f"\nPPid:\t{self.process.pid}\n" in Path(f"/proc/{pid}/status").read_text()

    def survivors(self) -> set[int]:
        """Holders of the token, and Valkey, which overwrites its environment with its title."""
        valkey = {pid for pid in all_pids() if str(self.home / "run").encode() in command_of(pid)}
        return {*undertaker.holders(self.token), *valkey}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=40)
        finally:
            self.process.kill()


@pytest.fixture
def house(bare_environment: dict[str, str]) -> Iterator[House]:
    made = House(bare_environment)
    yield made
    made.end()


def head(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("HEAD", path)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def wait_until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_taken_port_is_one_line(bare_environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_up(bare_environment, PORT=str(port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(port) in done.stderr
    assert "PORT=" in done.stderr


def test_a_host_that_is_not_ours_is_one_line(bare_environment: dict[str, str]) -> None:
    done = run_up(bare_environment, HOST="192.0.2.1", PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "HOST" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_whole_life(house: House, bare_environment: dict[str, str]) -> None:
    """Starts all processes, answers, refuses a twin, survives the death of a part, dies without a trace."""
    assert head(house.port, "/") < 500
    assert f":{house.port}/" in house.output
    assert "安装码" not in house.output

    twin = run_up(bare_environment, PORT=str(free_port()))
    assert twin.returncode == 1
    assert twin.stderr.count("\n") == 1
    assert str(house.process.pid) in twin.stderr

    wait_until(lambda: len(house.members()) >= 4 + 2 * len(options.WORKER_GROUPS), 40)
    commands = [command_of(pid) for pid in house.members()]
    for group in options.WORKER_GROUPS:
        assert any(f"-n\0{group.name}@".encode() in command for command in commands)

    valkey = next(pid for pid in house.members() if b"valkey" in command_of(pid))
    os.kill(valkey, signal.SIGKILL)
    wait_until(lambda: "broker 意外退出" in house.output, 20)
    wait_until(lambda: any(b"valkey" in command_of(pid) for pid in house.members()), 20)

    house.process.kill()
    house.process.wait()
    wait_until(lambda: not house.survivors(), 10)

    again = House(bare_environment)
    try:
        assert head(again.port, "/") < 500
        assert "数据库升级" not in again.output
        assert "静态文件" not in again.output
        assert again.members()
        began = time.monotonic()
        again.process.send_signal(signal.SIGINT)
        assert again.process.wait(timeout=40) == 0
        assert time.monotonic() - began < 20
        assert again.survivors() == set()
    finally:
        again.end()


def test_off_loopback_the_first_sign_up_needs_a_code(bare_environment: dict[str, str]) -> None:
    house = House(bare_environment, HOST="0.0.0.0")
    try:
        code = (house.home / "run" / "setup_code").read_text()
        assert code in house.output
        assert (house.home / "run" / "setup_code").stat().st_mode & 0o077 == 0
    finally:
        house.end()


def test_the_log_lines_are_json(house: House) -> None:
    head(house.port, "/no-such-page/")
    wait_until(lambda: "no-such-page" in (house.home / "logs" / "web.log").read_text(), 10)
    line = next(x for x in (house.home / "logs" / "web.log").read_text().splitlines() if "no-such-page" in x)
    assert json.loads(line)["level"] == "warning"


def test_the_database_is_copied_before_a_migration(bare_environment: dict[str, str]) -> None:
    """A database that lacks the last migration: copied, with what it held, then migrated."""

    def manage(*arguments: str) -> str:
        line = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            line, cwd=ROOT, env=bare_environment, check=True, capture_output=True, text=True
        ).stdout

    manage("migrate", "--verbosity", "0")
    home = Path(bare_environment["WANXING_HOME"])
    manage("migrate", "sessions", "zero", "--verbosity", "0")
    with sqlite3.connect(home / "wanxing.sqlite3") as database:
        database.execute("CREATE TABLE keepsake (word TEXT)")
        database.execute("INSERT INTO keepsake VALUES ('完形')")
    database.close()
    code = "from webapp import startup; print(startup.migrate_safely()); print(startup.migrate_safely())"
    first, second = manage("shell", "--verbosity", "0", "-c", code).strip().splitlines()[-2:]
    assert "备份" in first
    assert second == "None"
    (copy,) = (home / "backups").glob("*.sqlite3")
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT word FROM keepsake").fetchall() == [("完形",)]
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'django_session'").fetchall()
    database.close()


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ("-o size=300k", "磁盘已满"),
        ("-o size=8m", "磁盘快满了"),
        ("-o size=8m,ro", "WANXING_HOME"),
    ],
)
def test_a_disk_that_cannot_take_more_is_one_line(
    bare_environment: dict[str, str], tmp_path: Path, mount: str, expected: str
) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small disk of its own (unshare -rm)")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs {mount} tmpfs "{disk}" && exec "{sys.executable}" manage.py up'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=ROOT,
        env={**bare_environment, "WANXING_HOME": str(disk / "home"), "PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"REDIS_URL": "redis://:hidden@127.0.0.1:1/0"}, "REDIS_URL=redis://127.0.0.1:1"),
        ({"DATABASE_URL": "postgres://wanxing:hidden@127.0.0.1:1/wanxing?connect_timeout=2"}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:///x"}, "DATABASE_URL"),
        ({"PORT": "http"}, "PORT"),
    ],
)
def test_a_service_that_is_not_there_is_one_line(
    bare_environment: dict[str, str], changes: dict[str, str], expected: str
) -> None:
    done = run_up(bare_environment, **{"PORT": str(free_port()), **changes})
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # the log's own lines
    assert len(lines) == 1, done.stderr
    assert expected in lines[0]
    assert "hidden" not in done.stderr


def test_a_database_that_is_no_database_is_one_line(bare_environment: dict[str, str]) -> None:
    home = Path(bare_environment["WANXING_HOME"])
    home.mkdir()
    (home / "wanxing.sqlite3").write_bytes(b"no database at all" * 100)
    done = run_up(bare_environment, PORT=str(free_port()))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "wanxing.sqlite3" in done.stderr
    assert (home / "wanxing.sqlite3").read_bytes().startswith(b"no database")


@pytest.mark.django_db(transaction=True)
def test_no_room_for_a_copy_stops_before_the_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        database = Path(settings.WANXING_HOME) / "stand-in.sqlite3"
        database.write_bytes(b"x")
        monkeypatch.setitem(settings.DATABASES["default"], "NAME", str(database))
    monkeypatch.setattr(startup.shutil, "disk_usage", lambda _: startup.shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(startup.StartProblem, match="备份"):
        startup.copy_database()
    assert not (Path(settings.WANXING_HOME) / "backups").exists()
