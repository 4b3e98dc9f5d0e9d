"""The first account, signing in and out, one's own account, and who runs the server."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from labeling.models import ImportBatch, Membership, Project
from labeling.models.projects import Role
from tests.factories import (
    PASSWORD,
    make_annotation,
    make_example,
    make_import_batch,
    make_label,
    make_member,
    make_project,
    make_user,
)
from webapp import setup_code
from webapp.accounts import services

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FIRST = {"username": "王编辑", "password1": PASSWORD, "password2": PASSWORD, "language": "zh-hans"}


@pytest.fixture
def code() -> Any:
    """A setup code in force, as on a server that others can reach."""
    yield setup_code.ensure()
    setup_code.forget()


@pytest.fixture
def signed_in() -> tuple[Client, Any]:
    user = make_user("li")
    client = Client()
    client.force_login(user)
    return client, user


def users() -> Any:
    return get_user_model().objects


# The first visit --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["projects", "sign_in", "account"])
def test_before_the_first_account_every_address_leads_to_welcome(client: Client, name: str) -> None:
    assert client.get(reverse(name))["Location"] == reverse("welcome")


def test_the_first_account_is_an_administrator_and_is_signed_in(client: Client) -> None:
    answer = client.post(reverse("welcome"), FIRST)
    assert (answer.status_code, answer["Location"]) == (302, reverse("projects"))
    user = users().get()
    assert (user.username, user.is_superuser, user.language) == ("王编辑", True, "zh-hans")
    assert client.get(reverse("projects")).status_code == 200


def test_afterwards_welcome_leads_to_sign_in_and_makes_nothing(client: Client) -> None:
    make_user()
    assert client.get(reverse("welcome"))["Location"] == reverse("sign_in")
    assert client.post(reverse("welcome"), FIRST)["Location"] == reverse("sign_in")
    assert users().count() == 1


@pytest.mark.parametrize(
    "change, words",
    [
        ({"password2": "something-else-entirely"}, "两次输入的密码不一样"),
        ({"password1": "short", "password2": "short"}, "密码太短，至少要 10 个字符"),
        ({"password1": "12345678901234", "password2": "12345678901234"}, "数字"),
        ({"username": "a b<c>"}, "用户名只能用汉字、字母、数字"),
        ({"username": ""}, "id_username_error"),
        ({"language": "xx"}, "id_language_error"),
    ],
)
def test_a_bad_first_account_is_explained_and_what_was_typed_stays(
    client: Client, change: dict[str, str], words: str
) -> None:
    answer = client.post(reverse("welcome"), {**FIRST, **change}, headers={"Accept-Language": "zh-hans"})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    if change.get("username") is None:
        assert 'value="王编辑"' in answer.content.decode()
    assert not users().exists()


def test_off_loopback_the_setup_code_is_asked_for(client: Client, code: str) -> None:
    assert 'name="code"' in client.get(reverse("welcome")).content.decode()
    for wrong in ("", "AAAA-BBBB-CCCC"):
        assert client.post(reverse("welcome"), {**FIRST, "code": wrong}).status_code == 422
    assert not users().exists()
    assert client.post(reverse("welcome"), {**FIRST, "code": code.lower()}).status_code == 302
    assert users().count() == 1
    assert setup_code.current() is None


@pytest.mark.django_db(transaction=True)
def test_of_two_who_come_first_only_one_gets_the_account() -> None:
    start = threading.Barrier(4)
    made: list[str] = []

    def come(name: str) -> None:
        start.wait()
        try:
            services.create_first_account(username=name, password=PASSWORD, language="en", code="")
            made.append(name)
        except services.NotTheFirst:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=come, args=(f"tab{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert users().count() == 1


# Signing in and out -----------------------------------------------------------------------------


def test_signing_in_leads_where_the_person_wanted_to_go(client: Client) -> None:
    make_user("zhao", language="en")
    wanted = reverse("account")
    there = client.get(wanted)["Location"]
    assert there == f"{reverse('sign_in')}?next={wanted}"
    answer = client.post(reverse("sign_in"), {"username": "zhao", "password": PASSWORD, "next": wanted})
    assert answer["Location"] == wanted
    assert answer.cookies["django_language"].value == "en"


def test_signing_in_never_leads_out_of_the_house(client: Client) -> None:
    make_user("zhao")
    form = {"username": "zhao", "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post(reverse("sign_in"), form)["Location"] == "/"


@pytest.mark.parametrize("username", ["zhao", "nobody"])
def test_a_wrong_password_and_an_unknown_name_get_the_same_sentence(client: Client, username: str) -> None:
    make_user("zhao")
    answer = client.post(
        reverse("sign_in"),
        {"username": username, "password": "wrong"},
        headers={"Accept-Language": "zh-hans"},
    )
    assert "用户名或密码不对" in answer.content.decode()
    assert f'value="{username}"' in answer.content.decode()


def test_too_many_failures_lock_with_the_waiting_time(client: Client) -> None:
    make_user("zhao")
    form = {"username": "zhao", "password": "wrong"}
    zh = {"Accept-Language": "zh-hans"}
    for _ in range(7):
        assert client.post(reverse("sign_in"), form).status_code == 200
    answer = client.post(reverse("sign_in"), form, headers=zh)
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 14 * 60
    assert "请等 15 分钟再试" in answer.content.decode()
    assert 'value="zhao"' in answer.content.decode()
    # Not even the right password opens the door now, but another person is not locked out.
    assert client.post(reverse("sign_in"), {**form, "password": PASSWORD}).status_code == 429
    make_user("qian")
    assert client.post(reverse("sign_in"), {"username": "qian", "password": PASSWORD}).status_code == 302


def test_signing_out_needs_a_post(signed_in: tuple[Client, Any]) -> None:
    client, _ = signed_in
    assert client.get(reverse("sign_out")).status_code == 405
    assert client.post(reverse("sign_out")).status_code == 302
    assert client.get(reverse("projects")).status_code == 302


def test_forms_need_their_token() -> None:
    make_user("zhao")
    client = Client(enforce_csrf_checks=True)
    assert client.post(reverse("sign_in"), {"username": "zhao", "password": PASSWORD}).status_code == 403


# The account ------------------------------------------------------------------------------------


def test_name_language_and_theme_are_saved_and_seen(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    form = {"display_name": "李编辑", "language": "zh-hans", "theme": "dark"}
    assert client.post(reverse("account"), form)["Location"] == reverse("account")
    user.refresh_from_db()
    assert (user.display_name, user.language, user.theme) == ("李编辑", "zh-hans", "dark")
    page = client.get(reverse("account")).content.decode()
    assert 'data-theme="dark"' in page
    assert "李编辑" in page
    client.post(reverse("account"), {**form, "theme": ""})
    assert "data-theme" not in client.get(reverse("account")).content.decode()


def test_a_bad_theme_changes_nothing(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    answer = client.post(reverse("account"), {"display_name": "x", "language": "en", "theme": '"><script>'})
    assert answer.status_code == 422
    user.refresh_from_db()
    assert (user.display_name, user.theme) == ("", "")


def test_the_language_button_is_remembered_for_the_person(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    client.post(reverse("set_language"), {"language": "en", "next": "/"})
    user.refresh_from_db()
    assert user.language == "en"
    client.post(reverse("set_language"), {"language": "nonsense", "next": "/"})
    user.refresh_from_db()
    assert user.language == "en"


def test_a_new_password_keeps_this_browser_and_ends_the_others(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    other = Client()
    other.force_login(user)
    new = "another-good-passphrase"
    bad = {"old_password": "wrong", "new_password1": new, "new_password2": new}
    assert client.post(reverse("password"), bad).status_code == 422
    assert client.post(reverse("password"), {**bad, "old_password": PASSWORD}).status_code == 302
    assert client.get(reverse("account")).status_code == 200
    assert other.get(reverse("account")).status_code == 302
    user.refresh_from_db()
    assert user.check_password(new)


# Leaving ----------------------------------------------------------------------------------------


def delete_form(user: Any) -> dict[str, str]:
    return {"username": user.username, "password": PASSWORD}


def test_deleting_the_account_removes_the_person_and_keeps_the_decisions(
    signed_in: tuple[Client, Any],
) -> None:
    client, user = signed_in
    project = make_project()
    make_member(project, Role.REVIEWER, user)
    label = make_label(project)
    annotation = make_annotation(make_example(project), user, label)
    assert client.post(reverse("account_delete"), delete_form(user))["Location"] == reverse("sign_in")
    assert not users().filter(username="li").exists()
    assert not Membership.objects.filter(user_id=user.pk).exists()
    annotation.refresh_from_db()
    assert annotation.label == label
    assert client.get(reverse("account")).status_code == 302


def test_where_rows_must_name_a_maker_a_nameless_account_stands_in(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    user.display_name = "李编辑"
    user.save()
    project = make_project(user)
    batch = make_import_batch(project)
    make_member(project, Role.OWNER)
    client.post(reverse("account_delete"), delete_form(user))
    batch = ImportBatch.objects.select_related("created_by").get(pk=batch.pk)
    left = batch.created_by
    assert "li" not in (left.username, left.display_name)
    assert "李" not in left.display_name
    assert not left.is_active
    assert not left.check_password(PASSWORD)
    assert not left.memberships.exists()
    assert left not in services.people()
    client.post(reverse("sign_in"), {"username": left.username, "password": PASSWORD})
    assert client.get(reverse("account")).status_code == 302


@pytest.mark.parametrize("change", [{"username": "somebody"}, {"password": "wrong"}])
def test_an_account_is_not_deleted_by_accident(signed_in: tuple[Client, Any], change: dict[str, str]) -> None:
    client, user = signed_in
    answer = client.post(reverse("account_delete"), {**delete_form(user), **change})
    assert answer.status_code == 422
    assert users().filter(pk=user.pk).exists()


def test_sole_owners_are_told_which_projects_to_hand_over(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    make_project(user, name="只有我的项目")
    shared = make_project(user, name="两个人的项目")
    make_member(shared, Role.OWNER)
    closed = make_project(user, name="另一位已停用")
    make_member(closed, Role.OWNER, make_user(is_active=False))
    page = client.get(reverse("account_delete")).content.decode()
    assert "只有我的项目" in page
    assert "另一位已停用" in page
    assert "两个人的项目" not in page
    assert client.post(reverse("account_delete"), delete_form(user)).status_code == 422
    assert users().filter(pk=user.pk).exists()


def test_the_last_administrator_stays(signed_in: tuple[Client, Any]) -> None:
    client, user = signed_in
    user.is_superuser = True
    user.save()
    assert client.post(reverse("account_delete"), delete_form(user)).status_code == 422
    make_user(is_superuser=True)
    assert client.post(reverse("account_delete"), delete_form(user)).status_code == 302


# Administrators ---------------------------------------------------------------------------------


def test_an_administrator_closes_and_opens_accounts(admin_client: Client) -> None:
    person = make_user()
    theirs = Client()
    theirs.force_login(person)
    url = reverse("person_update", args=[person.pk])
    assert admin_client.post(url, {"do": "close"}).status_code == 302
    assert theirs.get(reverse("projects")).status_code == 302
    assert (
        theirs.post(reverse("sign_in"), {"username": person.username, "password": PASSWORD}).status_code
        == 200
    )
    admin_client.post(url, {"do": "open"})
    assert (
        theirs.post(reverse("sign_in"), {"username": person.username, "password": PASSWORD}).status_code
        == 302
    )


def test_an_administrator_makes_another_but_cannot_undo_themselves(
    admin_client: Client, admin_user: Any
) -> None:
    person = make_user()
    admin_client.post(reverse("person_update", args=[person.pk]), {"do": "promote"})
    person.refresh_from_db()
    assert person.is_superuser
    own = reverse("person_update", args=[admin_user.pk])
    for do in ("demote", "close"):
        admin_client.post(own, {"do": do})
    admin_user.refresh_from_db()
    assert (admin_user.is_superuser, admin_user.is_active) == (True, True)
    assert admin_client.post(own, {"do": "nonsense"}).status_code == 400
    assert admin_client.get(own).status_code == 405


def test_an_administrator_sees_no_more_projects_than_their_own(admin_client: Client) -> None:
    project = make_project(name="别人的项目")
    assert "别人的项目" not in admin_client.get(reverse("projects")).content.decode()
    assert admin_client.get(reverse("project_home", args=[project.pk])).status_code == 404
    assert Project.objects.count() == 1


# The command and the health check ---------------------------------------------------------------


def test_reset_password_sets_one_and_lifts_the_lock(client: Client, capsys: Any) -> None:
    user = make_user("zhao", is_active=True)
    for _ in range(8):
        client.post(reverse("sign_in"), {"username": "zhao", "password": "wrong"})
    call_command("reset_password", "zhao", generate=True)
    new = capsys.readouterr().out.strip().splitlines()[-1].strip()
    user.refresh_from_db()
    assert user.check_password(new)
    assert not AccessAttempt.objects.filter(username="zhao").exists()
    assert client.post(reverse("sign_in"), {"username": "zhao", "password": new}).status_code == 302


def test_reset_password_names_what_is_wrong() -> None:
    make_user("zhao")
    with pytest.raises(CommandError, match="zhap"):
        call_command("reset_password", "zhap", generate=True)


def test_the_health_check_says_ok_and_nothing_else(client: Client) -> None:
    answer = client.get(reverse("healthz"))
    assert (answer.status_code, answer.content) == (200, b"ok\n")
