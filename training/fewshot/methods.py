"""One function a method: a network with its right start, trained or not, as a FittedModel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.fewshot import auto, distil, encoding, evaluation, linear, probe, refit, start, verbalizer
from training.fewshot.adapt import load_adapted
from training.fewshot.bench import Bench, Order
from training.fewshot.budget import keep_to_budget
from training.fewshot.data import is_pair, warning
from training.fewshot.errors import UnsupportedMethod
from training.fewshot.fitting import calibrated, make_model, train
from training.fewshot.model import FittedModel
from training.fewshot.networks import (
    FineTuneNetwork,
    LabelSentenceNetwork,
    MixtureNetwork,
    PairNetwork,
    PromptNetwork,
    rebuild,
)
from training.fewshot.pairs import pair_features, spread_of_pairs
from training.fewshot.rates import LEAST_UPDATES, layers_left_alone, total_steps
from training.fewshot.runner import TextEncoder
from training.fewshot.sentences import choose_templates, label_vectors, text_vectors
from training.fewshot.template import Template, parse
from training.fewshot.templates import DEFAULT_TEMPLATE
from training.fewshot.text_network import TextNetwork
from training.fewshot.zero_shot import unit

# The label sentences' mean counts as so many texts where texts are centred.
CENTRE_TEXTS = 4


def fit_method(order: Order) -> FittedModel:
    """The model of `order.config.method`."""
    config = order.config
    if config.refit_on_dev and len(order.data.dev.with_labels()):
        return refit.fit_twice(order, fit_method)
    if config.method == "auto" or auto.asks_dev_of_the_reading(order):
        return auto.fit_auto(order, fit_method)
    bench = Bench.of(
        order.but(config=config.replace(freeze_layers=layers_left_alone(config, order.backbone)))
    )
    zero_shot = {"label_sentence": fit_label_sentence, "cloze": fit_prompt, "mixture": fit_mixture}
    makers = {
        "label_sentence": fit_label_sentence,
        "zero_shot": zero_shot[config.zero_shot_by],
        "prompt": fit_prompt,
        "mixture": fit_mixture,
        "pair": fit_pair,
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
    if config.method not in ("zero_shot", "probe"):
        keep_to_budget(bench)
    if config.use_pool and config.method in distil.METHODS:
        return distil.fit_with_pool(bench, makers[config.method])
    return makers[config.method](bench)


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
    vectors = text_vectors(bench, reader, encoder, bench.train.texts, keep=config.method == "label_sentence")
    templates = own or choose_templates(bench, reader, vectors)
    rows, centre = label_rows(bench, reader, templates, vectors)
    bias = np.zeros(len(rows))
    if config.method != "zero_shot" and is_short(bench):
        rows, bias = rows_by_texts(bench, rows, centre, vectors)
    network = LabelSentenceNetwork(ernie, rows, bias, centre, config.steepness)
    model = make_model(bench, "label_sentence", templates, plan, network)
    train(bench, model)
    return calibrated(bench, model)


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
    model = make_model(bench, "prompt", templates, plan, network)
    network.shift(start.offsets(bench, network, plan.encoding).mean(axis=0))
    train(bench, model)
    network.fold_soft_prompt()
    return calibrated(bench, model)


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
    vectors = text_vectors(bench, reader, encoder, bench.train.texts)
    templates = own or choose_templates(bench, reader, vectors)
    plan = encoding.plan_mixture(sentence, _cloze_plan(bench, templates, words))
    network = MixtureNetwork(
        ernie,
        bench.data.n_labels,
        n_masks=plan.encoding["n_masks"],
        n_words=sum(len(group) for group in words.token_ids),
        soft=config.verbalizer == "soft",
        scale=config.steepness,
    )
    network.start_from(head, words)
    network.start_sentences(*label_rows(bench, reader, templates, vectors))
    network.add_soft_prompt(plan.soft_spans, config.seed)
    model = make_model(bench, "mixture", templates, plan, network)
    completed = {**plan.encoding, "views": plan.encoding["views"][1:]}
    network.shift(start.offsets(bench, network, completed).mean(axis=0))
    train(bench, model)
    network.fold_soft_prompt()
    weight = start.mixture_weight(bench, model)
    network.weigh(weight, len(plan.encoding["views"]) - 1)
    bench.notes["mixture_weight"] = round(weight, 4)
    return calibrated(bench, model)


def fit_pair(bench: Bench) -> FittedModel:
    """Pairs: both texts read apart, their vectors compared (see `networks.PairNetwork`).

    The classifier over the comparison starts as a regularised linear one on frozen vectors, then learns together with
    the encoder (LP-FT, arXiv 2202.10054): from a random start so few texts would spoil what the encoder knows of
    likeness. Label words and templates are not read.
    """
    alone = [text for text in bench.train.texts if not is_pair(text)]
    if alone:
        raise UnsupportedMethod(
            f"method pair compares two texts with a tab between them; {len(alone)} of {len(bench.train.texts)} "
            f"training texts have none, the first: {alone[0][:40]!r}",
            hint="Choose label_sentence, or put a tab between the two texts.",
        )
    plan = encoding.plan_pair(
        bench.tokenizer, prefix=bench.prefix, max_length=bench.max_length, multi_label=bench.multi_label
    )
    bench.stage("prepare")
    ernie, _ = load_adapted(bench)
    network = PairNetwork(ernie, bench.data.n_labels)
    encoder = TextEncoder(plan.encoding, bench.tokenizer)
    features = pair_features(bench, network, encoder, bench.train.texts)
    middle, spread = spread_of_pairs(features)
    network.see_from(middle, spread)
    rows, bias, penalty = linear.fit_cross_validated(
        (features - middle) / spread, bench.train.labels, bench.data.n_labels, seed=bench.config.seed
    )
    bench.notes["penalty"] = penalty
    network.rows.set_value(rows)
    network.bias.set_value(bias)
    model = make_model(bench, "pair", (), plan, network)
    train(bench, model)
    return calibrated(bench, model)


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
    model = make_model(bench, "finetune", bench.own_templates(), plan, network)
    train(bench, model)
    return calibrated(bench, model)


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
    return calibrated(bench, make_model(bench, "probe", bench.own_templates(), plan, network))


def build_from_weights(described: dict, weights: dict[str, np.ndarray]) -> TextNetwork:
    """The network of a saved model."""
    return rebuild(described["network"], described["backbone"]["config"], weights)


def label_rows(
    bench: Bench, reader: TextNetwork, templates: Sequence[Template], texts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows [labels, H] of the label sentences, seen from their mean, and the centre [H] that texts are seen from.

    That is the training texts' own mean, since texts and label sentences lie apart from each other; few texts are
    helped out by the label sentences' mean. On tnews' train and dev, zero-shot: 50.6 % against 43.1 % from one centre.
    """
    vectors = label_vectors(bench, reader, templates).mean(axis=0)
    middle = vectors.mean(axis=0)
    centre = (texts.sum(axis=0) + CENTRE_TEXTS * middle) / (len(texts) + CENTRE_TEXTS)
    return unit(vectors - middle), centre


