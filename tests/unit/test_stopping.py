"""When more labels hardly help: both signs are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import evaluation, stopping


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ([0, 1, 2], [0, 1, 2], 1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([0, 0, 1, 1], [1, 1, 0, 0], -1.0),
        ([5, 5, 5], [5, 5, 5], 1.0),
        # Seen 0.7; by chance 0.5·0.6 + 0.5·0.4 = 0.5
        ([1] * 5 + [0] * 5, [1, 1, 1, 1, 0, 1, 1, 0, 0, 0], 0.4),
        ([], [], 0.0),
    ],
)
def test_kappa_by_hand(first, second, expected):
    assert stopping.kappa(np.array(first), np.array(second)) == pytest.approx(expected)


GOOD = {
    "n_labelled": 300,
    "n_labels": 15,
    "gain": 0.003,
    "low": -0.002,
    "high": 0.007,
    "agreements": [0.98] * 4,
}


@pytest.mark.parametrize(
    "change, enough",
    [
        ({}, True),
        ({"high": 0.02}, False),  # the gain may still be two points
        ({"high": None, "gain": None, "low": None}, False),  # no curve yet
        ({"agreements": [0.5, 0.9, 0.98, 0.98, 0.98]}, True),  # only the last rounds count
        ({"agreements": [0.98, 0.98, 0.9]}, False),
        ({"agreements": [0.99, 0.99]}, False),  # too few rounds
        ({"n_labelled": 59}, False),
        ({"n_labelled": 100, "n_labels": 30}, False),  # four a label
    ],
)
def test_enough_needs_both_signs_and_some_labels(change, enough):
    assert stopping.judge(**(GOOD | change)).enough is enough


def test_sizes_of_a_curve():
    assert stopping.curve_sizes(8) == []
    sizes = stopping.curve_sizes(500)
    assert (sizes[0], sizes[-1]) == (50, 400)
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    "n, last, due",
    [(5, 0, False), (8, 0, True), (107, 100, False), (108, 100, True), (90, 100, True), (540, 500, True)],
)
def test_a_round_is_due_after_a_share_of_what_there_was(n, last, due):
    assert stopping.is_due(n, last) is due


def test_a_curve_from_where_the_labels_stand():
    sizes = [25, 50, 100, 200]
    accuracies = [[0.9 - n**-0.5 + shift for shift in (-0.01, 0, 0.01)] for n in sizes]
    here = evaluation.learning_curve(sizes, accuracies, 50, at=250)
    there = evaluation.learning_curve(sizes, accuracies, 50)
    assert here["gain"] == pytest.approx(250**-0.5 - 300**-0.5, abs=2e-3)
    assert here["gain"] < there["gain"]
    assert here["expected"] == pytest.approx(0.9 - 300**-0.5, abs=5e-3)
    assert here["interval"][0] <= here["gain"] <= here["interval"][1]
