"""Coefficients of agreement: published examples, and what reference libraries say of drawn opinions.

The numbers of the drawn ones were made with scikit-learn 1.9 (Cohen), statsmodels 0.15 (Fleiss), krippendorff 0.9 (α,
also with MASI as its metric) and nltk 3.10 (MASI) on the same arrays.
"""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import agreement

MISSING = -1


def codes_of(rows: str) -> np.ndarray:
    """One row a person, values from 1 in the publications; * for none."""
    return np.array(
        [
            [MISSING if cell == "*" else int(cell) - 1 for cell in row.split()]
            for row in rows.strip().split("\n")
        ]
    )


# Krippendorff (2011), example D: four observers, twelve units, values missing; nominal α = .743.
FOUR_OBSERVERS = """
1 2 3 3 2 1 4 1 2 * * *
1 2 3 3 2 2 4 1 2 5 * 3
* 3 3 3 2 3 4 2 2 5 1 *
1 2 3 3 2 4 4 1 2 5 1 *
"""
# Krippendorff (2011), example A: two observers, binary, nothing missing; α = .095.
TWO_OBSERVERS_BINARY = """
1 2 1 1 1 1 1 1 2 1
2 2 2 1 1 2 1 1 1 1
"""
# Krippendorff (2011), example B: two observers, five values, nothing missing; α = .692.
TWO_OBSERVERS = """
1 1 2 2 4 3 3 3 5 4 4 1
2 1 2 2 2 3 3 3 5 4 4 4
"""
# The example of Fleiss' kappa with 14 people and 10 subjects that textbooks and Wikipedia give; κ = 0.210.
FOURTEEN_PEOPLE = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
# Cohen (1960), table 2: two clinicians, 200 patients; κ = .492.
TWO_CLINICIANS = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]


@pytest.mark.parametrize(
    "rows, expected", [(FOUR_OBSERVERS, 0.743), (TWO_OBSERVERS_BINARY, 0.095), (TWO_OBSERVERS, 0.692)]
)
def test_alpha_of_published_examples(rows, expected):
    counts = agreement.counts_of(codes_of(rows), 5)
    assert agreement.krippendorff_alpha(counts).value == pytest.approx(expected, abs=0.0005)


def test_fleiss_kappa_of_the_published_example():
    figure = agreement.fleiss_kappa(np.array(FOURTEEN_PEOPLE))
    assert figure.value == pytest.approx(0.210, abs=0.0005)
    assert figure.n == 10


def pairs_of(table) -> tuple[np.ndarray, np.ndarray]:
    cells = [(i, j) for i, row in enumerate(table) for j, n in enumerate(row) for _ in range(n)]
    return np.array([i for i, _ in cells]), np.array([j for _, j in cells])


@pytest.mark.parametrize("table, expected", [(TWO_CLINICIANS, 0.492), ([[20, 5], [10, 15]], 0.4)])
def test_cohen_kappa_of_published_examples(table, expected):
    figure = agreement.cohen_kappa(*pairs_of(table), len(table))
    assert figure.value == pytest.approx(expected, abs=0.0005)


@pytest.fixture
def drawn() -> np.ndarray:
    random = np.random.default_rng(7)
    truth = random.integers(0, 4, 60)
    codes = np.where(random.random((3, 60)) < 0.7, truth, random.integers(0, 4, (3, 60)))
    full = codes.copy()
    codes = np.where(random.random((3, 60)) < 0.25, MISSING, codes)
    return np.stack([full, codes])


def test_the_same_as_reference_libraries_on_drawn_opinions(drawn):
    full, missing = drawn
    assert agreement.cohen_kappa(full[0], full[1], 4).value == pytest.approx(0.4394618834080718)
    assert agreement.fleiss_kappa(agreement.counts_of(full, 4)).value == pytest.approx(0.42618199884077196)
    counts = agreement.counts_of(missing, 4)
    assert agreement.krippendorff_alpha(counts).value == pytest.approx(0.42221505723037245)
    per_label = agreement.alpha_per_label(counts, counts.sum(1))
    assert [figure.value for figure in per_label] == pytest.approx(
        [0.5365371955233706, 0.2989690721649485, 0.39578794480755264, 0.45299145299145294]
    )


