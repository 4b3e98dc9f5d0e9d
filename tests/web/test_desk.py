"""Around the labelling page: own settings, comments, versions of the guidelines, lists as queues."""

from __future__ import annotations

import json
import uuid

import pytest
from django.test import Client
from django.urls import reverse

from labeling.models import Membership
from labeling.models.projects import Role, Task
from labeling.services import comments, desk, guidelines
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make.make_project()
    for name in ("财经", "体育", "汽车"):
        make.make_label(project, name)
    return project


@pytest.fixture
def owner(project):
    client = Client()
    client.force_login(project.created_by)
    return client


def settings_of(client, project, **values):
    url = reverse("label_settings", args=[project.pk])
    return client.post(url, json.dumps(values), content_type="application/json")


def page_data(response):
    return response.context["page_data"]


# Own keys


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (["2", "2", "3"], [1]),
        (["f", "2", "3"], [0]),
        (["1", "C", "3"], [1]),
        (["é", "2", "3"], [0]),
        (["12", "2", "3"], [0]),
        (["<b>", "2", "3"], [0]),
    ],
)
def test_keys_that_cannot_be_are_named_and_nothing_changes(owner, project, keys, wrong):
    labels = list(project.labels.all())
    answer = settings_of(
        owner, project, keys={label.pk: key for label, key in zip(labels, keys, strict=True)}
    )
    assert answer.status_code == 422
    assert set(answer.json()["errors"]) == {str(labels[place].pk) for place in wrong}
    assert Membership.objects.get(project=project).keys == {}


def test_keys_are_ones_own_and_only_what_differs_is_kept(owner, project):
    labels = list(project.labels.all())
    other = make.make_member(project)
    answer = settings_of(
        owner, project, keys={labels[0].pk: "K", labels[1].pk: "1", labels[2].pk: labels[2].key}
    ).json()
    assert answer["keys"] == {str(labels[0].pk): "k", str(labels[1].pk): "1", str(labels[2].pk): "3"}
    member = Membership.objects.get(project=project, user=project.created_by)
    assert member.keys == {str(labels[0].pk): "k", str(labels[1].pk): "1"}
    assert desk.keys_for(labels, Membership.objects.get(user=other).keys) == {
        label.pk: label.key for label in labels
    }


def test_a_projects_key_that_a_person_gave_away_is_nobodys_second_key(project):
    labels = list(project.labels.all())
    assert desk.keys_for(labels, {str(labels[2].pk): "1"}) == {
        labels[0].pk: "",
        labels[1].pk: "2",
        labels[2].pk: "1",
    }


# Other settings


@pytest.mark.parametrize(("goal", "kept"), [(300, 300), ("300", 300), (0, None), (-5, None), (None, None)])
def test_a_goal_is_a_number_of_texts(owner, project, goal, kept):
    assert settings_of(owner, project, goal=goal).json()["goal"] == kept
    assert Membership.objects.get(project=project).goal == kept


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"goal": "soon"}', '{"keys": 5}', '{"keys": {"x": "1"}}', '{"goal": 1e400}']
)
def test_settings_that_cannot_be_read_change_nothing(owner, project, body):
    url = reverse("label_settings", args=[project.pk])
    assert owner.post(url, body, content_type="application/json").status_code == 400
    member = Membership.objects.get(project=project)
    assert (member.keys, member.goal, member.hide_suggestions) == ({}, None, False)


# Comments


def test_comments_show_who_and_only_ones_own_can_be_taken_back(owner, project):
    example, other = make.make_example(project), make.make_member(project)
    theirs = comments.add_comment(project=project, user=other, example_id=example.pk, text="<i>两可</i>")
    sent = {
        "client_id": str(uuid.uuid4()),
        "action": "comment",
        "example": example.pk,
        "text": "我看是财经",
    }
    url = reverse("label_decisions", args=[project.pk])
    for _ in range(2):
        answer = owner.post(url, json.dumps({"decisions": [sent]}), content_type="application/json").json()
    assert answer["results"][0]["ok"]
    listed = owner.get(reverse("label_comments", args=[project.pk, example.pk])).json()["comments"]
    assert [(one["text"], one["mine"]) for one in listed] == [("<i>两可</i>", False), ("我看是财经", True)]
    assert owner.post(reverse("comment_remove", args=[project.pk, theirs.pk])).status_code == 422
    assert owner.post(reverse("comment_remove", args=[project.pk, listed[1]["id"]])).json()["ok"]
    example.refresh_from_db()
    assert example.n_comments == 1


