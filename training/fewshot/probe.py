"""The fast probe: a linear classifier on cached sentence vectors that begins at the label sentences. No Paddle.

A label's row starts as the vector of the sentence that names it (see `zero_shot`), so that the probe answers before
anything is labelled; rows and biases are then the most probable ones under a Gaussian around that start (Chelba and
Acero, EMNLP 2004, adapt a maximum-entropy model so): with few texts of a label its row stays near its sentence, with
many it goes where they say. What it is worth is measured on texts that it did not learn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from training.fewshot.evaluation import (
    best_temperature,
    expected_calibration_error,
    softmax,
    stratified_folds,
)
from training.fewshot.zero_shot import SCALE, unit

# How strongly rows are pulled to their start, and biases to zero (sum of log losses + ½·pull·|rows − start|²/SCALE²):
# more with the first few texts, which say more of themselves than of their labels. Chosen on tnews' train and dev,
# two-fold (docs/research/2026-11-strategies.md).
PULL, PULL_AT_FIRST, FIRST_TEXTS = 40.0, 100.0, 30
BIAS_PULL = 10.0
# Ways to name a label beside the project's own prompt: where their probes disagree, a text teaches much before any is
# labelled (disagreement among prompts, as in docs/research/2026-11-strategies.md).
OTHER_TEMPLATES = ("{mask}。{text}", "下面的内容与{mask}有关。{text}", "这段文字的主题是{mask}。{text}")
FOLDS = 5
MAX_STEPS = 100
BLOCK_TEXTS = 16_384


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """`rows` (labels, H) and `bias` (labels,) on vectors seen from `centre` (H,); all float32.

    `temperature` divides the logits; where a text may have several labels each is an answer of its own."""

    rows: np.ndarray
    bias: np.ndarray
    centre: np.ndarray
    temperature: float = 1.0
    multi_label: bool = False

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """(n, labels) float32, before the temperature, of unit vectors (n, H) of any float type."""
        return seen_from(self.centre, vectors) @ self.rows.T + self.bias

    def predict_proba(self, vectors: np.ndarray) -> np.ndarray:
        """(n, labels) float32 of vectors (n, H): an index of a million is read block by block."""
        proba = np.empty((len(vectors), len(self.rows)), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK_TEXTS):
            block = slice(start, start + BLOCK_TEXTS)
            proba[block] = probabilities(self.logits(vectors[block]) / self.temperature, self.multi_label)
        return proba


@dataclasses.dataclass(frozen=True, eq=False)
class Learnt:
    """A probe, the committee of its folds, and what held-out texts say of it.

    `held_out_proba` (n, labels): each text's answer from a probe that did not learn it, calibrated as `probe` is;
    `accuracy` is over the `n_held_out` texts that may measure (several labels: the likeliest is one of them);
    `baseline`: always naming the most frequent label there; `calibration_error` as in arXiv 1706.04599."""

    probe: Probe
    committee: tuple[Probe, ...]
    held_out_proba: np.ndarray
    accuracy: float | None
    n_held_out: int
    baseline: float
    calibration_error: float


def untrained(label_vectors: np.ndarray, *, multi_label: bool = False, scale: float = SCALE) -> Probe:
    """The probe before the first label: the rows are the label sentences, seen from their mean. (labels, H)"""
    vectors = np.asarray(label_vectors, dtype=np.float32)
    centre = vectors.mean(axis=0)
    rows = scale * unit(vectors - centre)
    return Probe(rows, np.zeros(len(rows), np.float32), centre, 1.0, multi_label)


def pull_for(n_texts: int) -> float:
    """How strongly rows are pulled to their start when `n_texts` are learnt."""
    return PULL + (PULL_AT_FIRST - PULL) / (1.0 + n_texts / FIRST_TEXTS)


def fit(
    start: Probe,
    vectors: np.ndarray,
    targets: np.ndarray,
    *,
    pull: float | None = None,
    bias_pull: float = BIAS_PULL,
) -> Probe:
    """`start` moved by texts: vectors (n, H), targets (n,) label numbers, or (n, labels) of 0 and 1.

    Deterministic: the objective is convex, and L-BFGS (Liu and Nocedal 1989) begins at `start`."""
    targets = np.asarray(targets)
    if not len(targets):
        return start
    pull = pull_for(len(targets)) if pull is None else pull
    x = seen_from(start.centre, vectors).astype(np.float64)
    truth = _one_hot(targets, len(start.rows)).astype(np.float64)
    n_labels, width = start.rows.shape
    first = np.concatenate([start.rows, start.bias[:, None]], axis=1).astype(np.float64).ravel()
    weight = np.full((n_labels, width + 1), pull / SCALE**2)
    weight[:, -1] = bias_pull
    weight = weight.ravel()

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parts = flat.reshape(n_labels, width + 1)
        logits = x @ parts[:, :-1].T + parts[:, -1]
        if start.multi_label:
            loss = float((np.logaddexp(0.0, logits) - truth * logits).sum())
            wrong = 1.0 / (1.0 + np.exp(-logits)) - truth
        else:
            top = logits.max(axis=1, keepdims=True)
            total = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
            loss = float(total.sum() - (logits * truth).sum())
            wrong = np.exp(logits - total) - truth
        gradient = np.concatenate([wrong.T @ x, wrong.sum(axis=0)[:, None]], axis=1).ravel()
        away = flat - first
        return loss + 0.5 * float(weight @ (away * away)), gradient + weight * away

    found = minimize(cost, first, jac=True, method="L-BFGS-B", options={"maxiter": MAX_STEPS, "ftol": 1e-7})
    parts = found.x.reshape(n_labels, width + 1).astype(np.float32)
    return dataclasses.replace(start, rows=parts[:, :-1].copy(), bias=parts[:, -1].copy())


def learn(
    start: Probe,
    vectors: np.ndarray,
    targets: np.ndarray,
    *,
    may_measure: np.ndarray | None = None,
    further_vectors: np.ndarray | None = None,
    further_targets: np.ndarray | None = None,
    pull: float | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Learnt:
    """Fit on all texts, measure by cross-validation, and calibrate by what was held out.

    `may_measure` (n,) bool: which texts were decided without a model's answer in view (all, where None); the others
    are learnt, and held out without being counted. `further_*`: texts that only measure (dev)."""
    targets = np.asarray(targets)
    n, n_labels = len(targets), len(start.rows)
    counted = np.ones(n, dtype=bool) if may_measure is None else np.asarray(may_measure, dtype=bool)
    probe = fit(start, vectors, targets, pull=pull)
    held_out = np.zeros((n, n_labels), dtype=np.float32)
    committee = []
    if n >= 2:
        for inside, outside in stratified_folds(targets, min(folds, n), seed):
            member = fit(start, vectors[inside], targets[inside], pull=pull)
            held_out[outside] = member.logits(vectors[outside])
            committee.append(member)
    else:
        held_out = start.logits(vectors)
    logits, truth = held_out[counted], targets[counted]
    if further_vectors is not None and further_targets is not None and len(further_targets):
        logits = np.concatenate([logits, probe.logits(further_vectors)])
        truth = np.concatenate([truth, further_targets])
    temperature = _temperature(logits, truth, start.multi_label)
    proba = probabilities(logits / temperature, start.multi_label)
    right, baseline = _right(proba, truth, n_labels)
    return Learnt(
        probe=dataclasses.replace(probe, temperature=temperature),
        committee=tuple(dataclasses.replace(one, temperature=temperature) for one in committee),
        held_out_proba=probabilities(held_out / temperature, start.multi_label),
        accuracy=float(right.mean()) if len(right) else None,
        n_held_out=len(right),
        baseline=baseline,
        calibration_error=_calibration_error(proba, truth, right),
    )


def learning_curve_points(
    start: Probe,
    vectors: np.ndarray,
    targets: np.ndarray,
    sizes: Sequence[int],
    *,
    may_measure: np.ndarray | None = None,
    repeats: int = 8,
    pull: float | None = None,
    seed: int = 0,
) -> list[list[float]]:
    """Held-out accuracies [size][repeat] of probes that learnt `size` texts, measured on those that were left over.

    Sizes must leave some texts over that may measure; the same random orders serve all sizes of a repeat, so that the
    curve's differences are between sizes and not between draws."""
    random = np.random.default_rng(seed)
    n = len(targets)
    counted = np.ones(n, dtype=bool) if may_measure is None else np.asarray(may_measure, dtype=bool)
    found: list[list[float]] = [[] for _ in sizes]
    largest = max(sizes)
    for _ in range(repeats):
        order = random.permutation(n)
        outside = order[largest:]
        outside = outside[counted[outside]]
        if not len(outside):
            continue
        for place, size in enumerate(sizes):
            inside = order[:size]
            member = fit(start, vectors[inside], targets[inside], pull=pull)
            proba = probabilities(member.logits(vectors[outside]), start.multi_label)
            found[place].append(float(_right(proba, targets[outside], len(start.rows))[0].mean()))
    return found


