"""Sentences as vectors: texts, label sentences, and the template whose label sentences fit the texts best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.fewshot import encoding, evaluation, zero_shot
from training.fewshot.bench import Bench
from training.fewshot.forward import read_states, run_rows
from training.fewshot.runner import TextEncoder
from training.fewshot.template import Template, parse
from training.fewshot.templates import CANDIDATES, DEFAULT_TEMPLATE
from training.fewshot.text_network import TextNetwork, mean_vector
from training.fewshot.zero_shot import unit


def label_vectors(bench: Bench, reader: TextNetwork, templates: Sequence[Template]) -> np.ndarray:
    """[templates, labels, H]: the label sentences' unit vectors, mean over a label's words."""
    sentences, owners = [], []
    for number, template in enumerate(templates):
        for label, group in enumerate(bench.data.labels):
            for word in group.words:
                sentences.append(template.statement(word))
                owners.append(number * bench.data.n_labels + label)
    ids = [
        encoding.sentence_ids(bench.tokenizer, bench.prefix, sentence, bench.max_length)
        for sentence in sentences
    ]
    n = len(templates) * bench.data.n_labels
    vectors = zero_shot.label_vectors(_read(reader, bench, ids), owners, n)
    return vectors.reshape(len(templates), bench.data.n_labels, -1)


def text_vectors(
    bench: Bench, reader: TextNetwork, encoder: TextEncoder, texts: Sequence[str], *, keep: bool = False
) -> np.ndarray:
    """[n, H]: unit mean vectors of texts. With `keep`, what the frozen layers made of them stays in `bench.states`."""
    rows = encoder.rows(texts)
    layers = bench.config.frozen_layers(reader.depth)
    if not keep or layers <= 0:
        return _read_rows(reader, bench, encoder, rows)

    def finish(hidden, regions):
        return mean_vector(reader.run_layers(hidden, regions, layers), regions)

    bench.states, vectors = read_states(reader, encoder, rows, layers, finish, watch=bench.watch("prepare"))
    return unit(vectors)


def _read(reader: TextNetwork, bench: Bench, ids: list[list[int]]) -> np.ndarray:
    plan = encoding.plan_sentence(
        bench.tokenizer, fields=("a",), prefix="", max_length=bench.max_length, multi_label=False
    )
    encoder = TextEncoder(plan.encoding, bench.tokenizer)
    rows = [
        {
            "input_ids": row,
            "token_type_ids": [0] * len(row),
            "position_ids": list(range(len(row))),
            "attention_mask": [1] * len(row),
        }
        for row in ids
    ]
    return _read_rows(reader, bench, encoder, rows)


def _read_rows(reader: TextNetwork, bench: Bench, encoder: TextEncoder, rows: list[dict]) -> np.ndarray:
    def vectors(arrays):
        hidden = reader.run_layers(reader.embed(*arrays[:3]), arrays[3])
        return mean_vector(hidden, arrays[3])

    batch_size = bench.config.eval_batch_size
    return unit(run_rows(vectors, reader, encoder, rows, batch_size, bench.watch("prepare")))


def choose_templates(bench: Bench, reader: TextNetwork, vectors: np.ndarray) -> list[Template]:
    """The library's template whose label sentences alone explain the training labels best.

    `vectors` [n, H]: the training texts' own."""
    if bench.multi_label:
        return [parse(DEFAULT_TEMPLATE)]
    texts = unit(vectors - vectors.mean(axis=0))
    scored = []
    candidates = [parse(written) for written in CANDIDATES]
    for written, template, rows in zip(
        CANDIDATES, candidates, label_vectors(bench, reader, candidates), strict=True
    ):
        logits = texts @ unit(rows - rows.mean(axis=0)).T
        temperature = evaluation.best_temperature(logits, bench.train.labels)
        loss = evaluation.log_loss(evaluation.softmax(logits / temperature), bench.train.labels)
        scored.append((loss, written, template))
    scored.sort(key=lambda item: item[0])
    bench.notes["template"] = {
        "chosen_by": "zero-shot log loss on train",
        "candidates": [{"template": written, "loss": round(loss, 4)} for loss, written, _ in scored],
    }
    return [scored[0][2]]
