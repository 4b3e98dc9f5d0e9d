"""Pairs of nearly equal vectors against a full comparison."""

from __future__ import annotations

import numpy as np
import pytest

from training.fewshot import near_duplicates
from training.fewshot.near_duplicates import near_pairs


def made(n: int, doubles: int, noise: float = 0.01) -> np.ndarray:
    """`n` random unit vectors with much in common, and `doubles` of them once more with a little noise."""
    random = np.random.default_rng(4)
    rows = random.standard_normal((n, 32)) + 2.0
    again = rows[:doubles] + noise * random.standard_normal((doubles, 32))
    rows = np.concatenate([rows, again])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def every_pair(vectors: np.ndarray, floor: float) -> set[tuple[int, int]]:
    wide = vectors.astype(np.float32)
    first, second = np.nonzero(np.triu(wide @ wide.T, 1) >= floor)
    return set(zip(first.tolist(), second.tolist(), strict=True))


def test_all_pairs_once_the_nearest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", 64)
    vectors = made(300, 40)
    first, second, cosines = near_pairs(vectors, 0.995)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == every_pair(vectors, 0.995)
    assert len(first) >= 40
    assert (first < second).all()
    assert (np.diff(cosines) <= 0).all()


def test_cells_find_what_a_full_comparison_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "CELL_ROWS", 100)
    vectors = made(2_000, 300)
    first, second, _ = near_pairs(vectors, 0.995, exact=False)
    found, wanted = set(zip(first.tolist(), second.tolist(), strict=True)), every_pair(vectors, 0.995)
    assert found <= wanted
    assert len(found) >= 0.99 * len(wanted)


def test_one_text_a_thousand_times_does_not_fill_the_memory() -> None:
    vectors = np.repeat(made(1, 0), 1_000, axis=0)
    first, _, cosines = near_pairs(vectors, 0.99)
    assert len(first) <= 1_000 * near_duplicates.PARTNERS_A_ROW
    assert cosines.min() > 0.99
    assert len(np.unique(first)) > 900, "each row keeps some partners"


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare(n: int) -> None:
    assert [len(part) for part in near_pairs(made(n, 0) if n else np.zeros((0, 4), np.float16), 0.9)] == [
        0,
        0,
        0,
    ]


def test_it_can_be_stopped() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyError(total)

    with pytest.raises(KeyError):
        near_pairs(made(50, 0), 0.9, on_step=stop)
