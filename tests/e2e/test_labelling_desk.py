"""More of the labelling page in a real browser: suggestions, own keys, comments, guidelines, several labels, people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.core.cache import cache

from labeling.models import Membership
from labeling.models.projects import Task
from labeling.services import guidelines, members, scores
from labeling.services import labels as label_service
from tests import factories as make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
expect: Any = pytest.importorskip("playwright.sync_api").expect

AXE = Path(__file__).resolve().parents[1] / "vendor" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 760}, "has_touch": True}


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def project(tmp_path, settings):
    settings.WANXING_HOME = tmp_path
    project = make.make_project()
    label_service.add_labels(project=project, lines="财经\n体育\n汽车")
    for number in range(30):
        make.make_example(project, f"第{number:02d}条要标注的文本", split="test" if number == 1 else "pool")
    return project


@pytest.fixture
def several(project):
    project.task = Task.MULTI_LABEL
    project.save()
    return project


def open_page(context, project, query: str = ""):
    page = context.new_page()
    page.goto(f"/p/{project.pk}/label/{query}")
    expect(page.locator("#save-state")).to_have_text("已保存")
    return page


@pytest.fixture
def page(open_context, project):
    return open_page(open_context(), project)


def text_of(page) -> str:
    return page.locator("#text").text_content()


def saved(page) -> None:
    expect(page.locator("#save-state")).to_have_text("已保存", timeout=20_000)


def suggest(project, proba: list[float]) -> None:
    """Scores of a model that says the same of every text, test texts included."""
    ids = np.array(list(project.examples.values_list("pk", flat=True)))
    labels = list(project.labels.values_list("pk", flat=True))
    scores.write(
        project.pk,
        scores.Scores(
            source="probe",
            label_ids=tuple(labels),
            example_ids=ids,
            proba=np.tile(np.array(proba, dtype=np.float16), (len(ids), 1)),
            n_labelled=60,
            n_held_out=100,
            held_out=0.9,
            multi_label=project.task == Task.MULTI_LABEL,
        ),
    )


# Suggestions


def test_enter_accepts_the_suggestion_and_that_it_was_seen_is_kept(open_context, project):
    suggest(project, [0.1, 0.8, 0.1])
    page = open_page(open_context(), project)
    expect(page.locator("#suggestion")).to_contain_text("体育")
    expect(page.locator("#suggestion-probability")).to_have_text("80%")
    expect(page.locator("#suggestion-source")).to_contain_text("边标边学")
    page.keyboard.press("Enter")
    # The second text measures the model: nothing is suggested, Enter does nothing.
    expect(page.locator("#text")).to_have_text("第01条要标注的文本")
    expect(page.locator("#suggestion")).not_to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_text("第01条要标注的文本")
    page.keyboard.press("1")
    expect(page.locator("#suggestion")).to_be_visible()
    page.keyboard.press("3")
    saved(page)
    events = list(project.annotations.order_by("id"))
    assert [(event.source, event.label.name) for event in events] == [
        ("suggestion", "体育"),
        ("blind", "财经"),
        ("suggestion", "汽车"),
    ]
    assert [event.suggested_label and event.suggested_label.name for event in events] == [
        "体育",
        None,
        "体育",
    ]
    kept = list(project.examples.order_by("id").values_list("suggestion", flat=True)[:3])
    assert kept == ["accepted", "", "overruled"]


def test_suggestions_that_a_person_hides_are_not_seen_and_not_stored(open_context, project):
    suggest(project, [0.1, 0.8, 0.1])
    page = open_page(open_context(), project)
    page.locator("#show-suggestions").uncheck()
    expect(page.locator("#suggestion")).not_to_be_visible()
    page.locator("#text").click()
    page.keyboard.press("1")
    saved(page)
    assert project.annotations.get().source == "blind"
    page.reload()
    saved(page)
    page.keyboard.press("1")  # the second text measures the model
    expect(page.locator("#suggestion")).not_to_be_visible()
    saved(page)
    page.locator("#show-suggestions").click()
    expect(page.locator("#suggestion")).to_contain_text("体育")
    assert not Membership.objects.get(project=project).hide_suggestions


def test_a_project_that_hides_suggestions_offers_no_switch(open_context, project):
    suggest(project, [0.1, 0.8, 0.1])
    project.show_suggestions = False
    project.save()
    page = open_page(open_context(), project)
    expect(page.locator("#suggestion")).not_to_be_visible()
    expect(page.locator("#show-suggestions")).to_have_count(0)


# Keys


def test_own_keys_by_keyboard_with_conflicts_named(page, project):
    page.keyboard.press("Shift+Slash")
    boxes = page.locator("#own-keys input")
    boxes.nth(0).focus()
    page.keyboard.press("2")
    expect(page.locator("#own-keys .error").nth(1)).to_contain_text("财经")
    page.keyboard.press("f")
    expect(page.locator("#own-keys .error").nth(0)).to_contain_text("F 用来标记")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("#keys-dialog")).to_be_hidden()
    expect(page.locator(".label-key kbd").first).to_have_text("K")
    first = text_of(page)
    page.keyboard.press("1")
    expect(page.locator("#text")).to_have_text(first)
    page.keyboard.press("k")
    saved(page)
    assert project.annotations.get().label.name == "财经"
    page.reload()
    expect(page.locator(".label-key kbd").first).to_have_text("K")
    assert project.labels.first().key == "1"


def test_every_key_counts_by_its_place_while_an_input_method_composes(page, project):
    def press(code: str) -> None:
        page.evaluate(
            "code => document.body.dispatchEvent(new KeyboardEvent('keydown',"
            " {code, key: 'Process', keyCode: 229, isComposing: true, bubbles: true, cancelable: true}))",
            code,
        )

    for code in ("Digit1", "KeyF", "Space", "Space", "Numpad2", "Backspace"):
        press(code)
    press("KeyC")
    expect(page.locator("#comments-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    saved(page)
    actions = list(project.annotations.order_by("id").values_list("action", flat=True))
    assert actions == ["label", "flag", "skip", "label", "undo"]


# Comments, guidelines, goal


def test_a_comment_is_written_read_and_taken_back(page, project):
    page.keyboard.press("c")
    page.keyboard.type("两个标签都说得通")
    page.keyboard.press("Enter")
    expect(page.locator("#comments-dialog")).to_be_hidden()
    expect(page.locator("#comment-mark")).to_have_text("1")
    saved(page)
    comment = project.comments.get()
    assert (comment.text, comment.example.n_comments) == ("两个标签都说得通", 1)
    page.keyboard.press("c")
    expect(page.locator("#comments li").first).to_contain_text("两个标签都说得通")
    page.locator("#comments [data-remove]").click()
    expect(page.locator("#comments")).to_contain_text("还没有评论")
    page.keyboard.press("Escape")
    assert project.examples.filter(n_comments__gt=0).count() == 0


def test_guidelines_say_what_changed_since_the_last_look(open_context, project):
    owner = project.created_by
    guidelines.save_guidelines(project=project, user=owner, text="财经：股市\n体育：比赛", based_on=0)
    Membership.objects.update(seen_guidelines=1)
    guidelines.save_guidelines(
        project=project, user=make.make_user(), text="财经：股市、银行\n体育：比赛", based_on=1
    )
    page = open_page(open_context(), project)
    expect(page.locator("#guidelines-news ins")).to_have_text("财经：股市、银行")
    expect(page.locator("#guidelines-news del")).to_have_text("财经：股市")
    page.keyboard.press("1")
    saved(page)
    assert project.annotations.get().guideline_version == 2
    page.locator("#guidelines-seen").click()
    expect(page.locator("#guidelines-news")).to_have_count(0)
    page.reload()
    expect(page.locator("#guidelines-news")).to_have_count(0)


def test_a_goal_of_ones_own_moves_the_bar(page, project):
    page.locator("#goal").fill("10")
    page.locator("#goal").press("Tab")
    expect(page.locator("#total")).to_have_text("10")
    page.reload()
    expect(page.locator("#total")).to_have_text("10")
    assert Membership.objects.get(project=project).goal == 10


# Several labels


def test_several_labels_by_keyboard(open_context, several):
    page = open_page(open_context(), several)
    first = text_of(page)
    page.keyboard.press("3")
    page.keyboard.press("1")
    expect(page.locator("#chosen .label-mark")).to_have_text(["财经", "汽车"])
    page.keyboard.press("Enter")
    expect(page.locator("#text")).not_to_have_text(first)
    expect(page.locator("#chosen .label-mark")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("还没有选标签")
    page.keyboard.press("Minus")
    saved(page)
    page.keyboard.press("2")
    page.keyboard.press("2")
    page.keyboard.press("Slash")
    page.keyboard.type("体")
    page.keyboard.press("Enter")
    page.keyboard.type("财")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    saved(page)
    names = dict(several.labels.values_list("pk", "name"))
    given = [
        (event.action, [names[pk] for pk in event.labels]) for event in several.annotations.order_by("id")
    ]
    assert given == [("label", ["财经", "汽车"]), ("none", []), ("label", ["财经", "体育"])]
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    expect(page.locator("#text")).to_have_text(first)
    saved(page)
    assert several.examples.labelled().count() == 0


def test_several_suggested_labels_are_accepted_together(open_context, several):
    suggest(several, [0.9, 0.2, 0.7])
    page = open_page(open_context(), several)
    page.keyboard.press("Enter")
    saved(page)
    example = several.examples.order_by("id").first()
    assert example.suggestion == "accepted"
    assert list(example.label_rows.values_list("label__name", flat=True)) == ["财经", "汽车"]


# People, sessions, clocks


def test_a_member_who_was_taken_out_is_told_and_loses_nothing(open_context, project):
    member = make.make_member(project)
    page = open_page(open_context(user=member), project)
    place = Membership.objects.get(project=project, user=member)
    members.remove_member(project=project, membership_id=place.pk)
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_contain_text("你已不在这个项目里")
    assert not project.annotations.exists()
    Membership.objects.create(project=project, user=member, role="annotator")
    page.evaluate("window.dispatchEvent(new Event('online'))")
    saved(page)
    assert project.annotations.get().user == member


def test_somebody_else_who_signs_in_does_not_send_what_waits_here(open_context, project):
    member = make.make_member(project)
    context = open_context(user=member)
    page = open_page(context, project)
    context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_contain_text("登录已过期")
    context.sign_in(project.created_by)
    page.evaluate("window.dispatchEvent(new Event('online'))")
    expect(page.locator("#save-state")).to_contain_text("现在登录的是别人")
    assert not project.annotations.exists()
    context.sign_in(member)
    page.evaluate("window.dispatchEvent(new Event('online'))")
    saved(page)
    assert project.annotations.get().user == member


def test_a_clock_that_jumps_back_keeps_the_order_of_decisions(page, project):
    first = text_of(page)
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.evaluate("Date.now = () => 1000")
    page.keyboard.press("Backspace")
    page.keyboard.press("2")
    page.context.set_offline(False)
    saved(page)
    assert list(project.annotations.order_by("id").values_list("action", flat=True)) == [
        "label",
        "undo",
        "label",
    ]
    assert project.examples.labelled().get().text == first
    assert project.examples.labelled().get().label.name == "体育"


# Phone and accessibility


def test_on_a_phone_skip_reasons_and_several_labels_by_thumb(open_context, several):
    page = open_page(open_context(**PHONE), several)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    first = text_of(page)
    page.locator(".label-key").nth(1).tap()
    page.locator("#save-several").tap()
    expect(page.locator("#text")).not_to_have_text(first)
    second = text_of(page)
    page.locator("#skip-button").tap()
    page.locator("[data-reason=unclear]").tap()
    expect(page.locator("#text")).not_to_have_text(second)
    saved(page)
    assert list(several.annotations.order_by("id").values_list("action", "reason")) == [
        ("label", ""),
        ("skip", "unclear"),
    ]
    small = page.evaluate(
        "[...document.querySelectorAll('.desk-choices button')].filter(one => one.offsetParent)"
        ".map(one => one.getBoundingClientRect().height).filter(height => height < 44)"
    )
    assert small == []


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_context, several, scheme, size):
    suggest(several, [0.9, 0.2, 0.7])
    guidelines.save_guidelines(project=several, user=several.created_by, text="规范", based_on=0)
    page = open_page(open_context(color_scheme=scheme, bypass_csp=True, **size), several)
    page.add_script_tag(path=str(AXE))

    def serious() -> list[str]:
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:120]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    assert serious() == []
    page.keyboard.press("Space")
    expect(page.locator("#skip-panel")).to_be_visible()
    assert serious() == []
    page.keyboard.press("Escape")
    page.keyboard.press("Slash")
    expect(page.locator("#label-results")).to_be_visible()
    assert serious() == []
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Slash")
    assert serious() == []
    page.keyboard.press("Escape")
    expect(page.locator("#keys-dialog")).to_be_hidden()
    page.keyboard.press("c")
    expect(page.locator("#comments")).to_contain_text("还没有评论")
    assert serious() == []


def test_the_order_of_the_queue_is_chosen_and_stays(page, project):
    page.locator("#order").select_option("imported")
    expect(page).to_have_url(re.compile("order=imported"))
    expect(page.locator("#order")).to_have_value("imported")
