"""Search by meaning in a real browser, answered by real workers with the shipped backbone."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect
PATIENCE_MS = 240_000

TEXTS = (
    "俱乐部宣布更换主教练",
    "昨晚的足球比赛主队三比一获胜",
    "昨晚的足球比赛主队3比1获胜",
    "央行下调利率，股市应声上涨",
    "冬天炖一锅萝卜排骨汤",
)


@pytest.fixture
def page(browser, live_server):
    """A page of the owner's browser; errors of the pages fail the test."""
    cache.clear()
    project = make.make_project()
    for text in TEXTS:
        make.make_example(project, text)
    client = Client()
    client.force_login(project.created_by)
    context = browser.new_context(locale="zh-CN", base_url=live_server.url)
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": live_server.url}])
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.project = project
    yield page
    context.close()
    assert errors == []


def test_a_sentence_finds_texts_a_text_finds_its_like_and_a_dead_worker_is_said(page, start_worker) -> None:
    at = f"/p/{page.project.pk}/texts"
    page.goto(f"{at}/similar/")
    expect(page.get_by_text("第一次要在后台为每条文本算一个语义向量")).to_be_visible()
    start_worker("bulk")
    expect(page.locator(".vectors-going")).to_have_count(0, timeout=PATIENCE_MS)

    live = start_worker("live")
    page.get_by_label("一句话").fill("球队换了教练")
    page.keyboard.press("Enter")
    rows = page.locator("#similar-found tbody tr")
    expect(rows).to_have_count(len(TEXTS), timeout=PATIENCE_MS)
    expect(rows.first).to_contain_text(TEXTS[0])
    assert "q=" in page.url, "the search can be shared"

    page.goto(f"{at}/")
    page.get_by_role("row").filter(has_text=TEXTS[1]).get_by_title("像这一条").click()
    expect(page.locator(".source-text")).to_contain_text(TEXTS[1])
    expect(rows.first).to_contain_text(TEXTS[2])
    expect(rows).to_have_count(len(TEXTS) - 1)

    page.get_by_role("link", name="几乎相同", exact=True).click()
    group = page.locator(".groups > li")
    expect(group).to_have_count(1)
    expect(group).to_contain_text(TEXTS[1])
    expect(group).to_contain_text(TEXTS[2])

    os.killpg(live.pid, signal.SIGKILL)
    live.wait()
    page.goto(f"{at}/similar/")
    page.get_by_label("一句话").fill("写好的一句话")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("manage.py doctor", timeout=30_000)
    expect(page.get_by_label("一句话")).to_have_value("写好的一句话")
