"""The list of texts: search, filters, pages, relabelling, export."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeling.models.annotations import Source
from labeling.models.projects import Role
from labeling.models.texts import Split, Status
from labeling.services import search
from tests import factories as make

pytestmark = pytest.mark.django_db


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


def listed(client, project, **query):
    return [
        example.pk
        for example in client.get(reverse("texts", args=[project.pk]), query).context["page"].examples
    ]


@pytest.fixture
def four(project):
    first, second = project.labels.all()
    return [
        make.make_example(project, "央行降息一百个基点", label=first, split=Split.TRAIN),
        make.make_example(project, "球队逆转夺冠", label=second, split=Split.TEST, flagged=True),
        make.make_example(project, "还没有标的 100% 文本", split=Split.POOL),
        make.make_example(project, "跳过的央行文本", status=Status.SKIPPED, split=Split.DEV),
    ]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, [0, 1, 2, 3]),
        ({"q": "央行"}, [0, 3]),
        ({"q": "  夺冠 "}, [1]),
        ({"q": "100%"}, [2]),
        ({"q": "%"}, [2]),
        ({"q": "_"}, []),
        ({"q": "' OR 1=1 --"}, []),
        ({"label": "none"}, [2, 3]),
        ({"split": "test"}, [1]),
        ({"status": "skipped"}, [3]),
        ({"flagged": "1"}, [1]),
        ({"q": "央行", "status": "labelled"}, [0]),
    ],
)
def test_search_and_filters(owner, project, four, query, wanted):
    assert listed(owner, project, **query) == [four[index].pk for index in wanted]


def test_by_label(owner, project, four):
    assert listed(owner, project, label=project.labels.last().pk) == [four[1].pk]


@pytest.mark.parametrize(
    "query",
    [
        {"label": "999999"},
        {"label": "x"},
        {"split": "project__created_by__password"},
        {"status": "labelled' --"},
        {"flagged": "yes"},
    ],
)
def test_a_filter_that_does_not_exist_is_left_aside_and_said(owner, project, four, query):
    response = owner.get(reverse("texts", args=[project.pk]), query)
    assert len(response.context["page"].examples) == 4
    assert response.context["filters"].ignored == tuple(query)


def test_a_label_of_another_project_is_no_filter(owner, project, four):
    foreign = make.make_label(make.make_project())
    response = owner.get(reverse("texts", args=[project.pk]), {"label": foreign.pk})
    assert response.context["filters"].ignored == ("label",)


def test_pages_follow_each_other_and_lead_back(owner, project):
    examples = [make.make_example(project) for _ in range(search.PAGE_ROWS * 2 + 3)]
    keys = [example.pk for example in examples]
    url = reverse("texts", args=[project.pk])
    pages, page = [], owner.get(url).context["page"]
    while True:
        pages.append([example.pk for example in page.examples])
        if not page.after:
            break
        page = owner.get(url, {"after": page.after}).context["page"]
    assert [key for page in pages for key in page] == keys
    assert [len(one) for one in pages] == [50, 50, 3]
    back = owner.get(url, {"before": page.before}).context["page"]
    assert [example.pk for example in back.examples] == pages[1]
    first = owner.get(url, {"before": back.before}).context["page"]
    assert [example.pk for example in first.examples] == pages[0]
    assert not first.before


@pytest.mark.parametrize("place", [{"after": "x"}, {"after": "9" * 50}, {"before": "-1"}, {"after": ""}])
def test_a_broken_place_is_the_first_page(owner, project, four, place):
    assert listed(owner, project, **place) == [example.pk for example in four]


def test_htmx_gets_the_list_alone(owner, project, four):
    response = owner.get(
        reverse("texts", args=[project.pk]),
        {"q": "央行"},
        headers={"HX-Request": "true", "HX-Target": "text-list"},
    )
    html = response.content.decode()
    assert "<html" not in html
    assert "央行降息" in html
    assert "逆转夺冠" not in html


def test_an_empty_project_says_what_to_do(owner, project):
    assert (
        reverse("import_new", args=[project.pk])
        in owner.get(reverse("texts", args=[project.pk])).content.decode()
    )


def test_relabelling_appends_a_review_and_answers_with_the_cell(owner, project, four):
    label = project.labels.last()
    url = reverse("text_relabel", args=[project.pk, four[0].pk])
    response = owner.post(url, {"label": label.pk}, headers={"HX-Request": "true"})
    assert label.name in response.content.decode()
    four[0].refresh_from_db()
    assert four[0].label == label
    event = four[0].annotations.get()
    assert (event.source, event.previous_label, event.user) == (
        Source.REVIEW,
        project.labels.first(),
        project.created_by,
    )


def test_a_label_can_be_taken_away(owner, project, four):
    url = reverse("text_relabel", args=[project.pk, four[0].pk])
    response = owner.post(url, {"label": "none", "next": "https://evil.example/"})
    assert response.url == reverse("texts", args=[project.pk])
    four[0].refresh_from_db()
    assert (four[0].label, four[0].status) == (None, Status.OPEN)


@pytest.mark.parametrize("label", ["", "999999", "x"])
def test_a_label_that_does_not_exist_changes_nothing(owner, project, four, label):
    url = reverse("text_relabel", args=[project.pk, four[0].pk])
    response = owner.post(url, {"label": label}, headers={"HX-Request": "true"})
    assert "errorlist" in response.content.decode()
    assert not four[0].annotations.exists()


def test_the_choice_opens_with_and_without_script(owner, project, four):
    url = reverse("text_relabel", args=[project.pk, four[0].pk])
    assert "<html" in owner.get(url).content.decode()
    fragment = owner.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "<select" in fragment
    assert "<html" not in fragment
    assert "<select" not in owner.get(f"{url}?cancel=1", headers={"HX-Request": "true"}).content.decode()


def test_relabelling_is_for_reviewers_and_stays_in_the_project(client, project, four):
    url = reverse("text_relabel", args=[project.pk, four[0].pk])
    for role in (Role.ANNOTATOR, Role.VIEWER):
        client.force_login(make.make_member(project, role))
        assert client.post(url, {"label": "none"}).status_code == 403
    client.force_login(project.created_by)
    foreign = make.make_example(make.make_project())
    assert client.post(reverse("text_relabel", args=[project.pk, foreign.pk])).status_code == 404


@pytest.mark.parametrize("format_", ["txt", "tsv", "csv", "xlsx", "json", "jsonl", "recipe"])
def test_every_format_downloads_as_an_attachment(owner, project, four, format_):
    response = owner.get(reverse("texts_export", args=[project.pk]), {"format": format_})
    assert response["Content-Disposition"].startswith("attachment; filename=")
    assert response["X-Content-Type-Options"] == "nosniff"
    body = b"".join(response.streaming_content)
    assert body[:2] == b"PK" if format_ in ("xlsx", "recipe") else "央行降息" in body.decode("utf-8-sig")


def test_an_export_keeps_to_the_lists_filters(owner, project, four):
    query = {"format": "txt", "label": project.labels.first().pk}
    body = b"".join(owner.get(reverse("texts_export", args=[project.pk]), query).streaming_content).decode()
    assert "央行降息" in body
    assert "夺冠" not in body


def test_an_unknown_format_or_filter_is_refused(owner, project, four):
    url = reverse("texts_export", args=[project.pk])
    assert owner.get(url, {"format": "exe"}).status_code == 404
    assert owner.get(url, {"format": "csv", "split": "x"}).status_code == 302


def test_annotators_do_not_read_the_list(client, project):
    client.force_login(make.make_member(project, Role.ANNOTATOR))
    assert client.get(reverse("texts", args=[project.pk])).status_code == 403
    assert client.get(reverse("texts_export", args=[project.pk]), {"format": "csv"}).status_code == 403
