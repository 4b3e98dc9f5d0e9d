"""What every test may ask for, and when a skip is a failure.

The data folder, the database and the broker of a run are its own (see `tests.settings`).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from tests import postgres
from tests.bare_python import bare_python as bare_python
from webapp import env
from workers import broker, options, tether

# The one skip that WANXING_REQUIRE_ALL allows: its reason starts so.
ALLOWED_SKIP = "WANXING_DATA"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A test that skips, in its setup or its body."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """A whole file that skips while it is imported."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Under WANXING_REQUIRE_ALL=1 a skip is a failure, but for the absent FewCLUE data."""
    if not report.skipped or not env.read_flag("WANXING_REQUIRE_ALL"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if ALLOWED_SKIP not in reason:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and WANXING_REQUIRE_ALL is 1: {reason}"


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """Leases and counts of one test are none of the next one's business: primary keys repeat."""
    cache.clear()


@pytest.fixture(scope="session")
def fewclue() -> Path:
    """The folder with the FewCLUE data (WANXING_DATA, else ../shared/data)."""
    folder = (settings.BASE_DIR / env.read_text("WANXING_DATA")).resolve()
    if not folder.is_dir():
        pytest.skip(f"{ALLOWED_SKIP}: no FewCLUE data at {env.read_text('WANXING_DATA')}")
    return folder


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a person who starts the program for the first time, with an empty data folder."""
    ours = {*env.VARIABLES, "DJANGO_SETTINGS_MODULE", "DJANGO_ALLOW_ASYNC_UNSAFE", "WANXING_TEST_HOME"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return {**inherited, "WANXING_HOME": str(tmp_path / "home")}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The DATABASE_URL of an empty PostgreSQL of this run's own."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running() as url:
        yield url


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[broker.BrokerAddress]:
    """The embedded Valkey, running on this run's own socket; empty."""
    server: broker.BrokerAddress = settings.BROKER
    command = tether.command(broker.embedded_command(Path(settings.WANXING_HOME)))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        broker.wait_until_ready(server, timeout_seconds=15)
        for part in (broker.QUEUES, broker.RESULTS, broker.CACHE):
            server.client(part).flushdb()
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def house_environment(transactional_db: None) -> dict[str, str]:
    """The environment in which a subprocess sees this test's database, broker and data folder."""
    database = settings.DATABASES["default"]
    changes = {"DJANGO_SETTINGS_MODULE": "webapp.settings", "WANXING_HOME": str(settings.WANXING_HOME)}
    if database["ENGINE"].endswith("postgresql"):
        from django.db import connection

        made = connection.settings_dict
        changes["DATABASE_URL"] = (
            f"postgres://{made['USER']}:{made['PASSWORD']}@{made['HOST']}:{made['PORT']}/{made['NAME']}"
        )
    return {**os.environ, **changes}


@pytest.fixture
def start_worker(
    embedded_broker: broker.BrokerAddress, house_environment: dict[str, str]
) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start the real Celery worker of a group ("train", "data", "live", "bulk") and wait until it is ready."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        group = next(group for group in options.WORKER_GROUPS if group.name == name)
        log = Path(settings.WANXING_HOME) / f"test-worker-{name}-{len(started)}-{time.monotonic_ns()}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                tether.command(group.command(sys.executable)),
                env=house_environment,
                cwd=settings.BASE_DIR,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        deadline = time.monotonic() + 60
        while b" ready." not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"worker {name} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    embedded_broker.client(broker.QUEUES).flushdb()
