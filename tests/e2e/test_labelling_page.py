"""The labelling page in a real browser: by keyboard, offline, signed out, in two tabs, with JavaScript off."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from labeling.models import Annotation
from labeling.services import labels as label_service
from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect

PENDING = "Object.keys(localStorage).filter(key => key.startsWith('wanxing.pending')).length"


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def project():
    project = make.make_project()
    label_service.add_labels(project=project, lines="财经\n体育\n汽车")
    for number in range(30):
        make.make_example(project, f"第{number:02d}条要标注的文本")
    return project


@pytest.fixture
def page(open_context, project):
    page = open_context().new_page()
    page.goto(f"/p/{project.pk}/label/")
    expect(page.locator("#save-state")).to_have_text("已保存")
    return page


def text_of(page) -> str:
    return page.locator("#text").text_content()


def saved(page) -> None:
    expect(page.locator("#save-state")).to_have_text("已保存", timeout=20_000)


def decisions(project) -> list[tuple[str, str, str | None]]:
    return list(project.annotations.values_list("example__text", "action", "label__name"))


def test_one_key_labels_saves_and_moves_on(page, project):
    first = text_of(page)
    page.keyboard.press("2")
    expect(page.locator("#text")).not_to_have_text(first)
    saved(page)
    assert decisions(project) == [(first, "label", "体育")]
    assert project.annotations.get().seconds is not None
    expect(page.locator("#done")).to_have_text("1")


def test_the_texts_of_a_pair_stand_apart(open_context, project):
    project.examples.all().delete()
    for number in range(2):
        make.make_example(project, f"怎么退货{number}\t能不能退掉{number}")
    page = open_context().new_page()
    page.goto(f"/p/{project.pk}/label/")
    parts = page.locator("#text .text-part")
    # As the server writes it, and as the page paints the next one.
    for number in (0, 1):
        expect(parts).to_have_text([f"怎么退货{number}", f"能不能退掉{number}"])
        page.keyboard.press("1")
    expect(parts).to_have_count(1)


def test_undo_works_at_once_and_after_a_reload(page, project):
    first = text_of(page)
    page.keyboard.press("1")
    second = text_of(page)
    page.keyboard.press("Backspace")
    expect(page.locator("#text")).to_have_text(first)
    expect(page.locator(".label-key[aria-pressed=true]")).to_have_count(0)
    page.keyboard.press("3")
    expect(page.locator("#text")).to_have_text(second)
    saved(page)
    page.reload()
    expect(page.locator("#text")).to_have_text(second)
    page.keyboard.press("Backspace")
    expect(page.locator("#text")).to_have_text(first)
    saved(page)
    assert [action for _text, action, _label in decisions(project)] == ["label", "undo", "label", "undo"]
    assert not project.examples.labelled().exists()


def test_skip_flag_and_the_table_of_keys(page, project):
    first = text_of(page)
    page.keyboard.press("f")
    expect(page.locator("#flag-mark")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.locator("#skip-panel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#skip-panel")).to_be_hidden()
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    second = page.locator("#text")
    expect(second).not_to_have_text(first)
    page.keyboard.press("Space")
    page.keyboard.press("2")
    page.keyboard.press("Space")
    page.keyboard.press("0")
    page.keyboard.type("排版错了")
    page.keyboard.press("Enter")
    saved(page)
    assert [action for _text, action, _label in decisions(project)] == ["flag", "skip", "skip", "skip"]
    reasons = project.annotations.filter(action="skip").order_by("id").values_list("reason", flat=True)
    assert list(reasons) == ["", "no_label", "排版错了"]
    page.keyboard.press("Shift+Slash")
    expect(page.locator("#keys-dialog")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.locator("#keys-dialog")).to_be_hidden()
    assert project.annotations.count() == 4


def test_an_input_method_left_on_swallows_nothing(page, project):
    first = text_of(page)
    page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown',"
        " {code: 'Digit3', key: 'Process', keyCode: 229, bubbles: true, cancelable: true}))"
    )
    expect(page.locator("#text")).not_to_have_text(first)
    saved(page)
    assert decisions(project) == [(first, "label", "汽车")]


def test_a_key_held_down_and_a_double_click_decide_once(page, project):
    page.keyboard.down("1")
    page.keyboard.down("1")  # the browser's repeat
    page.keyboard.up("1")
    saved(page)
    assert project.annotations.count() == 1
    page.locator(".label-key").nth(1).dblclick()
    saved(page)
    assert project.annotations.count() == 2


def test_back_shows_the_text_before_and_a_new_label_replaces_the_old(page, project):
    first = text_of(page)
    page.keyboard.press("1")
    second = text_of(page)
    page.go_back()
    expect(page.locator("#text")).to_have_text(first)
    expect(page.locator(".label-key[aria-pressed=true]")).to_have_text(re.compile("财经"))
    page.keyboard.press("2")
    expect(page.locator("#text")).to_have_text(second)
    saved(page)
    assert project.examples.labelled().get().label.name == "体育"
    expect(page.locator("#done")).to_have_text("1")


def test_offline_decisions_wait_and_arrive_once(page, project):
    page.context.set_offline(True)
    for key in "12312":
        page.keyboard.press(key)
    expect(page.locator("#save-state")).to_contain_text("5 条待发送")
    assert page.evaluate(PENDING) == 5
    assert not Annotation.objects.exists()
    page.context.set_offline(False)
    saved(page)
    assert page.evaluate(PENDING) == 0
    assert [label for _text, _action, label in decisions(project)] == ["财经", "体育", "汽车", "财经", "体育"]
    assert len({text for text, _action, _label in decisions(project)}) == 5


def test_a_session_that_ended_keeps_the_decision_until_the_next_sign_in(page, project):
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    first = text_of(page)
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_contain_text("登录已过期")
    assert not Annotation.objects.exists()
    page.context.sign_in()
    page.reload()
    saved(page)
    assert decisions(project) == [(first, "label", "财经")]


def test_what_was_sent_but_not_acknowledged_is_sent_again_and_counts_once(page, project):
    # The server stores the decision; its answer is lost on the way.
    page.route("**/label/decisions/", lambda route: (route.fetch(), route.abort()))
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_contain_text("待发送")
    page.unroute("**/label/decisions/")
    saved(page)
    assert project.annotations.count() == 1


def test_a_label_deleted_meanwhile_is_said_and_the_text_comes_again(page, project):
    gone = project.labels.get(name="汽车")
    label_service.delete_label(project=project, user=project.created_by, label_id=gone.pk)
    first = text_of(page)
    page.keyboard.press("3")
    expect(page.locator(".toast")).to_contain_text("标签已被删除")
    page.keyboard.press("1")
    expect(page.locator("#text")).to_have_text(first)


def test_a_second_tab_does_not_show_what_the_first_one_decided(page, project):
    other = page.context.new_page()
    other.goto(f"/p/{project.pk}/label/")
    assert text_of(other) == text_of(page)
    first = text_of(page)
    page.keyboard.press("1")
    expect(other.locator("#text")).not_to_have_text(first)
    saved(page)
    other.keyboard.press("2")
    saved(other)
    assert len({text for text, _action, _label in decisions(project)}) == 2


def test_all_texts_can_be_labelled_to_the_end(page, project):
    for number in range(30):
        before = text_of(page)
        page.keyboard.press("123"[number % 3])
        if number < 29:
            expect(page.locator("#text")).not_to_have_text(before)
            expect(page.locator("#text")).to_contain_text("条要标注的文本")
    expect(page.locator("#all-done")).to_be_visible(timeout=20_000)
    assert project.examples.labelled().count() == 30
    assert project.annotations.count() == 30


def test_many_labels_are_found_by_their_name(open_context, project):
    label_service.add_labels(project=project, lines="\n".join(f"类别{number}" for number in range(60)))
    page = open_context().new_page()
    page.goto(f"/p/{project.pk}/label/")
    first = text_of(page)
    page.keyboard.press("Slash")
    page.keyboard.type("类别57")
    expect(page.locator("#label-results [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#text")).not_to_have_text(first)
    saved(page)
    assert decisions(project) == [(first, "label", "类别57")]


def test_the_phone_has_the_labels_within_reach_and_nothing_scrolls_sideways(open_context, project):
    page = open_context(viewport={"width": 390, "height": 760}, has_touch=True).new_page()
    page.goto(f"/p/{project.pk}/label/")
    saved(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".label-key").first.bounding_box()
    assert box["height"] >= 44
    assert 380 < box["y"] < 760 - 44
    first = text_of(page)
    page.locator(".label-key").first.tap()
    expect(page.locator("#text")).not_to_have_text(first)


def test_without_javascript_the_same_buttons_work(open_context, project):
    page = open_context(java_script_enabled=False).new_page()
    page.goto(f"/p/{project.pk}/label/")
    first = text_of(page)
    page.locator(".label-key").nth(1).click()
    assert text_of(page) != first
    page.get_by_role("button", name="撤销").click()
    assert text_of(page) == first
    assert [action for _text, action, _label in decisions(project)] == ["label", "undo"]
