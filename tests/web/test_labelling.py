"""The labelling page: JSON and plain-form decisions, the next texts, what cannot be stored, who may see what."""

from __future__ import annotations

import json
import uuid

import pytest
from django.core.cache import cache
from django.urls import reverse

from labeling.models import Annotation
from labeling.models.projects import Role
from labeling.models.texts import Split
from labeling.services import annotate
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def project():
    project = make.make_project()
    make.make_label(project, "财经")
    make.make_label(project, "体育")
    return project


@pytest.fixture
def owner(client, project):
    client.force_login(project.created_by)
    return client


def page_data(response) -> dict:
    start = response.content.decode().split('id="labelling-data" type="application/json">')[1]
    return json.loads(start.split("</script>")[0])


def send(client, project, *decisions):
    return client.post(
        reverse("label_decisions", args=[project.pk]),
        json.dumps({"decisions": decisions}),
        content_type="application/json",
    )


def decision(example, label=None, **values):
    return {
        "client_id": str(uuid.uuid4()),
        "example": example.pk,
        "action": "label" if label else "skip",
        "label": label.pk if label else None,
        "seconds": 1.5,
    } | values


def test_the_page_holds_the_first_text_and_the_next_ones(owner, project):
    examples = [make.make_example(project, f"第{n}条") for n in range(25)]
    response = owner.get(reverse("label", args=[project.pk]))
    data = page_data(response)
    assert [text["id"] for text in data["texts"]] == [example.pk for example in examples[:20]]
    assert [label["key"] for label in data["labels"]] == ["1", "2"]
    assert response.context["current"] == examples[0]


def test_a_text_cannot_break_out_of_the_page(owner, project):
    make.make_example(project, "</script><script>alert(1)</script><b>x</b>")
    html = owner.get(reverse("label", args=[project.pk])).content.decode()
    assert "<script>alert(1)" not in html
    assert "<b>x</b>" not in html


@pytest.mark.parametrize(
    ("labels", "texts", "target"),
    [(False, True, "labels"), (True, False, "import_new"), (True, True, "train")],
)
def test_an_empty_desk_says_what_comes_first(client, labels, texts, target):
    project = make.make_project()
    label = make.make_label(project) if labels else None
    if texts:
        make.make_example(project, label=label)
    client.force_login(project.created_by)
    response = client.get(reverse("label", args=[project.pk]))
    assert f'class="button cta" href="{reverse(target, args=[project.pk])}"' in response.content.decode()


def test_decisions_are_stored_in_order_and_a_resend_is_acknowledged(owner, project):
    first, second = make.make_example(project), make.make_example(project)
    label = project.labels.first()
    sent = [decision(first, label), decision(second), decision(first, action="flag", label=None)]
    answer = send(owner, project, *sent).json()["results"]
    assert [result["ok"] for result in answer] == [True, True, True]
    assert [result["client_id"] for result in answer] == [one["client_id"] for one in sent]
    again = send(owner, project, *sent).json()["results"]
    assert all(result["repeated"] for result in again)
    assert Annotation.objects.count() == 3
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.label, first.flagged, second.status) == (label, True, "skipped")
    assert first.annotations.first().seconds == 1.5


def test_undo_answers_with_the_text_so_that_it_can_be_shown_again(owner, project):
    example = make.make_example(project)
    send(owner, project, decision(example, project.labels.first()))
    undo = {"client_id": str(uuid.uuid4()), "action": "undo"}
    result = send(owner, project, undo).json()["results"][0]
    assert result["example"] == {
        "id": example.pk,
        "text": example.text,
        "labels": [],
        "status": "open",
        "flagged": False,
        "comments": 0,
        "suggestion": None,
        "why": "",
    }
    again = send(owner, project, {"client_id": str(uuid.uuid4()), "action": "undo"}).json()["results"][0]
    assert again["error"]["code"] == "nothing_to_undo"


def test_an_overruled_undo_says_so(owner, project):
    example, other = make.make_example(project), make.make_member(project)
    send(owner, project, decision(example, project.labels.first()))
    annotate.decide(
        project=project,
        user=other,
        example_id=example.pk,
        action="label",
        label_id=project.labels.last().pk,
    )
    result = send(owner, project, {"client_id": str(uuid.uuid4()), "action": "undo"}).json()["results"][0]
    assert result["overruled"]
    assert result["notice"]
    assert result["example"]["labels"] == [project.labels.last().pk]


@pytest.mark.parametrize(
    "broken",
    [
        {"client_id": "not a uuid"},
        {"client_id": None},
        {"example": "1; DROP TABLE"},
        {"example": 2**80},
        {"example": -1},
        {"example": None},
        {"label": [1]},
        {"seconds": "soon"},
        {"seconds": {}},
        {"action": "delete"},
        {"action": None},
        {"source": "bulk"},
    ],
)
def test_one_broken_decision_is_named_and_the_others_stand(owner, project, broken):
    good, bad = make.make_example(project), make.make_example(project)
    label = project.labels.first()
    answer = send(owner, project, decision(bad, label) | broken, decision(good, label)).json()["results"]
    assert [result["ok"] for result in answer] == [False, True]
    assert answer[0]["error"]["message"]
    assert list(Annotation.objects.values_list("example", flat=True)) == [good.pk]


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "null", '{"decisions": 5}', '{"decisions": {}}', json.dumps({"decisions": [1] * 101})],
)
def test_a_body_that_is_no_list_of_decisions_is_a_bad_request(owner, project, body):
    url = reverse("label_decisions", args=[project.pk])
    assert owner.post(url, body, content_type="application/json").status_code == 400


