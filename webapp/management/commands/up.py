"""`manage.py up`: everything under one supervisor, until Ctrl-C."""

import http.client
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from webapp import env, setup_code, startup
from workers import announce, broker, options
from workers.supervise import ChildSpec, Supervisor

WEB_START_SECONDS = 60


class Command(BaseCommand):
    """Checks, migrates, starts the broker, the workers, the sweep and the web server, and tends them."""

    help = "Start the broker, the workers and the web server under one supervisor."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = env.host(), env.port()
        home: Path = settings.WANXING_HOME
        try:
            startup.check_python()
            startup.check_disk(home)
            lock = startup.hold_lock(home, f"pid {os.getpid()}, {_address(host, port)}")
            startup.check_port(host, port)
            for note in startup.prepare(host):
                self._say(f"· {note}")
        except startup.StartProblem as error:
            raise SystemExit(f"✗ {error}") from error
        with lock:
            self._supervise(host, port, home)

    def _supervise(self, host: str, port: int, home: Path) -> None:
        supervisor = Supervisor(folder=settings.BASE_DIR, logs=home / "logs", report=self._say)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, supervisor.request_stop)
        try:
            self._start_broker(supervisor, home)
            for spec in child_specs(host, port):
                supervisor.start(spec)
            if self._wait_for_web(supervisor, host, port):
                self._announce(host, port)
                supervisor.run()
        except broker.BrokerError as error:
            tail = supervisor.log_tail("broker")
            raise SystemExit(f"✗ {error}" + (f"\n{tail}" if tail else "")) from error
        finally:
            if supervisor.stopping:
                self._say("· 正在停止 / stopping")
            supervisor.stop()
        self._say("· 已停止 / stopped")

    def _start_broker(self, supervisor: Supervisor, home: Path) -> None:
        server: broker.BrokerAddress = settings.BROKER
        if server.embedded:
            supervisor.start(ChildSpec("broker", broker.embedded_command(home), stop_rank=1))
        broker.wait_until_ready(server, timeout_seconds=15)

    def _wait_for_web(self, supervisor: Supervisor, host: str, port: int) -> bool:
        deadline = time.monotonic() + WEB_START_SECONDS
        while not supervisor.stopping:
            supervisor.tend()
            if _answers(host, port):
                return True
            if supervisor.died("web") or time.monotonic() > deadline:
                tail = supervisor.log_tail("web")
                raise SystemExit(f"✗ 网页服务没有启动 / the web server did not start\n{tail}")
            time.sleep(0.1)
        return False

    def _announce(self, host: str, port: int) -> None:
        self._say(f"✓ 完形已启动 / Wanxing is running: {_address(host, port)}")
        code = setup_code.current()
        if code:
            self._say(f"  首次注册需要安装码 / code for the first sign-up: {code}")
        self._say(f"  数据与日志 / data and logs: {settings.WANXING_HOME}    Ctrl-C 停止 / stops it")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def child_specs(host: str, port: int) -> list[ChildSpec]:
    """Every process but the broker: one worker a queue group, the sweep, the web server."""
    python = sys.executable
    groups = list(options.WORKER_GROUPS)
    if "gpu" in announce.devices_here():
        groups.append(options.GPU_GROUP)
    settings_module = {"DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]}
    specs = [
        ChildSpec("web", web_command(python, host, port), environment=settings_module),
        ChildSpec("sweep", [python, "manage.py", "sweep"], environment=settings_module),
    ]
    for group in groups:
        specs.append(
            ChildSpec(
                f"worker-{group.name}",
                group.command(python),
                niceness=group.niceness,
                environment=settings_module,
                # SIGTERM would wait for the running job; this ends it, and its checkpoint resumes it.
                stop_signal=signal.SIGQUIT,
            )
        )
    return specs


def web_command(python: str, host: str, port: int) -> list[str]:
    """The command line of the web server."""
    threads = env.read_integer("WANXING_WEB_THREADS", low=1, high=64)
    return [
        *(python, "-m", "granian", "--interface", "wsgi", "webapp.wsgi:application"),
        *("--host", host, "--port", str(port), "--workers", "1", "--blocking-threads", str(threads)),
        *("--no-ws", "--http", "1", "--respawn-failed-workers", "--workers-kill-timeout", "3"),
    ]


def _reachable(host: str) -> str:
    return env.ANY_ADDRESS.get(host, host)


def _address(host: str, port: int) -> str:
    shown = _reachable(host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=5)
    try:
        connection.request("HEAD", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
