"""Texts about which people differ: the queue of the reviewer, history, the log, agreement."""

from __future__ import annotations

import csv
import io
import uuid

import pytest
from django.urls import reverse

from labeling.models.annotations import Source
from labeling.models.texts import Status
from labeling.services import annotate
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Room:
    """Two annotators who differ about `n` texts, agree about as many, and a reviewer who is signed in."""

    def __init__(self, client, n: int = 3, **values) -> None:
        self.project = make.make_project(overlap=2, **values)
        self.client = client
        self.labels = [make.make_label(self.project, name) for name in ("财经", "体育", "科技")]
        self.ann, self.bob = (
            make.make_member(self.project, user=make.make_user(name)) for name in ("ann", "bob")
        )
        self.reviewer = make.make_member(self.project, "reviewer", user=make.make_user("rita"))
        self.disputed = [make.make_example(self.project, f"有分歧的第{i}条") for i in range(n)]
        self.agreed = [make.make_example(self.project, f"一致的第{i}条") for i in range(n)]
        for example in self.disputed + self.agreed:
            other = self.labels[example in self.disputed]
            for user, label in ((self.ann, self.labels[0]), (self.bob, other)):
                annotate.decide(
                    project=self.project, user=user, example_id=example.pk, action="label",
                    label_id=label.pk, seconds=2.5,
                )  # fmt: skip
        client.force_login(self.reviewer)
        self.url = reverse("adjudicate", args=[self.project.pk])

    def get(self, name="adjudicate", *args, **query):
        return self.client.get(reverse(name, args=[self.project.pk, *args]), query)

    def decide(self, example, *labels, **values):
        data = {"example": example.pk, "client_id": str(uuid.uuid4()), "label": [one.pk for one in labels]}
        return self.client.post(self.url, {**data, **values}, follow=True)


@pytest.fixture
def room(client):
    return Room(client)


def test_each_text_shows_who_said_what_and_one_post_decides_and_leads_on(room):
    page = room.get()
    assert page.context["dispute"].example == room.disputed[0]
    content = page.content.decode()
    assert "ann" in content
    assert "bob" in content
    assert [one.name for one in page.context["dispute"].said] == ["ann", "bob"]
    after = room.decide(room.disputed[0], room.labels[1], seconds="3.5")
    assert after.context["dispute"].example == room.disputed[1]
    assert after.context["dispute"].left == 2
    example = room.project.examples.get(pk=room.disputed[0].pk)
    assert (example.status, example.label) == (Status.LABELLED, room.labels[1])
    event = example.annotations.last()
    assert (event.source, event.user, event.seconds) == (Source.ADJUDICATION, room.reviewer, 3.5)


def test_names_can_be_hidden_everywhere_on_the_page(room):
    room.client.cookies.clear()
    room.client.force_login(room.reviewer)
    content = room.get(names="0").content.decode()
    assert "第 1 位" in content
    assert ">ann<" not in content.replace("<b>ann</b>", ">ann<")
    assert ">bob<" not in content.replace("<b>bob</b>", ">bob<")


def test_undo_takes_back_the_last_adjudication_and_nothing_else(room):
    own = make.make_example(room.project)
    annotate.decide(
        project=room.project,
        user=room.reviewer,
        example_id=own.pk,
        action="label",
        label_id=room.labels[0].pk,
    )
    room.decide(room.disputed[0], room.labels[2])
    back = room.client.post(room.url, {"action": "undo", "client_id": str(uuid.uuid4())}, follow=True)
    assert back.context["dispute"].example == room.disputed[0]
    assert room.project.examples.get(pk=room.disputed[0].pk).status == Status.DISPUTED
    again = room.client.post(room.url, {"action": "undo", "client_id": str(uuid.uuid4())}, follow=True)
    assert "没有可以撤销的裁决了" in again.content.decode()
    assert own.annotations.count() == 1


def test_the_second_of_two_reviewers_is_told(room):
    other = make.make_member(room.project, "reviewer")
    room.decide(room.disputed[0], room.labels[0])
    room.client.force_login(other)
    late = room.decide(room.disputed[0], room.labels[1])
    assert "已经不是待裁决的了" in late.content.decode()
    assert room.project.examples.get(pk=room.disputed[0].pk).label == room.labels[0]


def test_sent_twice_it_is_stored_once(room):
    client_id = str(uuid.uuid4())
    for _ in range(2):
        page = room.decide(room.disputed[0], room.labels[0], client_id=client_id)
        assert "已经不是待裁决的了" not in page.content.decode()
    assert room.disputed[0].annotations.filter(source=Source.ADJUDICATION).count() == 1