def test_cohen_kappa_is_scikit_learns(drawn):
    reference = pytest.importorskip("sklearn.metrics").cohen_kappa_score
    _full, missing = drawn
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = (missing[one] >= 0) & (missing[other] >= 0)
        figure = agreement.cohen_kappa(missing[one], missing[other], 4)
        assert figure.value == pytest.approx(reference(missing[one][both], missing[other][both]))
        assert figure.n == both.sum()


def test_alpha_of_sets_by_masi(drawn):
    values = [frozenset({0}), frozenset({0, 1}), frozenset({1, 2}), frozenset({2})]
    distances = agreement.masi_distances(values)
    assert distances[0] == pytest.approx([0, 2 / 3, 1, 1])
    assert distances[1, 2] == pytest.approx(8 / 9)
    counts = agreement.counts_of(drawn[1], 4)
    assert agreement.krippendorff_alpha(counts, distances).value == pytest.approx(0.4127959367575982)


def test_the_empty_set_is_far_from_every_other_and_equal_to_itself():
    assert agreement.masi_distance(frozenset(), frozenset()) == 0
    assert agreement.masi_distance(frozenset(), frozenset({1})) == 1


def test_intervals_hold_the_value_narrow_with_texts_and_repeat(drawn):
    counts = agreement.counts_of(drawn[0], 4)
    few, many = agreement.krippendorff_alpha(counts), agreement.krippendorff_alpha(np.tile(counts, (20, 1)))
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert agreement.krippendorff_alpha(counts) == few


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    n = 20_000
    truth = random.integers(0, 3, n)
    codes = np.where(random.random((2, n)) < 0.8, truth, random.integers(0, 3, (2, n)))
    whole = agreement.cohen_kappa(codes[0], codes[1], 3).value
    hits = 0
    for start in range(0, n, 200):
        figure = agreement.cohen_kappa(codes[0, start : start + 200], codes[1, start : start + 200], 3)
        hits += figure.low <= whole <= figure.high
    assert 88 <= hits <= 100


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, 0), dtype=int),  # no texts
        np.full((2, 4), MISSING),  # no opinions
        np.array([[0, 1, MISSING], [MISSING, MISSING, 2]]),  # nobody shares a text
        np.zeros((3, 9), dtype=int),  # only one value was ever given: chance explains all
    ],
)
def test_where_nothing_can_be_said_nothing_is(codes):
    assert agreement.krippendorff_alpha(agreement.counts_of(codes, 3)).value is None
    assert agreement.cohen_kappa(codes[0], codes[1], 3).value is None


def test_fleiss_refuses_texts_that_were_decided_unequally_often():
    for counts in ([[2, 0], [1, 0]], [[1, 0], [0, 1]], np.zeros((0, 2))):
        with pytest.raises(ValueError, match="same number"):
            agreement.fleiss_kappa(np.array(counts))


def test_few_texts_have_no_interval():
    figure = agreement.cohen_kappa(np.array([0, 1, 0]), np.array([0, 1, 1]), 2)
    assert figure.value == pytest.approx(0.4)
    assert (figure.low, figure.high, figure.n) == (None, None, 3)


def test_who_differs_from_whom_on_what():
    codes = np.array([[0, 0, 1, 2, MISSING], [0, 1, 1, 1, 0], [0, 1, MISSING, 0, 1]])
    between, on = agreement.disagreements(codes, 3)
    assert between.tolist() == [[0, 2, 2], [2, 0, 2], [2, 2, 0]]
    # 0 against 1: the second, the fourth and the fifth text; 2 against 0 and against 1: the fourth.
    assert on.tolist() == [[0, 3, 1], [3, 0, 1], [1, 1, 0]]
