"""The figures that a person decides by, against hand-made cases and independent references."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import evaluation, linear

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    targets = random.integers(0, 4, 200)
    logits = random.normal(0, 1, (200, 5))
    logits[np.arange(200), targets] += 1.5
    return evaluation.softmax(logits), targets


def test_metrics_equal_the_reference(made):
    proba, targets = made
    names = list("abcde")
    found = evaluation.evaluate(proba, targets, names)
    predicted = proba.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="macro"))
    assert found["confusion"] == metrics.confusion_matrix(targets, predicted, labels=range(5)).tolist()
    assert found["loss"] == pytest.approx(metrics.log_loss(targets, proba, labels=range(5)))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, predicted, labels=range(5), zero_division=0
    )
    for row, p, r, f, s in zip(found["per_class"], precision, recall, f1, support, strict=True):
        assert (row["precision"], row["recall"], row["f1"], row["support"]) == pytest.approx((p, r, f, s))


def test_multi_label_f1_equals_the_reference():
    random = np.random.default_rng(5)
    proba, targets = random.random((50, 4)), (random.random((50, 4)) > 0.6).astype(np.float32)
    found = evaluation.evaluate(proba, targets, list("abcd"), given=proba >= 0.4)
    given = proba >= 0.4
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(targets, given, average="micro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, given, average="macro"))
    assert found["accuracy"] == pytest.approx((given == (targets > 0)).all(axis=1).mean())


def test_multi_label_loss_stays_finite_where_single_precision_is_sure_and_wrong():
    found = evaluation.evaluate(
        np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 0.0]], np.float32), ["a", "b"]
    )
    assert found["loss"] == pytest.approx(-np.log(1e-12) / 2, rel=1e-3)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (5, 10), (10, 10), (1090, 2010)])
def test_wilson_interval_equals_the_reference(right: int, n: int):
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert evaluation.wilson_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_student_interval_equals_the_reference():
    values = [0.54, 0.55, 0.53, 0.56, 0.545]
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    mean, low, high = evaluation.mean_interval(values)
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_by_hand():
    proba = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]])
    targets = np.array([0, 1, 0, 0])
    # Bin 0.9–1: confidence .95, accuracy .5; bin 0.5–0.6: confidence .55, accuracy .5.
    assert evaluation.expected_calibration_error(proba, targets) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)


def test_temperature_is_found_again(made):
    proba, _ = made
    logits = np.log(proba)
    random = np.random.default_rng(1)
    targets = np.array([random.choice(5, p=row) for row in np.repeat(proba, 40, axis=0)])
    found = evaluation.best_temperature(np.repeat(logits, 40, axis=0) * 3.0, targets)
    assert found == pytest.approx(3.0, rel=0.05)


def test_temperature_for_a_confidence():
    # Two labels: the larger probability is 1 / (1 + exp(-|difference| / T)).
    logits = np.array([[2.0, 0.0], [0.0, 4.0]])
    found = evaluation.temperature_for(logits, 0.75)
    assert np.mean([1 / (1 + np.exp(-2 / found)), 1 / (1 + np.exp(-4 / found))]) == pytest.approx(0.75)
    assert evaluation.temperature_for(logits, 0.9) < found
    assert evaluation.temperature_for(logits, 0.4) == pytest.approx(20.0)


def test_thresholds_give_the_best_f1_of_all():
    random = np.random.default_rng(2)
    proba = random.random((40, 3))
    targets = (proba + random.normal(0, 0.3, (40, 3)) > 0.7).astype(int)
    targets[:, 2] = 0
    found = evaluation.best_thresholds(proba, targets)
    assert found[2] == 0.5
    for label in (0, 1):
        reached = metrics.f1_score(targets[:, label], proba[:, label] >= found[label])
        best = max(metrics.f1_score(targets[:, label], proba[:, label] >= t) for t in np.linspace(0, 1, 401))
        assert reached >= best - 1e-12


def test_rare_labels_take_the_threshold_that_all_share():
    random = np.random.default_rng(3)
    proba = random.random((60, 3))
    targets = (proba + random.normal(0, 0.2, (60, 3)) > 0.6).astype(int)
    targets[:, 2] = 0
    targets[:4, 2] = 1
    shared = evaluation.shared_threshold(proba, targets)
    reached = metrics.f1_score(targets, proba >= shared, average="micro")
    best = max(metrics.f1_score(targets, proba >= t, average="micro") for t in np.linspace(0, 1, 401))
    assert reached >= best - 1e-12
    found = evaluation.best_thresholds(proba, targets, prior=shared, least=5)
    assert found[2] == shared
    assert found[0] != shared


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (3, 12), (30, 31)])
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int):
    first = np.array([True] * only_first + [False] * only_second + [True] * 9)
    second = np.array([False] * only_first + [True] * only_second + [True] * 9)
    n = only_first + only_second
    expected = stats.binomtest(only_first, n).pvalue if n else 1.0
    assert evaluation.mcnemar(first, second) == pytest.approx(expected)


def test_models_that_cannot_be_told_apart():
    random = np.random.default_rng(0)
    first = random.random(300) < 0.6
    flipped = first.copy()
    flipped[:10] = ~flipped[:10]
    assert not evaluation.compare(first, flipped)["tell_apart"]
    better = first | (random.random(300) < 0.5)
    found = evaluation.compare(first, better)
    assert found["tell_apart"]
    assert found["difference"] == pytest.approx(better.mean() - first.mean())
    assert found["interval"][0] < found["difference"] < found["interval"][1]


def test_folds_cover_once_and_keep_the_shares():
    targets = np.array([0] * 13 + [1] * 7 + [2] * 20)
    seen = []
    for inside, outside in evaluation.stratified_folds(targets, 4, seed=1):
        assert not set(inside) & set(outside)
        counts = np.bincount(targets[outside], minlength=3)
        assert all(abs(count - total / 4) < 1.01 for count, total in zip(counts, (13, 7, 20), strict=True))
        seen += outside.tolist()
    assert sorted(seen) == list(range(40))


def test_learning_curve_expects_what_a_power_law_promises():
    sizes = [50, 100, 200, 400]
    law = [[0.8 - 1.5 * n**-0.5] * 3 for n in sizes]
    found = evaluation.learning_curve(sizes, law, more=50)
    assert found["expected"] == pytest.approx(0.8 - 1.5 * 450**-0.5, abs=2e-3)
    assert found["interval"][0] <= found["gain"] <= found["interval"][1]


def test_logistic_regression_equals_the_reference():
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), 20)
    features = random.normal(0, 1, (60, 5)) + np.eye(3)[targets] @ random.normal(0, 1, (3, 5))
    rows, bias = linear.fit_logistic(features, targets, 3, penalty=0.05, steps=5000)
    reference = linear_model.LogisticRegression(C=1 / (0.05 * 60), tol=1e-10, max_iter=10_000).fit(
        features, targets
    )
    assert np.allclose(
        evaluation.softmax(features @ rows.T + bias), reference.predict_proba(features), atol=1e-4
    )