def test_what_is_no_decision_at_all_is_named(owner, project):
    answer = send(owner, project, None, 7, "x", []).json()["results"]
    assert [result["error"]["code"] for result in answer] == ["bad_decision"] * 4


def test_a_label_deleted_meanwhile_is_a_final_answer(owner, project):
    example, label = make.make_example(project), make.make_label(project, "将删")
    sent = decision(example, label)
    label.delete()
    assert send(owner, project, sent).json()["results"][0]["error"]["code"] == "label_gone"


def test_next_texts_leave_out_what_the_page_has(owner, project):
    examples = [make.make_example(project) for _ in range(4)]
    have = ",".join([str(examples[0].pk), "x", "", str(10**30)])
    answer = owner.get(reverse("label_next", args=[project.pk]), {"have": have}).json()
    assert [text["id"] for text in answer["texts"]] == [example.pk for example in examples[1:]]
    assert (answer["total"], answer["done"]) == (4, 0)


def test_nothing_of_the_split_or_a_models_answer_travels_to_the_page(owner, project):
    make.make_example(project, split=Split.TEST)
    text = page_data(owner.get(reverse("label", args=[project.pk])))["texts"][0]
    assert set(text) == {"id", "text", "labels", "status", "flagged", "comments", "suggestion", "why"}
    assert text["suggestion"] is None


def test_the_plain_form_labels_and_moves_on(owner, project):
    first, second = make.make_example(project), make.make_example(project)
    form = {"example": first.pk, "client_id": uuid.uuid4(), "label": project.labels.first().pk}
    response = owner.post(reverse("label_decide", args=[project.pk]), form, follow=True)
    assert response.context["current"] == second
    owner.post(reverse("label_decide", args=[project.pk]), form)
    assert Annotation.objects.count() == 1


def test_the_plain_form_undoes_and_shows_the_text_again(owner, project):
    first = make.make_example(project)
    make.make_example(project)
    url = reverse("label_decide", args=[project.pk])
    owner.post(url, {"example": first.pk, "client_id": uuid.uuid4(), "action": "skip"})
    response = owner.post(url, {"client_id": uuid.uuid4(), "action": "undo"}, follow=True)
    assert response.context["current"] == first
    assert response.context["current"].status == "open"


def test_a_text_asked_for_comes_first_and_is_stored_as_a_review(owner, project):
    make.make_example(project)
    asked = make.make_example(project, label=project.labels.first())
    response = owner.get(reverse("label", args=[project.pk]), {"text": asked.pk, "source": "review"})
    assert response.context["current"] == asked
    assert page_data(response)["source"] == "review"


@pytest.mark.parametrize("asked", ["0", "abc", "999999", "9" * 40, "-3", "1 OR 1=1"])
def test_a_text_that_is_not_there_falls_back_to_the_queue(owner, project, asked):
    example = make.make_example(project)
    response = owner.get(reverse("label", args=[project.pk]), {"text": asked})
    assert response.context["current"] == example
    assert list(response.context["messages"])


def test_an_annotator_reaches_open_and_own_texts_but_not_what_others_labelled(client, project):
    annotator = make.make_member(project, Role.ANNOTATOR)
    theirs = make.make_example(project)
    make.make_annotation(theirs, project.created_by, project.labels.first())
    own = make.make_example(project)
    make.make_annotation(own, annotator, project.labels.first())
    fresh = make.make_example(project)
    client.force_login(annotator)
    url = reverse("label", args=[project.pk])
    assert client.get(url, {"text": theirs.pk}).context["current"] == fresh
    assert client.get(url, {"text": own.pk}).context["current"] == own


def test_a_text_of_another_project_is_never_shown_or_decided(owner, project):
    foreign = make.make_example(make.make_project(), "别人的文本")
    mine = make.make_example(project)
    response = owner.get(reverse("label", args=[project.pk]), {"text": foreign.pk})
    assert response.context["current"] == mine
    assert "别人的文本" not in response.content.decode()
    answer = send(owner, project, decision(foreign, project.labels.first())).json()["results"][0]
    assert answer["error"]["code"] == "unknown_text"


def test_skipped_texts_can_be_seen_again(owner, project):
    example = make.make_example(project)
    send(owner, project, decision(example))
    page = owner.get(reverse("label", args=[project.pk]))
    assert "?skipped=1" in page.content.decode()
    assert owner.get(reverse("label", args=[project.pk]), {"skipped": 1}).context["current"] == example


def test_texts_that_others_hold_are_announced(client, project):
    example, other = make.make_example(project), make.make_member(project)
    client.force_login(project.created_by)
    client.get(reverse("label", args=[project.pk]))
    client.force_login(other)
    response = client.get(reverse("label", args=[project.pk]))
    assert response.context["current"] is None
    assert response.context["held_by_others"] == 1
    assert example.text not in response.content.decode()


@pytest.mark.parametrize("name", ["label", "label_decide", "label_decisions", "label_next"])
def test_viewers_do_not_label_and_strangers_see_nothing(client, project, name):
    method = client.get if name in ("label", "label_next") else client.post
    client.force_login(make.make_member(project, Role.VIEWER))
    assert method(reverse(name, args=[project.pk])).status_code == 403
    client.force_login(make.make_user())
    assert method(reverse(name, args=[project.pk])).status_code == 404


@pytest.mark.parametrize("name", ["label_decide", "label_decisions"])
def test_decisions_are_posted(owner, project, name):
    assert owner.get(reverse(name, args=[project.pk])).status_code == 405
