"""The orders that the labelling queue offers, each from strategies: pure functions of what a probe says. numpy only.

`tests/bench/labelling_replay_bench.py` replays these very functions against random order.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from training.fewshot import strategies

RANKED = 2_000
DIVERSE = 160
DIVERSE_OF = 8_000
KNOWN_AT_MOST = 2_000
# From so many held-out texts on, a probe that is not so many times better than guessing is not worth doubting.
MEASURED_FROM, ABOVE_GUESSING = 10, 1.25


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Texts without a label as a probe sees them, row by row.

    `proba` (n, labels) float; `disagreement` (n,) of a committee; `vectors` (n, H) of unit length, any float type,
    perhaps memory-mapped (`rows` picks from it, where it holds more than these texts); `known` (m, H): the vectors of
    labelled texts, the newest last; `counts` (labels,): labelled texts of each label."""

    proba: np.ndarray
    disagreement: np.ndarray
    vectors: np.ndarray
    known: np.ndarray
    counts: np.ndarray
    rows: np.ndarray | None = None
    multi_label: bool = False

    def vectors_of(self, places: np.ndarray) -> np.ndarray:
        """(k, H) float32 of the texts at `places`."""
        return np.asarray(self.vectors[places if self.rows is None else self.rows[places]], dtype=np.float32)


def order(name: str, pool: Pool) -> np.ndarray:
    """The next texts by the order `name`, the most wanted first: places in `pool`, RANKED at most.

    Raises KeyError for an unknown name."""
    return _ORDERS[name](pool)


def leading(*, accuracy: float | None, n_held_out: int, baseline: float, n_labels: int) -> str:
    """The order that "auto" follows now: texts between two labels, or variety where the probe turned out to know no
    more than guessing would, `accuracy` on `n_held_out` texts against the largest label's share and chance.

    For models that begin at nothing variety must come first. This one begins at the labels' sentences; replayed, its
    doubt was worth more than variety from the first text on (docs/research/2026-11-strategies.md)."""
    guess = max(baseline, 1.0 / max(1, n_labels))
    measured = accuracy is not None and n_held_out >= MEASURED_FROM
    return "diverse" if measured and (accuracy or 0.0) < ABOVE_GUESSING * guess else "margin"


def diverse(pool: Pool) -> np.ndarray:
    """The farthest from what is labelled and from each other; those that the committee answers differently first.

    Of a sample of the pool: among 100,000 texts the search would take seconds, and one in ten is as various."""
    n = len(pool.proba)
    if not n:
        return np.zeros(0, dtype=np.int64)
    sample = np.arange(n)
    if n > DIVERSE_OF:
        random = np.random.default_rng(len(pool.known))
        sample = np.sort(random.choice(n, DIVERSE_OF, replace=False))
    weights = 0.5 + strategies.mixed([pool.disagreement[sample]], [1.0])
    known = pool.known[-KNOWN_AT_MOST:] if len(pool.known) else None
    found = strategies.farthest_first(pool.vectors_of(sample), DIVERSE, known=known, weights=weights)
    return sample[found]


def margin(pool: Pool) -> np.ndarray:
    """Between two labels first; near-doubles of the same doubt are put off."""
    return _by(_torn(pool), pool)


def uncertain(pool: Pool) -> np.ndarray:
    """The highest entropy first."""
    score = strategies.binary_margin(pool.proba) if pool.multi_label else strategies.entropy(pool.proba)
    return _by(score, pool)


def disagree(pool: Pool) -> np.ndarray:
    """Those first that the committee answers most differently."""
    return _by(pool.disagreement, pool)


def balance(pool: Pool) -> np.ndarray:
    """Likely texts of the labels that have least."""
    return strategies.balanced(pool.proba, pool.counts, min(RANKED, len(pool.proba)))


def _torn(pool: Pool) -> np.ndarray:
    return strategies.binary_margin(pool.proba) if pool.multi_label else strategies.margin(pool.proba)


def _by(score: np.ndarray, pool: Pool) -> np.ndarray:
    found = strategies.top(score, RANKED)
    return strategies.spread(found, pool.vectors_of(found[:400]))


_ORDERS = {
    "diverse": diverse,
    "margin": margin,
    "uncertain": uncertain,
    "disagree": disagree,
    "balance": balance,
}
NAMES = tuple(_ORDERS)
