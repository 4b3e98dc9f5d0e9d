"""Rows of tokens → batches: pre-tokenised once, grouped by length, in an order that the seed decides."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from training.fewshot.errors import Cancelled

# Texts are sorted by length inside windows of this many batches: most of the padding goes, chance stays.
WINDOW_BATCHES = 4


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Index arrays that cover 0 … n−1 once, in an order that depends on (seed, epoch) alone."""
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    sizes = np.asarray(lengths)
    window = batch_size * WINDOW_BATCHES
    batches = []
    for start in range(0, len(order), window):
        chunk = order[start : start + window]
        chunk = chunk[np.argsort(sizes[chunk], kind="stable")]
        batches += [chunk[at : at + batch_size] for at in range(0, len(chunk), batch_size)]
    return [batches[at] for at in random.permutation(len(batches))]


def eval_batches(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Index arrays from the shortest rows to the longest."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


@dataclasses.dataclass(frozen=True)
class Watch:
    """Who is told how far a reading is, under the name `stage`, and who may stop it."""

    stage: str = "predict"
    on_event: Callable[[dict], None] | None = None
    should_stop: Callable[[], bool] | None = None

    def batches(self, lengths: Sequence[int], batch_size: int) -> Iterator[np.ndarray]:
        """`eval_batches`, telling twice a second how far it is; nothing where all takes less. Raises Cancelled between two."""
        done, began, told = 0, time.monotonic(), 0.0
        for batch in eval_batches(lengths, batch_size):
            if self.should_stop is not None and self.should_stop():
                raise Cancelled(f"stopped after {done} of {len(lengths)} rows")
            yield batch
            done += len(batch)
            seconds = time.monotonic() - began
            if self.on_event is not None and (seconds - told > 0.5 or (told and done == len(lengths))):
                told = seconds
                self.on_event(
                    {
                        "type": "progress",
                        "stage": self.stage,
                        "step": done,
                        "total": len(lengths),
                        "eta_seconds": round(seconds / done * (len(lengths) - done), 1),
                    }
                )


UNWATCHED = Watch()


def pad_hidden(states: Sequence[np.ndarray]) -> np.ndarray:
    """Cached activations [length, H] of several rows as one array [n, longest, H], zero-padded."""
    longest = max(len(state) for state in states)
    padded = np.zeros((len(states), longest, states[0].shape[1]), dtype=np.float32)
    for row, state in enumerate(states):
        padded[row, : len(state)] = state
    return padded
