"""What is known of pairs of texts before training: how the frozen backbone compares them, and how far that spreads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.fewshot.bench import Bench
from training.fewshot.forward import run_rows
from training.fewshot.networks import PairNetwork
from training.fewshot.runner import TextEncoder


def pair_features(
    bench: Bench, network: PairNetwork, encoder: TextEncoder, texts: Sequence[str]
) -> np.ndarray:
    """[n, 1 + 2H]: u·v, u∘v and |u − v| of pairs of texts, seen from where the network sees them now."""

    def compared(arrays):
        ids, types, positions, mask = arrays
        return network.read(network.embed(ids, types, positions), network.regions(types, mask))

    rows = encoder.rows(texts)
    return run_rows(compared, network, encoder, rows, bench.config.eval_batch_size, bench.watch("prepare"))


def spread_of_pairs(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean [1 + 2H], spread [1 + 2H]) of features [n, 1 + 2H]: one spread each for u·v, u∘v and |u − v|."""
    middle = features.mean(axis=0)
    squares = ((features - middle) ** 2).mean(axis=0)
    width = (features.shape[1] - 1) // 2
    blocks = (slice(0, 1), slice(1, 1 + width), slice(1 + width, None))
    spread = np.empty_like(middle)
    for block in blocks:
        spread[block] = max(float(np.sqrt(squares[block].sum())), 1e-6)
    return middle, spread
