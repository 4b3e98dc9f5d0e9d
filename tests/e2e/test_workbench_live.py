"""The model's answers beside the editor: a real worker, a real backbone, a real browser."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache

from labeling.services import labels as label_service
from labeling.services.words import save_template
from tests import factories as make
from tests.factories import make_annotation

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect

# Made sentences; what each is about is plain.
TEXTS = {
    "财经": ["央行宣布下调利率", "股市今日大幅上涨", "银行发行新的债券", "公司公布季度财报"],
    "体育": ["球队赢下决赛夺冠", "选手打破百米纪录", "联赛本周末开始", "教练宣布退役"],
    "汽车": ["新款电动车开始交付", "这款轿车油耗很低", "车企召回问题车辆", "越野车试驾体验"],
}
SLOW = 90_000  # the first question loads the backbone


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def project():
    project = make.make_project(template="以下是一条{mask}新闻。{text}")
    label_service.add_labels(project=project, lines="\n".join(f"{name}=={name}" for name in TEXTS))
    for name, texts in TEXTS.items():
        label = project.labels.get(name=name)
        for number, text in enumerate(texts):
            example = make.make_example(project, text)
            if number < 3:
                make_annotation(example, project.created_by, label)
    make.make_example(project, "测试集里的文本", split="test")
    return project


@pytest.fixture
def worker(start_worker):
    return start_worker("live")


def opened(open_as, project, **options):
    page = open_as(project.created_by, **options).new_page()
    page.goto(f"/p/{project.pk}/labels/")
    return page


def answered(page, n: int):
    """The list of answers, once `n` stand in it; else what the page and the workers say of it."""
    answers = page.locator("#answer-list > li")
    try:
        expect(answers).to_have_count(n, timeout=SLOW)
    except AssertionError as error:
        logs = sorted(Path(settings.WANXING_HOME).glob("test-worker-live-*.log"), key=os.path.getmtime)
        told = page.locator("#answer-state").text_content()
        log = logs[-1].read_text(errors="replace") if logs else ""
        raise AssertionError(f"{error}\nThe page says: {told}\nThe worker says:\n{log}") from error
    return answers


def test_ten_texts_are_answered_and_follow_what_is_typed(open_as, project, worker):
    page = opened(open_as, project)
    answers = answered(page, 10)
    assert "测试集" not in page.locator("#answers").text_content()
    expect(page.locator(".accuracy-number:visible")).to_have_count(1, timeout=SLOW)
    expect(page.locator("#accuracy")).to_contain_text("9 条已标文本")
    expect(answers.first.locator(".by-calibrated")).to_be_visible()
    expect(answers.first.locator(".by-raw")).to_be_hidden()
    page.locator("#answers-calibrated").uncheck()
    expect(answers.first.locator(".by-raw")).to_be_visible()

    before = page.locator("#answer-list").inner_html()
    page.locator(f"#words-{project.labels.get(name='汽车').pk}").fill("股票")
    expect(page.locator("#answer-list")).not_to_have_js_property("innerHTML", before)
    page.locator(f"#words-{project.labels.get(name='汽车').pk}").fill("体育")
    expect(page.locator("#answer-state")).to_contain_text("先改好")
    expect(answers).to_have_count(10)  # what was there stays, dimmed

    page.locator("#answers-show").select_option("labelled")
    page.locator(f"#words-{project.labels.get(name='汽车').pk}").fill("汽车")
    expect(answers).to_have_count(9)
    page.locator("#answers-show").select_option("search")
    page.locator("#answers-q").fill("电动车")
    expect(answers).to_have_count(1)
    page.locator("#answers-q").fill("没有这样的字")
    expect(page.locator("#answer-state")).to_contain_text("没有文本")


def test_a_script_that_comes_late_still_asks(open_as, project, worker):
    page = open_as(project.created_by).new_page()

    def late(route):
        time.sleep(1.0)
        route.continue_()

    page.route("**/workbench_live*.js", late)
    page.goto(f"/p/{project.pk}/labels/")
    answered(page, 10)


def test_words_are_proposed_added_and_taken_back(open_as, project, worker):
    page = opened(open_as, project)
    row = page.locator(".label-row").first
    row.locator(".find-words").click()
    first = row.locator("[data-replace]").first
    expect(first).to_be_visible(timeout=SLOW)
    word = first.get_attribute("data-replace")
    before = row.locator(".words-input").input_value()
    first.click()
    assert row.locator(".words-input").input_value() == word
    row.locator("[data-add]").nth(1).click()
    assert row.locator(".words-input").input_value().startswith(f"{word}，")
    page.locator("#undo").click()
    page.locator("#undo").click()
    assert row.locator(".words-input").input_value() == before


def test_a_dead_worker_is_one_clear_line_and_typing_is_not_lost(open_as, project, worker):
    page = opened(open_as, project)
    answered(page, 10)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    cache_key_of_the_dead_worker_forgotten()
    field = page.locator(f"#words-{project.labels.first().pk}")
    field.fill("银行")
    line = page.locator("#answer-state")
    expect(line).to_contain_text("推理进程没有在运行", timeout=20_000)
    expect(page.locator("#answers .notice:visible")).to_have_count(1)
    assert field.input_value() == "银行"
    page.reload()
    page.locator("#draft-take").click()
    assert field.input_value() == "银行"


def cache_key_of_the_dead_worker_forgotten() -> None:
    """What time would do: a killed worker's announcement expires."""
    from workers import broker
    from workers.announce import PREFIX

    with settings.BROKER.client(broker.CACHE) as client:
        for key in client.scan_iter(match=PREFIX + "*"):
            client.delete(key)


def test_without_a_label_the_model_guesses_first(open_as, project, worker, start_worker):
    project.examples.filter(split="pool").update(label=None, status="open")
    start_worker("bulk")
    page = opened(open_as, project)
    page.get_by_role("button", name="让模型先猜一遍").click()
    expect(page.locator("#prelabel .sure")).to_be_visible(timeout=SLOW)
    expect(page.locator("#prelabel")).to_contain_text("模型猜了 12 条")
    expect(page.get_by_role("link", name="看着建议去标")).to_be_visible()


def test_prompts_are_compared_and_the_best_ones_go_to_training(open_as, project, worker, start_worker):
    save_template(project=project, user=project.created_by, text="{text}这段话的主题是{mask}。")
    start_worker("bulk")
    page = opened(open_as, project)
    page.get_by_role("link", name="比较几种写法").click()
    page.locator("[name=template]:visible").nth(1).check()
    page.locator("#more").fill("{text}讲的是{mask}。\n{text}没有空")
    page.get_by_role("button", name="开始比较").click()
    expect(page.locator(".notice-bad")).to_contain_text("不能用")
    assert page.locator("#more").input_value().startswith("{text}讲的是")
    page.locator("#more").fill("{text}讲的是{mask}。")
    page.get_by_role("button", name="开始比较").click()
    expect(page.locator(".compare-table tbody tr")).not_to_have_count(0, timeout=SLOW)
    expect(page.locator(".verdict")).to_contain_text("分不出高下")
    page.get_by_role("button", name="一起训练").click()
    expect(page.locator(".together li")).not_to_have_count(0)
    assert page.locator("[name=extra_templates]").input_value() != "null"


def test_nothing_serious_for_those_who_hear_the_page(open_as, project, worker):
    page = opened(open_as, project, bypass_csp=True)
    answered(page, 10)
    page.add_script_tag(path=settings.BASE_DIR / "tests" / "vendor" / "axe.min.js")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("async () => (await axe.run()).violations")
        serious = [
            (one["id"], [node["html"][:160] for node in one["nodes"]][:3])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []
