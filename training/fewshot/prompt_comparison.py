"""Several prompts on the same labelled texts: which are better, which cannot be told apart, how they go together.

numpy only. Scores are (n, labels) log-probabilities up to a constant a text; `right_sets[i]` are the class ids that
count as right for text i.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from training.fewshot import evaluation, zero_shot

MAX_TOGETHER = 4


def compare_prompts(scores: Sequence[np.ndarray], right_sets: Sequence[frozenset[int]]) -> dict:
    """`{"right", "agreement", "pairs", "groups", "together"}`.

    "right": texts right a prompt. "agreement"[a][b]: share of texts with the same answer. "pairs": each two with the
    paired difference in accuracy (second − first), its interval, McNemar's p and "tell_apart" after Holm's correction
    over all pairs. "groups": places of the prompts, the best first; inside a group none can be told apart from the
    group's best. "together": the mean of the first group's opinions (four at most), None where it is one prompt.
    """
    hits = [hits_of(one, right_sets) for one in scores]
    answers = [one.argmax(axis=1) for one in scores]
    agreement = [[round(float((a == b).mean()), 4) for b in answers] for a in answers]
    pairs = []
    for first, second in itertools.combinations(range(len(scores)), 2):
        found = evaluation.compare(hits[first], hits[second], repeats=1000)
        pairs.append(
            {
                "first": first,
                "second": second,
                "difference": round(found["difference"], 4),
                "low": round(found["interval"][0], 4),
                "high": round(found["interval"][1], 4),
                "p_value": round(found["p_value"], 5),
            }
        )
    for pair, apart in zip(pairs, evaluation.holm([pair["p_value"] for pair in pairs]), strict=True):
        pair["tell_apart"] = apart
    right = [int(one.sum()) for one in hits]
    groups = grouped(right, {(p["first"], p["second"]) for p in pairs if p["tell_apart"]})
    best = groups[0][:MAX_TOGETHER]
    together = None
    if len(best) > 1:
        mean = np.mean([zero_shot.log_softmax(scores[place]) for place in best], axis=0)
        together = {"prompts": best, "right": int(hits_of(mean, right_sets).sum())}
    return {
        "right": right,
        "agreement": agreement,
        "pairs": pairs,
        "groups": groups,
        "together": together,
    }


def hits_of(scores: np.ndarray, right_sets: Sequence[frozenset[int]]) -> np.ndarray:
    """bool (n,): whether the likeliest label is a right one."""
    best = scores.argmax(axis=1).tolist()
    return np.array([label in right for label, right in zip(best, right_sets, strict=True)], dtype=bool)


def grouped(right: Sequence[int], apart: set[tuple[int, int]]) -> list[list[int]]:
    """Prompts from the best down, those that cannot be told from the best of the rest together.

    `apart`: pairs (smaller place, larger place) that can be told apart.
    """
    left = sorted(range(len(right)), key=lambda place: (-right[place], place))
    groups = []
    while left:
        best = left[0]
        group = [one for one in left if one == best or (min(one, best), max(one, best)) not in apart]
        groups.append(group)
        left = [one for one in left if one not in group]
    return groups


def disagreement(proba: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) float32 in [0, 1]: how far several prompts' probabilities (n, labels) lie apart.

    The Jensen-Shannon divergence over its largest value, log of the smaller of prompts and labels; 0 for one prompt.
    """
    stacked = np.stack([np.asarray(one, dtype=np.float64) for one in proba])
    largest = np.log(min(stacked.shape[0], stacked.shape[2]))
    if largest <= 0:
        return np.zeros(stacked.shape[1], dtype=np.float32)
    spread = _entropy(stacked.mean(axis=0)) - _entropy(stacked).mean(axis=0)
    return np.clip(spread / largest, 0.0, 1.0).astype(np.float32)


def _entropy(proba: np.ndarray) -> np.ndarray:
    return -(proba * np.log(np.maximum(proba, 1e-12))).sum(axis=-1)