# Guidelines


def test_each_save_is_a_version_and_the_same_text_is_none(owner, project):
    url = reverse("guidelines", args=[project.pk])
    owner.post(url, {"text": "财经：股市", "based_on": "0"})
    owner.post(url, {"text": "财经：股市\r\n", "based_on": "1"})
    owner.post(url, {"text": "财经：股市\n体育：比赛", "based_on": "1"})
    project.refresh_from_db()
    assert project.guidelines == "财经：股市\n体育：比赛"
    assert list(project.guideline_versions.values_list("version", flat=True)) == [2, 1]
    page = owner.get(url, {"version": "2"})
    assert [(line.kind, line.text) for line in page.context["lines"]] == [
        ("same", "财经：股市"),
        ("added", "体育：比赛"),
    ]


def test_two_editors_at_once_lose_nothing(owner, project):
    guidelines.save_guidelines(project=project, user=project.created_by, text="第一版", based_on=0)
    url = reverse("guidelines", args=[project.pk])
    owner.post(url, {"text": "别人的第二版", "based_on": "1"})
    answer = owner.post(url, {"text": "我的第二版", "based_on": "1"})
    assert answer.status_code == 409
    assert "我的第二版" in answer.content.decode()
    project.refresh_from_db()
    assert project.guidelines == "别人的第二版"


def test_the_page_says_what_changed_since_the_person_looked(owner, project):
    make.make_example(project)
    url = reverse("label", args=[project.pk])
    writer = make.make_member(project, Role.OWNER)
    guidelines.save_guidelines(project=project, user=writer, text="甲\n乙", based_on=0)
    assert not owner.get(url).context["guidelines_changed"]
    guidelines.save_guidelines(project=project, user=writer, text="甲\n丙", based_on=1)
    page = owner.get(url)
    assert page.context["guidelines_changed"]
    assert [(line.kind, line.text) for line in page.context["guideline_changes"]] == [
        ("same", "甲"),
        ("removed", "乙"),
        ("added", "丙"),
    ]
    settings_of(owner, project, seen_guidelines=2)
    assert not owner.get(url).context["guidelines_changed"]


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ("", "甲", ["added"]),
        ("甲", "", ["removed"]),
        ("甲", "甲", []),
        ("1\n2\n3\n4\n5\n6", "1\n2\n3\n4\n5\n七", ["skipped", "same", "same", "removed", "added"]),
        ("1\n2\n3\n4\n5\n6", "一\n2\n3\n4\n5\n6", ["removed", "added", "same", "same", "skipped"]),
    ],
)
def test_a_comparison_shows_changes_with_a_little_around_them(old, new, kinds):
    assert [line.kind for line in guidelines.compare(old, new)] == kinds


# Several labels, other people


def test_the_page_of_a_project_with_several_labels_says_how(owner, project):
    project.task = Task.MULTI_LABEL
    project.save()
    make.make_example(project)
    page = owner.get(reverse("label", args=[project.pk]))
    assert page_data(page)["several"]
    assert "可以选几个" in page.content.decode()


def test_decisions_made_by_somebody_else_wait(owner, project):
    example, other = make.make_example(project), make.make_member(project)
    sent = {
        "client_id": str(uuid.uuid4()),
        "example": example.pk,
        "action": "label",
        "labels": [project.labels.first().pk],
    }
    answer = owner.post(
        reverse("label_decisions", args=[project.pk]),
        json.dumps({"user": other.pk, "decisions": [sent]}),
        content_type="application/json",
    )
    assert answer.status_code == 409
    assert not project.annotations.exists()


def test_lists_of_the_quality_pages_are_queues_for_reviewers_alone(project):
    make.make_example(project)
    url = reverse("label", args=[project.pk])
    for role, status in ((Role.REVIEWER, 200), (Role.ANNOTATOR, 403)):
        client = Client()
        client.force_login(make.make_member(project, role))
        assert client.get(url, {"queue": "errors"}).status_code == status
        assert client.get(url, {"queue": "made up"}).status_code == 200
