"""Query strategies on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import ranking, strategies

PROBA = np.array([[0.98, 0.01, 0.01], [0.5, 0.49, 0.01], [0.34, 0.33, 0.33], [0.7, 0.2, 0.1]])


def unit(rows):
    rows = np.array(rows, dtype=float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_entropy_is_zero_for_the_certain_and_one_for_the_even():
    found = strategies.entropy(np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]))
    np.testing.assert_allclose(found, [0, 1, np.log(2) / np.log(3)], atol=1e-9)


def test_scores_order_texts_as_their_papers_say():
    assert strategies.top(strategies.entropy(PROBA), 4).tolist() == [2, 3, 1, 0]
    assert strategies.top(strategies.least_confidence(PROBA), 4).tolist() == [2, 1, 3, 0]
    assert strategies.top(strategies.margin(PROBA), 4).tolist() == [1, 2, 3, 0]
    np.testing.assert_allclose(strategies.margin(PROBA), [0.03, 0.99, 0.99, 0.5], atol=1e-9)


def test_margin_of_one_label_is_nothing():
    assert strategies.margin(np.ones((3, 1))).tolist() == [0, 0, 0]


def test_independent_labels_are_undecided_near_a_half():
    np.testing.assert_allclose(
        strategies.binary_margin(np.array([[0.5, 1.0], [0.9, 0.1], [0.75, 0.0]])), [1.0, 0.2, 0.5]
    )


def test_disagreement_is_zero_among_equals_and_one_among_opposites():
    same = np.array([[[0.7, 0.3]], [[0.7, 0.3]]])
    opposite = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    half = np.array([[[0.9, 0.1]], [[0.6, 0.4]]])
    assert strategies.disagreement(same)[0] == pytest.approx(0, abs=1e-9)
    assert strategies.disagreement(opposite)[0] == pytest.approx(1, abs=1e-6)
    # Consensus (0.75, 0.25): mean of 0.9·ln(0.9/0.75)+0.1·ln(0.1/0.25) and 0.6·ln(0.6/0.75)+0.4·ln(0.4/0.25)
    assert strategies.disagreement(half)[0] == pytest.approx(
        (0.9 * np.log(1.2) + 0.1 * np.log(0.4) + 0.6 * np.log(0.8) + 0.4 * np.log(1.6)) / 2 / np.log(2)
    )
    assert strategies.disagreement(half[:1]).tolist() == [0]


def test_density_is_the_mean_cosine_to_all():
    vectors = unit([[1, 0], [1, 0.1], [1, -0.1], [0, 1]])
    np.testing.assert_allclose(strategies.density(vectors), (vectors @ vectors.T).mean(axis=1), atol=1e-6)
    assert strategies.density(vectors).argmin() == 3
    assert strategies.density(np.zeros((0, 2))).tolist() == []


def test_mixed_weighs_places_not_scales():
    found = strategies.mixed([np.array([0, 1, 2.0]), np.array([5e9, 5e9, 0])], [1, 1])
    np.testing.assert_allclose(found, [(0 + 0.75) / 2, (0.5 + 0.75) / 2, (1 + 0) / 2])


@pytest.mark.parametrize(
    "score, k, expected",
    [
        ([1, 3, 2], 2, [1, 2]),
        ([1, 1, 1, 1], 2, [0, 1]),
        ([2, 1, 2, 1, 1], 4, [0, 2, 1, 3]),
        ([1, np.nan, 2], 3, [2, 0, 1]),
        ([1, 2], 9, [1, 0]),
        ([], 3, []),
        ([1, 2], 0, []),
    ],
)
def test_top_breaks_ties_by_row(score, k, expected):
    assert strategies.top(np.array(score, dtype=float), k).tolist() == expected


def test_top_equals_a_full_sort():
    score = np.random.default_rng(0).integers(0, 50, 5_000).astype(float)
    assert strategies.top(score, 700).tolist() == np.argsort(-score, kind="stable")[:700].tolist()


def test_farthest_first_takes_one_of_each_heap_before_any_second():
    heaps = unit([[1, 0, 0], [1, 0.05, 0], [0, 1, 0], [0.05, 1, 0], [0, 0, 1], [0, 0.05, 1]])
    chosen = strategies.farthest_first(heaps, 3)
    assert {row // 2 for row in chosen} == {0, 1, 2}
    assert sorted(strategies.farthest_first(heaps, 99)) == list(range(6))
    assert len(strategies.farthest_first(heaps, 0)) == 0


def test_farthest_first_keeps_away_from_what_is_known():
    heaps = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert set(strategies.farthest_first(heaps, 2, known=unit([[1, 0.1, 0]]))) == {1, 2}


def test_weights_decide_among_the_far_ones():
    heaps = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert strategies.farthest_first(heaps, 1, known=heaps[:1], weights=np.array([1, 1, 5]))[0] == 2


def test_centres_name_each_cluster_once_the_largest_first():
    random = np.random.default_rng(0)
    heap = [unit(np.eye(5)[place] + random.normal(0, 0.02, (n, 5))) for place, n in enumerate((30, 10, 20))]
    vectors = np.concatenate(heap)
    chosen = strategies.centres(vectors, 3)
    assert [0 if row < 30 else 1 if row < 40 else 2 for row in chosen] == [0, 2, 1]
    assert strategies.centres(vectors, 3).tolist() == chosen.tolist()
    assert len(strategies.centres(vectors, 0)) == 0


def test_centres_of_texts_that_repeat():
    assert strategies.centres(unit([[1, 0]] * 5), 3).tolist() == [0]


def test_balanced_begins_with_the_label_that_has_least():
    proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
    assert strategies.balanced(proba, np.array([5, 3]), 4).tolist() == [3, 2, 0, 1]
    assert strategies.balanced(proba, np.array([0, 0]), 4).tolist() == [0, 3, 1, 2]
    assert strategies.balanced(proba, np.array([9, 0]), 1).tolist() == [3]
    assert strategies.balanced(proba, np.array([0, 0]), 4, floor=0.75).tolist() == [0, 3, 1]


def test_merged_deals_in_turn_without_doubles():
    assert strategies.merged([np.array([1, 2, 3]), np.array([2, 4])], 9).tolist() == [1, 2, 4, 3]
    assert strategies.merged([np.array([1, 2, 3]), np.array([2, 4])], 2).tolist() == [1, 2]
    assert strategies.merged([], 2).tolist() == []


def test_spread_puts_near_doubles_off():
    vectors = unit([[1, 0], [1, 0.01], [0, 1], [1, 1]])
    order = np.array([7, 8, 9, 10])
    assert strategies.spread(order, vectors).tolist() == [7, 9, 10, 8]
    assert strategies.spread(order, vectors, window=1).tolist() == [7, 8, 9, 10]
    assert strategies.spread(order[:0], vectors[:0]).tolist() == []


@pytest.mark.parametrize(
    "accuracy, n_held_out, baseline, n_labels, expected",
    [
        (None, 0, 0.0, 15, "margin"),
        (0.1, 9, 0.3, 15, "margin"),  # too few to say
        (0.3, 10, 0.3, 15, "diverse"),
        (0.38, 40, 0.3, 15, "margin"),
        (0.55, 40, 0.3, 2, "diverse"),  # chance is a half
        (0.65, 40, 0.3, 2, "margin"),
    ],
)
def test_what_auto_follows(accuracy, n_held_out, baseline, n_labels, expected):
    found = ranking.leading(accuracy=accuracy, n_held_out=n_held_out, baseline=baseline, n_labels=n_labels)
    assert found == expected


def test_every_order_ranks_a_pool_and_an_empty_one():
    random = np.random.default_rng(0)
    for n in (0, 1, 40):
        proba = random.dirichlet(np.ones(3), n)
        pool = ranking.Pool(
            proba, random.random(n), unit(random.normal(size=(n, 8))) if n else np.zeros((0, 8)),
            np.zeros((0, 8)), np.array([3, 0, 1]),
        )  # fmt: skip
        for name in ranking.NAMES:
            found = ranking.order(name, pool)
            assert len(set(found.tolist())) == len(found) == n


def test_an_order_picks_its_vectors_from_a_larger_index():
    random = np.random.default_rng(0)
    everything = unit(random.normal(size=(50, 8)))
    rows = np.array([7, 3, 40])
    proba = np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]])
    pool = ranking.Pool(proba, np.zeros(3), everything, everything[:2], np.array([1, 1]), rows)
    np.testing.assert_allclose(pool.vectors_of(np.array([2])), everything[[40]], atol=1e-6)
    assert ranking.order("margin", pool).tolist() == [1, 2, 0]
