"""A member who is taken out, or becomes a viewer, while they hold texts and have decisions to send."""

from __future__ import annotations

import json
import uuid

import pytest
from django.urls import reverse

from labeling.models import Lease
from labeling.services import members
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.mark.parametrize("becomes, status", [(None, 404), ("viewer", 403)])
def test_what_they_held_is_free_and_what_they_send_is_refused(client, becomes, status):
    project = make.make_project()
    label = make.make_label(project)
    user, other = make.make_member(project), make.make_member(project)
    example = make.make_example(project)
    client.force_login(user)
    page = client.get(reverse("label", args=[project.pk])).context["page_data"]
    assert Lease.objects.filter(user=user).count() == 1
    membership = project.memberships.get(user=user)
    if becomes:
        members.change_role(project=project, membership_id=membership.pk, role=becomes)
    else:
        members.remove_member(project=project, membership_id=membership.pk)
    assert not Lease.objects.exists()
    decision = {
        "client_id": str(uuid.uuid4()), "example": example.pk, "action": "label", "label": label.pk,
        "source": "blind",
    }  # fmt: skip
    answers = [
        client.post(
            reverse("label_decisions", args=[project.pk]),
            json.dumps({"user": user.pk, "decisions": [decision]}),
            content_type="application/json",
        ),
        client.post(
            reverse("label_lease", args=[project.pk]),
            {"do": "renew", "texts": str(example.pk), "page": page["page"]},
        ),
        client.get(reverse("label_next", args=[project.pk])),
    ]
    assert [answer.status_code for answer in answers] == [status] * 3
    assert not example.annotations.exists()
    client.force_login(other)
    texts = client.get(reverse("label", args=[project.pk])).context["page_data"]["texts"]
    assert [one["id"] for one in texts] == [example.pk]
