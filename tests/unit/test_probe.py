"""The fast probe: useful before any label, better with some, honest about what it is worth."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import probe as probes
from training.fewshot.zero_shot import label_sentence_scores

N_LABELS, WIDTH = 4, 32


@pytest.fixture(scope="module")
def world():
    """Label vectors that lie near their texts' middle, and texts around other middles: words are a fair guess."""
    random = np.random.default_rng(3)
    middles = random.normal(size=(N_LABELS, WIDTH))
    labels = middles + 0.9 * random.normal(size=(N_LABELS, WIDTH))
    targets = np.arange(400) % N_LABELS
    vectors = middles[targets] + 1.6 * random.normal(size=(400, WIDTH))
    return (
        labels / np.linalg.norm(labels, axis=1, keepdims=True),
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        targets,
    )


def accuracy(probe, vectors, targets) -> float:
    return float((probe.predict_proba(vectors).argmax(axis=1) == targets).mean())


def test_untrained_it_answers_as_the_label_sentences_do(world):
    labels, vectors, targets = world
    start = probes.untrained(labels)
    np.testing.assert_allclose(start.logits(vectors), label_sentence_scores(vectors, labels), atol=1e-4)
    assert accuracy(start, vectors, targets) > 0.5


def test_labels_help_and_more_of_them_more(world):
    labels, vectors, targets = world
    start = probes.untrained(labels)
    few = probes.fit(start, vectors[:20], targets[:20])
    many = probes.fit(start, vectors[:200], targets[:200])
    held = slice(200, None)
    at_start = accuracy(start, vectors[held], targets[held])
    assert (
        at_start < accuracy(few, vectors[held], targets[held]) < accuracy(many, vectors[held], targets[held])
    )


def test_no_text_moves_nothing_and_a_strong_pull_hardly(world):
    labels, vectors, targets = world
    start = probes.untrained(labels)
    assert probes.fit(start, vectors[:0], targets[:0]) is start
    held = probes.fit(start, vectors[:40], targets[:40], pull=1e9, bias_pull=1e9)
    np.testing.assert_allclose(held.rows, start.rows, atol=1e-3)


def test_the_gradient_is_the_costs_own(world, monkeypatch):
    """L-BFGS is handed cost and gradient: they agree by finite differences, single and multi-label."""
    labels, vectors, targets = world
    seen = {}
    monkeypatch.setattr(
        probes, "minimize", lambda cost, first, **_: seen.update(cost=cost, first=first) or _Found(first)
    )
    for multi_label, truth in ((False, targets[:30]), (True, np.eye(N_LABELS, dtype=int)[targets[:30]])):
        probes.fit(probes.untrained(labels, multi_label=multi_label), vectors[:30], truth)
        random = np.random.default_rng(0)
        at = seen["first"] + random.normal(0, 0.3, len(seen["first"]))
        _, gradient = seen["cost"](at)
        for place in random.choice(len(at), 12, replace=False):
            step = np.zeros(len(at))
            step[place] = 1e-5
            slope = (seen["cost"](at + step)[0] - seen["cost"](at - step)[0]) / 2e-5
            assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-6)


class _Found:
    def __init__(self, x):
        self.x = x


def test_equal_input_gives_equal_output(world):
    labels, vectors, targets = world
    first, second = (probes.learn(probes.untrained(labels), vectors[:60], targets[:60]) for _ in range(2))
    np.testing.assert_array_equal(first.held_out_proba, second.held_out_proba)
    np.testing.assert_array_equal(first.probe.rows, second.probe.rows)


def test_what_is_held_out_was_not_learnt(world):
    """With labels at random nothing can be learnt, so an honest accuracy is near chance, however well it fits."""
    labels, vectors, _ = world
    noise = np.random.default_rng(5).integers(0, N_LABELS, 80)
    learnt = probes.learn(probes.untrained(labels), vectors[:80], noise, pull=0.01)
    assert accuracy(learnt.probe, vectors[:80], noise) > 0.7
    assert learnt.accuracy < 0.4


def test_only_texts_that_may_measure_are_counted_and_dev_joins_them(world):
    labels, vectors, targets = world
    may = np.zeros(60, dtype=bool)
    may[:25] = True
    learnt = probes.learn(
        probes.untrained(labels), vectors[:60], targets[:60], may_measure=may,
        further_vectors=vectors[300:340], further_targets=targets[300:340],
    )  # fmt: skip
    assert learnt.n_held_out == 65
    assert learnt.held_out_proba.shape == (60, N_LABELS)
    assert 0 < learnt.accuracy <= 1
    assert learnt.baseline == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_labels(world, n):
    labels, vectors, targets = world
    learnt = probes.learn(probes.untrained(labels), vectors[:n], targets[:n])
    assert learnt.n_held_out == n
    assert (learnt.accuracy is None) == (n == 0)
    assert np.isfinite(learnt.probe.predict_proba(vectors[:5])).all()


def test_a_label_without_a_text_keeps_its_sentence(world):
    labels, vectors, targets = world
    inside = targets[:120] != 3
    learnt = probes.learn(probes.untrained(labels), vectors[:120][inside], targets[:120][inside])
    others = vectors[200:][targets[200:] == 3]
    assert accuracy(learnt.probe, others, np.full(len(others), 3)) > 0.3


def test_probabilities_are_calibrated_by_what_was_held_out(world):
    labels, vectors, targets = world
    learnt = probes.learn(probes.untrained(labels), vectors[:200], targets[:200])
    proba = learnt.probe.predict_proba(vectors[200:])
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    sure = proba.max(axis=1).mean()
    assert sure == pytest.approx(accuracy(learnt.probe, vectors[200:], targets[200:]), abs=0.08)
    assert learnt.calibration_error < 0.15


def test_blocks_do_not_show(world, monkeypatch):
    labels, vectors, _ = world
    whole = probes.untrained(labels).predict_proba(vectors)
    monkeypatch.setattr(probes, "BLOCK_TEXTS", 7)
    np.testing.assert_allclose(
        probes.untrained(labels).predict_proba(vectors.astype(np.float16)), whole, atol=2e-3
    )


def test_several_labels(world):
    labels, vectors, targets = world
    truth = np.eye(N_LABELS, dtype=int)[targets]
    truth[np.arange(400), (targets + 1) % N_LABELS] |= np.random.default_rng(1).integers(0, 2, 400)
    learnt = probes.learn(probes.untrained(labels, multi_label=True), vectors[:200], truth[:200])
    proba = learnt.probe.predict_proba(vectors[200:])
    assert ((proba > 0) & (proba < 1)).all()
    assert learnt.accuracy > learnt.baseline
    own = proba[np.arange(200), targets[200:]].mean()
    assert own > proba.mean() + 0.15


def test_points_of_a_learning_curve(world):
    labels, vectors, targets = world
    points = probes.learning_curve_points(
        probes.untrained(labels), vectors[:200], targets[:200], [10, 40, 160]
    )
    assert [len(group) for group in points] == [8, 8, 8]
    assert np.mean(points[0]) < np.mean(points[2])
    none = probes.learning_curve_points(
        probes.untrained(labels), vectors[:20], targets[:20], [10], may_measure=np.zeros(20, dtype=bool)
    )
    assert none == [[]]
