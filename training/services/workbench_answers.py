"""What the live worker answers to the workbench: the other end of `training.services.workbench`.

Each function takes a draft, the backbone read by ONNX Runtime, and `still_newest`, and returns small JSON. Between
batches it looks whether a newer question stands (`live.require_newest` raises Superseded). Faults of words and
template are the engine's errors, which reach the page with their codes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from labeling.models import Example, Project
from training.fewshot import evaluation, verbalizer, word_search
from training.fewshot.prompt_comparison import hits_of
from training.fewshot.prompt_reader import OnBatch, Prompt, PromptReader
from training.fewshot.word_quality import word_qualities
from training.services.live import StillNewest, require_newest
from training.services.workbench import Draft
from training.services.workbench_texts import (
    N_SHOWN,
    TRAIN_SPLITS,
    Measured,
    measured_texts,
    reference_texts,
)

N_FILLS = 5
# The method in use is measured however long it takes, the others only until then.
OTHERS_SECONDS = 1.2
SHOWN_CHARACTERS = 300
# Where confidence and accuracy meet on the train and dev texts of both tasks in docs/research/2026-11-workbench.md.
TEMPERATURES = {"label_sentence": 0.8, "cloze": 0.35, "mixed": 0.6}


class _OutOfTime(Exception):
    """The other methods wait for the next question."""


def answers(
    draft: Draft, example_ids: Sequence[int], reader: PromptReader, still: StillNewest
) -> dict[str, Any]:
    """For each text the fills at the masks and the labels' probabilities; see `workbench.Answers`."""
    started = time.monotonic()
    project, prompt, on_batch = _begin(draft, reader, still)
    method = method_of(draft, prompt, reader)
    examples = _allowed(project, example_ids)
    texts = [one.text for one in examples]
    reference = reference_texts(project)
    raw, calibrated = reader.scored(prompt, method, texts, reference, on_batch)
    fills = (
        reader.fills(prompt, texts, N_FILLS, on_batch) if reader.reader.has_mask_head else [[] for _ in texts]
    )
    rows = zip(
        examples,
        fills,
        proba(raw, method),
        proba(calibrated, method),
        reader.truncated(prompt, texts),
        strict=True,
    )
    return {
        "method": method,
        "methods": list(reader.methods_of(prompt)),
        "n_masks": prompt.n_masks,
        "n_reference": len(reference),
        "label_ids": [label.id for label in draft.labels],
        "texts": [
            {
                "example_id": one.pk,
                "text": one.text[:SHOWN_CHARACTERS],
                "label_id": one.label_id,
                "truncated": cut,
                "fills": [[[token, round(p, 4)] for token, p in mask] for mask in masks],
                "raw": _rounded(first),
                "calibrated": _rounded(second),
            }
            for one, masks, first, second, cut in rows
        ],
        "seconds": round(time.monotonic() - started, 3),
    }


def words(draft: Draft, reader: PromptReader, still: StillNewest) -> dict[str, Any]:
    """How the backbone takes each label word in the template; see `workbench.WordReading`."""
    started = time.monotonic()
    _project, prompt, _on_batch = _begin(draft, reader, still)
    ids = [label.id for label in draft.labels]
    return {
        "words": [
            {
                "label_id": ids[one.label],
                "word": one.word,
                "tokens": list(one.tokens),
                "fluency": None if one.fluency is None else round(one.fluency, 3),
                "reads": one.reads,
                "near": [
                    {"label_id": ids[near.label], "word": near.word, "similarity": round(near.similarity, 3)}
                    for near in one.near
                ],
            }
            for one in word_qualities(reader, prompt)
        ],
        "seconds": round(time.monotonic() - started, 3),
    }


def accuracy(draft: Draft, reader: PromptReader, still: StillNewest) -> dict[str, Any]:
    """Zero-shot accuracy of the method in use, then of the others that backbone and template allow, as far as the time
    reaches; see `workbench.Accuracy`. What was read stays remembered, so the next question gets further."""
    started = time.monotonic()
    project, prompt, on_batch = _begin(draft, reader, still)
    ids = [label.id for label in draft.labels]
    texts = measured_texts(project, ids)
    reference = reference_texts(project)
    chosen = method_of(draft, prompt, reader)
    # The one that is shown first: a question that is dropped half-way has then read what the next one needs.
    methods = sorted(reader.methods_of(prompt), key=lambda method: method != chosen)
    found: list[dict[str, Any]] = []

    def in_time(done: int) -> None:
        on_batch(done)
        if found and time.monotonic() - started > OTHERS_SECONDS:
            raise _OutOfTime

    with contextlib.suppress(_OutOfTime):
        for method in methods if len(texts) else ():
            raw, calibrated = reader.scored(prompt, method, texts.texts, reference, in_time)
            found.append(measured(method, raw, calibrated, texts, ids))
    best = max(found, key=lambda one: one["calibrated"]["value"], default=None)
    return {
        "n": len(texts),
        "chosen": chosen,
        "best": best["method"] if best else chosen,
        "measured": found,
        "seconds": round(time.monotonic() - started, 3),
    }


