"""Confident learning against cases worked out by hand, doubles, and texts unlike all others."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import quality

# Three texts carry 0 and three carry 1; the third of each half was given the other's label.
GIVEN = np.array([0, 0, 0, 1, 1, 1])
PROBA = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]])


def test_thresholds_are_mean_self_confidence():
    # (0.9 + 0.8 + 0.1) / 3 and (0.8 + 0.7 + 0.1) / 3
    np.testing.assert_allclose(quality.thresholds(GIVEN, PROBA), [0.6, 1.6 / 3])


def test_confident_joint_by_hand():
    assert quality.confident_joint(GIVEN, PROBA).tolist() == [[2, 1], [1, 2]]


def test_a_text_that_reaches_no_threshold_counts_nowhere():
    proba = PROBA.copy()
    proba[1] = [0.5, 0.5]  # threshold of 0 becomes 0.5: reached; of 1 it is 0.533: not
    assert quality.confident_joint(GIVEN, proba).tolist() == [[2, 1], [1, 2]]
    proba[4] = [0.45, 0.55]
    # thresholds are now (0.9 + 0.5 + 0.1)/3 = 0.5 and (0.8 + 0.55 + 0.1)/3 = 0.483
    assert quality.confident_joint(GIVEN, proba).tolist() == [[2, 1], [1, 2]]
    proba[4] = [0.49, 0.48]
    # 0.49 < 0.5 and 0.48 ≥ 0.46: the label that reaches its threshold, though another is likelier
    assert quality.confident_joint(GIVEN, proba).tolist() == [[2, 1], [1, 2]]
    proba[4] = [0.3, 0.3]
    # thresholds: 0.5 and (0.8 + 0.3 + 0.1)/3 = 0.4: none is reached
    assert quality.confident_joint(GIVEN, proba).tolist() == [[2, 1], [1, 1]]


def test_of_two_labels_over_their_thresholds_the_likelier_counts():
    given = np.array([0, 0, 1, 1, 2])
    proba = np.array(
        [[0.5, 0.3, 0.2], [0.3, 0.5, 0.2], [0.1, 0.4, 0.5], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7]]
    )  # thresholds 0.4, 0.4, 0.7
    assert quality.confident_joint(given, proba).tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 1]]


def test_calibration_scales_rows_to_the_labels_given():
    counts = np.array([[3, 1], [0, 2]])
    joint = quality.calibrated_joint(counts, np.array([0] * 8 + [1] * 3))
    np.testing.assert_allclose(joint, [[6, 2], [0, 3]])


def test_a_label_without_a_confident_text_has_no_errors():
    joint = quality.calibrated_joint(np.array([[0, 0], [1, 3]]), np.array([0, 0, 1, 1, 1, 1]))
    np.testing.assert_allclose(joint, [[2, 0], [1, 3]])


@pytest.mark.parametrize("by", ["noise_rate", "confident"])
def test_the_two_wrong_ones_are_found_the_surest_first(by):
    found = quality.label_errors(GIVEN, PROBA, by=by)
    assert found.rows.tolist() == [2, 5]
    assert found.suggested.tolist() == [1, 0]
    np.testing.assert_allclose(found.score, [0.1, 0.1])
    assert found.expected == pytest.approx(2.0)


def test_nothing_is_wrong_where_the_model_agrees():
    proba = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    found = quality.label_errors(np.array([0, 0, 1]), proba)
    assert not len(found.rows)
    assert found.expected == 0


def test_noise_rate_names_no_text_whose_own_label_is_likelier():
    """The joint expects one error of label 0, but the text with the largest lead still prefers its own label."""
    given = np.array([0, 0, 0, 0, 1, 1])
    proba = np.array([[0.95, 0.05], [0.95, 0.05], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.65, 0.35]])
    for row in quality.label_errors(given, proba).rows:
        assert proba[row].argmax() != given[row]


def test_planted_errors_among_separable_texts_are_found():
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 400)
    proba = np.full((400, 4), 0.1)
    proba[np.arange(400), truth] = 0.7
    given = truth.copy()
    planted = random.choice(400, 40, replace=False)
    given[planted] = (given[planted] + 1) % 4
    found = quality.label_errors(given, proba)
    assert set(found.rows) == set(planted)
    assert (found.suggested == truth[found.rows]).all()
    assert found.expected == pytest.approx(40, abs=1)


def test_several_labels_are_asked_one_by_one():
    given = np.array([[1, 0]] * 5 + [[0, 1]] * 5)
    proba = np.array([[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5)
    assert not len(quality.multi_label_errors(given, proba).rows)
    given[0] = [1, 1]  # the second label is one too many
    given[9] = [0, 0]  # the second label is missing
    found = quality.multi_label_errors(given, proba)
    assert sorted(found.rows.tolist()) == [0, 9]
    assert found.suggested.tolist() == [1, 1]


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("股市大涨！", "股市大涨", True),
        ("ＡＢＣ 公司", "abc公司", True),
        ("上海，今天", "上海今天。", True),
        ("上海今天", "今天上海", False),
        ("!!!", "???", True),  # nothing is left of either, and nothing is compared
    ],
)
def test_normal_form(first, second, same):
    assert (quality.normal_form(first) == quality.normal_form(second)) is same


def test_doubles_by_words_and_by_vectors():
    texts = ["股市大涨！", "股市大涨", "股市大涨。", "球赛", "球赛延期", "!!!", "???"]
    labels = np.array([0, 1, 0, 2, 1, 0, 1])
    vectors = np.eye(7, 3)
    vectors[3], vectors[4] = [0, 0, 1], [0, 0.1, 0.995]
    vectors[5] = vectors[6] = np.nan
    vectors[0], vectors[1], vectors[2] = [1, 0, 0], [0, 1, 0], [1, 0, 0]
    found = quality.conflicting_doubles(texts, labels, vectors)
    assert [(first, second) for first, second, _ in found] == [(0, 1), (1, 2), (3, 4)]
    assert found[2][2] == pytest.approx(0.995, abs=1e-3)
    assert quality.conflicting_doubles(texts, labels, vectors, likeness=0.999)[-1][:2] == (1, 2)
    assert quality.conflicting_doubles(texts, np.zeros(7), vectors) == []
    assert len(quality.conflicting_doubles(texts, labels, None)) == 2
    assert len(quality.conflicting_doubles(texts, labels, vectors, limit=1)) == 1
    assert quality.conflicting_doubles([], np.zeros(0), np.zeros((0, 3))) == []


def test_the_text_unlike_all_others_is_the_strangest():
    random = np.random.default_rng(1)
    crowd = np.array([1.0, 0, 0]) + random.normal(0, 0.05, (60, 3))
    vectors = np.concatenate([crowd, [[0, 1.0, 0]], [[np.nan] * 3]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = quality.strangeness(vectors)
    assert found.argmax() == 60
    assert found[61] == 0
    assert quality.strangeness(vectors, reference=np.arange(30))[:60].max() < found[60]
    assert quality.strangeness(vectors[:1]).tolist() == [0]
    assert quality.strangeness(vectors[:0]).tolist() == []


def test_a_text_that_a_neighbour_repeats_is_not_strange():
    vectors = np.array([[1.0, 0], [1, 0], [0, 1.0]])
    np.testing.assert_allclose(quality.strangeness(vectors, neighbours=1), [0, 0, 1])
