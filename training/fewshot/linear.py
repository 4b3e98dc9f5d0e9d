"""Regularised multinomial logistic regression on frozen vectors: the probe's classifier. numpy only."""

from __future__ import annotations

import numpy as np

from training.fewshot.evaluation import log_loss, softmax, stratified_folds


def fit_logistic(
    features: np.ndarray, targets: np.ndarray, n_labels: int, *, penalty: float, steps: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """(rows [labels, H], bias [labels]) that minimise mean log loss + ½·penalty·|rows|² (Nesterov's method)."""
    n, width = features.shape
    x = np.concatenate([features, np.ones((n, 1))], axis=1).astype(np.float64)
    truth = np.eye(n_labels)[targets]
    weights = np.zeros((n_labels, width + 1))
    shrink = np.full((1, width + 1), penalty)
    shrink[0, -1] = 0.0
    # The largest eigenvalue of the Hessian is at most ½·λmax(xᵀx / n) + penalty.
    rate = 1.0 / (0.5 * np.linalg.norm(x, 2) ** 2 / n + penalty)
    ahead, last = weights.copy(), weights.copy()
    for step in range(steps):
        gradient = (softmax(x @ ahead.T) - truth).T @ x / n + shrink * ahead
        weights = ahead - rate * gradient
        ahead = weights + step / (step + 3) * (weights - last)
        last = weights
    return weights[:, :-1].astype(np.float32), weights[:, -1].astype(np.float32)


def fit_cross_validated(
    features: np.ndarray, targets: np.ndarray, n_labels: int, *, seed: int, folds: int = 4
) -> tuple[np.ndarray, np.ndarray, float]:
    """`fit_logistic` with the penalty that has the least held-out log loss; also returns that penalty."""
    penalties = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
    smallest = int(np.bincount(targets, minlength=n_labels).min())
    folds = max(2, min(folds, smallest)) if smallest >= 2 else 0
    best = 3e-3
    if folds:
        scores = []
        for penalty in penalties:
            total = 0.0
            for inside, outside in stratified_folds(targets, folds, seed):
                rows, bias = fit_logistic(
                    features[inside], targets[inside], n_labels, penalty=penalty, steps=150
                )
                total += log_loss(softmax(features[outside] @ rows.T + bias), targets[outside]) * len(outside)
            scores.append(total)
        best = penalties[int(np.argmin(scores))]
    rows, bias = fit_logistic(features, targets, n_labels, penalty=best)
    return rows, bias, best