def seen_from(centre: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Unit float32 vectors (n, H) after `centre` was taken away."""
    return unit(np.asarray(vectors, dtype=np.float32) - centre)


def probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """float32 of `logits` (n, labels): rows that sum to one, or independent answers."""
    if multi_label:
        return (1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)
    return softmax(logits).astype(np.float32) if len(logits) else np.asarray(logits, dtype=np.float32)


def _one_hot(targets: np.ndarray, n_labels: int) -> np.ndarray:
    return targets if targets.ndim == 2 else np.eye(n_labels, dtype=np.float32)[targets]


def _temperature(logits: np.ndarray, targets: np.ndarray, multi_label: bool) -> float:
    """By held-out log loss; a few texts move it only a little from 1 (as if ten more had asked for 1)."""
    if multi_label or not len(targets):
        return 1.0
    found = best_temperature(logits, targets)
    share = len(targets) / (len(targets) + 10)
    return float(np.exp(share * np.log(found)))


def _right(proba: np.ndarray, targets: np.ndarray, n_labels: int) -> tuple[np.ndarray, float]:
    """Whether each text's likeliest label is (one of) its own, and the share that the most frequent label gets."""
    if not len(targets):
        return np.zeros(0, dtype=bool), 0.0
    truth = _one_hot(targets, n_labels)
    best = proba.argmax(axis=1)
    return truth[np.arange(len(truth)), best] > 0, float((truth > 0).mean(axis=0).max())


def _calibration_error(proba: np.ndarray, targets: np.ndarray, right: np.ndarray) -> float:
    if not len(targets):
        return 1.0
    if targets.ndim == 1:
        return expected_calibration_error(proba, targets)
    return abs(float(proba.max(axis=1).mean()) - float(right.mean()))
