"""Probable label errors, doubles with different labels, and texts unlike all others. numpy only.

Label errors follow confident learning (Northcutt, Jiang and Chuang, arXiv 1911.00068): answers of models that did not
learn the text, a threshold a label, the joint counts of given and true label, and the texts off its diagonal.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

_NOT_WORDS = re.compile(r"[\W_]+")
_BLOCK = 2_048

OnStep = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelErrors:
    """`rows` of texts whose label is probably wrong, the surest first; `suggested` label and `score` (the given
    label's probability) of each. `expected`: how many errors there are by the joint; a model that is often wrong
    itself makes that far too many. `joint` (labels, labels): estimated texts by given (row) and true (column) label."""

    rows: np.ndarray
    suggested: np.ndarray
    score: np.ndarray
    expected: float
    joint: np.ndarray


def thresholds(given: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """(labels,): the mean probability of each label over the texts that carry it; above 1 where none does."""
    found = np.full(proba.shape[1], 2.0)
    for label in np.unique(given):
        found[label] = proba[given == label, label].mean()
    return found


def confident_joint(given: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """int64 (labels, labels): texts that carry i (row) and confidently belong to j (column), arXiv 1911.00068, eq. 1.

    A text counts for the label with the highest probability of those that reach their threshold, or not at all."""
    n_labels = proba.shape[1]
    confident = _confident_label(proba, thresholds(given, proba))
    counted = confident >= 0
    flat = np.bincount(given[counted] * n_labels + confident[counted], minlength=n_labels * n_labels)
    return flat.reshape(n_labels, n_labels).astype(np.int64)


def calibrated_joint(counts: np.ndarray, given: np.ndarray) -> np.ndarray:
    """float64 (labels, labels): `counts` with each row scaled to the number of texts that carry its label (eq. 2)."""
    carried = np.bincount(given, minlength=len(counts)).astype(np.float64)
    counts = counts.astype(np.float64)
    empty = counts.sum(axis=1) == 0
    # A label of which nothing is confident says nothing of its errors: all its texts count as right.
    counts[empty, empty] = np.maximum(carried[empty], 1.0)
    return counts / counts.sum(axis=1, keepdims=True) * carried[:, None]


def label_errors(given: np.ndarray, proba: np.ndarray, *, by: str = "noise_rate") -> LabelErrors:
    """Texts whose given label is probably wrong. `given` (n,) label numbers; `proba` (n, labels), out of sample.

    `by` "noise_rate": of each pair (i, j) as many texts as the calibrated joint expects, those with the largest lead
    of j over i. `by` "confident": the texts that the confident joint itself counts off its diagonal. Ranked by
    self-confidence, ties by row: of planted errors it brought far more to the top than the normalised margin did, since
    the model itself is often wrong (docs/research/2026-11-strategies.md)."""
    given = np.asarray(given)
    proba = np.asarray(proba, dtype=np.float64)
    counts = confident_joint(given, proba)
    joint = calibrated_joint(counts, given)
    own = proba[np.arange(len(given)), given]
    others = proba.copy()
    others[np.arange(len(given)), given] = -np.inf
    wrong = np.zeros(len(given), dtype=bool)
    if by == "confident":
        confident = _confident_label(proba, thresholds(given, proba))
        wrong = (confident >= 0) & (confident != given)
    else:
        for i, j in zip(*np.nonzero(~np.eye(len(joint), dtype=bool)), strict=True):
            wanted = round(float(joint[i, j]))
            inside = np.flatnonzero(given == i)
            if wanted <= 0 or not len(inside):
                continue
            lead = proba[inside, j] - own[inside]
            first = inside[np.lexsort((inside, -lead))[:wanted]]
            wrong[first[proba[first, j] > own[first]]] = True
    rows = np.flatnonzero(wrong)
    rows = rows[np.lexsort((rows, own[rows]))]
    return LabelErrors(
        rows=rows,
        suggested=others[rows].argmax(axis=1),
        score=own[rows],
        expected=float(joint.sum() - np.trace(joint)),
        joint=joint,
    )


def multi_label_errors(given: np.ndarray, proba: np.ndarray) -> LabelErrors:
    """As `label_errors` where a text may have several labels: each label is a question of its own, yes or no.

    `given` (n, labels) of 0 and 1. A text is named once, for the label that is most probably wrong; `suggested` is
    that label, to be added or taken away. `joint` sums the two-by-two joints."""
    given = np.asarray(given).astype(np.int64)
    n, n_labels = given.shape
    worst = np.full(n, np.inf)
    which = np.full(n, -1)
    expected, joint = 0.0, np.zeros((2, 2))
    for label in range(n_labels):
        if len(np.unique(given[:, label])) < 2:
            continue
        yes = np.clip(proba[:, label], 0.0, 1.0)
        found = label_errors(given[:, label], np.stack([1.0 - yes, yes], axis=1))
        expected += found.expected
        joint += found.joint
        better = found.score < worst[found.rows]
        worst[found.rows[better]] = found.score[better]
        which[found.rows[better]] = label
    rows = np.flatnonzero(which >= 0)
    rows = rows[np.lexsort((rows, worst[rows]))]
    return LabelErrors(rows, which[rows], worst[rows], expected, joint)


def normal_form(text: str) -> str:
    """The form in which doubles are equal: NFKC, no case, no punctuation, no spaces."""
    return _NOT_WORDS.sub("", unicodedata.normalize("NFKC", text)).casefold()


def conflicting_doubles(
    texts: Sequence[str],
    labels: np.ndarray,
    vectors: np.ndarray | None,
    *,
    likeness: float = 0.97,
    limit: int = 500,
    on_step: OnStep | None = None,
) -> list[tuple[int, int, float]]:
    """(row, row, cosine) of texts that say the same and carry different labels, the likest first.

    The same: equal in `normal_form`, or a cosine of at least `likeness`. `labels` (n,) are any comparable numbers;
    `vectors` (n, H) of unit length, rows of NaN where there is none. At most `limit` pairs, each text in its likest."""
    labels = np.asarray(labels)
    found: dict[tuple[int, int], float] = {}
    groups: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if form := normal_form(text):
            groups.setdefault(form, []).append(row)
    for rows in groups.values():
        for place, row in enumerate(rows):
            other = next((one for one in rows[:place] if labels[one] != labels[row]), None)
            if other is not None:
                found[(other, row)] = 1.0
    if vectors is not None and len(vectors):
        x = np.nan_to_num(np.asarray(vectors, dtype=np.float32))
        for start in range(0, len(x), _BLOCK):
            if on_step is not None:
                on_step(start, len(x))
            cosines = x[start : start + _BLOCK] @ x.T
            cosines[labels[start : start + _BLOCK, None] == labels[None, :]] = -1.0
            best = cosines.argmax(axis=1)
            near = cosines[np.arange(len(best)), best]
            for place in np.flatnonzero(near >= likeness):
                pair = tuple(sorted((start + int(place), int(best[place]))))
                found.setdefault((pair[0], pair[1]), min(1.0, float(near[place])))
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [(first, second, cosine) for (first, second), cosine in ranked[:limit]]


def strangeness(
    vectors: np.ndarray,
    *,
    neighbours: int = 10,
    reference: np.ndarray | None = None,
    on_step: OnStep | None = None,
) -> np.ndarray:
    """(n,): one minus the mean cosine to the nearest `neighbours` texts (kNN outliers, Ramaswamy et al. 2000).

    `reference`: the row numbers that may be neighbours (all, where None); a text is never its own. Rows of NaN and
    texts alone give 0."""
    x = np.asarray(vectors)
    others = np.arange(len(x)) if reference is None else np.asarray(reference)
    pool = np.nan_to_num(np.asarray(x[others], dtype=np.float32))
    place = np.full(len(x), -1)
    place[others] = np.arange(len(others))
    found = np.zeros(len(x))
    for start in range(0, len(x), _BLOCK):
        if on_step is not None:
            on_step(start, len(x))
        block = np.asarray(x[start : start + _BLOCK], dtype=np.float32)
        known = np.isfinite(block).all(axis=1)
        cosines = np.nan_to_num(block) @ pool.T
        own = place[start : start + len(block)]
        inside = np.flatnonzero(own >= 0)
        cosines[inside, own[inside]] = -np.inf
        k = min(neighbours, len(pool) - 1)
        if k < 1:
            continue
        near = np.partition(cosines, len(pool) - k, axis=1)[:, len(pool) - k :]
        found[start : start + len(block)] = np.where(known, 1.0 - near.mean(axis=1), 0.0)
    return found


def _confident_label(proba: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(n,) label numbers, −1 where no label reaches its threshold."""
    # A mean of equal float32 numbers may exceed each of them by a rounding.
    reached = np.where(proba >= limits - 1e-9, proba, -np.inf)
    best = reached.argmax(axis=1)
    return np.where(np.isfinite(reached[np.arange(len(best)), best]), best, -1)
