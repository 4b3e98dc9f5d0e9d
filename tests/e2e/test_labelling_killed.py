"""A browser that is killed at the worst moment: what it had decided offline arrives when it is opened again."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from labeling.services import labels as label_service
from tests import factories as make
from tests.e2e.conftest import CHROMIUM, FLAGS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect


def kill_browser(profile: Path) -> None:
    """SIGKILL to every process of the browser that uses `profile`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if f"--user-data-dir={profile}" in command:
                os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks processes up in /proc")
def test_decisions_made_offline_outlive_a_browser_that_is_killed(browser, live_server, tmp_path):
    project = make.make_project()
    label_service.add_labels(project=project, lines="财经\n体育")
    for number in range(12):
        make.make_example(project, f"第{number:02d}条要标注的文本")
    profile = tmp_path / "profile"
    chromium = browser.browser_type
    client = Client()
    client.force_login(project.created_by)
    cookie = {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "url": live_server.url,
    }

    def open_context():
        context = chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=FLAGS, base_url=live_server.url, locale="zh-CN"
        )
        context.add_cookies([cookie])
        return context

    context = open_context()
    page = context.new_page()
    page.goto(f"/p/{project.pk}/label/")
    expect(page.locator("#save-state")).to_have_text("已保存")
    context.set_offline(True)
    for key in "121":
        page.keyboard.press(key)
    expect(page.locator("#save-state")).to_contain_text("3 条待发送")
    # What the vault tells of is on disk, seconds before the browser writes localStorage there.
    kept = page.evaluate("async () => (await new wanxing.Vault('wanxing-outbox').entries('')).length")
    assert kept == 3
    kill_browser(profile)
    assert not project.annotations.exists()

    context = open_context()
    page = context.new_page()
    page.goto(f"/p/{project.pk}/label/")
    expect(page.locator("#done")).to_have_text("3")
    expect(page.locator("#save-state")).to_have_text("已保存")
    assert list(project.annotations.order_by("id").values_list("label__name", flat=True)) == [
        "财经",
        "体育",
        "财经",
    ]
    context.close()
