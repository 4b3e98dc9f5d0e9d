"""Leases: nobody holds what somebody else holds, whatever the order, the clock or the number of people."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from labeling.models import Lease
from labeling.models.texts import Status
from labeling.services import annotate, leases, members, queue
from labeling.services.imports import import_now
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def project():
    project = make.make_project()
    make.make_label(project, "财经")
    return project


def hold(project, user, *examples, **values):
    ids = [example.pk for example in examples]
    return leases.acquire(project=project, user=user, example_ids=ids, n=len(ids), **values).held


def label(project, user, example):
    return annotate.decide(
        project=project,
        user=user,
        example_id=example.pk,
        action="label",
        label_id=project.labels.first().pk,
    )


def jump(seconds: int) -> None:
    """As if the database's clock had jumped ahead by `seconds` (or back)."""
    Lease.objects.filter(expires_at__isnull=False).update(
        expires_at=F("expires_at") - timedelta(seconds=seconds)
    )


def test_the_database_refuses_a_second_holder_and_a_second_place_of_one_person(project):
    one, other, example = project.created_by, make.make_member(project), make.make_example(project)
    until = timezone.now()
    Lease.objects.create(project=project, example=example, user=one, slot=0, expires_at=until)
    for values in ({"user": other, "slot": 0}, {"user": one, "slot": 1}, {"user": other, "slot": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Lease.objects.create(project=project, example=example, expires_at=until, **values)


def test_only_the_free_ones_are_held_and_own_ones_again(project):
    one, other = project.created_by, make.make_member(project)
    examples = [make.make_example(project) for _ in range(4)]
    assert hold(project, one, *examples[:2]) == [examples[0].pk, examples[1].pk]
    answer = leases.acquire(
        project=project, user=other, example_ids=[example.pk for example in examples], n=3
    )
    assert answer == leases.Acquired([examples[2].pk, examples[3].pk], 2)
    assert hold(project, one, *examples[:2]) == [examples[0].pk, examples[1].pk]


@pytest.mark.parametrize("overlap", [1, 2, 3])
def test_a_text_has_exactly_as_many_places_as_the_project_asks(project, overlap):
    project.overlap = overlap
    project.save()
    people = [make.make_member(project) for _ in range(overlap + 2)]
    example = make.make_example(project)
    held = [hold(project, user, example) for user in people]
    assert held == [[example.pk]] * overlap + [[], []]
    assert sorted(Lease.objects.values_list("slot", flat=True)) == list(range(overlap))


@pytest.mark.parametrize("seconds", [leases.LEASE_SECONDS + 60, 86_400])
def test_a_lease_runs_out_and_a_clock_that_jumps_ahead_loses_no_decision(project, seconds):
    one, other, example = project.created_by, make.make_member(project), make.make_example(project)
    assert hold(project, one, example) == [example.pk]
    assert hold(project, other, example) == []
    jump(seconds)
    assert hold(project, other, example) == [example.pk]
    assert leases.renew(project=project, user=one, example_ids=[example.pk]).lost == [example.pk]
    label(project, one, example)
    label(project, other, example)
    assert example.annotations.count() == 2
    assert not Lease.objects.exists()


def test_a_clock_that_jumps_back_holds_nothing_for_ever(project):
    one, other, example = project.created_by, make.make_member(project), make.make_example(project)
    hold(project, one, example)
    jump(-86_400)
    assert hold(project, other, example) == [example.pk]
    assert Lease.objects.get().user == other


def test_renewing_keeps_it_and_takes_an_expired_one_again_while_it_is_free(project):
    one, other, example = project.created_by, make.make_member(project), make.make_example(project)
    hold(project, one, example)
    for _ in range(3):
        jump(leases.LEASE_SECONDS - 10)
        assert leases.renew(project=project, user=one, example_ids=[example.pk]).held == [example.pk]
        assert hold(project, other, example) == []
    jump(leases.LEASE_SECONDS + 10)
    assert leases.renew(project=project, user=one, example_ids=[example.pk]).held == [example.pk]
    assert hold(project, other, example) == []


def test_renewing_texts_of_another_project_or_none_at_all_holds_nothing(project):
    foreign = make.make_example(make.make_project())
    answer = leases.renew(project=project, user=project.created_by, example_ids=[foreign.pk, 10**12])
    assert answer.held == []
    assert not Lease.objects.exists()


def test_a_tab_gives_back_only_what_no_other_tab_has_taken_over(project):
    one, example, second = project.created_by, make.make_example(project), make.make_example(project)
    hold(project, one, example, second, page="a")
    hold(project, one, example, page="b")
    ids = [example.pk, second.pk]
    assert leases.release(project=project, user=one, example_ids=ids, page="a") == 1
    assert Lease.objects.get().example == example
    other = make.make_member(project)
    assert leases.release(project=project, user=other, example_ids=ids, page="b") == 0


def test_a_decision_frees_the_text_and_a_decided_one_is_not_handed_out(project):
    one, other, example = project.created_by, make.make_member(project), make.make_example(project)
    hold(project, one, example)
    label(project, other, example)  # from a list, without a lease
    assert not Lease.objects.exists()
    assert hold(project, one, example) == []
    assert not Lease.objects.exists()
    assert leases.renew(project=project, user=one, example_ids=[example.pk]).lost == [example.pk]


def test_undo_holds_the_text_again_unless_somebody_else_does(project):
    one, other, example = project.created_by, make.make_member(project), make.make_example(project)
    hold(project, one, example)
    label(project, one, example)
    annotate.undo(project=project, user=one)
    assert Lease.objects.get().user == one
    annotate.decide(project=project, user=one, example_id=example.pk, action="skip")
    assert hold(project, other, example) == [example.pk]
    annotate.undo(project=project, user=one)
    assert Lease.objects.get().user == other


def test_whoever_is_taken_out_becomes_a_viewer_or_signs_out_holds_nothing(project, client):
    examples = [make.make_example(project) for _ in range(3)]
    removed, demoted, leaving = (make.make_member(project) for _ in range(3))
    for user, example in zip((removed, demoted, leaving), examples, strict=True):
        hold(project, user, example)
    members.remove_member(project=project, membership_id=project.memberships.get(user=removed).pk)
    assert set(Lease.objects.values_list("user", flat=True)) == {demoted.pk, leaving.pk}
    members.change_role(
        project=project, membership_id=project.memberships.get(user=demoted).pk, role="viewer"
    )
    assert set(Lease.objects.values_list("user", flat=True)) == {leaving.pk}
    client.force_login(leaving)
    client.post(reverse("sign_out"))
    assert not Lease.objects.exists()


def test_the_page_renews_and_gives_back(project, client):
    one, other = project.created_by, make.make_member(project)
    examples = [make.make_example(project) for _ in range(3)]
    client.force_login(one)
    page = client.get(reverse("label", args=[project.pk])).context["page_data"]
    assert [text["id"] for text in page["texts"]] == [example.pk for example in examples]
    url = reverse("label_lease", args=[project.pk])
    ids = ",".join(str(example.pk) for example in examples)
    jump(leases.LEASE_SECONDS + 1)
    assert hold(project, other, examples[0]) == [examples[0].pk]
    answer = client.post(url, {"do": "renew", "texts": ids, "page": page["page"]}).json()
    assert answer == {"held": [examples[1].pk, examples[2].pk], "lost": [examples[0].pk]}
    assert client.post(url, {"do": "release", "texts": ids, "page": "another tab"}).status_code == 204
    assert Lease.objects.filter(user=one).count() == 2
    client.post(url, {"do": "release", "texts": ids + ",x,-1,9" * 3, "page": page["page"]})
    assert Lease.objects.get().user == other


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("overlap", [1, 2])
def test_ten_people_at_once_hold_and_decide_each_text_exactly_as_often_as_asked(overlap):
    project = make.make_project(overlap=overlap)
    label_id = make.make_label(project).pk
    people = [make.make_member(project) for _ in range(10)]
    for _ in range(60):
        make.make_example(project)
    served: list[tuple[int, int]] = []
    failures: list[BaseException] = []
    start = threading.Barrier(len(people))

    def work(user) -> None:
        try:
            start.wait()
            while texts := queue.next_texts(project=project, user=user, n=3).texts:
                for example in texts:
                    served.append((example.pk, user.pk))
                    annotate.decide(
                        project=project, user=user, example_id=example.pk, action="label", label_id=label_id
                    )
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[user]) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(Counter(served).values()) == {1}
    assert set(Counter(example for example, _user in served).values()) == {overlap}
    assert set(Counter(project.annotations.values_list("example", flat=True)).values()) == {overlap}
    assert project.examples.exclude(status=Status.LABELLED).count() == 0
    assert not Lease.objects.filter(expires_at__isnull=False).exists()


@pytest.mark.django_db(transaction=True)
def test_people_label_while_an_import_runs_and_nothing_is_lost_or_doubled(tmp_path):
    project = make.make_project(dev_percent=0, test_percent=0)
    label_id = make.make_label(project).pk
    people = [make.make_member(project) for _ in range(4)]
    for _ in range(40):
        make.make_example(project)
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"导入的第{number}条\n" for number in range(4_000)), encoding="utf-8")
    imported = threading.Event()
    decided: list[int] = []
    failures: list[BaseException] = []

    def bring() -> None:
        try:
            import_now(project=project, user=project.created_by, path=path)
        except BaseException as error:
            failures.append(error)
        finally:
            imported.set()
            connection.close()

    def work(user) -> None:
        try:
            while not imported.is_set():
                for example in queue.next_texts(project=project, user=user, n=2).texts:
                    annotate.decide(
                        project=project, user=user, example_id=example.pk, action="label", label_id=label_id
                    )
                    decided.append(example.pk)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[user]) for user in people]
    threads.append(threading.Thread(target=bring))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert project.examples.count() == 4_040
    assert len(decided) == len(set(decided)) == project.annotations.filter(action="label").count() > 0
    assert project.examples.filter(status=Status.LABELLED).count() == len(decided)
