"""One function a method: a network with its right start, trained or not, as a FittedModel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.fewshot import auto, checkpoint, distil, encoding, evaluation, linear, refit, start, verbalizer
from training.fewshot.adapt import load_adapted
from training.fewshot.backbones import Backbone
from training.fewshot.bench import Bench, Listener
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, class_counts, parents_of, warning
from training.fewshot.errors import ConfigError, UnsupportedMethod
from training.fewshot.forward import network_logits
from training.fewshot.loop import Loop
from training.fewshot.memory import guard
from training.fewshot.model import FittedModel, choose_device
from training.fewshot.networks import (
    FineTuneNetwork,
    LabelSentenceNetwork,
    MixtureNetwork,
    PromptNetwork,
    TextNetwork,
    rebuild,
)
from training.fewshot.runner import TextEncoder, probabilities
from training.fewshot.sentences import choose_templates, label_vectors, text_vectors
from training.fewshot.template import Template, parse
from training.fewshot.templates import DEFAULT_TEMPLATE
from training.fewshot.zero_shot import unit

# A label with fewer texts than this takes the threshold that is best for all labels together.
MIN_TEXTS_FOR_THRESHOLD = 10
# The label sentences' mean counts as so many texts where texts are centred.
CENTRE_TEXTS = 4


def fit_method(
    config: FewShotConfig,
    data: FewShotData,
    backbone: Backbone,
    *,
    checkpoint_dir: str | Path | None,
    on_event: Listener,
    should_stop: Callable[[], bool],
    whole_checkpoints: bool = False,
    adapted: dict | None = None,
) -> FittedModel:
    """The model of `config.method`. See `model.fit`. `adapted`: backbones that have read the pool, for several models
    of one run to share (`Bench.adapted`)."""
    if config.refit_on_dev and len(data.dev.with_labels()):
        return refit.fit_twice(
            config,
            data,
            backbone,
            fit=fit_method,
            checkpoint_dir=checkpoint_dir,
            on_event=on_event,
            should_stop=should_stop,
            whole_checkpoints=whole_checkpoints,
        )
    if config.method == "auto":
        return auto.fit_auto(
            config,
            data,
            backbone,
            fit=fit_method,
            checkpoint_dir=checkpoint_dir,
            on_event=on_event,
            should_stop=should_stop,
            whole_checkpoints=whole_checkpoints,
        )
    if config.freeze_layers < 0:
        config = config.replace(freeze_layers=frozen_by_default(config.method, backbone))
    folder = Path(checkpoint_dir) if checkpoint_dir else None
    bench = Bench(config, data, backbone, on_event, should_stop, folder, whole_checkpoints)
    if adapted is not None:
        bench.adapted = adapted
    zero_shot = {"label_sentence": fit_label_sentence, "cloze": fit_prompt, "mixture": fit_mixture}
    makers = {
        "label_sentence": fit_label_sentence,
        "zero_shot": zero_shot[config.zero_shot_by],
        "prompt": fit_prompt,
        "mixture": fit_mixture,
        "finetune": fit_finetune,
        "probe": fit_probe,
    }
    if config.method not in makers:
        raise UnsupportedMethod(f"method {config.method!r} is not known")
    if bench.max_length < config.max_seq_length:
        bench.warn(
            warning(
                "shorter_rows", f"the backbone reads {bench.max_length} tokens, not {config.max_seq_length}"
            )
        )
    if config.use_pool and config.method in distil.METHODS:
        return distil.fit_with_pool(bench, makers[config.method])
    return makers[config.method](bench)


def frozen_by_default(method: str, backbone: Backbone) -> int:
    """Layers left as they are when the configuration leaves it open.

    A sentence encoder already reads the label sentences; training its upper third reached the same held-out accuracy
    on tnews' train and dev (55.2 and 54.6 % over two seeds; all layers: 55.8 % on dev alone, where the upper third had
    57.1 %) in less than half the time, since what the frozen layers give is computed once.
    """
    reads_sentences = method in ("label_sentence", "mixture")
    return 2 * int(backbone.config["num_hidden_layers"]) // 3 if reads_sentences else 0


def fit_label_sentence(bench: Bench) -> FittedModel:
    """Label sentences: rows start as the encoder's vectors of the template filled with each label's words.

    The idea of naming the class in a sentence is PET's (arXiv 2001.07676); reading that sentence with the encoder
    instead of completing it follows the dual encoders of zero-shot entailment (arXiv 1909.00161) and SetFit's
    sentence vectors (arXiv 2209.11055). With method zero_shot the rows are used as they start.
    """
    config = bench.config
    plan = _sentence_plan(bench)
    # Before the weights are read: a label without a usable word costs nothing then.
    verbalizer.build(bench.data.labels, bench.tokenizer)
    own = bench.own_templates()
    for template in own:
        template.require_mask()
    bench.stage("prepare")
    ernie, _ = load_adapted(bench)
    reader = LabelSentenceNetwork(ernie, *_blank_rows(bench), config.scale)
    encoder = TextEncoder(plan.encoding, bench.tokenizer)
    templates = own or choose_templates(bench, reader, encoder)
    rows, centre = label_rows(bench, reader, templates, encoder)
    network = LabelSentenceNetwork(ernie, rows, np.zeros(len(rows)), centre, config.scale)
    model = _model(bench, "label_sentence", templates, plan, network)
    _train(bench, model)
    return _calibrated(bench, model)


def fit_prompt(bench: Bench) -> FittedModel:
    """Prompt learning: the masked language model fills the template's masks with label words.

    With method zero_shot, the cloze as it starts (PET's zero-shot form, arXiv 2001.07676).
    """
    config = bench.config
    words = verbalizer.build(bench.data.labels, bench.tokenizer)
    templates = bench.own_templates() or [parse(DEFAULT_TEMPLATE)]
    plan = _cloze_plan(bench, templates, words)
    bench.stage("prepare")
    ernie, head = load_adapted(bench)
    network = PromptNetwork(
        ernie,
        bench.data.n_labels,
        n_masks=plan.encoding["n_masks"],
        n_words=sum(len(group) for group in words.token_ids),
        soft=config.verbalizer == "soft",
    )
    network.start_from(head, words)
    network.add_soft_prompt(plan.soft_spans, config.seed)
    model = _model(bench, "prompt", templates, plan, network)
    network.shift(start.offsets(bench, network, plan.encoding).mean(axis=0))
    _train(bench, model)
    network.fold_soft_prompt()
    return _calibrated(bench, model)


def fit_mixture(bench: Bench) -> FittedModel:
    """Cloze and label sentences trained together on one encoder, their logits mixed.

    Both read the same labels' words; where they err differently the mean errs less (PET's ensemble, arXiv 2001.07676,
    with one encoder instead of several).
    """
    config = bench.config
    words = verbalizer.build(bench.data.labels, bench.tokenizer)
    sentence = _sentence_plan(bench)
    own = bench.own_templates()
    if own:
        # Before the weights are read: a template that cannot work costs nothing then.
        _cloze_plan(bench, own, words)
    bench.stage("prepare")
    ernie, head = load_adapted(bench)
    reader = LabelSentenceNetwork(ernie, *_blank_rows(bench), config.scale)
    encoder = TextEncoder(sentence.encoding, bench.tokenizer)
    templates = own or choose_templates(bench, reader, encoder)
    plan = encoding.plan_mixture(sentence, _cloze_plan(bench, templates, words))
    network = MixtureNetwork(
        ernie,
        bench.data.n_labels,
        n_masks=plan.encoding["n_masks"],
        n_words=sum(len(group) for group in words.token_ids),
        soft=config.verbalizer == "soft",
        scale=config.scale,
    )
    network.start_from(head, words)
    network.start_sentences(*label_rows(bench, reader, templates, encoder))
    network.add_soft_prompt(plan.soft_spans, config.seed)
    model = _model(bench, "mixture", templates, plan, network)
    found = start.offsets(bench, network, plan.encoding)
    network.shift(found[1:].mean(axis=0))
    _train(bench, model)
    network.fold_soft_prompt()
    weight = start.mixture_weight(bench, model)
    network.weigh(weight, len(plan.encoding["views"]) - 1)
    bench.notes["mixture_weight"] = round(weight, 4)
    return _calibrated(bench, model)


def fit_finetune(bench: Bench) -> FittedModel:
    """The baseline: a classifier head that starts at random (BERT, arXiv 1810.04805, section 4.1)."""
    config = bench.config
    plan = _sentence_plan(bench)
    bench.stage("prepare")
    ernie, _ = load_adapted(bench)
    pooling = config.pooling
    if pooling == "auto":
        pooling = "pooler" if ernie.has_pooler else "mean"
    network = FineTuneNetwork(ernie, bench.data.n_labels, pooling=pooling, seed=config.seed)
    model = _model(bench, "finetune", bench.own_templates(), plan, network)
    _train(bench, model)
    return _calibrated(bench, model)


def fit_probe(bench: Bench) -> FittedModel:
    """Seconds instead of minutes: frozen sentence vectors and a regularised linear classifier on them."""
    config = bench.config
    plan = _sentence_plan(bench)
    bench.stage("prepare")
    ernie, _ = load_adapted(bench)
    reader = LabelSentenceNetwork(ernie, *_blank_rows(bench), config.scale)
    encoder = TextEncoder(plan.encoding, bench.tokenizer)
    vectors = text_vectors(bench, reader, encoder, bench.train.texts)
    centre = vectors.mean(axis=0)
    bench.stage("train")
    rows, bias, penalty = linear.fit_cross_validated(
        config.scale * unit(vectors - centre), bench.train.labels, bench.data.n_labels, seed=config.seed
    )
    bench.notes["penalty"] = penalty
    network = LabelSentenceNetwork(ernie, rows, bias, centre, config.scale)
    network.eval()
    return _calibrated(bench, _model(bench, "probe", bench.own_templates(), plan, network))


def build_from_weights(described: dict, weights: dict[str, np.ndarray]) -> TextNetwork:
    """The network of a saved model."""
    return rebuild(described["network"], described["backbone"]["config"], weights)


def _train(bench: Bench, model: FittedModel) -> None:
    """Runs the loop over the training texts' rows (a row a view); method zero_shot leaves the model as it starts."""
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
    for event in (*events, *precision_warnings(config)):
        bench.warn(event)
    targets = np.repeat(labels, n_views, axis=0)
    names = [label.name for label in bench.data.labels]

    def evaluate() -> dict:
        logits = network_logits(model.network, encoder, bench.dev.texts, batch_size=config.eval_batch_size)
        found = evaluation.evaluate(probabilities(logits, {}, bench.multi_label), bench.dev.labels, names)
        return {name: found[name] for name in ("accuracy", "macro_f1", "loss")}

    # Before the loop cuts the vocabulary to what the rows use.
    before = model.network.arrays() if config.start_share else {}
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
        save_model=(lambda folder: model.save(folder / "model")) if bench.whole_checkpoints else None,
        on_event=bench.emit,
        should_stop=bench.should_stop,
    )
    loop.run()
    if before:
        mix_with_start(model.network, before, config.start_share)
    bench.seconds["train"] = time.monotonic() - began
    bench.notes["steps"] = loop.step
    if loop.best is not None:
        bench.notes["best"] = {"score": loop.best[0], "step": loop.best[1]}
    model.history = loop.history


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
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ConfigError(f"class_weights: no label is called {unknown[0]!r}", setting="class_weights")
        return np.array([given.get(name, 1.0) for name in names], dtype=np.float32)
    counts = np.maximum(class_counts(bench.train, bench.data.n_labels), 1)
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)


