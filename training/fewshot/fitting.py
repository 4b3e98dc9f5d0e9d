"""Training a network and what follows it: the loop over the training texts, the start's share, thresholds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.fewshot import checkpoint, encoding, evaluation, start
from training.fewshot.bench import Bench
from training.fewshot.config import FewShotConfig, check_weights
from training.fewshot.data import MIN_TEXTS_TO_CALIBRATE, class_counts, parents_of, warning
from training.fewshot.forward import network_logits
from training.fewshot.loop import Loop
from training.fewshot.memory import guard
from training.fewshot.model import FittedModel, choose_device
from training.fewshot.rates import share_of_start
from training.fewshot.runner import TextEncoder, probabilities
from training.fewshot.template import Template
from training.fewshot.text_network import TextNetwork

# A label with fewer texts than this takes the threshold that is best for all labels together.
MIN_TEXTS_FOR_THRESHOLD = 10


def train(bench: Bench, model: FittedModel) -> None:
    """Runs the loop over the training texts' rows (a row a view); method zero_shot leaves the model as it starts."""
    if bench.multi_label:
        start.at_shares(bench, model)
    if bench.config.method == "zero_shot":
        model.method = "zero_shot"
        model.network.eval()
        return
    encoder = TextEncoder(model.encoding, bench.tokenizer)
    n_views = len(encoder.views)
    texts, labels = bench.train.texts, bench.train.labels
    if bench.lessons is not None:
        texts, labels = bench.lessons.texts, bench.lessons.targets
    rows = encoder.rows(texts)
    longest = max(len(row["input_ids"]) for row in rows)
    config, events = guard(bench.config, bench.backbone.config, longest)
    for event in (*events, *precision_warnings(config), *idle_warnings(config)):
        bench.warn(event)
    targets = np.repeat(labels, n_views, axis=0)
    names = [label.name for label in bench.data.labels]

    def evaluate() -> dict:
        logits = network_logits(model.network, encoder, bench.dev.texts, batch_size=config.eval_batch_size)
        found = evaluation.evaluate(probabilities(logits, {}, bench.multi_label), bench.dev.labels, names)
        return {name: found[name] for name in ("accuracy", "macro_f1", "loss")}

    def save_model(folder: Path) -> None:
        bench.as_asked(model).save(folder / "model")

    # Before the loop cuts the vocabulary to what the rows use.
    share = share_of_start(config)
    before = model.network.arrays() if share else {}
    bench.stage("train")
    began = time.monotonic()
    loop = Loop(
        model.network,
        config,
        encoder,
        rows,
        targets,
        multi_label=bench.multi_label,
        class_weights=class_weights(bench),
        evaluate=evaluate if len(bench.dev) else None,
        checkpoint_dir=bench.checkpoint_dir,
        run_id=run_fingerprint(config, bench, model),
        save_model=save_model if bench.whole_checkpoints else None,
        on_event=bench.emit,
        should_stop=bench.should_stop,
        states=bench.states if bench.lessons is None else None,
    )
    loop.run()
    if before:
        mix_with_start(model.network, before, share)
    bench.seconds["train"] = time.monotonic() - began
    bench.notes["steps"] = loop.step
    if loop.best is not None:
        bench.notes["best"] = {"score": loop.best[0], "step": loop.best[1]}
    model.history = loop.history


def idle_warnings(config: FewShotConfig) -> list[dict]:
    """What is said of a setting that has nothing to work on."""
    if not config.fgm_epsilon or not (config.freeze_plm or config.freeze_layers > 0):
        return []
    return [
        warning(
            "fgm_idle",
            "FGM disturbs the word embeddings, which are frozen here: it costs a second pass and changes nothing",
        )
    ]


def precision_warnings(config: FewShotConfig) -> list[dict]:
    """What is said of a half precision that the device does not have: training goes on in fp32."""
    if config.precision == "fp32" or choose_device(config.device) != "cpu":
        return []
    return [
        warning(
            "precision_ignored",
            f"{config.precision} is for GPUs: Paddle's half precision gains nothing on this CPU (measured 0.99 to 1.01 "
            "times), so training runs in fp32",
            asked=config.precision,
        )
    ]