def proposals(draft: Draft, label_id: int, reader: PromptReader, still: StillNewest) -> dict[str, Any]:
    """Words for one label with their effect on the labelled training texts; see `workbench.Proposals`."""
    started = time.monotonic()
    project, prompt, on_batch = _begin(draft, reader, still)
    ids = [label.id for label in draft.labels]
    if label_id not in ids:
        return {"label_id": label_id, "n_texts": 0, "proposals": [], "seconds": 0.0}
    texts = measured_texts(project, ids, splits=TRAIN_SPLITS)
    found = word_search.propose(
        reader,
        prompt,
        ids.index(label_id),
        name=draft.labels[ids.index(label_id)].name,
        method=method_of(draft, prompt, reader),
        texts=texts.texts,
        right_sets=texts.right,
        reference=reference_texts(project),
        on_batch=on_batch,
    )
    return {
        "label_id": label_id,
        "n_texts": len(texts),
        "proposals": [
            {
                "word": one.word,
                "sources": list(one.sources),
                "tokens": list(one.tokens),
                "effect": None if one.effect is None else _effect(one.effect),
            }
            for one in found
        ],
        "seconds": round(time.monotonic() - started, 3),
    }


def method_of(draft: Draft, prompt: Prompt, reader: PromptReader) -> str:
    """The draft's method where backbone and template allow it, else their usual one."""
    allowed = reader.methods_of(prompt)
    return draft.method if draft.method in allowed else allowed[0]


def measured(
    method: str, raw: np.ndarray, calibrated: np.ndarray, texts: Measured, label_ids: Sequence[int]
) -> dict[str, Any]:
    """Accuracy raw and calibrated, and per label calibrated. A text with several labels counts as right when the
    likeliest label is one of them."""
    right = hits_of(calibrated, texts.right).tolist()
    per_label = []
    for place, label_id in enumerate(label_ids):
        own = [hit for hit, labels in zip(right, texts.right, strict=True) if place in labels]
        if own:
            per_label.append({"label_id": label_id, "share": share(sum(own), len(own))})
    return {
        "method": method,
        "raw": share(int(hits_of(raw, texts.right).sum()), len(texts)),
        "calibrated": share(sum(right), len(texts)),
        "per_label": per_label,
    }


def share(right: int, n: int) -> dict[str, Any]:
    """The fields of `workbench.Share`."""
    low, high = evaluation.wilson_interval(right, n)
    return {
        "right": right,
        "n": n,
        "value": round(right / n, 4) if n else 0.0,
        "low": round(low, 4),
        "high": round(high, 4),
    }


def proba(scores: np.ndarray, method: str) -> np.ndarray:
    """(n, labels): probabilities at the method's usual temperature."""
    return evaluation.softmax(scores / TEMPERATURES[method])


def engine_labels(draft: Draft) -> list[verbalizer.Label]:
    """The labels as the engine takes them. The id, not the name, tells them apart while somebody types."""
    return [verbalizer.Label(str(label.id), label.words) for label in draft.labels]


def _begin(draft: Draft, reader: PromptReader, still: StillNewest) -> tuple[Project, Prompt, OnBatch]:
    project = Project.objects.get(pk=draft.project_id)
    return project, reader.prompt(engine_labels(draft), draft.template), lambda done: require_newest(still)


def _allowed(project: Project, example_ids: Sequence[int]) -> list[Example]:
    """Those of the project's texts that may be shown, in the order asked for."""
    allowed = project.examples.filter(split__in=TRAIN_SPLITS, pk__in=list(example_ids)[:N_SHOWN])
    found = {one.pk: one for one in allowed}
    return [found[pk] for pk in dict.fromkeys(example_ids) if pk in found]


def _effect(effect: Any) -> dict[str, Any]:
    return {
        "n": effect.n,
        "before": round(effect.before, 4),
        "after": round(effect.after, 4),
        "low": round(effect.low, 4),
        "high": round(effect.high, 4),
        "expected": round(effect.expected, 4),
        "tell_apart": effect.tell_apart,
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
