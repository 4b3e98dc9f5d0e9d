"""From a folder of texts to a model that runs elsewhere, as a person goes: one browser, one long visit.

The steps stand in the order of the visit and share one page; each says how long it took (`-s` shows it).
"""

from __future__ import annotations

import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import House

pytestmark = [pytest.mark.browser, pytest.mark.fewclue]

PASSWORD = "一个-足够长的-口令-2026"
NAME = "编辑"
TRAIN_SECONDS = 1500


@contextmanager
def timed(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s")


@pytest.fixture(scope="module")
def page(house: House, browser: Any) -> Iterator[Page]:
    context = browser.new_context(
        base_url=house.url, locale="zh-CN", viewport={"width": 1280, "height": 860}, accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def recipe_zip(fewclue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published recipe's folder of tnews, as a zip, with 400 of the unlabelled titles."""
    path = tmp_path_factory.mktemp("upload") / "tnews.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train.txt", "dev.txt", "test.txt", "label.txt"):
            archive.write(fewclue / "tnews" / name, name)
        titles = (fewclue / "tnews" / "data.txt").read_text(encoding="utf-8").splitlines()[:400]
        archive.writestr("data.txt", "\n".join(titles) + "\n")
    return path


def nav(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="项目").get_by_role("link", name=name, exact=True).click()


def test_1_the_first_visit_makes_the_first_account(page: Page) -> None:
    with timed("first account"):
        page.goto("/")
        page.fill("[name=username]", NAME)
        page.fill("[name=password1]", PASSWORD)
        page.fill("[name=password2]", PASSWORD)
        page.locator("main button.cta").click()
        expect(page.get_by_role("button", name="打开示例项目")).to_be_visible()


def test_2_import_the_recipe_folder(page: Page, recipe_zip: Path) -> None:
    with timed("import tnews (2,890 texts)"):
        page.locator("main [name=name]").fill("头条标题")
        page.locator("main input[type=file]").set_input_files(recipe_zip)
        page.locator("main button.cta").click()
        expect(page.get_by_text("完成", exact=True).first).to_be_visible(timeout=60_000)
    nav(page, "文本")
    page.locator(".filter-more > summary").click()
    page.get_by_label("划分").select_option("dev")
    expect(page.locator(".list-count")).to_contain_text("240 条")


def test_3_label_ten_more_by_keyboard(page: Page) -> None:
    with timed("ten decisions"):
        nav(page, "标注")
        text = page.locator("#text")
        expect(text).not_to_be_empty()
        for key in "1234512345":
            before = text.inner_text()
            page.keyboard.press(key)
            expect(text).not_to_have_text(before)
        expect(page.locator("#save-state")).to_contain_text("已保存")
    last = page.locator("#text").inner_text()
    page.keyboard.press("Backspace")
    expect(page.locator("#text")).not_to_have_text(last)
    undone = page.locator("#text").inner_text()
    page.keyboard.press("5")
    expect(page.locator("#text")).not_to_have_text(undone)
    expect(page.locator("#save-state")).to_contain_text("已保存")
    page.reload()
    expect(page.locator("#done")).to_have_text("2500")
    nav(page, "概览")
    expect(page.get_by_text("2500").first).to_be_visible()


def test_4_edit_a_word_and_see_it_checked(page: Page) -> None:
    nav(page, "标签与提示")
    words = page.locator("[name^=words-]").first
    words.fill("故事，小说")
    expect(page.locator(".word-check").first).to_contain_text("小说")
    page.locator("#template").fill("这是一条{mask}新闻。{text}")
    page.locator("#labels-save").click()
    expect(page.get_by_text("第 2 版").first).to_be_visible()
    expect(page.locator("[name^=words-]").first).to_have_value("故事，小说")


def test_5_train_with_one_button(page: Page) -> None:
    nav(page, "训练")
    page.locator("details.fold > summary", has_text="高级设置").click()
    page.locator("[name=num_train_epochs]").fill("2")
    with timed("train, 2 epochs, until the results are on the page"):
        page.get_by_role("button", name="开始训练").click()
        expect(page.get_by_text("还需约").first).to_be_visible(timeout=120_000)
        expect(page.get_by_role("heading", name="混淆矩阵")).to_be_visible(timeout=TRAIN_SECONDS * 1000)


def test_6_results_can_be_trusted_and_mended(page: Page) -> None:
    expect(page.get_by_text("2010").first).to_be_visible()
    expect(page.locator("table", has_text="召回率").first).to_be_visible()
    wrong = page.locator(".judged").first
    expect(wrong).to_be_visible()
    wrong.get_by_role("button").first.click()
    expect(page.locator(".judged").first).to_contain_text("现在的标签")


def test_7_predict_a_pasted_text_and_the_pool(page: Page) -> None:
    nav(page, "预测")
    with timed("answer to a pasted text"):
        page.locator("#text").fill("国家队公布世界杯预选赛二十三人名单")
        page.get_by_role("button", name="预测", exact=True).click()
        expect(page.locator("#answers .shares").first).to_be_visible()
    with timed("predict the pool"):
        page.get_by_role("button", name="预测未标注池").click()
        expect(page.get_by_role("link", name="按标签和置信度看")).to_be_visible(timeout=120_000)
    page.get_by_role("link", name="按标签和置信度看").click()
    expect(page.locator("main")).to_contain_text("%")


def test_8_export_download_and_run_elsewhere(page: Page, tmp_path: Path, bare_python: Path) -> None:
    nav(page, "带走")
    page.locator("[name=format][value=paddle]").check()
    with timed("export of both formats, replayed"):
        page.get_by_role("button", name="打包").click()
        expect(page.get_by_text("核对通过")).to_have_count(2, timeout=300_000)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="-onnx.zip").click()
    zipfile.ZipFile(waiting.value.path()).extractall(tmp_path)
    bundle = tmp_path / waiting.value.suggested_filename.removesuffix(".zip")
    (tmp_path / "texts.txt").write_text(
        "国家队公布世界杯预选赛名单\n新款电动汽车续航突破八百公里\n", encoding="utf-8"
    )
    with timed("bundle run where only its three packages are"):
        done = subprocess.run(
            [bare_python, "infer.py", str(tmp_path / "texts.txt")],
            cwd=bundle,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("news_") >= 2
    assert subprocess.run([bare_python, "infer.py", "--self-test"], cwd=bundle).returncode == 0
