"""The whole house, started as a user starts it, and a real browser in front of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-gpu",
]
START_SECONDS = 90
# Playwright keeps an event loop in this thread for the rest of the session; Django would refuse its queries here.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


@dataclass
class House:
    """A running `manage.py up`."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_house(home: Path, **environment: str) -> House:
    """Start the supervisor in an empty data folder and wait until the web server answers."""
    port = _free_port()
    hidden = {
        "DJANGO_SETTINGS_MODULE",
        "DJANGO_ALLOW_ASYNC_UNSAFE",
        "DATABASE_URL",
        "REDIS_URL",
        "PPNLP_HOME",
    }
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    with open(home / "up.out", "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env={**inherited, "WANXING_HOME": str(home), "PORT": str(port), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail("`manage.py up` ended:\n" + (home / "up.out").read_text(errors="replace"))
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/healthz/", timeout=2) as answer:
            if answer.status == 200:
                return House(url, home, process)
        time.sleep(0.2)
    stop_house(process)
    pytest.fail("the web server did not answer:\n" + (home / "up.out").read_text(errors="replace"))


def stop_house(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("house")
    running = start_house(home)
    yield running
    stop_house(running.process)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_as(browser, live_server) -> Iterator[Callable[..., Any]]:
    """A function `(user, **options)` that opens a browser context in which `user` is signed in.

    Errors of the pages' own scripts fail the test."""
    contexts, errors = [], []

    def open_one(user: Any, **options: Any) -> Any:
        client = Client()
        client.force_login(user)
        context = browser.new_context(
            **{"locale": "zh-CN", "base_url": live_server.url, "reduced_motion": "reduce", **options}
        )
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": live_server.url}])
        context.on("weberror", lambda error: errors.append(str(error.error)))
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def open_context(browser, live_server, project):
    """A function that opens a browser context in which the owner (or `user`) is signed in.

    Errors of the pages fail the test. `context.sign_in(user)` signs in anew, or somebody else."""
    contexts, errors = [], []

    def cookies(user) -> list[dict[str, str]]:
        client = Client()
        client.force_login(user)
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        return [{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": live_server.url}]

    def open_one(*, user=None, **options):
        user = user or project.created_by
        context = browser.new_context(locale="zh-CN", base_url=live_server.url, **options)
        context.add_cookies(cookies(user))
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.sign_in = lambda other=user: context.add_cookies(cookies(other))
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []
