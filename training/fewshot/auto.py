"""Method auto: a few methods held against each other on texts they did not learn from, within a time budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.fewshot import distil, evaluation
from training.fewshot.backbones import Backbone
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, Split, class_counts, empty_split, is_pair
from training.fewshot.errors import BackboneError, TemplateError, UnsupportedMethod, VerbalizerError
from training.fewshot.runner import given_labels

if TYPE_CHECKING:
    from training.fewshot.model import FittedModel

Listener = Callable[[dict], None]

# In the order in which they are tried: the seconds-fast one gives a floor, then what is most often best.
CANDIDATES = ("probe", "label_sentence", "prompt", "finetune", "mixture")
# Where every text is a pair, what compares the two comes first.
PAIR_CANDIDATES = ("probe", "pair", "label_sentence", "prompt", "finetune")
DEFAULT_BUDGET_SECONDS = 180.0
MIN_DEV_TEXTS_A_CLASS = 10
# A first training also pays for imports; the next ones cost about this share of it.
LATER_SHARE = 0.9


@dataclasses.dataclass
class Trial:
    """What is known of one candidate: `right[i]` whether held-out text i was answered rightly, and its log loss."""

    method: str
    model: FittedModel
    right: np.ndarray
    loss: float
    seconds: float

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def fit_auto(
    config: FewShotConfig,
    data: FewShotData,
    backbone: Backbone,
    *,
    fit: Callable[..., FittedModel],
    checkpoint_dir: str | Path | None,
    on_event: Listener,
    should_stop: Callable[[], bool],
    whole_checkpoints: bool = False,
    spent: float = 0.0,
) -> FittedModel:
    """The FittedModel of the method with the best held-out accuracy; `notes["auto"]` tells all that was tried.

    Each candidate learns from train and answers dev; when the two best cannot be told apart and time is left, both
    learn from dev and answer train as well. Where dev is too small, half of train stands in for it and the chosen
    method is trained again on all of train. With `use_pool` the chosen method then reads the pool in the time that is
    left. `fit` is `methods.fit_method`. Repeating `notes["auto"]["method"]` with the same seed gives the same model; the
    timed search itself need not come out the same twice.
    """
    began = time.monotonic() - spent
    budget = config.time_budget_seconds or DEFAULT_BUDGET_SECONDS
    train, dev = data.train.with_labels(), data.dev.with_labels()
    has_dev = config.task != "single" or class_counts(dev, data.n_labels).min() >= MIN_DEV_TEXTS_A_CLASS
    if has_dev and len(dev):
        inside, outside = train, dev
    else:
        has_dev = False
        halves = next(evaluation.stratified_folds(train.labels, 2, config.seed))
        inside, outside = train.take(halves[0]), train.take(halves[1])

    def attempt(method: str, learn: Split, answer: Split, keep: bool) -> Trial:
        on_event({"type": "stage", "stage": "auto", "method": method})
        started = time.monotonic()
        empty = empty_split(data.n_labels, config.task)
        part = dataclasses.replace(data, train=learn, dev=answer if keep else empty, test=empty)
        model = fit(
            config.replace(method=method, use_pool=False),
            part,
            backbone,
            checkpoint_dir=Path(checkpoint_dir) / method if checkpoint_dir and keep else None,
            on_event=on_event,
            should_stop=should_stop,
            whole_checkpoints=False,
            adapted=adapted,
        )
        proba = model.predict_proba(answer.texts, should_stop=should_stop)
        found = model.evaluate(answer, proba)
        if answer.labels.ndim == 2:
            right = (given_labels(proba, model.calibration) == (answer.labels > 0)).all(axis=1)
        else:
            right = proba.argmax(axis=1) == answer.labels
        return Trial(method, model, right, found["loss"], time.monotonic() - started)

    adapted: dict = {}
    trials: list[Trial] = []
    left_out: list[dict] = []
    for method in PAIR_CANDIDATES if all(map(is_pair, train.texts)) else CANDIDATES:
        expected = (
            max((trial.seconds for trial in trials if trial.method != "probe"), default=0.0) * LATER_SHARE
        )
        reserve = 0.0 if has_dev else 2 * expected
        if trials and time.monotonic() - began + expected + reserve > budget:
            left_out.append({"method": method, "because": "no time left"})
            continue
        try:
            trials.append(attempt(method, inside, outside, has_dev))
        except (TemplateError, VerbalizerError, BackboneError, UnsupportedMethod) as error:
            left_out.append({"method": method, "because": error.message})
    if not trials:
        raise UnsupportedMethod("no method fits these labels and this template: " + left_out[0]["because"])
    trials.sort(key=lambda trial: (-trial.accuracy, trial.loss))
    tried = {trial.method: [round(trial.accuracy, 4)] for trial in trials}
    why, close = "best held-out accuracy", None
    if len(trials) > 1:
        first, second = trials[:2]
        apart = evaluation.compare(second.right, first.right)["tell_apart"]
        time_needed = first.seconds + second.seconds
        if not apart and has_dev and time.monotonic() - began + time_needed <= budget:
            for trial in (first, second):
                swapped = attempt(trial.method, outside, inside, False)
                trial.right = np.concatenate([trial.right, swapped.right])
                trial.loss = (trial.loss + swapped.loss) / 2
                tried[trial.method].append(round(swapped.accuracy, 4))
            trials[:2] = sorted((first, second), key=lambda trial: (-trial.accuracy, trial.loss))
            apart = evaluation.compare(trials[1].right, trials[0].right)["tell_apart"]
        if not apart:
            close = trials[1].method
            why += f", though {trials[0].method} and {trials[1].method} cannot be told apart"
    best = trials[0]
    model = best.model
    reads_pool = config.use_pool and best.method in distil.METHODS
    if reads_pool or not has_dev:
        model = fit(
            config.replace(method=best.method, use_pool=reads_pool),
            data,
            backbone,
            checkpoint_dir=checkpoint_dir,
            on_event=on_event,
            should_stop=should_stop,
            whole_checkpoints=whole_checkpoints,
            adapted=adapted,
            spent=time.monotonic() - began,
        )
    model.notes["auto"] = {
        "method": best.method,
        "because": why,
        "cannot_be_told_from": close,
        "held_out_texts": len(outside),
        "tried": tried,
        "left_out": left_out,
        "seconds": round(time.monotonic() - began, 1),
        "budget_seconds": budget,
    }
    return model
