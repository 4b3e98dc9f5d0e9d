"""Which texts to label next: scores and orders as pure functions. numpy only.

A score is higher for a text that is wanted more; an order is row numbers, the most wanted first. `proba` is
(n, labels), `vectors` (n, H) of unit length. Ties are broken by row number, so equal input gives equal output. Plain
uncertainty loses to random sampling while the model knows little; how each does here stands in
docs/research/2026-11-strategies.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SMALL = 1e-12
_BLOCK = 8_192


# Scores -----------------------------------------------------------------------------------------


def entropy(proba: np.ndarray) -> np.ndarray:
    """(n,) in [0, 1]: entropy of each row over its largest (Shannon 1948; uncertainty, Lewis and Gale 1994)."""
    p = np.clip(np.asarray(proba, dtype=np.float64), _SMALL, 1.0)
    return -(p * np.log(p)).sum(axis=1) / np.log(max(2, p.shape[1]))


def least_confidence(proba: np.ndarray) -> np.ndarray:
    """(n,): one minus the likeliest label's probability (Culotta and McCallum 2005)."""
    return 1.0 - np.asarray(proba, dtype=np.float64).max(axis=1)


def margin(proba: np.ndarray) -> np.ndarray:
    """(n,) in [0, 1]: one minus the lead of the first label over the second (breaking ties, Luo et al. 2005)."""
    p = np.asarray(proba, dtype=np.float64)
    if p.shape[1] < 2:
        return np.zeros(len(p))
    top = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    return 1.0 - (top[:, 1] - top[:, 0])


def binary_margin(proba: np.ndarray) -> np.ndarray:
    """(n,) in [0, 1] where labels are independent: nearness to a half of the label that is least decided."""
    return 1.0 - 2.0 * np.abs(np.asarray(proba, dtype=np.float64) - 0.5).min(axis=1)


def disagreement(committee: np.ndarray) -> np.ndarray:
    """(n,) in [0, 1]: how far members' answers (members, n, labels) are from their mean, one text at a time.

    The mean Kullback–Leibler divergence to the consensus (McCallum and Nigam 1998) over its largest, log(members).
    Members are prompts, or probes that learnt different folds (query by bagging, Abe and Mamitsuka 1998)."""
    p = np.clip(np.asarray(committee, dtype=np.float64), _SMALL, 1.0)
    if p.shape[0] < 2:
        return np.zeros(p.shape[1])
    consensus = p.mean(axis=0)
    found = (p * (np.log(p) - np.log(consensus))).sum(axis=2).mean(axis=0)
    return np.clip(found / np.log(p.shape[0]), 0.0, 1.0)


def density(vectors: np.ndarray) -> np.ndarray:
    """(n,): mean cosine to all texts, the information density of Settles and Craven (2008).

    The mean of the cosines to all is the cosine-weighted product with the mean vector: one pass, not n²."""
    centre = np.zeros(vectors.shape[1], dtype=np.float64)
    for block in _blocks(len(vectors)):
        centre += np.asarray(vectors[block], dtype=np.float32).sum(axis=0)
    centre /= max(1, len(vectors))
    found = np.empty(len(vectors))
    for block in _blocks(len(vectors)):
        found[block] = np.asarray(vectors[block], dtype=np.float32) @ centre.astype(np.float32)
    return found


