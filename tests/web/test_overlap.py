"""Changing how many people decide each text, from the settings."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeling.models.texts import Status
from labeling.services import annotate
from tests import factories as make

pytestmark = pytest.mark.django_db


def test_another_number_opens_texts_again_and_says_so(client):
    project = make.make_project()
    label = make.make_label(project)
    example = make.make_example(project)
    annotate.decide(
        project=project, user=project.created_by, example_id=example.pk, action="label", label_id=label.pk
    )
    client.force_login(project.created_by)
    url = reverse("project_overlap", args=[project.pk])
    page = client.post(url, {"overlap": "2"}, follow=True).content.decode()
    example.refresh_from_db()
    assert example.status == Status.OPEN
    assert "重新看了 1 条有人标过的文本：1 条变为待标注" in page
    client.post(url, {"overlap": "1"})
    example.refresh_from_db()
    assert (example.status, example.label) == (Status.LABELLED, label)


@pytest.mark.parametrize("overlap", ["", "0", "10", "-1", "x", "1e9"])
def test_a_number_that_makes_no_sense_changes_nothing(client, overlap):
    project = make.make_project()
    client.force_login(project.created_by)
    answer = client.post(reverse("project_overlap", args=[project.pk]), {"overlap": overlap})
    assert answer.status_code == 422
    project.refresh_from_db()
    assert project.overlap == 1


def test_the_home_and_the_list_of_texts_know_what_is_disputed(client):
    project = make.make_project()
    for _ in range(2):
        make.make_label(project)
    make.make_example(project, "两种说法的文本", status=Status.DISPUTED)
    make.make_example(project, "别的文本")
    client.force_login(project.created_by)
    assert "1 条有分歧，待裁决" in client.get(reverse("project_home", args=[project.pk])).content.decode()
    listed = client.get(reverse("texts", args=[project.pk]), {"status": "disputed"}).content.decode()
    assert "两种说法的文本" in listed
    assert "别的文本" not in listed