def _calibrated(bench: Bench, model: FittedModel) -> FittedModel:
    """Sets temperature (or thresholds) by dev, which changes no single-label decision."""
    bench.emit({"type": "stage", "stage": "calibrate"})
    if bench.multi_label:
        split = bench.dev if len(bench.dev) >= 20 else bench.train
        if bench.config.task == "hierarchical":
            model.calibration["parents"] = parents_of([label.name for label in bench.data.labels])
        proba = probabilities(model.predict_logits(split.texts), model.calibration, True)
        shared = evaluation.shared_threshold(proba, split.labels)
        found = evaluation.best_thresholds(proba, split.labels, prior=shared, least=MIN_TEXTS_FOR_THRESHOLD)
        model.calibration["thresholds"] = [round(float(t), 6) for t in found]
    elif len(bench.dev) >= 20:
        logits = model.predict_logits(bench.dev.texts, should_stop=bench.should_stop)
        model.calibration["temperature"] = round(evaluation.best_temperature(logits, bench.dev.labels), 6)
    return model


def _model(
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


def label_rows(
    bench: Bench, reader: TextNetwork, templates: Sequence[Template], encoder: TextEncoder
) -> tuple[np.ndarray, np.ndarray]:
    """Rows [labels, H] of the label sentences, seen from their mean, and the centre [H] that texts are seen from.

    That is the training texts' own mean, since texts and label sentences lie apart from each other; few texts are
    helped out by the label sentences' mean. On tnews' train and dev, zero-shot: 50.6 % against 43.1 % from one centre.
    """
    vectors = label_vectors(bench, reader, templates)
    middle = vectors.mean(axis=0)
    texts = text_vectors(bench, reader, encoder, bench.train.texts)
    centre = (texts.sum(axis=0) + CENTRE_TEXTS * middle) / (len(texts) + CENTRE_TEXTS)
    return unit(vectors - middle), centre


def _sentence_plan(bench: Bench) -> encoding.Plan:
    return encoding.plan_sentence(
        bench.tokenizer,
        fields=_fields(bench),
        prefix=bench.prefix,
        max_length=bench.max_length,
        multi_label=bench.multi_label,
    )


def _cloze_plan(bench: Bench, templates: Sequence[Template], words: verbalizer.Verbalizer) -> encoding.Plan:
    return encoding.plan_prompt(
        bench.tokenizer,
        templates,
        n_masks=max([words.n_masks, *(_masks(template) for template in templates)]),
        vocab_size=int(bench.backbone.config["vocab_size"]),
        max_length=bench.max_length,
        multi_label=bench.multi_label,
    )


def _blank_rows(bench: Bench) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    width = int(bench.backbone.config["hidden_size"])
    return np.zeros((bench.data.n_labels, width)), np.zeros(bench.data.n_labels), np.zeros(width)


def _fields(bench: Bench) -> tuple[str, ...]:
    """The texts of a pair that are read: those of the templates, or both where every training text has a tab."""
    own = bench.own_templates()
    if not own and all("\t" in text for text in bench.train.texts):
        return ("a", "b")
    return tuple(sorted({field for template in own for field in template.fields} | {"a"}))


def _masks(template: Template) -> int:
    return sum(part.length or 1 for part in template.parts if part.kind == "mask")
