"""The workbench's editor in a real browser: chips and text are one thing, faults have a place, nothing typed is lost."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache

from labeling.services import labels as label_service
from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect

DRAFTS = "Object.keys(localStorage).filter(key => key.startsWith('wanxing.workbench')).length"


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def project():
    project = make.make_project(template="以下是一条{mask}新闻。{text}")
    label_service.add_labels(project=project, lines="财经==财经\n体育==体育\n汽车==汽车")
    for number in range(4):
        make.make_example(project, f"第{number}场比赛今晚在本市开始" + "，观众很多" * 40 * (number == 3))
    return project


@pytest.fixture
def page(open_as, project):
    page = open_as(project.created_by).new_page()
    open_page(page, project)
    return page


def open_page(page, project):
    page.goto(f"/p/{project.pk}/labels/")
    expect(page.locator("#prompt-report .previews li").first).to_be_visible()


def template(page) -> str:
    return page.locator("#template").input_value()


def kinds(page) -> list[str]:
    return page.eval_on_selector_all(
        "#chips > *",
        "all => all.map(one => one.classList.contains('chip') ? one.className.match(/chip-(\\w+)/)[1] : one.querySelector('input').value)",
    )


def focus(page, selector: str) -> None:
    page.eval_on_selector(selector, "one => one.focus()")


def test_chips_are_read_from_the_text_and_written_into_it(page):
    assert kinds(page) == ["以下是一条", "mask", "新闻。", "text", ""]
    page.locator("#template").fill("{text}这是{mask}。")
    assert kinds(page) == ["", "text", "这是", "mask", "。"]
    page.locator("#chips input").nth(1).fill("这段话讲的是")
    assert template(page) == "{text}这段话讲的是{mask}。"


def test_the_keyboard_walks_moves_and_deletes(page):
    focus(page, "#chips .chip-mask")
    page.keyboard.press("Alt+ArrowLeft")
    assert template(page) == "{mask}以下是一条新闻。{text}"
    page.keyboard.press("Alt+ArrowRight")
    page.keyboard.press("Alt+ArrowRight")
    assert template(page) == "以下是一条新闻。{text}{mask}"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Delete")
    assert template(page) == "以下是一条新闻。{mask}"
    expect(page.locator("#template-error")).to_contain_text("{text}")
    page.keyboard.press("Control+z")
    page.locator("#undo").click()
    assert template(page) == "以下是一条新闻。{text}{mask}"
    expect(page.locator("#template-error")).to_have_text("")


def test_words_are_typed_where_one_stands(page):
    focus(page, "#chips .chip-text")
    page.keyboard.press("x")  # on a chip a letter lands in the words that follow
    page.keyboard.press("Backspace")
    page.keyboard.type("（来自网页）")
    assert template(page) == "以下是一条{mask}新闻。{text}（来自网页）"
    page.keyboard.type("{soft:主题}！")
    assert template(page) == "以下是一条{mask}新闻。{text}（来自网页）{soft:主题}！"
    assert "soft" in kinds(page)
    page.keyboard.press("Home")
    page.keyboard.press("Home")
    for _letter in range(2):
        page.keyboard.press("ArrowRight")
    page.locator("#template-parts button").nth(1).click()
    assert template(page).count("{mask}") == 1


def test_braces_among_the_words_stay_words(page):
    page.locator("#chips input").first.fill("集合{a}与}")
    assert template(page) == "集合{{a}}与}}{mask}新闻。{text}"
    expect(page.locator("#template-error")).to_have_text("")


def test_a_chip_is_carried_with_the_mouse(page):
    mask, text = page.locator(".chip-mask").bounding_box(), page.locator(".chip-text").bounding_box()
    page.mouse.move(mask["x"] + 10, mask["y"] + 10)
    page.mouse.down()
    page.mouse.move(text["x"] + 30, text["y"] + 12, steps=5)
    page.mouse.move(text["x"] + text["width"] + 2, text["y"] + 12, steps=3)
    page.mouse.up()
    assert template(page) == "以下是一条新闻。{text}{mask}"


FAULTS = [
    ("以下{mask 新闻。{text}", "{mask 新闻。{text}", "第 3 个字符"),
    ("多了一个}号{mask}{text}", "}", "第 5 个字符"),
    ("{mask}{text}{文本}", "{文本}", "第 13 个字符"),
    ("{mask}{text}{mask}", "{mask}", "第 13 个字符"),
    ("{text} {mask}", " ", "第 7 个字符"),
    ("👍{mask}‮{text}}", "}", "第 15 个字符"),
    ("{'text':__import__('os')}{mask}", "{'text':__import__('os')}", "第 9 个字符"),
]


@pytest.mark.parametrize(("source", "underlined", "words"), FAULTS)
def test_a_fault_is_underlined_where_it_is_in_both_forms(page, source, underlined, words):
    page.locator("#template").fill(source)
    expect(page.locator("#template-error")).to_contain_text(words)
    marked = page.locator("#template-under mark")
    expect(marked).to_have_count(1)
    assert marked.text_content() in (underlined, underlined[8:])
    expect(page.locator("#chips .chip-fault").first).to_be_visible()
    expect(page.locator("#template")).to_have_attribute("aria-invalid", "true")


HOSTILE = [
    "<img src=x onerror=alert(1)>{text}{mask}",
    "{text}{mask}" + "长" * 10_000,
    "👨‍👩‍👧🏳️‍🌈{text}{mask}",
    "\u202e{text}\u200f{mask}\u2066",
    "العربية{text}{mask}ไทย",
    "${7*7}{{7*7}}{% csrf_token %}{text}{mask}",
    "'; DROP TABLE labeling_project; --{text}{mask}",
    "{" * 300,
    "\x00{text}{mask}",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_templates_are_only_ever_text(page, source):
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.locator("#template").fill(source)
    expect(page.locator("#prompt-report")).to_be_attached()
    page.wait_for_timeout(300)
    assert page.locator("#chips img, #chips script, #prompt-report img").count() == 0
    assert page.locator("#bench-trouble").is_hidden()


WORDS = [
    ("{mask}", "不能用"),
    ("\u202e", ""),
    ("𓀀𓀁", "不认识"),
    ("体育", "相同"),
    ("Ｘ，x", ""),
    ("很长很长很长很长的一个标签词", "长"),
    ("🚗", ""),
    ("词" * 50, "超过"),
    ("==", "不能用"),
]


@pytest.mark.parametrize(("typed", "says"), WORDS)
def test_a_bad_word_is_said_beside_it(page, project, typed, says):
    first = project.labels.first()
    page.locator(f"#words-{first.pk}").fill(typed)
    if says:
        expect(page.locator(f"#check-{first.pk}")).to_contain_text(says)
    expect(page.locator("#bench-trouble")).to_be_hidden()


def test_what_the_model_does_not_read_is_struck_out(page):
    expect(page.locator(".piece-cut")).to_have_count(1)
    expect(page.locator(".piece-cut")).to_contain_text("观众很多")
    assert page.locator("#chips .piece-mask").count() == int(
        page.locator("#prompt-report").get_attribute("data-masks")
    )


def test_the_places_to_fill_follow_the_longest_word(page, project):
    before = page.locator("#chips .piece-mask").count()
    page.locator(f"#words-{project.labels.first().pk}").fill("一个长很多的标签词")
    expect(page.locator("#chips .piece-mask")).not_to_have_count(before)


def test_words_and_prompt_are_saved_together(page, project):
    first = project.labels.first()
    page.locator(f"#words-{first.pk}").fill("金融，股票")
    page.locator("#template").fill("{text}这是{mask}。")
    expect(page.locator("#labels-unsaved")).to_be_visible()
    page.locator("#labels-save").click()
    expect(page.locator(".message-success")).to_contain_text("第 2 版")
    assert [word.text for word in first.words.all()] == ["金融", "股票"]
    assert project.templates.first().text == "{text}这是{mask}。"
    page.wait_for_timeout(300)
    assert page.evaluate(DRAFTS) == 0
    expect(page.locator("#draft-offer")).to_be_hidden()
    page.locator("#versions summary").click()
    assert page.locator("#versions ins").first.text_content()
    page.locator("#versions button").first.click()
    assert project.templates.first().text == "以下是一条{mask}新闻。{text}"


def test_a_mistake_saves_nothing_and_loses_nothing(page, project):
    first = project.labels.first()
    page.locator(f"#words-{first.pk}").fill("想了很久的词")
    page.locator("#template").fill("{text}没有空")
    page.locator("#labels-save").click()
    expect(page.locator("#template-error")).to_contain_text("{mask}")
    assert page.locator(f"#words-{first.pk}").input_value() == "想了很久的词"
    assert project.templates.count() == 1
    assert first.word_texts == ["财经"]
    page.goto(f"/p/{project.pk}/labels/")
    page.locator("#draft-take").click()
    assert page.locator(f"#words-{first.pk}").input_value() == "想了很久的词"
    assert template(page) == "{text}没有空"


def test_a_reload_offers_what_was_typed(page, project):
    first = project.labels.first()
    page.locator(f"#words-{first.pk}").fill("没有保存的词")
    page.reload()
    expect(page.locator("#draft-offer")).to_be_visible()
    expect(page.locator("#draft-what")).to_contain_text("1 个标签")
    page.locator("#draft-take").click()
    assert page.locator(f"#words-{first.pk}").input_value() == "没有保存的词"
    expect(page.locator(f"#check-{first.pk} .token")).not_to_have_count(0)
    page.reload()
    page.locator("#draft-drop").click()
    page.reload()
    expect(page.locator("#prompt-report .previews li").first).to_be_visible()
    expect(page.locator("#draft-offer")).to_be_hidden()


def test_after_a_sign_out_the_words_are_still_there(open_as, page, project):
    first = project.labels.first()
    page.context.clear_cookies()
    page.locator(f"#words-{first.pk}").fill("登录过期时写的词")
    expect(page.locator("#bench-trouble")).to_contain_text("重新登录")
    page.wait_for_timeout(400)
    assert page.evaluate(DRAFTS) == 1


def test_the_library_replaces_the_template_and_undo_brings_it_back(page):
    page.locator("#library summary").click()
    page.locator(".library-pick").first.click()
    chosen = template(page)
    assert chosen != "以下是一条{mask}新闻。{text}"
    page.locator("#undo").click()
    assert template(page) == "以下是一条{mask}新闻。{text}"


def test_a_hundred_and_nineteen_labels_are_found_and_checked(open_as, project):
    label_service.add_labels(
        project=project, lines="\n".join(f"类别{number}==词{number}" for number in range(116))
    )
    page = open_as(project.created_by).new_page()
    open_page(page, project)
    assert page.locator("#label-rows > li").count() == 119
    page.locator("#find-row").fill("类别77")
    expect(page.locator("#label-rows > li:visible")).to_have_count(1)
    page.locator("#label-rows > li:visible .words-input").fill("词78")
    expect(page.locator("#label-rows > li:visible .word-bad")).to_have_count(1)
    page.locator("#find-row").fill("")
    page.locator("#only-problems").check()
    expect(page.locator("#label-rows > li:visible")).not_to_have_count(119)


def test_a_viewer_reads_and_changes_nothing(open_as, project):
    page = open_as(make.make_member(project, "viewer")).new_page()
    open_page(page, project)
    assert page.locator("#chips input:not([readonly])").count() == 0
    assert page.locator("#labels-save, #template-parts, #undo").count() == 0


def test_without_javascript_the_forms_work(open_as, project):
    page = open_as(project.created_by, java_script_enabled=False).new_page()
    page.goto(f"/p/{project.pk}/labels/")
    first = project.labels.first()
    page.locator(f"#words-{first.pk}").fill("金融")
    page.locator("#template").fill("{text}这是{mask}。")
    page.locator("#labels-save").click()
    assert page.locator(".message-success").count() == 1
    assert first.words.get().text == "金融"
    assert page.locator("#chips").is_hidden()


def test_the_phone_shows_it_all_and_nothing_scrolls_sideways(open_as, project):
    page = open_as(project.created_by, viewport={"width": 390, "height": 760}, has_touch=True).new_page()
    open_page(page, project)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for selector in (".chip", "#labels-save", ".row-more > summary"):
        assert page.locator(selector).first.bounding_box()["height"] >= 44
