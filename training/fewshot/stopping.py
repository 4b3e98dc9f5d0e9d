"""When more labels hardly help: a learning curve with its interval, and predictions that no longer change. numpy only.

Two signs that are independent of each other, and both are asked for: the gain that the curve still promises (a power
law, Cortes et al. 1994; its use for stopping, Figueroa et al. 2012), and the agreement of successive models on texts
that stay the same (stabilising predictions, Bloodgood and Vijay-Shanker, CoNLL 2009, who stop at a κ of 0.99 averaged
over three rounds).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

MORE = 50
SMALL_GAIN = 0.01
STABLE_KAPPA = 0.97
ROUNDS = 3
FEWEST = 60
FEWEST_A_LABEL = 4


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether more labels hardly help, and the two signs: the promised gain of MORE labels with its interval (None
    where there is no curve yet) and the mean agreement of the last rounds (None before there were enough)."""

    enough: bool
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    agreement: float | None = None


def judge(
    *,
    n_labelled: int,
    n_labels: int,
    gain: float | None,
    low: float | None,
    high: float | None,
    agreements: Sequence[float],
) -> Verdict:
    """`enough` only where the whole interval of the gain lies under SMALL_GAIN and the last ROUNDS models agree.

    `agreements`: κ of each round with the one before, oldest first."""
    last = list(agreements)[-ROUNDS:]
    agreement = float(np.mean(last)) if len(last) == ROUNDS else None
    enough = (
        n_labelled >= max(FEWEST, FEWEST_A_LABEL * n_labels)
        and high is not None
        and high < SMALL_GAIN
        and agreement is not None
        and agreement >= STABLE_KAPPA
    )
    return Verdict(enough, gain, low, high, agreement)


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's κ (1960) of two labellings (n,) of the same texts; 1 where both name one and the same label always."""
    first, second = np.asarray(first), np.asarray(second)
    if not len(first):
        return 0.0
    seen = float((first == second).mean())
    labels = np.unique(np.concatenate([first, second]))
    by_chance = sum(float((first == label).mean()) * float((second == label).mean()) for label in labels)
    return 1.0 if by_chance >= 1.0 else (seen - by_chance) / (1.0 - by_chance)


def curve_sizes(n_labelled: int, steps: int = 5) -> list[int]:
    """Sizes of a learning curve over `n_labelled` texts: up to four fifths, so that a fifth measures; halving at most
    three times, since a power law through very few texts says little of many."""
    largest = int(n_labelled * 0.8)
    smallest = max(8, largest // 8)
    if largest <= smallest:
        return []
    return sorted({int(one) for one in np.geomspace(smallest, largest, steps).round()})


def is_due(n_labelled: int, last_at: int, *, share: float = 0.08, fewest: int = 8) -> bool:
    """Whether enough was labelled since `last_at` texts that a new round says something new (or texts went away)."""
    return n_labelled < last_at or n_labelled - last_at >= max(fewest, int(share * last_at))
