"""Once everything is chosen, dev is learnt too.

Twice the labels where dev is as large as train, at a price: from then on dev says nothing about the model, and the
result is not comparable with figures of the published split. Choices and thresholds stay those of the model
that had not seen dev; the temperature keeps the new model as sure of unlabelled texts as that one was.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from training.fewshot import evaluation, pool
from training.fewshot.bench import Order, within
from training.fewshot.config import FewShotConfig
from training.fewshot.crossval import joined
from training.fewshot.data import FewShotData, empty_split

if TYPE_CHECKING:
    from training.fewshot.model import FittedModel

# So many texts tell a mean confidence to a hundredth.
COMPARED_TEXTS = 300


def fit_twice(order: Order, fit: Callable[[Order], FittedModel]) -> FittedModel:
    """The model of train + dev with the settings that the model of train found; `before_refit` holds the latter.

    `fit` is `methods.fit_method`. Where the pool is read, it is read twice, each time in half of the time budget.
    `notes["refit"]` says how many texts were learnt.
    """
    began = time.monotonic()
    config, data, folder = order.config, order.data, order.checkpoint_dir
    half = (config.time_budget_seconds or 0.0) / 2 if config.use_pool else 0.0
    first = fit(
        order.but(
            config=config.replace(refit_on_dev=False),
            checkpoint_dir=folder and folder / "before_refit",
            whole_checkpoints=False,
            spent=order.spent + half,
        )
    )
    order.emit({"type": "stage", "stage": "refit"})
    both = joined(data.train.with_labels(), data.dev.with_labels())
    model = fit(
        order.but(
            config=settled(config, first, len(both) / len(data.train.with_labels())),
            data=dataclasses.replace(data, train=both, dev=empty_split(data.n_labels, config.task)),
            emit=within(order.emit, "refit"),
            spent=order.spent + time.monotonic() - began,
            settled=True,
        )
    )
    model.config = config
    model.calibration = {**first.calibration, **_as_sure(first, model, data)}
    model.notes = {**first.notes, **model.notes, "refit": {"texts": len(both), "dev_texts": len(data.dev)}}
    model.before_refit = first
    return model


def _as_sure(first: FittedModel, model: FittedModel, data: FewShotData) -> dict:
    """The temperature that makes `model` as sure of unlabelled texts as `first`, which dev has calibrated, is.

    Having learnt more, it is surer than before, and dev cannot say any more how sure it may be. Without unlabelled texts,
    and for thresholds, what dev said of the first model stands.
    """
    known = (*data.train.texts, *data.dev.texts, *data.test.texts)
    texts = pool.choose_texts(data.pool, known, COMPARED_TEXTS, model.config.seed)
    if model.multi_label or len(texts) < pool.MIN_POOL_TEXTS:
        return {}
    before = float(first.predict_proba(texts).max(axis=1).mean())
    return {"temperature": round(evaluation.temperature_for(model.predict_logits(texts), before), 6)}


def settled(config: FewShotConfig, first: FittedModel, growth: float) -> FewShotConfig:
    """`config` with what `first` chose, for `growth` times as many texts: as many passes over them as were kept."""
    changes: dict = {
        "refit_on_dev": False,
        "method": first.method,
        "adapt": first.config.adapt,
        "eval_steps": 0,
        "load_best_model_at_end": False,
        "early_stopping_patience": None,
        "freeze_layers": first.config.freeze_layers,
    }
    steps = first.notes.get("steps", 0)
    if config.load_best_model_at_end or config.early_stopping_patience is not None:
        steps = first.notes.get("best", {}).get("step", steps)
    if steps and (config.max_steps > 0 or config.load_best_model_at_end or config.early_stopping_patience):
        changes["max_steps"] = max(1, round(steps * growth))
    if first.notes.get("template"):
        changes["template"] = first.notes["template"]["candidates"][0]["template"]
    if "mixture_weight" in first.notes:
        changes["mixture_weight"] = first.notes["mixture_weight"]
    if first.notes.get("pool", {}).get("kept") is False:
        changes["use_pool"] = False
    return config.replace(**changes)
