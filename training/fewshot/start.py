"""Where training begins, or zero-shot ends: scores freed from what the backbone prefers anyway, and the mixture's weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.fewshot import evaluation, zero_shot
from training.fewshot.bench import Bench
from training.fewshot.data import warning
from training.fewshot.forward import view_logits
from training.fewshot.runner import TextEncoder
from training.fewshot.text_network import TextNetwork

if TYPE_CHECKING:
    from training.fewshot.model import FittedModel

# The mean score of so many texts is known to a few hundredths of a logit.
REFERENCE_TEXTS = 256
# Under so many texts a weight chosen by them says little.
MIN_TEXTS_FOR_WEIGHT = 20
WEIGHTS = tuple(number / 10 for number in range(11))


def offsets(bench: Bench, network: TextNetwork, encoding: dict) -> np.ndarray:
    """(n_views, n_labels): the mean score of the reference texts, which `network.shift` takes away; 0 for "raw".

    Empty text: contextual calibration (arXiv 2102.09690). Pool: batch calibration (arXiv 2309.17249), which assumes
    that no label fills the whole pool. Several labels a text: never, for a rare label is meant to score low.
    """
    n_views = len(encoding["views"])
    kind = bench.config.calibration
    if kind == "raw" or bench.multi_label:
        return np.zeros((n_views, network.n_labels), dtype=np.float32)
    texts = [""] if kind == "empty" else _reference_texts(bench)
    encoder = TextEncoder(encoding, bench.tokenizer)
    batch_size = bench.config.eval_batch_size
    logits = view_logits(network, encoder, texts, batch_size=batch_size, watch=bench.watch("prepare"))
    return logits.mean(axis=0)


def _reference_texts(bench: Bench) -> list[str]:
    pool = bench.data.pool
    if not pool:
        if bench.config.calibration == "pool":
            bench.warn(warning("no_pool_to_calibrate", "there is no pool: the training texts calibrate"))
        pool = bench.train.texts
    order = np.random.default_rng(bench.config.seed).permutation(len(pool))[:REFERENCE_TEXTS]
    return [pool[index] for index in order]


def at_shares(bench: Bench, model: FittedModel) -> None:
    """Moves the logits of each label so that it is as probable on average as it is frequent in the training texts.

    For several labels a text: rare labels else begin at one half, and most of a short training goes by while they sink.
    """
    encoder = TextEncoder(model.encoding, bench.tokenizer)
    batch_size = bench.config.eval_batch_size
    watch = bench.watch("prepare")
    logits = view_logits(model.network, encoder, bench.train.texts, batch_size=batch_size, watch=watch)
    shares = (bench.train.labels.sum(axis=0) + 0.5) / (len(bench.train) + 1.0)
    by_view = [to_shares(logits[:, view], shares) for view in range(logits.shape[1])]
    model.network.shift_views(np.stack(by_view))


def to_shares(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """[labels]: what to take from `logits` [n, labels] so that the mean probability of each label is its share."""
    low, high = np.full(len(shares), -60.0), np.full(len(shares), 60.0)
    for _ in range(50):
        middle = (low + high) / 2
        mean = (1.0 / (1.0 + np.exp(middle - logits.astype(np.float64)))).mean(axis=0)
        low, high = np.where(mean > shares, middle, low), np.where(mean > shares, high, middle)
    return (low + high) / 2


def mixture_weight(bench: Bench, model: FittedModel) -> float:
    """The cloze's share with the least log loss on dev (on train for zero_shot, which has not learnt it); ½ where
    there is too little of it."""
    given = bench.config.mixture_weight
    if given is not None:
        return given
    split = bench.train if bench.config.method == "zero_shot" else bench.dev
    if len(split) < MIN_TEXTS_FOR_WEIGHT:
        return 0.5
    encoder = TextEncoder(model.encoding, bench.tokenizer)
    batch_size = bench.config.eval_batch_size
    watch = bench.watch("calibrate")
    logits = view_logits(model.network, encoder, split.texts, batch_size=batch_size, watch=watch)
    logits = logits.astype(np.float64)
    read, completed = logits[:, 0], logits[:, 1:].mean(axis=1)

    def loss(weight: float) -> float:
        mixed = (1 - weight) * read + weight * completed
        if split.labels.ndim == 2:
            return float((np.logaddexp(0.0, mixed) - split.labels * mixed).mean())
        temperature = evaluation.best_temperature(mixed, split.labels)
        return evaluation.log_loss(np.exp(zero_shot.log_softmax(mixed / temperature)), split.labels)

    return min(WEIGHTS, key=loss)
