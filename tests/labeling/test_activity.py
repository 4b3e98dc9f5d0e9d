"""What the members' page says of each member."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeling.models.annotations import Source
from labeling.services import activity, annotate, queue
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_progress_pace_and_agreement_with_the_adjudicated_label(client):
    project = make.make_project(overlap=2)
    labels = [make.make_label(project) for _ in range(2)]
    ann, bob, idle = (make.make_member(project) for _ in range(3))
    examples = [make.make_example(project) for _ in range(4)]

    def say(user, example, label, seconds=None, source=Source.BLIND):
        annotate.decide(
            project=project, user=user, example_id=example.pk, action="label", label_id=labels[label].pk,
            seconds=seconds, source=source,
        )  # fmt: skip

    for number, example in enumerate(examples[:3]):
        say(ann, example, 0, seconds=1 + number)
        say(bob, example, 1)
    say(ann, examples[3], 0, seconds=9)
    annotate.undo(project=project, user=ann)
    say(project.created_by, examples[0], 0, source=Source.ADJUDICATION)
    say(project.created_by, examples[1], 1, source=Source.ADJUDICATION)
    queue.next_texts(project=project, user=idle)
    found = {one.membership.user: one for one in activity.activity_of(project)}
    assert (found[ann].texts, found[ann].week, found[ann].seconds) == (3, 3, 2.5)
    assert (found[ann].as_settled, found[ann].settled) == (1, 2)
    assert (found[bob].as_settled, found[bob].settled) == (1, 2)
    low, high = found[ann].interval
    assert 0 < low < 0.5 < high < 1
    assert found[idle].texts == 0
    assert found[idle].holds == 1
    assert found[idle].last_seen is not None
    assert found[project.created_by].settled == 0
    client.force_login(project.created_by)
    page = client.get(reverse("members", args=[project.pk])).content.decode()
    assert "n = 2" in page
    assert "手里有 1 条" in page