def is_short(bench: Bench) -> bool:
    """Whether a training makes too few updates to carry the rows from the label sentences to where the texts are."""
    config = bench.config
    steps = total_steps(config, len(bench.train) * config.rows_per_text)
    return "epochs" in bench.notes or steps < LEAST_UPDATES


def rows_by_texts(
    bench: Bench, rows: np.ndarray, centre: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows [labels, H] and biases [labels] drawn from the label sentences to the training texts' vectors (see `probe`).

    A short run begins there: in tnews' two-fold comparison these rows alone answer as well as eight passes do; with 96 texts
    and label words that say little, 60.9 % were answered rightly after training from there, 52.1 % from the label sentences.
    Where every text has one label, the label sentences are left only for rows that answer held-out texts better by more than
    a standard error: two classes of 16 texts, whose words say it all, would lose by it.
    """
    labels = bench.train.labels
    start = probe.Probe(
        (bench.config.steepness * rows).astype(np.float32),
        np.zeros(len(rows), dtype=np.float32),
        centre.astype(np.float32),
        multi_label=bench.multi_label,
    )
    found = probe.learn(start, vectors, labels)
    if not bench.multi_label:
        usual = start.logits(vectors).argmax(axis=1) == labels
        if not evaluation.worth_leaving(usual, found.held_out_proba.argmax(axis=1) == labels):
            return rows, start.bias
    return found.probe.rows / bench.config.steepness, found.probe.bias


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
    if not own and all(is_pair(text) for text in bench.train.texts):
        return ("a", "b")
    return tuple(sorted({field for template in own for field in template.fields} | {"a"}))


def _masks(template: Template) -> int:
    return sum(part.length or 1 for part in template.parts if part.kind == "mask")
