"""The quality lists and the model's orders in a real browser: by keyboard alone, on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.test import Client

from labeling.models import Annotation, QualityCheck, Suspect
from labeling.models.annotations import Source
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.quality import SuspectKind
from labeling.services import labels as label_service
from labeling.services import learning, quality, queue_orders, scores
from labeling.services.learning import Learning, Round
from labeling.services.queue_orders import WHY, Ranking
from labeling.services.scores import Scores
from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect
AXE = Path(__file__).resolve().parents[1] / "vendor" / "axe.min.js"


@pytest.fixture
def project(tmp_path, settings):
    settings.WANXING_HOME = tmp_path
    project = make.make_project(dev_percent=0, test_percent=0)
    label_service.add_labels(project=project, lines="财经\n体育\n汽车")
    return project


@pytest.fixture(params=[{"width": 1280, "height": 800}, {"width": 390, "height": 844}], ids=["desk", "phone"])
def page(request, browser, live_server, project):
    client = Client()
    client.force_login(project.created_by)
    context = browser.new_context(
        locale="zh-CN", base_url=live_server.url, viewport=request.param, bypass_csp=True
    )
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert errors == []


def serious(page: Any) -> list[str]:
    """Serious findings of axe on the page."""
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def make_list(project: Any, n: int = 3) -> list[Any]:
    labels = list(project.labels.order_by("position"))
    check = QualityCheck.objects.create(
        project=project,
        job=make.make_job(project, JobKind.QUALITY, status=JobStatus.SUCCEEDED),
        n_labelled=40,
        n_texts=90,
        accuracy=0.7,
    )
    examples = [
        make.make_example(project, f"第 {number} 条可疑的文本", label=labels[0]) for number in range(n)
    ]
    for rank, example in enumerate(examples):
        Suspect.objects.create(
            check_run=check, project=project, kind=SuspectKind.ERRORS, example=example, rank=rank, score=0.1,
            suggested_label=labels[1], after_annotation=quality.newest_annotation_id(project),
        )  # fmt: skip
    return examples


def test_a_list_is_settled_by_keyboard(page, project):
    examples = make_list(project)
    page.goto(f"/p/{project.pk}/quality/")
    assert serious(page) == []
    link = page.get_by_role("link", name="逐条处理")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_text("第 0 条可疑的文本")
    expect(page.locator("#why")).to_contain_text("更倾向“体育”")
    expect(page.locator("#suggestion")).to_be_hidden()
    page.keyboard.press("1")  # right as it is
    expect(page.locator("#text")).to_have_text("第 1 条可疑的文本")
    page.keyboard.press("2")
    expect(page.locator("#text")).to_have_text("第 2 条可疑的文本")
    expect(page.locator("#save-state")).to_have_text("已保存")
    page.goto(f"/p/{project.pk}/quality/lists/errors/")
    expect(page.locator(".suspects > li")).to_have_count(1)
    assert serious(page) == []
    button = page.get_by_role("button", name="改成“体育”")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("记下了。")).to_be_visible()
    decided = {event.example_id: event for event in Annotation.objects.filter(project=project)}
    labels = list(project.labels.order_by("position"))
    assert [decided[one.pk].label for one in examples] == [labels[0], labels[1], labels[1]]
    assert {event.source for event in decided.values()} == {Source.REVIEW}
    page.reload()
    expect(page.get_by_text("没有待看的")).to_be_visible()


def test_the_order_its_reason_and_the_verdict_stand_on_the_page(page, project):
    examples = [make.make_example(project, f"第 {number} 条") for number in range(4)]
    labels = [label.pk for label in project.labels.order_by("position")]
    ids = np.array([one.pk for one in reversed(examples)], dtype=np.int64)
    queue_orders.write(
        project.pk,
        Ranking(
            "auto", ids, np.full(4, WHY.index("margin")), np.tile(labels[:2], (4, 1)), np.full((4, 2), 0.4)
        ),
    )
    scores.write(
        project.pk,
        Scores("probe", tuple(labels), ids, np.tile([0.4, 0.35, 0.25], (4, 1)), n_labelled=300, held_out=0.8,
               n_held_out=300, baseline=0.4),
    )  # fmt: skip
    learning.write(
        project.pk,
        Learning(rounds=(Round(300, 0.8, 300, 0.98),), enough=True, more=50, gain=0.002, low=0.0, high=0.006,
                 agreement=0.981),
    )  # fmt: skip
    page.goto(f"/p/{project.pk}/label/")
    expect(page.locator("#text")).to_have_text("第 3 条")
    expect(page.locator("#why")).to_contain_text("模型分不清它是“财经”")
    expect(page.locator("#suggestion")).to_contain_text("财经")
    expect(page.get_by_text("再标下去，帮助可能不大了。")).to_have_count(1)
    assert serious(page) == []
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_text("第 2 条")
    expect(page.locator("#save-state")).to_have_text("已保存")
    event = Annotation.objects.get(example=examples[3])
    assert (event.source, event.suggestion_source, event.suggested_label_id) == (
        "suggestion",
        "probe",
        labels[0],
    )
