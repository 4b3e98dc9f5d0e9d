"""Orders that a model made: what is open comes in the ranking's order, texts that measure among it, and a reason."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from labeling.models.texts import Split, Status
from labeling.services import annotate, queue, queue_orders, scores
from labeling.services.queue_orders import WHY, Ranking
from tests import factories as make


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings) -> Path:
    settings.WANXING_HOME = tmp_path
    return tmp_path


@pytest.fixture
def project(db):
    project = make.make_project(dev_percent=0, test_percent=0)
    for name in ("财经", "体育", "娱乐"):
        make.make_label(project, name)
    return project


def rank(project, examples, name="margin", why="margin") -> None:
    labels = [label.pk for label in project.labels.all()]
    n = len(examples)
    queue_orders.write(
        project.pk,
        Ranking(
            name, np.array([one.pk for one in examples], dtype=np.int64), np.full(n, WHY.index(why)),
            np.tile(np.array(labels[:2]), (n, 1)), np.tile(np.array([0.41, 0.38]), (n, 1)),
        ),
    )  # fmt: skip


def served(project, order="margin", n=20, user=None, **values):
    return queue.next_texts(
        project=project, user=user or project.created_by, order=order, n=n, **values
    ).texts


def test_texts_come_in_the_rankings_order_then_the_rest_at_random(project):
    first, second, third, fourth = (make.make_example(project) for _ in range(4))
    rank(project, [third, first])
    assert served(project) == [third, first, second, fourth]


def test_without_a_ranking_the_order_is_the_one_fixed_at_import(project):
    examples = [make.make_example(project) for _ in range(3)]
    for order in queue_orders.ORDERS:
        assert served(project, order) == examples


def test_a_damaged_ranking_counts_as_none(project, caplog):
    examples = [make.make_example(project) for _ in range(3)]
    rank(project, examples[::-1])
    path = scores.folder_of(project.pk) / "order-margin.npz"
    path.write_bytes(path.read_bytes()[:-30])
    assert served(project) == examples
    assert "counts as absent" in caplog.text


def test_what_was_decided_or_skipped_since_is_passed_over(project):
    examples = [make.make_example(project) for _ in range(6)]
    rank(project, examples[::-1])
    label = project.labels.first()
    annotate.decide(
        project=project, user=project.created_by, example_id=examples[5].pk, action="label", label_id=label.pk
    )
    annotate.decide(project=project, user=project.created_by, example_id=examples[4].pk, action="skip")
    examples[3].delete()
    assert [one.pk for one in served(project)][:3] == [one.pk for one in examples[2::-1]]


def test_a_long_decided_head_is_passed_over(project):
    label = project.labels.first()
    gone = [make.make_example(project, label=label) for _ in range(1_200)]
    still = make.make_example(project)
    rank(project, [*gone, still])
    assert served(project, n=1) == [still]


def test_two_people_get_different_texts(project):
    examples = [make.make_example(project) for _ in range(4)]
    rank(project, examples[::-1])
    other = make.make_member(project)
    assert served(project, n=2) == [examples[3], examples[2]]
    assert served(project, n=2, user=other) == [examples[1], examples[0]]


def test_what_the_page_has_is_not_served_again(project):
    examples = [make.make_example(project) for _ in range(4)]
    rank(project, examples[::-1])
    assert served(project, have=frozenset({examples[3].pk})) == examples[2::-1]


def test_texts_that_measure_are_dealt_among_them_in_their_proportion(project, monkeypatch):
    project.dev_percent, project.test_percent = 20, 20
    pool = [make.make_example(project) for _ in range(300)]
    measuring = [
        make.make_example(project, split=(Split.DEV, Split.TEST)[number % 2]) for number in range(300)
    ]
    rank(project, pool)
    monkeypatch.setattr(queue_orders, "random", random.Random(1))
    found = served(project, n=200)
    drawn = [one for one in found if one.split in (Split.DEV, Split.TEST)]
    assert 60 < len(drawn) < 100  # two in five
    assert set(drawn) <= set(measuring)
    assert len({one.split for one in drawn}) == 2
    # All of them, not the first of the file.
    assert max(one.pk for one in drawn) > measuring[200].pk
    assert len({one.pk for one in found}) == 200


def test_a_ranking_that_names_texts_that_measure_serves_none_of_them_as_ranked(project):
    dev = make.make_example(project, split=Split.DEV, order=99)
    first, second = make.make_example(project, order=1), make.make_example(project, order=2)
    rank(project, [dev, second])
    assert served(project) == [second, first, dev]


def test_a_text_of_another_project_is_never_served(project):
    foreign = make.make_example(make.make_project())
    mine = make.make_example(project)
    rank(project, [foreign, mine])
    assert served(project) == [mine]


@pytest.mark.parametrize(
    "why, words",
    [
        ("margin", "模型分不清它是“财经”（41%）还是“体育”（38%）。"),
        ("uncertain", "模型对它最没把握：最像“财经”，也只有 41%。"),
        ("balance", "“财经”标得少，模型猜它属于这一类（41%）。"),
        ("diverse", "和已经标过的都不像：先把各种文本都看到。"),
        ("disagree", "几个模型对它答得不同。"),
        ("", None),
    ],
)
def test_reasons_say_why_a_text_comes_next(project, why, words):
    ranked, other = make.make_example(project), make.make_example(project)
    rank(project, [ranked], "auto", why)
    assert queue_orders.reasons(project, "auto", [ranked.pk, other.pk]) == (
        {ranked.pk: words} if words else {}
    )


def test_a_reason_whose_label_is_gone_names_none(project):
    ranked = make.make_example(project)
    rank(project, [ranked])
    project.labels.order_by("position").first().delete()
    assert queue_orders.reasons(project, "margin", [ranked.pk]) == {}


def test_orders_that_nobody_ranks_give_no_reason(project):
    ranked = make.make_example(project)
    assert queue_orders.reasons(project, "random", [ranked.pk]) == {}
    assert queue_orders.reasons(project, "../../etc", [ranked.pk]) == {}


def test_what_does_not_fit_together_is_not_written(project):
    ids = np.array([1, 2])
    with pytest.raises(ValueError):
        queue_orders.write(
            project.pk, Ranking("margin", ids, np.zeros(1), np.zeros((2, 2)), np.zeros((2, 2)))
        )
    with pytest.raises(ValueError):
        queue_orders.write(
            project.pk, Ranking("sideways", ids, np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2)))
        )


@pytest.mark.database
def test_skipped_by_others_comes_last(project):
    other = make.make_member(project)
    examples = [make.make_example(project) for _ in range(3)]
    rank(project, examples[::-1])
    annotate.decide(project=project, user=other, example_id=examples[2].pk, action="skip")
    examples[2].refresh_from_db()
    assert examples[2].status == Status.SKIPPED
    assert served(project) == [examples[1], examples[0], examples[2]]
