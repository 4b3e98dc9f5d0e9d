"""Two annotators and a reviewer in three browsers: no text twice, differences adjudicated by keyboard."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from labeling.models import Annotation, Lease
from labeling.models.annotations import Source
from labeling.models.texts import Status
from labeling.services import annotate, members, overlap
from labeling.services import labels as label_service
from tests import factories as make
from tests.e2e.accessibility import serious_findings

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect

N_TEXTS = 60
PATIENCE_MS = 20_000  # a machine that does much else


@pytest.fixture(autouse=True)
def _patience():
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def project():
    project = make.make_project(name="一起标")
    label_service.add_labels(project=project, lines="财经\n体育\n汽车")
    for number in range(N_TEXTS):
        make.make_example(project, f"第{number:02d}条要标注的文本")
    return project


@pytest.fixture
def sign_in(browser, live_server):
    """A function that opens a browser in which a person is signed in; errors of the pages fail the test."""
    contexts, errors = [], []

    def open_one(user, **options):
        context = browser.new_context(locale="zh-CN", base_url=live_server.url, **options)
        client = Client()
        client.force_login(user)
        value = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": live_server.url}])
        context.on("weberror", lambda error: errors.append(str(error.error)))
        contexts.append(context)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


def saved(page) -> None:
    expect(page.locator("#save-state")).to_have_text("已保存", timeout=20_000)


def text_of(page) -> str:
    return page.locator("#text").text_content()


def test_two_people_never_see_the_same_text_and_leaving_gives_theirs_back(sign_in, project):
    one, other = make.make_member(project), make.make_member(project)
    pages = [sign_in(user) for user in (one, other)]
    seen: list[set[str]] = [set(), set()]
    for page in pages:
        page.goto(f"/p/{project.pk}/label/")
        saved(page)
    for _ in range(12):
        for page, texts in zip(pages, seen, strict=True):
            texts.add(text_of(page))
            page.keyboard.press("Digit1")
    for page in pages:
        saved(page)
    assert [len(texts) for texts in seen] == [12, 12]
    assert not seen[0] & seen[1]
    assert Annotation.objects.count() == 24
    held = Lease.objects.filter(user=one)
    assert held.exists()
    pages[0].goto(f"/p/{project.pk}/")  # the beacon of the page that is left
    expect(pages[0].locator("h1")).to_be_visible()
    for _ in range(PATIENCE_MS // 100):
        if not held.exists():
            break
        pages[0].wait_for_timeout(100)
    assert not held.exists()
    assert Lease.objects.filter(user=other).exists()


def test_texts_that_others_decided_meanwhile_leave_the_page_and_it_says_so(sign_in, project):
    user = make.make_member(project)
    page = sign_in(user)
    page.goto(f"/p/{project.pk}/label/")
    saved(page)
    held = list(
        Lease.objects.filter(user=user).order_by("example__order").values_list("example_id", flat=True)
    )
    label_id = project.labels.first().pk
    for example_id in held[:2]:  # the one in view, and the next
        annotate.decide(
            project=project, user=project.created_by, example_id=example_id, action="label", label_id=label_id
        )
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator(".toast")).to_contain_text("已经有人标了")
    page.keyboard.press("Digit2")
    expect(page.locator("#text")).to_have_text(project.examples.get(pk=held[2]).text)
    saved(page)
    assert project.annotations.filter(example_id=held[0]).count() == 2
    assert project.annotations.filter(example_id=held[1]).count() == 1


def test_a_member_who_is_taken_out_while_labelling_is_told(sign_in, project):
    user = make.make_member(project)
    page = sign_in(user)
    page.goto(f"/p/{project.pk}/label/")
    saved(page)
    members.remove_member(project=project, membership_id=project.memberships.get(user=user).pk)
    page.keyboard.press("Digit1")
    expect(page.locator("#save-state")).to_have_class("save-state bad", timeout=10_000)
    assert not Annotation.objects.exists()
    assert not Lease.objects.exists()


@pytest.mark.parametrize("width", [1280, 390])
def test_differences_are_adjudicated_by_keyboard_with_the_history_in_sight(sign_in, project, width):
    project.examples.exclude(pk__in=list(project.examples.values_list("pk", flat=True)[:3])).delete()
    overlap.change_overlap(project=project, overlap=2)
    people = [make.make_member(project, user=make.make_user(name)) for name in ("小安", "小白")]
    for user, key in zip(people, ("Digit1", "Digit2"), strict=True):
        page = sign_in(user)
        page.goto(f"/p/{project.pk}/label/")
        for number in range(3):
            expect(page.locator("#text")).to_have_text(f"第{number:02d}条要标注的文本")
            page.keyboard.press(key)
        expect(page.locator("#all-done")).to_be_visible()
        page.context.close()
    assert project.examples.filter(status=Status.DISPUTED).count() == 3

    page = sign_in(project.created_by, viewport={"width": width, "height": 800})
    page.goto(f"/p/{project.pk}/quality/adjudicate/")
    expect(page.locator("#text")).to_have_text("第00条要标注的文本")
    expect(page.locator(".said-list li")).to_have_count(2)
    expect(page.locator(".history li")).to_have_count(2)
    expect(page.locator(".history li").first).to_contain_text("小安")
    assert serious_findings(page) == []
    page.keyboard.press("Digit3")
    expect(page.locator("#text")).to_have_text("第01条要标注的文本")
    page.keyboard.press("Space")
    expect(page.locator("#text")).to_have_text("第02条要标注的文本")
    page.keyboard.press("Digit1")
    expect(page.locator("#text")).to_have_text("第01条要标注的文本")
    page.keyboard.press("Backspace")
    expect(page.locator("#text")).to_have_text("第02条要标注的文本")
    expect(page.locator(".history li")).to_have_count(4)
    page.keyboard.press("Digit2")
    expect(page.locator("#text")).to_have_text("第01条要标注的文本")
    page.get_by_role("link", name="隐藏名字").click()
    expect(page.locator("aside")).not_to_contain_text("小安")
    page.keyboard.press("Digit2")
    expect(page.locator(".empty h2")).to_have_text("没有待裁决的文本")
    page.keyboard.press("Backspace")
    expect(page.locator("#text")).to_have_text("第01条要标注的文本")
    page.keyboard.press("Digit2")
    expect(page.locator(".empty h2")).to_have_text("没有待裁决的文本")
    settled = Annotation.objects.filter(source=Source.ADJUDICATION, action="label", undone_by__isnull=True)
    labels = dict(settled.values_list("example__text", "label__name"))
    assert labels == {
        "第00条要标注的文本": "汽车", "第01条要标注的文本": "体育", "第02条要标注的文本": "体育",
    }  # fmt: skip
    assert project.examples.filter(status=Status.LABELLED).count() == 3

    page.goto(f"/p/{project.pk}/quality/agreement/")
    expect(page.locator("h2").first).to_have_text("总的来看")
    assert serious_findings(page) == []
    page.get_by_role("link", name="财经 与 体育：3 条").first.click()
    expect(page.locator(".suspects > li")).to_have_count(3)
    assert serious_findings(page) == []
    page.get_by_role("link", name="历史").first.click()
    expect(page.locator(".history li").first).to_be_visible()
    assert serious_findings(page) == []
    page.goto(f"/p/{project.pk}/members/")
    expect(page.locator(".members-table tbody tr")).to_have_count(3)
    assert serious_findings(page) == []
    page.goto(f"/p/{project.pk}/settings/")
    assert serious_findings(page) == []
