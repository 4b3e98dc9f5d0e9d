"""Measuring honestly: metrics, intervals, calibration, comparisons. numpy only.

Class ids are indices into the labels' order. Probabilities are float [n, labels].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np


def evaluate(
    proba: np.ndarray, targets: np.ndarray, names: Sequence[str], *, given: np.ndarray | None = None
) -> dict:
    """The dict E of decision 0001 for labelled texts.

    `targets`: int64 [n], or 0/1 [n, labels] for multi-label; then accuracy is the share of texts whose whole set of
    labels is right, `micro_f1` is added and `confusion` is [] (it has no meaning there). `given`: bool [n, labels],
    the labels decided on (`runner.given_labels`), those from ½ on where it is left out.
    """
    if targets.ndim == 2:
        return _evaluate_multi_label(proba, targets, names, proba >= 0.5 if given is None else given)
    predicted = proba.argmax(axis=1)
    n = len(targets)
    right = int((predicted == targets).sum())
    confusion = confusion_matrix(targets, predicted, len(names))
    precision, recall, f1, support = per_class(confusion)
    low, high = wilson_interval(right, n)
    return {
        "n": n,
        "accuracy": right / n if n else 0.0,
        "accuracy_interval": [low, high],
        "macro_f1": macro_f1(confusion),
        "labels": list(names),
        "per_class": _rows(names, precision, recall, f1, support),
        "confusion": confusion.tolist(),
        "ece": expected_calibration_error(proba, targets),
        "loss": log_loss(proba, targets),
    }


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, n_labels: int) -> np.ndarray:
    """int64 [labels, labels]: row = true class, column = predicted class."""
    flat = np.bincount(targets * n_labels + predicted, minlength=n_labels * n_labels)
    return flat.reshape(n_labels, n_labels).astype(np.int64)


def per_class(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """precision, recall, F1 (0 where undefined) and support of each class."""
    hit = np.diag(confusion).astype(np.float64)
    given, support = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = np.divide(hit, given, out=np.zeros_like(hit), where=given > 0)
    recall = np.divide(hit, support, out=np.zeros_like(hit), where=support > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hit), where=both > 0)
    return precision, recall, f1, support


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that occur, as truth or as prediction."""
    f1 = per_class(confusion)[2]
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return float(f1[occurs].mean()) if occurs.any() else 0.0


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (J. Am. Stat. Assoc. 22, 1927)."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    values: np.ndarray, *, confidence: float = 0.95, repeats: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` [n]."""
    random = np.random.default_rng(seed)
    values = np.asarray(values, dtype=np.float64)
    means = values[random.integers(0, len(values), (repeats, len(values)))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval over independent runs (seeds): (mean, low, high)."""
    runs = np.asarray(values, dtype=np.float64)
    mean = float(runs.mean())
    if len(runs) < 2:
        return mean, float("-inf"), float("inf")
    half = _student_quantile(0.5 + confidence / 2, len(runs) - 1) * runs.std(ddof=1) / math.sqrt(len(runs))
    return mean, float(mean - half), float(mean + half)


def expected_calibration_error(proba: np.ndarray, targets: np.ndarray, bins: int = 10) -> float:
    """Mean gap between confidence and accuracy over `bins` equal bins of confidence (arXiv 1706.04599)."""
    if not len(targets):
        return 0.0
    confidence = proba.max(axis=1)
    right = proba.argmax(axis=1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (place == number).sum() * abs(confidence[place == number].mean() - right[place == number].mean())
        for number in np.unique(place)
    ]
    return float(sum(gaps) / len(targets))


def log_loss(proba: np.ndarray, targets: np.ndarray) -> float:
    """Mean negative log-probability of the true class."""
    if not len(targets):
        return 0.0
    return float(-np.log(np.maximum(proba[np.arange(len(targets)), targets], 1e-12)).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def best_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature in [0.05, 20] with the least log loss on `logits` [n, labels] (golden section)."""

    def cost(log_t: float) -> float:
        return log_loss(softmax(logits.astype(np.float64) / math.exp(log_t)), targets)

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    cost_left, cost_right = cost(left), cost(right)
    for _ in range(60):
        if cost_left < cost_right:
            high, right, cost_right = right, left, cost_left
            left = high - ratio * (high - low)
            cost_left = cost(left)
        else:
            low, left, cost_left = left, right, cost_right
            right = low + ratio * (high - low)
            cost_right = cost(right)
    return math.exp((low + high) / 2)


def temperature_for(logits: np.ndarray, confidence: float) -> float:
    """The temperature in [0.05, 20] at which the mean largest probability of `logits` [n, labels] is `confidence`."""
    low, high = math.log(0.05), math.log(20.0)
    for _ in range(60):
        middle = (low + high) / 2
        found = softmax(logits.astype(np.float64) / math.exp(middle)).max(axis=1).mean()
        # The higher the temperature, the flatter.
        low, high = (middle, high) if found > confidence else (low, middle)
    return math.exp((low + high) / 2)


def best_thresholds(
    proba: np.ndarray, targets: np.ndarray, *, prior: float = 0.5, least: int = 1
) -> np.ndarray:
    """A threshold a label with the best F1 on `proba`, `targets` [n, labels]; `prior` for labels that occur less than
    `least` times, whose own best would be chance.

    Between two neighbouring probabilities the middle is taken; of equally good ones the one nearest to `prior`.
    """
    thresholds = np.full(proba.shape[1], prior)
    for label in range(proba.shape[1]):
        truth = targets[:, label] > 0
        if truth.sum() >= max(1, least):
            thresholds[label] = _best_threshold(proba[:, label], truth, prior)
    return thresholds


def shared_threshold(proba: np.ndarray, targets: np.ndarray, *, prior: float = 0.5) -> float:
    """The one threshold for all labels with the best micro F1 on `proba`, `targets` [n, labels]."""
    truth = targets.ravel() > 0
    return _best_threshold(proba.ravel(), truth, prior) if truth.any() else prior


def _best_threshold(proba: np.ndarray, truth: np.ndarray, prior: float) -> float:
    values = np.unique(proba)
    candidates = np.concatenate([[prior], (values[1:] + values[:-1]) / 2])
    order = np.argsort(-proba, kind="stable")
    hits = np.concatenate([[0], np.cumsum(truth[order])])
    # given(t) = texts at or over t
    given = np.searchsorted(-proba[order], -candidates, side="right")
    scores = 2 * hits[given] / np.maximum(1, given + truth.sum())
    best = candidates[np.isclose(scores, scores.max())]
    return float(best[np.abs(best - prior).argmin()])


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test on the same texts (bool [n] each)."""
    only_first = int((first_right & ~second_right).sum())
    only_second = int((~first_right & second_right).sum())
    n, k = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(k + 1)
    ]
    return min(1.0, 2 * sum(math.exp(value) for value in logs))


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which hypotheses fall at family-wise `level` (Holm 1979): the k-th smallest against level / (m − k + 1)."""
    falls = [False] * len(p_values)
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if p_values[place] > level / (len(p_values) - rank):
            break
        falls[place] = True
    return falls


def compare(first_right: np.ndarray, second_right: np.ndarray, *, repeats: int = 2000, seed: int = 0) -> dict:
    """Paired comparison of two models on the same texts.

    {"difference", "interval", "p_value", "tell_apart"}: difference in accuracy (second − first) with its paired
    bootstrap interval, McNemar's p, and whether the interval leaves out zero.
    """
    difference = second_right.astype(np.float64) - first_right.astype(np.float64)
    low, high = bootstrap_interval(difference, repeats=repeats, seed=seed)
    return {
        "difference": float(difference.mean()),
        "interval": [low, high],
        "p_value": mcnemar(first_right.astype(bool), second_right.astype(bool)),
        "tell_apart": bool(low > 0 or high < 0),
    }


def worth_leaving(usual: np.ndarray, best: np.ndarray) -> bool:
    """Whether `best` is better by more than a standard error of the paired difference; each 0 or 1 a text, [n]."""
    differences = best.astype(np.float64) - usual.astype(np.float64)
    return bool(differences.mean() > differences.std() / math.sqrt(len(differences)))


def stratified_folds(targets: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(train indices, held-out indices) of each fold; every class spread evenly. Multi-label rows: at random."""
    random = np.random.default_rng(seed)
    place = np.empty(len(targets), dtype=np.int64)
    groups = (
        [np.arange(len(targets))]
        if targets.ndim == 2
        else [np.flatnonzero(targets == value) for value in np.unique(targets)]
    )
    offset = 0
    for members in groups:
        members = random.permutation(members)
        # Going on where the last class stopped keeps the folds equally large.
        place[members] = (offset + np.arange(len(members))) % folds
        offset += len(members)
    for fold in range(folds):
        yield np.flatnonzero(place != fold), np.flatnonzero(place == fold)


def learning_curve(
    sizes: Sequence[int],
    accuracies: Sequence[Sequence[float]],
    more: int = 50,
    *,
    at: int | None = None,
    seed: int = 0,
) -> dict:
    """What `more` labels would bring: a power law a − b·n^−c through the mean accuracy at each size.

    `accuracies[i]` holds one figure a repetition at `sizes[i]`; `at` is where the labels stand now (the largest size,
    where None). Returns {"sizes", "means", "expected", "gain", "interval"}: the accuracy expected with `more`, the
    gain over now, and its bootstrap interval over repetitions (95 %).
    """
    random = np.random.default_rng(seed)
    now = max(sizes) if at is None else at

    def gain(means: Sequence[float]) -> tuple[float, float]:
        fitted = _fit_power_law(np.asarray(sizes, dtype=np.float64), np.asarray(means))
        return fitted(now + more) - fitted(now), fitted(now)

    means = [float(np.mean(group)) for group in accuracies]
    draws = [gain([np.mean(random.choice(group, len(group))) for group in accuracies])[0] for _ in range(300)]
    low, high = np.quantile(draws, [0.025, 0.975])
    found, present = gain(means)
    return {
        "sizes": list(sizes),
        "means": means,
        "expected": (means[-1] if at is None else present) + found,
        "gain": found,
        "interval": [float(low), float(high)],
    }


def _fit_power_law(sizes: np.ndarray, means: np.ndarray):
    fits: list[tuple[float, np.ndarray, float]] = []
    for exponent in np.linspace(0.1, 1.5, 29):
        basis = np.stack([np.ones_like(sizes), -(sizes**-exponent)], axis=1)
        weights, *_ = np.linalg.lstsq(basis, means, rcond=None)
        weights[1] = max(weights[1], 0.0)
        weights[0] = (means + weights[1] * sizes**-exponent).mean()
        fits.append((((basis @ weights - means) ** 2).sum(), weights, exponent))
    _, weights, exponent = min(fits, key=lambda fit: fit[0])
    return lambda n: float(min(1.0, weights[0] - weights[1] * n**-exponent))


def _evaluate_multi_label(proba, targets, names, given) -> dict:
    truth = targets > 0
    hit = (given & truth).sum(axis=0).astype(np.float64)
    said, support = given.sum(axis=0), truth.sum(axis=0)
    precision = np.divide(hit, said, out=np.zeros_like(hit), where=said > 0)
    recall = np.divide(hit, support, out=np.zeros_like(hit), where=support > 0)
    f1 = np.divide(2 * hit, said + support, out=np.zeros_like(hit), where=said + support > 0)
    right = (given == truth).all(axis=1)
    occurs = said + support > 0
    # In double precision: 1 − 1e-12 is 1 in single.
    clipped = np.clip(proba.astype(np.float64), 1e-12, 1 - 1e-12)
    loss = -(truth * np.log(clipped) + ~truth * np.log(1 - clipped)).mean() if len(truth) else 0.0
    return {
        "n": len(targets),
        "accuracy": float(right.mean()) if len(right) else 0.0,
        "accuracy_interval": list(wilson_interval(int(right.sum()), len(right))),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "micro_f1": float(2 * hit.sum() / max(1, said.sum() + support.sum())),
        "labels": list(names),
        "per_class": _rows(names, precision, recall, f1, support),
        "confusion": [],
        "ece": float(abs(clipped.mean(axis=0) - truth.mean(axis=0)).mean()) if len(truth) else 0.0,
        "loss": float(loss),
    }


def _rows(names, precision, recall, f1, support) -> list[dict]:
    return [
        {"label": n, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for n, p, r, f, s in zip(names, precision, recall, f1, support, strict=True)
    ]


def _student_quantile(p: float, freedom: int) -> float:
    """Quantile of Student's t by bisection over its integrated density."""
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(
        freedom * math.pi
    )

    def distribution(t: float) -> float:
        grid = np.linspace(0.0, t, 4001)
        density = constant * (1 + grid**2 / freedom) ** (-(freedom + 1) / 2)
        return 0.5 + float(np.trapz(density, grid))

    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if distribution(middle) < p else (low, middle)
    return (low + high) / 2
