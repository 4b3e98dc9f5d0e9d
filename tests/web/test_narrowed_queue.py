"""The labelling page narrowed to a search or a saved view: who may, which texts, in which order."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.urls import reverse

from labeling.models import SavedView
from labeling.models.projects import Role
from labeling.models.texts import Split
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def project():
    project = make.make_project()
    label = make.make_label(project, "财经")
    for number in range(6):
        make.make_example(project, f"股市第{number}天" + "长" * (6 - number), order=100 - number)
    make.make_example(project, "球队比赛")
    make.make_example(project, "股市已经标过", label=label)
    return project


def texts(client, project, **query) -> list[str]:
    answer = client.get(reverse("label_next", args=[project.pk]), query)
    assert answer.status_code == 200, answer.content
    return [one["text"] for one in answer.json()["texts"]]


def view_of(project, user, query, **values) -> SavedView:
    return SavedView.objects.create(project=project, user=user, name="股市的", query=query, **values)


def test_only_open_texts_of_the_search_come_in_its_order(client, project):
    client.force_login(project.created_by)
    found = texts(client, project, **{"in": urlencode({"q": "股市", "sort": "shortest"})})
    assert len(found) == 6
    assert found == sorted(found, key=len)
    assert texts(client, project, **{"in": urlencode({"q": "球队"})}) == ["球队比赛"]


def test_a_search_for_labelled_texts_serves_none(client, project):
    client.force_login(project.created_by)
    assert texts(client, project, **{"in": "status=labelled"}) == []
    page = client.get(reverse("label", args=[project.pk]), {"in": "status=labelled"}).content.decode()
    assert "这些里没有待标的了" in page


def test_a_saved_view_is_named_and_goes_on_with_the_next_texts(client, project):
    client.force_login(project.created_by)
    view = view_of(project, project.created_by, urlencode({"q": "股市"}))
    page = client.get(reverse("label", args=[project.pk]), {"view": view.pk}).content.decode()
    assert "股市的" in page
    assert f'"view": "{view.pk}"' in page
    assert "球队比赛" not in page
    assert len(texts(client, project, view=view.pk)) == 6


@pytest.mark.parametrize("shared, n", [(True, 6), (False, 7)])
def test_an_annotator_goes_through_a_shared_view_and_not_through_anothers_own(client, project, shared, n):
    view = view_of(project, project.created_by, urlencode({"q": "股市"}), shared=shared)
    client.force_login(make.make_member(project, Role.ANNOTATOR))
    assert len(texts(client, project, view=view.pk)) == n


def test_an_annotator_searches_nothing(client, project):
    client.force_login(make.make_member(project, Role.ANNOTATOR))
    assert client.get(reverse("label", args=[project.pk]), {"in": "q=股市"}).status_code == 403


@pytest.mark.parametrize(
    "query", [{"view": "999999"}, {"view": "x"}, {"view": "9" * 40}, {"in": "label=-1&sort=;drop"}]
)
def test_what_is_not_there_is_the_whole_queue(client, project, query):
    client.force_login(project.created_by)
    assert len(texts(client, project, **query)) == 7


def test_two_people_in_one_view_hold_different_texts(client, project):
    view = view_of(project, project.created_by, urlencode({"q": "股市"}), shared=True)
    client.force_login(project.created_by)
    first = texts(client, project, view=view.pk)
    client.force_login(make.make_member(project))
    assert len(first) == 6
    assert texts(client, project, view=view.pk) == []


def test_a_models_answer_never_chooses_texts_that_measure(client, project):
    from labeling.models import Prediction

    label = project.labels.first()
    for number, split in enumerate((Split.DEV, Split.TEST, Split.POOL)):
        example = make.make_example(project, f"猜过的第{number}条", split=split)
        Prediction.objects.create(project=project, example=example, model_id=1, label=label, confidence=0.9)
    client.force_login(project.created_by)
    assert texts(client, project, **{"in": f"predicted={label.pk}"}) == ["猜过的第2条"]


def test_the_list_offers_to_go_through_what_was_found(client, project):
    client.force_login(project.created_by)
    view = view_of(project, project.created_by, urlencode({"q": "股市"}))
    page = client.get(reverse("texts", args=[project.pk]), {"q": "股市"}).content.decode()
    assert f"{reverse('label', args=[project.pk])}?view={view.pk}" in page
    href = f"{reverse('label', args=[project.pk])}?in=q%3D%25E8"
    assert href in page
    assert (
        "逐条标注"
        not in client.get(reverse("texts", args=[project.pk])).content.decode().split("view-sheet")[0]
    )