def mixed(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """(n,) in [0, 1]: the weighted mean of the scores' ranks, so that no scale outweighs another."""
    total = np.zeros(len(scores[0]))
    for score, weight in zip(scores, weights, strict=True):
        total += weight * _ranks(score)
    return total / sum(weights)


# Orders -----------------------------------------------------------------------------------------


def top(score: np.ndarray, k: int) -> np.ndarray:
    """The `k` rows with the highest `score`, highest first; NaN counts as lowest."""
    score = np.nan_to_num(np.asarray(score, dtype=np.float64), nan=-np.inf)
    k = min(k, len(score))
    if k <= 0:
        return np.zeros(0, dtype=np.int64)
    if k < len(score):
        border = np.partition(score, len(score) - k)[len(score) - k]
        above, level = np.flatnonzero(score > border), np.flatnonzero(score == border)
        rows = np.concatenate([above, level[: k - len(above)]])
    else:
        rows = np.arange(len(score))
    return rows[np.lexsort((rows, -score[rows]))]


def spread(
    order: np.ndarray, vectors: np.ndarray, *, window: int = 400, limit: float = 0.9, apart: int = 24
) -> np.ndarray:
    """`order` with near-doubles put off: no two of `apart` texts in a row with a cosine over `limit`.

    `vectors` (n, H) are those of `order`'s rows, in its order. Only the first `window` are looked at: what comes
    after is chosen anew before anybody gets there."""
    waiting = list(range(min(window, len(order))))
    taken: list[int] = []
    near = np.asarray(vectors[: len(waiting)], dtype=np.float32)
    cosines = near @ near.T
    while waiting:
        recent = taken[-apart:]
        place = next(
            (one for one in waiting if not recent or cosines[one, recent].max() <= limit), waiting[0]
        )
        waiting.remove(place)
        taken.append(place)
    return np.concatenate([order[taken], order[len(taken) :]]) if taken else order


def farthest_first(
    vectors: np.ndarray, k: int, *, known: np.ndarray | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """`k` rows, each the farthest from those before it and from `known` (m, H): k-centre (Gonzalez 1985; as core-sets
    for learning, arXiv 1708.00489).

    `weights` (n,) multiply the distances, so that what is wanted for another reason comes first among the far ones.
    Without `known` it begins in the middle: at the text nearest to the mean."""
    x = np.asarray(vectors, dtype=np.float32)
    n, k = len(x), min(k, len(x))
    if k <= 0:
        return np.zeros(0, dtype=np.int64)
    weight = np.ones(n, dtype=np.float32) if weights is None else np.asarray(weights, dtype=np.float32)
    if known is not None and len(known):
        near = np.full(n, -np.inf, dtype=np.float32)
        for block in _blocks(len(known), 512):
            np.maximum(near, (x @ np.asarray(known[block], dtype=np.float32).T).max(axis=1), out=near)
        chosen = int(((1.0 - near) * weight).argmax())
    else:
        near = np.full(n, -np.inf, dtype=np.float32)
        chosen = int((x @ x.mean(axis=0)).argmax())
    rows = np.empty(k, dtype=np.int64)
    for place in range(k):
        rows[place] = chosen
        np.maximum(near, x @ x[chosen], out=near)
        near[chosen] = np.inf
        wanted = np.where(np.isinf(near), -np.inf, (1.0 - near) * weight)
        chosen = int(wanted.argmax())
    return rows


def centres(
    vectors: np.ndarray, k: int, *, seed: int = 0, rounds: int = 12, weights: np.ndarray | None = None
) -> np.ndarray:
    """Rows of the texts nearest to the centres of `k` clusters, large clusters first (spherical k-means, Dhillon and
    Modha 2001, begun with k-means++, Arthur and Vassilvitskii 2007).

    Fewer than `k` rows where texts repeat. `weights` (n,) draw the centres towards texts that are wanted more."""
    x = np.asarray(vectors, dtype=np.float32)
    k = min(k, len(x))
    if k <= 0:
        return np.zeros(0, dtype=np.int64)
    random = np.random.default_rng(seed)
    weight = np.ones(len(x)) if weights is None else np.maximum(np.asarray(weights, dtype=np.float64), 0.0)
    if not weight.sum():
        weight = np.ones(len(x))
    middle = x[_seeds(x, k, weight, random)].copy()
    member = np.zeros(len(x), dtype=np.int64)
    for _ in range(rounds):
        cosines = x @ middle.T
        now = cosines.argmax(axis=1)
        if (now == member).all() and _ > 0:
            break
        member = now
        totals = np.zeros_like(middle)
        np.add.at(totals, member, x * weight[:, None].astype(np.float32))
        length = np.linalg.norm(totals, axis=1, keepdims=True)
        middle = np.where(length > 0, totals / np.maximum(length, _SMALL), middle)
    cosines = x @ middle.T
    member = cosines.argmax(axis=1)
    sizes = np.bincount(member, weights=weight, minlength=k)
    rows = [
        int(inside[cosines[inside, cluster].argmax()])
        for cluster in np.argsort(-sizes, kind="stable")
        if len(inside := np.flatnonzero(member == cluster))
    ]
    return np.array(rows, dtype=np.int64)


def balanced(proba: np.ndarray, counts: np.ndarray, k: int, *, floor: float = 0.0) -> np.ndarray:
    """`k` rows that even the labels out: one at a time for the label that has least, its likeliest text first.

    `counts` (labels,) are the texts labelled so far. A text counts for its likeliest label as soon as it is taken, as
    if the model were right. Texts whose likeliest label has less than `floor` come in no label's list."""
    p = np.asarray(proba, dtype=np.float64)
    best, sure = p.argmax(axis=1), p.max(axis=1)
    have = np.asarray(counts, dtype=np.float64).copy()
    lists = [
        [
            row
            for row in top(np.where((best == label) & (sure >= floor), sure, -np.inf), k)
            if best[row] == label and sure[row] >= floor
        ]
        for label in range(p.shape[1])
    ]
    at = [0] * p.shape[1]
    rows: list[int] = []
    while len(rows) < min(k, len(p)):
        open_labels = [label for label in range(p.shape[1]) if at[label] < len(lists[label])]
        if not open_labels:
            break
        label = min(open_labels, key=lambda one: (have[one], one))
        rows.append(int(lists[label][at[label]]))
        at[label] += 1
        have[label] += 1
    return np.array(rows, dtype=np.int64)


def merged(orders: Sequence[np.ndarray], k: int) -> np.ndarray:
    """`k` different rows, dealt from the orders in turn."""
    seen: dict[int, None] = {}
    for place in range(max((len(order) for order in orders), default=0)):
        for order in orders:
            if place < len(order):
                seen.setdefault(int(order[place]), None)
        if len(seen) >= k:
            break
    return np.array(list(seen)[:k], dtype=np.int64)


def _seeds(x: np.ndarray, k: int, weight: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """k-means++: each next centre drawn with odds that grow with its squared distance from those before."""
    rows = np.empty(k, dtype=np.int64)
    near = np.full(len(x), np.inf)
    odds = weight
    for place in range(k):
        total = odds.sum()
        rows[place] = random.choice(len(x), p=odds / total) if total > 0 else random.integers(len(x))
        # The squared distance of unit vectors is twice one minus their cosine.
        np.minimum(near, np.maximum(0.0, 1.0 - x @ x[rows[place]]), out=near)
        odds = weight * near
    return rows


def _ranks(score: np.ndarray) -> np.ndarray:
    """(n,) in [0, 1]: the place of each score among the others, equal scores in one place."""
    score = np.asarray(score, dtype=np.float64)
    if len(score) < 2:
        return np.zeros(len(score))
    _values, place, count = np.unique(score, return_inverse=True, return_counts=True)
    below = np.concatenate([[0], np.cumsum(count)[:-1]])
    return (below + (count - 1) / 2)[place] / (len(score) - 1)


def _blocks(n: int, size: int = _BLOCK) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