def mix_with_start(network: TextNetwork, start: dict[str, np.ndarray], share: float) -> None:
    """Weights half way back: `share` of `start` and the rest of what was learnt (WiSE-FT, arXiv 2109.01903)."""
    for name, parameter in network.named_parameters():
        if name in start:
            parameter.set_value(share * start[name] + (1.0 - share) * parameter.numpy())


def run_fingerprint(config: FewShotConfig, bench: Bench, model: FittedModel) -> str:
    """What a checkpoint must agree on to be resumed: settings, data, words, templates, backbone."""
    # How often it looks, writes and tells changes nothing that is learnt.
    settings = config.to_json()
    for name in ("logging_steps", "save_steps", "save_total_limit", "time_budget_seconds"):
        settings.pop(name)
    return checkpoint.fingerprint(
        settings,
        bench.backbone.hash,
        model.encoding,
        [label.to_json() for label in bench.data.labels],
        list(bench.train.texts),
        bench.train.labels.tolist(),
        None if bench.lessons is None else bench.lessons.fingerprint(),
    )


def class_weights(bench: Bench) -> np.ndarray | None:
    """float32 [labels] with mean 1 over the training texts ("balanced"), or as configured; None for equal ones."""
    given = bench.config.class_weights
    if given is None:
        return None
    if isinstance(given, dict):
        names = [label.name for label in bench.data.labels]
        check_weights(given, names)
        return np.array([given.get(name, 1.0) for name in names], dtype=np.float32)
    counts = np.maximum(class_counts(bench.train, bench.data.n_labels), 1)
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)


def calibrated(bench: Bench, model: FittedModel) -> FittedModel:
    """Sets temperature (or thresholds) by dev, which changes no single-label decision."""
    bench.emit({"type": "stage", "stage": "calibrate"})

    def read(texts: tuple[str, ...]) -> np.ndarray:
        logits = model.predict_logits(
            texts, on_event=bench.emit, should_stop=bench.should_stop, stage="calibrate"
        )
        model.already_read = (texts, logits)
        return logits

    if bench.multi_label:
        split = bench.dev if len(bench.dev) >= MIN_TEXTS_TO_CALIBRATE else bench.train
        if bench.config.task == "hierarchical":
            model.calibration["parents"] = parents_of([label.name for label in bench.data.labels])
        proba = probabilities(read(split.texts), model.calibration, True)
        shared = evaluation.shared_threshold(proba, split.labels)
        found = evaluation.best_thresholds(proba, split.labels, prior=shared, least=MIN_TEXTS_FOR_THRESHOLD)
        model.calibration["thresholds"] = [round(float(t), 6) for t in found]
        if bench.config.task == "multi_label":
            # Where every text has a label, "none" is no answer: on folds two points more of texts wholly right.
            known = np.concatenate([bench.train.labels, bench.dev.labels])
            model.calibration["at_least_one"] = bool((known > 0).any(axis=1).all())
    elif len(bench.dev) >= MIN_TEXTS_TO_CALIBRATE:
        logits = read(bench.dev.texts)
        model.calibration["temperature"] = round(evaluation.best_temperature(logits, bench.dev.labels), 6)
    return model


def make_model(
    bench: Bench, method: str, templates: Sequence[Template], plan: encoding.Plan, network: TextNetwork
) -> FittedModel:
    backbone = bench.backbone
    return FittedModel(
        config=bench.config,
        method=method,
        labels=bench.data.labels,
        templates=tuple(templates),
        encoding=plan.encoding,
        tokenizer=bench.tokenizer,
        network=network,
        backbone={"name": backbone.name, "hash": backbone.hash, "config": backbone.config},
        calibration={"temperature": 1.0, "thresholds": None, "prior": None},
        tokenizer_file=Path(backbone.path) / "tokenizer.json",
        notes=bench.notes,
        seconds=bench.seconds,
        warnings=bench.warnings,
    )
