"""Running a network over texts without training it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import paddle

from training.fewshot.batching import UNWATCHED, Watch
from training.fewshot.runner import TextEncoder
from training.fewshot.text_network import TextNetwork


def network_logits(
    network: TextNetwork,
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    watch: Watch = UNWATCHED,
) -> np.ndarray:
    """(n_texts, n_labels) float32: logits of a network in evaluation mode, averaged over a text's views."""
    return view_logits(network, encoder, texts, batch_size=batch_size, watch=watch).mean(axis=1)


def view_logits(
    network: TextNetwork,
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    watch: Watch = UNWATCHED,
) -> np.ndarray:
    """(n_texts, n_views, n_labels) float32: the same, view by view."""
    n_views = len(encoder.views)
    if not len(texts):
        return np.zeros((0, n_views, network.n_labels), dtype=np.float32)
    rows = encoder.rows(texts)
    outputs = run_rows(lambda arrays: network(*arrays), network, encoder, rows, batch_size, watch)
    return outputs.reshape(len(texts), n_views, -1)


def run_rows(
    function: Callable[[list[paddle.Tensor]], paddle.Tensor],
    network: TextNetwork,
    encoder: TextEncoder,
    rows: Sequence[dict],
    batch_size: int,
    watch: Watch = UNWATCHED,
) -> np.ndarray:
    """`function` of each batch's arrays, put back in the order of `rows`; batches hold rows of like length."""
    network.eval()
    outputs: np.ndarray | None = None
    with paddle.no_grad():
        for batch in watch.batches([len(row["input_ids"]) for row in rows], batch_size):
            arrays = encoder.collate([rows[i] for i in batch])
            values = function([paddle.to_tensor(arrays[name]) for name in encoder.inputs]).numpy()
            if outputs is None:
                outputs = np.zeros((len(rows), *values.shape[1:]), dtype=np.float32)
            outputs[batch] = values
    return outputs if outputs is not None else np.zeros((0, 0), dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class States:
    """What the lowest `layers` layers make of rows in evaluation mode: float32 [length, H] a row."""

    layers: int
    rows: list[np.ndarray]


Finish = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]


def read_states(
    network: TextNetwork,
    encoder: TextEncoder,
    rows: Sequence[dict],
    layers: int,
    finish: Finish | None = None,
    batch_size: int = 32,
    watch: Watch = UNWATCHED,
) -> tuple[States, np.ndarray]:
    """The states of rows, and what `finish(hidden [n, L, H], regions [n, L])` makes of them: float32 [rows, …]."""
    network.eval()
    states: dict[int, np.ndarray] = {}
    outputs: dict[int, np.ndarray] = {}
    with paddle.no_grad():
        for batch in watch.batches([len(row["input_ids"]) for row in rows], batch_size):
            arrays = {k: paddle.to_tensor(v) for k, v in encoder.collate([rows[i] for i in batch]).items()}
            hidden = network.embed(arrays["input_ids"], arrays["token_type_ids"], arrays["position_ids"])
            regions = network.regions(arrays["token_type_ids"], arrays["attention_mask"])
            hidden = network.run_layers(hidden, regions, 0, layers)
            found = hidden.numpy()
            finished = None if finish is None else finish(hidden, regions).numpy()
            for place, index in enumerate(batch):
                states[index] = found[place, : len(rows[index]["input_ids"])].copy()
                if finished is not None:
                    outputs[index] = finished[place]
    order = range(len(rows))
    finished = np.stack([outputs[index] for index in order]) if outputs else np.zeros((0, 0), np.float32)
    return States(layers, [states[index] for index in order]), finished
