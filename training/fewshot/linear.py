"""Regularised multinomial logistic regression on frozen vectors: the probe's classifier. numpy only."""

from __future__ import annotations

import numpy as np

from training.fewshot.evaluation import log_loss, softmax, stratified_folds


def fit_logistic(
    features: np.ndarray, targets: np.ndarray, n_labels: int, *, penalty: float, steps: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """(rows [labels, H], bias [labels]) that minimise mean log loss + ½·penalty·|rows|² (Nesterov's method).

    `targets`: int64 [n], or 0 and 1 [n, labels] for several labels a text: then each label is a question by itself.
    """
    n, width = features.shape
    x = np.concatenate([features, np.ones((n, 1))], axis=1).astype(np.float64)
    several = targets.ndim == 2
    truth = targets.astype(np.float64) if several else np.eye(n_labels)[targets]
    answer = _sigmoid if several else softmax
    weights = np.zeros((n_labels, width + 1))
    shrink = np.full((1, width + 1), penalty)
    shrink[0, -1] = 0.0
    # The largest eigenvalue of the Hessian is at most ½·λmax(xᵀx / n) + penalty.
    rate = 1.0 / (0.5 * np.linalg.norm(x, 2) ** 2 / n + penalty)
    ahead, last = weights.copy(), weights.copy()
    for step in range(steps):
        gradient = (answer(x @ ahead.T) - truth).T @ x / n + shrink * ahead
        weights = ahead - rate * gradient
        ahead = weights + step / (step + 3) * (weights - last)
        last = weights
    return weights[:, :-1].astype(np.float32), weights[:, -1].astype(np.float32)


def fit_cross_validated(
    features: np.ndarray, targets: np.ndarray, n_labels: int, *, seed: int, folds: int = 4
) -> tuple[np.ndarray, np.ndarray, float]:
    """`fit_logistic` with the penalty that has the least held-out log loss; also returns that penalty."""
    penalties = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
    if targets.ndim == 1:
        smallest = int(np.bincount(targets, minlength=n_labels).min())
        folds = max(2, min(folds, smallest)) if smallest >= 2 else 0
    elif len(targets) < 2 * folds:
        folds = 0
    best = 3e-3
    if folds:
        scores = []
        for penalty in penalties:
            total = 0.0
            for inside, outside in stratified_folds(targets, folds, seed):
                rows, bias = fit_logistic(
                    features[inside], targets[inside], n_labels, penalty=penalty, steps=150
                )
                total += _loss(features[outside] @ rows.T + bias, targets[outside]) * len(outside)
            scores.append(total)
        best = penalties[int(np.argmin(scores))]
    rows, bias = fit_logistic(features, targets, n_labels, penalty=best)
    return rows, bias, best


def _loss(logits: np.ndarray, targets: np.ndarray) -> float:
    if targets.ndim == 1:
        return log_loss(softmax(logits), targets)
    return float((np.logaddexp(0.0, logits) - targets * logits).mean())


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * logits))
