"""The unlabelled pool as lessons: which of its texts to read, and what to teach about them. No Paddle."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

# Under this many texts a second round over the pool teaches nothing that the labelled texts did not.
MIN_POOL_TEXTS = 50
_SPACE = re.compile(r"\s+")


@dataclasses.dataclass(frozen=True)
class Lessons:
    """What one model is trained on: `texts[i]` with `targets[i]`, float32 [n, labels] (soft) or int64 [n]."""

    texts: tuple[str, ...]
    targets: np.ndarray

    def fingerprint(self) -> str:
        """64 hexadecimal digits that change with any text or target."""
        digest = hashlib.sha256(np.ascontiguousarray(self.targets).tobytes())
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()


def normal_form(text: str) -> str:
    """The form in which two texts count as one: NFKC, single spaces, no case."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip().casefold()


def choose_texts(pool: Sequence[str], known: Iterable[str], limit: int, seed: int) -> tuple[str, ...]:
    """At most `limit` different texts of `pool` that are none of `known`, drawn by `seed`, in drawn order.

    `known` are the texts of train, dev and test: a test text must not be learnt from, not even without its label.
    A smaller limit gives a prefix of what a larger one gives.
    """
    seen = {normal_form(text) for text in known} | {""}
    chosen: list[str] = []
    for index in np.random.default_rng(seed).permutation(len(pool)):
        if len(chosen) >= limit:
            break
        form = normal_form(pool[index])
        if form not in seen:
            seen.add(form)
            chosen.append(pool[index])
    return tuple(chosen)


def taught(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [n, labels]: the teachers' mean probability, each teacher [n, labels].

    Soft targets keep what the teachers doubt (distillation, arXiv 1503.02531; for prompt ensembles PET and iPET,
    arXiv 2001.07676).
    """
    return np.mean(np.stack(probabilities), axis=0, dtype=np.float64).astype(np.float32)


def agreement(probabilities: Sequence[np.ndarray]) -> float:
    """Share of texts for which all teachers give the same label (the same set of labels ≥ ½ for multi-label)."""
    stacked = np.stack(probabilities)
    if stacked.shape[1] == 0:
        return 0.0
    if not np.allclose(stacked.sum(axis=2), 1.0, atol=1e-3):
        votes = stacked >= 0.5
        return float((votes == votes[:1]).all(axis=(0, 2)).mean())
    votes = stacked.argmax(axis=2)
    return float((votes == votes[:1]).all(axis=0).mean())


def lessons(
    texts: Sequence[str],
    labels: np.ndarray,
    n_labels: int,
    pool_texts: Sequence[str],
    pool_targets: np.ndarray,
    *,
    label_smoothing: float,
    repeats: int,
) -> Lessons:
    """The labelled texts `repeats` times and the pool once, all with soft targets.

    `labels`: int64 [n] class ids, or float32 [n, labels] of 0 and 1, which the loop itself smooths.
    """
    if labels.ndim == 1:
        gold = np.eye(n_labels, dtype=np.float32)[labels]
        gold = gold * (1.0 - label_smoothing) + label_smoothing / n_labels
    else:
        gold = labels.astype(np.float32)
    return Lessons(
        tuple(texts) * repeats + tuple(pool_texts),
        np.concatenate([np.tile(gold, (repeats, 1)), pool_targets]).astype(np.float32),
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many teachers, how many pool texts, and how many passes over them fit into the time."""

    teachers: int
    pool_texts: int
    passes: float


def plan_for(
    budget_seconds: float | None,
    *,
    spent_seconds: float,
    teacher_seconds: float,
    rows_per_second: float,
    wanted: Plan,
    labelled_rows: int,
    rows_per_text: int = 1,
) -> Plan:
    """What of `wanted` fits into `budget_seconds` after the first teacher took `teacher_seconds`.

    `rows_per_second` is the speed of training. Reading the pool counts as a third of a training pass (forward without
    backward). First the pool shrinks, to no less than half of what is wanted, then teachers go, then the pool
    shrinks further; below MIN_POOL_TEXTS the plan has no pool texts. A tenth of the budget is kept for the end.
    """
    if budget_seconds is None:
        return wanted
    left = 0.9 * budget_seconds - spent_seconds

    def room(teachers: int) -> int:
        seconds = left - (teachers - 1) * teacher_seconds - wanted.passes * labelled_rows / rows_per_second
        a_text = rows_per_text * (wanted.passes + teachers / 3) / rows_per_second
        return min(wanted.pool_texts, max(0, math.floor(seconds / a_text)))

    for teachers in range(wanted.teachers, 0, -1):
        fits = room(teachers)
        if fits >= wanted.pool_texts / 2:
            return dataclasses.replace(wanted, teachers=teachers, pool_texts=fits)
    fits = room(1)
    return dataclasses.replace(wanted, teachers=1, pool_texts=fits if fits >= MIN_POOL_TEXTS else 0)
