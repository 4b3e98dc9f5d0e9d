"""Finding and labelling together in a real browser, by keyboard alone, on a desk and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from labeling.models import Annotation, Example
from labeling.models.annotations import Action, Source
from labeling.services import labels as label_service
from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect
PHONE = {"viewport": {"width": 390, "height": 844}}


@pytest.fixture
def project() -> Any:
    project = make.make_project()
    label_service.add_labels(project=project, lines="财经\n体育\n汽车")
    for number in range(12):
        make.make_example(project, f"第{number:02d}场球赛逆转夺冠", split="train")
    for number in range(4):
        make.make_example(project, f"央行第{number}次降息", split="train")
    return project


@pytest.fixture
def open_page(browser, live_server, project):
    """A function that opens a page in which the owner is signed in; errors of the pages fail the test."""
    contexts, errors = [], []
    client = Client()
    client.force_login(project.created_by)
    cookie = {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "url": live_server.url,
    }

    def open_one(path: str, **options: Any) -> Any:
        context = browser.new_context(locale="zh-CN", base_url=live_server.url, **options)
        context.add_cookies([cookie])
        context.on("weberror", lambda error: errors.append(str(error.error)))
        contexts.append(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


def labelled() -> int:
    return Example.objects.filter(label__isnull=False).count()


def test_search_label_and_undo_by_keyboard_alone(open_page, project):
    page = open_page(f"/p/{project.pk}/texts/")
    page.keyboard.press("Slash")
    page.keyboard.type("夺冠")
    expect(page.locator(".list-count")).to_contain_text("12 条")
    page.keyboard.press("Escape")
    page.keyboard.press("KeyJ")
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr.here")).to_contain_text("第01场")
    page.keyboard.press("KeyB")
    expect(page.locator("#bulk-count")).to_have_text("选中 12 条")
    expect(page.locator(".bulk-item input").first).to_be_focused()
    page.keyboard.press("Space")  # the first
    expect(page.locator("#bulk-count")).to_have_text("选中 11 条")
    page.keyboard.press("KeyJ")
    page.keyboard.press("KeyJ")
    page.keyboard.press("Shift+Space")  # and those up to the third
    expect(page.locator("#bulk-count")).to_have_text("选中 9 条")
    page.keyboard.press("Digit2")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#bulk-done")).to_contain_text("9 条打上了“体育”", timeout=30_000)
    assert labelled() == 9
    page.reload()
    page.keyboard.press("Backspace")
    expect(page.locator(".message-success")).to_contain_text("已撤销", timeout=30_000)
    assert labelled() == 0
    assert Annotation.objects.filter(action=Action.UNDO, source=Source.BULK).count() == 9


def test_shift_and_a_click_take_a_stretch(open_page, project):
    page = open_page(f"/p/{project.pk}/bulk/?q=夺冠")
    items = page.locator(".bulk-item")
    items.nth(2).click()
    items.nth(6).click(modifiers=["Shift"])
    expect(page.locator("#bulk-count")).to_have_text("选中 7 条")
    page.locator("#tick-none").click()
    expect(page.locator("#bulk-go")).to_be_disabled()


def test_a_double_click_doubles_nothing(open_page, project):
    page = open_page(f"/p/{project.pk}/bulk/?q=降息")
    page.select_option("#bulk-label", label="1 · 财经")
    page.locator("#bulk-go").dblclick()
    expect(page.locator("#bulk-done")).to_contain_text("4 条打上了“财经”", timeout=30_000)
    assert Annotation.objects.filter(action=Action.LABEL).count() == 4
    assert project.bulk_actions.count() == 1


def test_on_a_phone(open_page, project):
    page = open_page(f"/p/{project.pk}/texts/", **PHONE, has_touch=True)
    page.fill("#q", "降息")
    expect(page.locator(".list-count")).to_contain_text("4 条")
    page.locator(".filter-more > summary").tap()
    page.get_by_label("只看已标记").tap()
    expect(page.locator(".empty")).to_be_visible()
    page.locator(".chip", has_text="已标记").tap()
    expect(page.locator(".list-count")).to_contain_text("4 条")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#text-list").get_by_role("link", name="一起标注这些").tap()
    page.locator(".bulk-item").first.tap()
    page.select_option("#bulk-label", label="1 · 财经")
    page.locator("#bulk-go").tap()
    expect(page.locator("#bulk-done")).to_contain_text("3 条打上了“财经”", timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("撤销这一次").tap()
    expect(page.locator(".message-success")).to_contain_text("已撤销", timeout=30_000)
    assert labelled() == 0


def test_views_are_kept_and_found_again(open_page, project):
    page = open_page(f"/p/{project.pk}/texts/?q=降息&sort=longest")
    page.locator(".list-head .menu > summary", has_text="视图").click()
    page.fill("#view-name", "降息的")
    page.get_by_role("button", name="保存").click()
    expect(page.locator(".message-success")).to_contain_text("降息的", timeout=30_000)
    page.goto(f"/p/{project.pk}/texts/")
    page.locator(".list-head .menu > summary", has_text="视图").click()
    page.get_by_role("link", name="降息的", exact=True).click()
    expect(page.locator("#q")).to_have_value("降息")
    expect(page.locator("#f-sort")).to_have_value("longest")


def test_a_rule_answers_while_one_types(open_page, project):
    page = open_page(f"/p/{project.pk}/rules/")
    page.select_option("#r-label", label="体育")
    page.locator("#r-pattern").press_sequentially("夺冠")
    expect(page.locator("#rule-preview")).to_contain_text("12 条（75.0%）", timeout=30_000)
    page.select_option("#r-kind", "regex")
    page.fill("#r-pattern", "(夺冠")
    expect(page.locator("#rule-preview [role=alert]")).to_contain_text("用不了", timeout=30_000)
    page.fill("#r-pattern", "逆转|夺冠")
    expect(page.locator("#rule-preview")).to_contain_text("12 条（75.0%）", timeout=30_000)
    page.keyboard.press("Enter")
    expect(page.locator(".rule-table")).to_contain_text("逆转|夺冠")


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_the_pages_are_accessible(open_page, project, options):
    from tests.e2e import accessibility

    for path in ("texts/?q=降息&split=train", "bulk/?q=降息", "rules/"):
        page = open_page(f"/p/{project.pk}/{path}", **options)
        assert accessibility.serious_findings(page) == []
