"""The queue: the order asked for, every split, nothing decided or skipped, and two people on different texts."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from redis.exceptions import ConnectionError as CacheGone

from labeling.models.texts import Split
from labeling.services import annotate, queue
from labeling.services import progress as progress_service
from labeling.services.progress import progress
from tests import factories as make


@pytest.fixture
def project(db):
    project = make.make_project()
    make.make_label(project, "财经")
    return project


def served(project, user=None, **values):
    return queue.next_texts(project=project, user=user or project.created_by, **values).texts


def test_random_order_is_the_one_fixed_at_import_with_ties_by_id(project):
    orders = [5, 1, 1, 1, 9, 3]
    examples = [make.make_example(project, order=order) for order in orders]
    expected = sorted(examples, key=lambda example: (example.order, example.pk))
    assert served(project, n=10) == expected


def test_ties_longer_than_a_page_lose_and_repeat_nothing(project):
    examples = [make.make_example(project, order=number // 150) for number in range(400)]
    found = served(project, n=500)
    assert found == examples


def test_as_imported_merges_the_splits(project):
    splits = [Split.POOL, Split.TEST, Split.TRAIN, Split.DEV] * 40
    examples = [make.make_example(project, split=split, order=-number) for number, split in enumerate(splits)]
    assert served(project, n=200, order="imported") == examples


def test_shortest_first(project):
    texts = ["四个字呢", "一", "三个字"]
    examples = [make.make_example(project, text) for text in texts]
    assert served(project, order="shortest") == [examples[1], examples[2], examples[0]]


def test_an_unknown_order_is_the_projects(project):
    project.queue_order = "imported"
    project.save()
    examples = [make.make_example(project, order=-number) for number in range(3)]
    assert served(project, order="label__project__created_by__password") == examples


def test_decided_and_own_skipped_texts_stay_away_and_others_skipped_come_last(project):
    user, other = project.created_by, make.make_member(project)
    mine, theirs, done, fresh = (make.make_example(project, order=number) for number in range(4))
    annotate.decide(project=project, user=user, example_id=mine.pk, action="skip")
    annotate.decide(project=project, user=other, example_id=theirs.pk, action="skip")
    annotate.decide(
        project=project, user=user, example_id=done.pk, action="label", label_id=project.labels.get().pk
    )
    assert served(project) == [fresh, theirs]
    assert served(project, revisit_skipped=True) == [mine]
    assert list(queue.undecided(project, user).order_by("pk")) == [theirs, fresh]
    annotate.undo(project=project, user=user, target_client_id=None)
    annotate.undo(project=project, user=user)
    assert set(served(project)) == {mine, done, fresh, theirs}


def test_what_the_page_has_is_not_served_again(project):
    examples = [make.make_example(project) for _ in range(5)]
    have = frozenset(example.pk for example in examples[:2])
    assert served(project, n=2, have=have) == examples[2:4]


def test_two_people_get_different_texts_and_reload_gives_the_same(project):
    other = make.make_member(project)
    examples = [make.make_example(project) for _ in range(7)]
    first = served(project, n=4)
    answer = queue.next_texts(project=project, user=other, n=4)
    assert first == examples[:4]
    assert answer.texts == examples[4:]
    assert answer.held_by_others == 4
    assert served(project, n=4) == first


def test_texts_of_another_project_never_come(project):
    make.make_example(make.make_project())
    assert served(project) == []


def test_progress_counts(project):
    user, other, label = project.created_by, make.make_member(project), project.labels.get()
    examples = [make.make_example(project) for _ in range(5)]
    for who, example in ((user, examples[0]), (user, examples[0]), (other, examples[1]), (user, examples[2])):
        annotate.decide(project=project, user=who, example_id=example.pk, action="label", label_id=label.pk)
    annotate.undo(project=project, user=user)
    annotate.decide(project=project, user=user, example_id=examples[3].pk, action="skip")
    counted = progress(project=project, user=user)
    assert (counted.total, counted.labelled, counted.skipped, counted.open) == (5, 2, 1, 2)
    assert (counted.mine, counted.my_skipped) == (1, 1)
    assert counted.per_label == {label.pk: 2}
    assert counted.share == pytest.approx(0.4)


def test_counts_of_a_large_project_are_kept_for_a_moment_and_made_without_the_cache(project, monkeypatch):
    make.make_example(project)
    monkeypatch.setattr(progress_service, "LARGE", 1)
    assert progress(project=project, user=project.created_by).total == 1
    make.make_example(project)
    assert progress(project=project, user=project.created_by).total == 1

    def gone(*args, **kwargs):
        raise CacheGone("no such socket")

    monkeypatch.setattr(cache._connections["default"], "get", gone, raising=False)
    assert progress(project=project, user=project.created_by).total == 2
