"""Pairs of texts whose vectors are nearly the same. numpy only.

All pairs are compared up to EXACT_ROWS. Above, rows are first sorted into cells, each into the three whose centre
is nearest (an inverted file, as in Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011),
and compared inside their cells: two rows that are nearly the same share one of them
(measured: docs/research/2026-11-reader.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EXACT_ROWS = 20_000
CELL_ROWS = 1_500
CELLS_A_ROW = 3
BLOCK_ROWS = 1_024
PARTNERS_A_ROW = 20
LARGEST_PAIRS = 200_000

OnStep = Callable[[int, int], None]


def near_pairs(
    vectors: np.ndarray,
    floor: float,
    *,
    on_step: OnStep = lambda done, total: None,
    exact: bool | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first rows, second rows, cosines) of pairs at or above `floor`, the nearest first; first < second.

    `vectors` (n, H), unit length. A row with more partners keeps its PARTNERS_A_ROW nearest; of all pairs the
    LARGEST_PAIRS nearest are kept. `on_step` hears rows done and all; what it raises ends the work.
    """
    n = len(vectors)
    exact = n <= EXACT_ROWS if exact is None else exact
    cells = [np.arange(n)] if exact else _cells(vectors)
    total, done = sum(map(len, cells)), 0
    found: list[np.ndarray] = []
    for rows in cells:
        inside = vectors[rows].astype(np.float32)
        for at in range(0, len(rows), BLOCK_ROWS):
            on_step(done + at, total)
            found.append(_pairs_of_block(inside, rows, at, floor))
        done += len(rows)
    return _merged(found, n)


def _pairs_of_block(inside: np.ndarray, rows: np.ndarray, at: int, floor: float) -> np.ndarray:
    """float64 [pairs, 3] (row, row, cosine) of block `at` of a cell with itself and what comes after."""
    block = inside[at : at + BLOCK_ROWS]
    cosines = block @ inside[at:].T
    # Each pair once, none with itself.
    cosines[np.tril_indices(len(block))] = -1.0
    near = cosines >= floor
    for row in np.flatnonzero(near.sum(axis=1) > PARTNERS_A_ROW):
        keep = np.argpartition(-cosines[row], PARTNERS_A_ROW)[:PARTNERS_A_ROW]
        near[row] = False
        near[row, keep] = True
    first, second = np.nonzero(near)
    a, b = rows[at + first], rows[at + second]
    return np.stack([np.minimum(a, b), np.maximum(a, b), cosines[first, second]], axis=1)


def _cells(vectors: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each cell; a row stands in CELLS_A_ROW of them. Texts of one project share much: less their mean."""
    n = len(vectors)
    n_cells = max(2, n // CELL_ROWS)
    random = np.random.default_rng(0)
    mean = vectors[np.sort(random.choice(n, min(n, 20_000), replace=False))].astype(np.float32).mean(axis=0)
    centres = vectors[np.sort(random.choice(n, n_cells, replace=False))].astype(np.float32) - mean
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    nearest = np.empty((n, CELLS_A_ROW), dtype=np.int64)
    for at in range(0, n, BLOCK_ROWS):
        scores = (vectors[at : at + BLOCK_ROWS].astype(np.float32) - mean) @ centres.T
        nearest[at : at + BLOCK_ROWS] = np.argpartition(-scores, CELLS_A_ROW - 1, axis=1)[:, :CELLS_A_ROW]
    cell = nearest.ravel()
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(n_cells + 1))
    rows = order // CELLS_A_ROW
    return [rows[starts[k] : starts[k + 1]] for k in range(n_cells) if starts[k + 1] - starts[k] > 1]


def _merged(found: list[np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = np.concatenate([*found, np.zeros((0, 3))])
    keys = pairs[:, 0].astype(np.int64) * n + pairs[:, 1].astype(np.int64)
    _, once = np.unique(keys, return_index=True)
    pairs = pairs[once]
    pairs = pairs[np.argsort(-pairs[:, 2], kind="stable")][:LARGEST_PAIRS]
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64), pairs[:, 2].astype(np.float32)
