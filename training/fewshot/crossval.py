"""Cross-validation of a whole run: what stands in for dev where there is too little of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from training.fewshot import evaluation
from training.fewshot.backbones import Backbone
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, Split, class_counts, empty_split
from training.fewshot.runner import given_labels


def joined(first: Split, second: Split) -> Split:
    """Both splits one after the other."""
    return Split(
        first.texts + second.texts, np.concatenate([first.labels, second.labels]), first.ids + second.ids
    )


def cross_validate(
    config: FewShotConfig,
    data: FewShotData,
    *,
    backbone: Backbone,
    folds: int | None = None,
    on_event: Callable[[dict], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_predictions: Callable[[Split, np.ndarray], None] | None = None,
) -> dict:
    """The dict E over train + dev, each text predicted by a model that never saw it, with `by`, `folds`, `temperature`.

    Each fold is the whole run over again, choices included. Where a run searches or reads the pool, all folds together
    take its time budget once more. `folds`: fewer where a class has fewer texts. `fold_accuracies` tells how far they
    spread. Of single labels, a fold's probabilities are tempered by the other folds' texts; `temperature` is that of
    all of them (None for several labels).
    `on_predictions` hears those texts and their probabilities, (n_texts, n_labels).
    """
    from training.fewshot.model import fit

    emit = on_event or (lambda event: None)
    whole = joined(data.train.with_labels(), data.dev.with_labels())
    folds = folds or config.cross_validation_folds
    if whole.labels.ndim == 1:
        rarest = class_counts(whole, data.n_labels)
        folds = max(2, min(folds, int(rarest[rarest > 0].min())))
    proba = np.zeros((len(whole), data.n_labels), dtype=np.float32)
    logits = np.zeros_like(proba)
    given = np.zeros(proba.shape, dtype=bool)
    plain = config.replace(
        save_steps=0, eval_steps=0, load_best_model_at_end=False, early_stopping_patience=None
    )
    if config.time_budget_seconds is not None and config.searches:
        plain = plain.replace(time_budget_seconds=max(1.0, config.time_budget_seconds / folds))
    accuracies, held_out = [], []
    for fold, (inside, outside) in enumerate(evaluation.stratified_folds(whole.labels, folds, config.seed)):
        emit({"type": "stage", "stage": "cross_validate", "step": fold + 1, "total": folds})
        part = dataclasses.replace(
            data,
            train=whole.take(inside),
            dev=empty_split(data.n_labels, config.task),
            test=empty_split(data.n_labels, config.task),
        )
        model = fit(
            plain,
            part,
            None,
            _as_one_bar(emit, fold, folds),
            backbone=backbone,
            should_stop=should_stop,
        )
        texts = [whole.texts[i] for i in outside]
        if model.multi_label:
            proba[outside] = model.predict_proba(texts)
            given[outside] = given_labels(proba[outside], model.calibration)
            right = (given[outside] == (whole.labels[outside] > 0)).all(axis=1)
        else:
            logits[outside] = model.predict_logits(texts)
            held_out.append(outside)
            right = logits[outside].argmax(axis=1) == whole.labels[outside]
        accuracies.append(float(right.mean()))
    temperature = None
    if held_out:
        temperature = evaluation.best_temperature(logits, whole.labels)
        for outside in held_out:
            others = np.setdiff1d(np.arange(len(whole)), outside)
            by_others = evaluation.best_temperature(logits[others], whole.labels[others])
            proba[outside] = evaluation.softmax(logits[outside] / by_others)
    if on_predictions is not None:
        on_predictions(whole, proba)
    names = [label.name for label in data.labels]
    found = evaluation.evaluate(proba, whole.labels, names, given=given if whole.labels.ndim == 2 else None)
    return {
        **found,
        "by": "cross_validation",
        "folds": folds,
        "fold_accuracies": accuracies,
        "temperature": temperature,
    }


def _as_one_bar(emit: Callable[[dict], None], fold: int, folds: int) -> Callable[[dict], None]:
    """A listener that turns the training progress of fold `fold` into progress of all folds together."""

    def listen(event: dict) -> None:
        total = event.get("total")
        if event["type"] != "progress" or event.get("stage") != "train" or not total:
            return
        left, step = event.get("eta_seconds"), event["step"]
        if left is not None:
            a_step = left / max(1, total - step)
            left += (folds - fold - 1) * total * a_step
        emit(
            {
                "type": "progress",
                "stage": "cross_validate",
                "step": fold * total + step,
                "total": folds * total,
                "eta_seconds": left,
            }
        )

    return listen
