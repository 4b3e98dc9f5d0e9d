"""Comparing prompts: cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot.evaluation import holm
from training.fewshot.prompt_comparison import compare_prompts, disagreement, grouped, hits_of


def answers(*labels: int, n_labels: int = 3) -> np.ndarray:
    """Scores whose likeliest labels are `labels`."""
    return np.log(np.full((len(labels), n_labels), 0.1) + 0.8 * np.eye(n_labels)[list(labels)])


TRUTH = [frozenset([label]) for label in (0, 1, 2) * 20]
RIGHT = answers(*(0, 1, 2) * 20)
WRONG = answers(*(1, 2, 0) * 20)


def test_a_text_with_several_labels_is_right_with_any_of_them() -> None:
    truth = [frozenset([0, 2]), frozenset([1]), frozenset()]
    assert hits_of(answers(2, 2, 0), truth).tolist() == [True, False, False]


def test_holm_stops_at_the_first_that_stands() -> None:
    # Sorted: .01 against .05/3, .03 against .05/2, and .04 is not looked at any more.
    assert holm([0.04, 0.01, 0.03]) == [False, True, False]
    assert holm([0.01, 0.02, 0.03]) == [True, True, True]
    assert holm([]) == []


def test_groups_hold_what_cannot_be_told_from_their_best() -> None:
    right = [50, 90, 88, 52]
    apart = {(0, 1), (1, 3), (0, 2)}
    assert grouped(right, apart) == [[1, 2], [3, 0]]
    assert grouped([5], set()) == [[0]]


def test_a_clear_difference_is_told_and_a_copy_is_not() -> None:
    found = compare_prompts([RIGHT, WRONG, RIGHT], TRUTH)
    assert found["right"] == [60, 0, 60]
    assert found["groups"] == [[0, 2], [1]]
    assert found["agreement"] == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    pairs = {(one["first"], one["second"]): one for one in found["pairs"]}
    assert pairs[0, 1]["tell_apart"]
    assert pairs[0, 1]["difference"] == -1
    assert not pairs[0, 2]["tell_apart"]
    assert found["together"] == {"prompts": [0, 2], "right": 60}


def test_one_text_more_is_no_difference() -> None:
    almost = RIGHT.copy()
    almost[0] = answers(1)[0]
    found = compare_prompts([RIGHT, almost], TRUTH)
    assert found["groups"] == [[0, 1]]
    assert not found["pairs"][0]["tell_apart"]


def test_together_may_be_better_than_each() -> None:
    """Three opinions, each sure on its own third and undecided elsewhere."""
    unsure = np.log(np.full((60, 3), 1 / 3))
    thirds = []
    for part in range(3):
        one = unsure.copy()
        one[part::3] = RIGHT[part::3]
        thirds.append(one)
    found = compare_prompts(thirds, TRUTH)
    assert max(found["right"]) < 60
    assert found["together"]["right"] == 60


def test_disagreement_is_none_for_equals_and_full_for_opposites() -> None:
    sure, other = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    assert disagreement([sure, sure]).tolist() == [0, 0]
    assert disagreement([sure, other]) == pytest.approx([1, 0], abs=1e-6)
    assert disagreement([sure]).tolist() == [0, 0]
