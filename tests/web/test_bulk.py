"""The pages of labelling together and of rules: what they show, what they refuse, what hostile addresses do."""

from __future__ import annotations

import uuid

import pytest
from django.urls import reverse

from labeling.models import Annotation, BulkAction, Prediction, Rule, SavedView
from labeling.models.jobs import JobKind
from labeling.models.projects import Role
from labeling.services.bulk import shown_state
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make.make_project()
    make.make_label(project, "汽车")
    make.make_label(project, "财经")
    return project


@pytest.fixture
def owner(client, project):
    client.force_login(project.created_by)
    return client


@pytest.fixture
def texts(project):
    return [make.make_example(project, f"新车{number}", split="train") for number in range(3)]


def post(client, project, texts, label, **values):
    values.setdefault("bulk_id", str(uuid.uuid4()))
    values.setdefault("text", [f"{one.pk}:{shown_state(one)}" for one in texts])
    return client.post(reverse("bulk", args=[project.pk]), {"label": label.pk, **values}, follow=True)


def test_the_list_leads_here_with_its_filters(owner, project, texts):
    make.make_example(project, "股票")
    page = owner.get(reverse("texts", args=[project.pk]), {"q": "新车"}).content.decode()
    assert f"{reverse('bulk', args=[project.pk])}?q=" in page
    response = owner.get(reverse("bulk", args=[project.pk]), {"q": "新车"})
    assert [row["example"].pk for row in response.context["rows"]] == [one.pk for one in texts]


def test_the_answer_says_what_came_of_it_also_after_a_reload(owner, project, texts):
    response = post(owner, project, texts, project.labels.first(), query="q=新车")
    assert "3 条打上了“汽车”" in response.content.decode()
    again = owner.get(f"{response.redirect_chain[-1][0]}")
    assert "3 条打上了“汽车”" in again.content.decode()
    undone = owner.post(
        reverse("bulk_undo", args=[project.pk]),
        {"bulk_id": BulkAction.objects.get().bulk_id, "query": "q=新车"},
        follow=True,
    )
    assert "已撤销" in undone.content.decode()
    assert not project.examples.filter(label__isnull=False).exists()


def test_what_a_filter_by_the_model_chose_leaves_dev_and_test_alone_whatever_is_sent(owner, project):
    texts = [make.make_example(project, split=split) for split in ("train", "dev", "test")]
    for one in texts:
        Prediction.objects.create(
            project=project, example=one, model_id=1, label=project.labels.first(), confidence=0.9
        )
    response = owner.get(reverse("bulk", args=[project.pk]), {"sure_from": "50"})
    assert [row["example"].pk for row in response.context["rows"]] == [texts[0].pk]
    post(owner, project, texts, project.labels.first(), query="sure_from=50")
    assert Annotation.objects.get().example == texts[0]
    assert BulkAction.objects.get().held_back == 2


@pytest.mark.parametrize(
    "values",
    [
        {"text": []},
        {"text": ["x", "1", ":", "-1:open.", "9" * 40 + ":open.", "１:open."]},
        {"label": "x"},
        {"label": "9" * 40},
        {"label": ""},
        {"bulk_id": "not-an-id", "text": []},
        {"query": "q=" + "a" * 9_000, "text": []},
        {"query": "label=project__created_by&source=../../etc", "text": []},
    ],
)
def test_what_cannot_be_read_changes_nothing(owner, project, texts, values):
    data = {
        "label": project.labels.first().pk,
        "bulk_id": str(uuid.uuid4()),
        "text": [f"{texts[0].pk}:{shown_state(texts[0])}"],
        **values,
    }
    response = owner.post(reverse("bulk", args=[project.pk]), data, follow=True)
    assert response.status_code == 200
    assert not Annotation.objects.exists()


@pytest.mark.parametrize(
    "query",
    [
        {"source": "similar", "q": "球"},
        {"source": "similar", "like": "9" * 18},
        {"source": "probe", "score_label": "1", "score_from": "x"},
        {"source": "probe", "score_label": "9" * 30, "score_from": "80"},
        {"source": "/etc/passwd"},
        {"done": "x"},
        {"done": str(uuid.uuid4())},
        {"after": "x~y"},
        {"q": "\x00\ud83d"},
    ],
)
def test_any_address_gives_a_page(owner, project, texts, query):
    query = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
    assert owner.get(reverse("bulk", args=[project.pk]), query).status_code == 200


