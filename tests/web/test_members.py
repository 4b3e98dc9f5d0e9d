"""Inviting, joining by a link that works once, roles, and that a project keeps an owner."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling.models import Invitation, Membership
from labeling.models.projects import Role
from labeling.services import members
from tests.factories import PASSWORD, make_member, make_project, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NEW = {"username": "sun", "password1": PASSWORD, "password2": PASSWORD, "language": "zh-hans"}


@pytest.fixture
def project() -> Any:
    return make_project(name="舆情分类")


@pytest.fixture
def owner(project: Any) -> Client:
    client = Client(headers={"Accept-Language": "zh-hans"})
    client.force_login(project.created_by)
    return client


def invite(project: Any, role: str = Role.ANNOTATOR) -> tuple[Invitation, str]:
    """An invitation and the address of its link."""
    invitation, token = members.invite(project=project, role=role, by=project.created_by)
    return invitation, reverse("join", args=[token])


# The link ---------------------------------------------------------------------------------------


def test_a_link_is_made_shown_once_and_kept_as_a_hash(owner: Client, project: Any) -> None:
    answer = owner.post(reverse("invitation_new", args=[project.pk]), {"role": Role.REVIEWER}, follow=True)
    token = re.search(r"http://testserver/join/([\w-]+)/", answer.content.decode())
    assert token
    invitation = Invitation.objects.get()
    assert (invitation.role, invitation.token_hash) == (Role.REVIEWER, Invitation.hash_of(token[1]))
    assert token[1] not in owner.get(reverse("members", args=[project.pk])).content.decode()
    assert owner.get(reverse("join", args=[token[1]])).status_code == 200


def test_a_link_for_a_role_that_does_not_exist_is_not_made(owner: Client, project: Any) -> None:
    owner.post(reverse("invitation_new", args=[project.pk]), {"role": "root"})
    assert not Invitation.objects.exists()


def test_the_link_of_one_project_is_not_shown_on_another(owner: Client, project: Any) -> None:
    other = make_project(project.created_by)
    owner.post(reverse("invitation_new", args=[project.pk]), {"role": Role.VIEWER})
    assert "/join/" not in owner.get(reverse("members", args=[other.pk])).content.decode()


def test_joining_with_a_new_account(client: Client, project: Any) -> None:
    invitation, link = invite(project)
    assert "舆情分类" in client.get(link).content.decode()
    answer = client.post(link, NEW)
    assert answer["Location"] == reverse("project_home", args=[project.pk])
    user = get_user_model().objects.get(username="sun")
    assert project.role_of(user) == Role.ANNOTATOR
    assert not user.is_superuser
    invitation.refresh_from_db()
    assert invitation.used_by == user
    assert client.get(reverse("projects")).status_code == 200


def test_joining_as_the_person_who_is_signed_in(client: Client, project: Any) -> None:
    _, link = invite(project, Role.VIEWER)
    user = make_user()
    client.force_login(user)
    page = client.get(link).content.decode()
    assert "password1" not in page
    assert project.role_of(user) is None
    assert client.post(link)["Location"] == reverse("project_home", args=[project.pk])
    assert project.role_of(user) == Role.VIEWER


def test_a_link_is_not_wasted_on_somebody_who_is_a_member(client: Client, project: Any) -> None:
    invitation, link = invite(project, Role.VIEWER)
    client.force_login(make_member(project, Role.REVIEWER))
    client.post(link)
    invitation.refresh_from_db()
    assert invitation.used_at is None
    assert project.memberships.filter(role=Role.REVIEWER).count() == 1


@pytest.mark.parametrize("case", ["unknown", "used", "expired", "revoked"])
def test_a_link_that_no_longer_works_says_so_and_lets_nobody_in(
    client: Client, project: Any, case: str
) -> None:
    invitation, link = invite(project)
    status, words = 410, {"used": "已经用过", "expired": "已经过期"}.get(case, "无效")
    if case == "unknown":
        link, status = reverse("join", args=["no-such-token"]), 404
    elif case == "used":
        Invitation.objects.update(used_at=timezone.now())
    elif case == "expired":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    else:
        assert members.revoke_invitation(project=project, invitation_id=invitation.pk)
        status = 404
    for answer in (
        client.get(link, headers={"Accept-Language": "zh-hans"}),
        client.post(link, NEW, headers={"Accept-Language": "zh-hans"}),
    ):
        assert answer.status_code == status
        assert words in answer.content.decode()
    assert not get_user_model().objects.filter(username="sun").exists()


def test_a_bad_form_neither_makes_an_account_nor_uses_the_link(client: Client, project: Any) -> None:
    make_user("Sun")
    invitation, link = invite(project)
    for change in ({"username": "sun"}, {"username": "wu", "password2": "x"}):
        answer = client.post(link, {**NEW, **change})
        assert answer.status_code == 422
        assert f'value="{change["username"]}"' in answer.content.decode()
    invitation.refresh_from_db()
    assert invitation.used_at is None
    assert not get_user_model().objects.filter(username__in=["sun", "wu"]).exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_use_a_link_at_once_one_joins() -> None:
    project = make_project()
    _, token = members.invite(project=project, role=Role.VIEWER, by=project.created_by)
    people = [make_user() for _ in range(5)]
    start = threading.Barrier(len(people))
    refused: list[Exception] = []

    def come(user: Any) -> None:
        start.wait()
        try:
            members.accept_invitation(token=token, user=user)
        except members.InvitationUsed as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=come, args=(user,)) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Membership.objects.filter(project=project, user__in=people).count() == 1
    assert len(refused) == 4


def test_withdrawing_an_invitation(owner: Client, project: Any) -> None:
    invitation, _ = invite(project)
    url = reverse("invitation_revoke", args=[project.pk, invitation.pk])
    assert owner.get(url).status_code == 405
    assert owner.post(url).status_code == 302
    assert not Invitation.objects.exists()
    assert owner.post(url).status_code == 404


# Roles ------------------------------------------------------------------------------------------


def test_changing_a_role(owner: Client, project: Any) -> None:
    member = make_member(project, Role.VIEWER)
    membership = project.memberships.get(user=member)
    url = reverse("member_role", args=[project.pk, membership.pk])
    owner.post(url, {"role": Role.REVIEWER})
    assert project.role_of(member) == Role.REVIEWER
    owner.post(url, {"role": "root"})
    assert project.role_of(member) == Role.REVIEWER


def test_the_last_owner_can_neither_step_down_nor_leave(owner: Client, project: Any) -> None:
    mine = project.memberships.get()
    make_member(project, Role.OWNER, make_user(is_active=False))
    role = reverse("member_role", args=[project.pk, mine.pk])
    for url in (
        role,
        reverse("member_remove", args=[project.pk, mine.pk]),
        reverse("project_leave", args=[project.pk]),
    ):
        answer = owner.post(url, {"role": Role.VIEWER}, follow=True)
        assert "至少要有一位负责人" in answer.content.decode()
        assert project.role_of(project.created_by) == Role.OWNER
    make_member(project, Role.OWNER)
    assert owner.post(role, {"role": Role.VIEWER})["Location"] == reverse("project_home", args=[project.pk])
    assert project.role_of(project.created_by) == Role.VIEWER


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_remove_each_other_at_once_leave_one() -> None:
    project = make_project()
    make_member(project, Role.OWNER)
    ids = list(project.memberships.values_list("pk", flat=True))
    start = threading.Barrier(2)

    def remove(membership_id: int) -> None:
        start.wait()
        try:
            members.remove_member(project=project, membership_id=membership_id)
        except members.LastOwner:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=remove, args=(pk,)) for pk in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert project.memberships.count() == 1


def test_removing_a_member_ends_their_access(owner: Client, project: Any) -> None:
    member = make_member(project, Role.ANNOTATOR)
    theirs = Client()
    theirs.force_login(member)
    home = reverse("project_home", args=[project.pk])
    assert theirs.get(home).status_code == 200
    owner.post(reverse("member_remove", args=[project.pk, project.memberships.get(user=member).pk]))
    assert theirs.get(home).status_code == 404


def test_leaving_oneself(client: Client, project: Any) -> None:
    member = make_member(project, Role.ANNOTATOR)
    client.force_login(member)
    url = reverse("project_leave", args=[project.pk])
    assert client.get(url).status_code == 405
    client.post(url)
    assert project.role_of(member) is None


def test_names_are_escaped_where_they_are_shown(owner: Client, project: Any) -> None:
    make_member(project, Role.VIEWER, make_user(display_name="<script>alert(1)</script>"))
    page = owner.get(reverse("members", args=[project.pk])).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