def test_later_goes_round_and_the_end_says_so(room):
    seen = [room.get().context["dispute"].example]
    for _ in range(3):
        seen.append(room.get(after=seen[-1].pk).context["dispute"].example)
    assert seen == [*room.disputed, room.disputed[0]]
    for example in room.disputed:
        page = room.decide(example, room.labels[0])
    assert page.context["dispute"] is None
    assert "没有待裁决的文本" in page.content.decode()
    assert "撤销上一个裁决" in page.content.decode()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"label": "x"},
        {"label": str(10**30)},
        {"label": "999999"},
        {"client_id": "no"},
        {"example": "9" * 30},
    ],
)
def test_nonsense_decides_nothing(room, values):
    data = {"example": room.disputed[0].pk, "client_id": str(uuid.uuid4()), **values}
    assert room.client.post(room.url, data).status_code == 302
    assert not room.project.annotations.filter(source=Source.ADJUDICATION).exists()


def test_several_labels_or_none_where_the_project_allows_them(client):
    room = Room(client, task="multi_label")
    room.decide(room.disputed[0], *room.labels[:2])
    assert room.disputed[0].label_rows.count() == 2
    room.decide(room.disputed[1], action="none")
    example = room.project.examples.get(pk=room.disputed[1].pk)
    assert (example.status, example.label) == (Status.LABELLED, None)


def test_history_shows_every_change_with_who_how_long_and_what_was_suggested(room):
    example = room.disputed[0]
    room.decide(example, room.labels[2])
    annotate.decide(
        project=room.project, user=room.ann, example_id=example.pk, action="label", label_id=room.labels[1].pk,
        suggested=annotate.Suggested((room.labels[1].pk,), 0.83, "probe"),
    )  # fmt: skip
    content = room.get("text_history", example.pk).content.decode()
    for words in ("ann", "bob", "rita", "2 秒", "裁决", "当时的建议", "83%", "probe"):
        assert words in content
    panel = room.client.get(
        reverse("text_history", args=[room.project.pk, example.pk]), headers={"HX-Request": "true"}
    ).content.decode()
    assert "<html" not in panel
    assert panel.count("<li") == 4


def test_the_log_has_a_row_for_each_event_and_no_formula(room):
    evil = make.make_example(room.project, '=HYPERLINK("http://x")')
    annotate.decide(project=room.project, user=room.ann, example_id=evil.pk, action="skip", reason="+看不懂")
    room.decide(room.disputed[0], room.labels[2])
    annotate.undo(project=room.project, user=room.ann)
    answer = room.get("annotation_log")
    assert answer["Content-Disposition"].startswith("attachment")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == room.project.annotations.count()
    by_action = {row["action"]: row for row in rows}
    assert by_action["skip"]["text"].startswith("'=")
    assert by_action["skip"]["reason"].startswith("'+")
    assert by_action["skip"]["undone"] == "1"
    assert by_action["undo"]["undoes"] == by_action["skip"]["id"]
    settled = next(row for row in rows if row["source"] == "adjudication")
    assert (settled["person"], settled["to"], settled["text_id"]) == (
        "rita",
        "科技",
        str(room.disputed[0].pk),
    )


def test_agreement_shows_figures_and_its_cells_open_their_texts(room):
    page = room.get("agreement")
    figures = page.context["figures"]
    assert (figures.n_texts, figures.n_opinions, figures.n_same) == (6, 12, 3)
    # ann always says 财经, bob half the time: two raters by Krippendorff's formula.
    assert figures.alpha.value == pytest.approx(1 - 11 * 6 / (9 * 3 * 2))
    assert figures.alpha.low <= figures.alpha.value <= figures.alpha.high
    finance, sport = room.labels[:2]
    url = f"?labels={finance.pk},{sport.pk}"
    assert url in page.content.decode()
    listed = room.client.get(reverse("disagreements", args=[room.project.pk]) + url)
    assert [example for example, _said in listed.context["rows"]] == room.disputed
    pair = room.get("disagreements", people=f"{room.ann.pk},{room.bob.pk}")
    assert pair.context["n"] == 3
    assert room.get("disagreements", people="1,x").context["n"] == 3
    assert room.get("disagreements", labels=f"{sport.pk},{room.labels[2].pk}").context["n"] == 0
    assert room.get("disagreements", page="99").status_code == 200


def test_adjudicating_does_not_change_what_people_said(room):
    before = room.get("agreement").context["figures"].alpha
    for example in room.disputed:
        room.decide(example, room.labels[0])
    assert room.get("agreement").context["figures"].alpha == before


def test_without_shared_texts_the_page_teaches(client):
    project = make.make_project()
    client.force_login(project.created_by)
    content = client.get(reverse("agreement", args=[project.pk])).content.decode()
    assert "还没有两个人标过同一条文本" in content
    assert "去设置人数" in content