def test_an_action_of_another_project_is_not_shown(owner, project):
    other = make.make_project()
    action = BulkAction.objects.create(project=other, bulk_id=uuid.uuid4(), done=5)
    response = owner.get(reverse("bulk", args=[project.pk]), {"done": str(action.bulk_id)})
    assert response.context["action"] is None


def test_views_are_ones_own_unless_shared(client, project):
    reviewer, viewer = make.make_member(project, Role.REVIEWER), make.make_member(project, Role.VIEWER)
    url = reverse("view_save", args=[project.pk])
    client.force_login(reviewer)
    client.post(url, {"name": "我的", "query": "status=open&x=1&split=nope"})
    client.post(url, {"name": "大家的", "query": "q=车", "shared": "1"})
    client.force_login(viewer)
    client.post(url, {"name": "想共享", "query": "", "shared": "1"})
    shown = client.get(reverse("texts", args=[project.pk])).context["views"]
    assert {(view.name, view.shared) for view in shown} == {("大家的", True), ("想共享", False)}
    assert SavedView.objects.get(name="我的").query == "status=open"
    shared, own = SavedView.objects.get(name="大家的"), SavedView.objects.get(name="我的")
    assert client.post(reverse("view_delete", args=[project.pk, own.pk])).status_code == 404
    client.post(reverse("view_delete", args=[project.pk, shared.pk]))
    assert SavedView.objects.filter(pk=shared.pk).exists()
    client.force_login(project.created_by)
    client.post(reverse("view_delete", args=[project.pk, shared.pk]))
    assert not SavedView.objects.filter(pk=shared.pk).exists()


@pytest.mark.parametrize("name", ["", "   ", "长" * 41])
def test_a_view_needs_a_name(owner, project, name):
    owner.post(reverse("view_save", args=[project.pk]), {"name": name, "query": ""})
    assert not SavedView.objects.exists()


def test_a_rule_is_tried_kept_applied_and_withdrawn(owner, project, texts):
    asked = {"kind": "contains", "pattern": "新车", "label": project.labels.first().pk}
    preview = owner.get(reverse("rule_preview", args=[project.pk]), asked).content.decode()
    assert "<html" not in preview
    assert "3 条（100.0%）" in preview
    owner.post(reverse("rules", args=[project.pk]), asked)
    rule = Rule.objects.get()
    owner.post(reverse("rules_apply", args=[project.pk]), {"rule": rule.pk})
    job = project.jobs.get(kind=JobKind.APPLY_RULES)
    rule.refresh_from_db()
    assert (rule.job, rule.wanted) == (job, True)
    assert "正在处理" in owner.get(reverse("rules", args=[project.pk])).content.decode()
    job.claim(worker="test")
    job.succeed()
    owner.post(reverse("rule_withdraw", args=[project.pk, rule.pk]))
    rule.refresh_from_db()
    assert not rule.wanted


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"kind": "regex", "pattern": "(a+)+$(", "label": "own"},
        {"kind": "eval", "pattern": "x", "label": "own"},
        {"kind": "contains", "pattern": "车", "label": "9" * 30},
        {"kind": "contains", "pattern": "<script>alert(1)</script>", "label": "own"},
    ],
)
def test_a_preview_of_anything_is_a_fragment(owner, project, texts, asked):
    if asked.get("label") == "own":
        asked = {**asked, "label": project.labels.first().pk}
    response = owner.get(reverse("rule_preview", args=[project.pk]), asked)
    assert response.status_code == 200
    assert "<script>alert" not in response.content.decode()


def test_a_refused_rule_comes_back_with_what_was_typed(owner, project):
    asked = {"kind": "regex", "pattern": "(车", "label": project.labels.first().pk}
    page = owner.post(reverse("rules", args=[project.pk]), asked).content.decode()
    assert 'value="(车"' in page
    assert "用不了" in page
    assert not Rule.objects.exists()
