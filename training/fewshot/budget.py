"""What a time budget has room for: reckoned from tokens and layers, never looked up on a clock (decision 0006)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tokenizers import Tokenizer

from training.fewshot.backbones import Backbone
from training.fewshot.bench import Bench
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, class_counts, warning
from training.fewshot.model import choose_device
from training.fewshot.rates import LEAST_UPDATES, layers_left_alone, total_steps
from training.fewshot.runner import well_formed
from training.fewshot.tokenization import load_tokenizer

# Multiplications and additions a second of two cores of a laptop, reading and training; measured on 952 texts of 128
# tokens. Fixed numbers, so that a run's length depends on its settings and texts alone and can be repeated elsewhere.
READING_SPEED, TRAINING_SPEED = 85e9, 50e9
# The rest of the time budget is for loading, dev and test.
TRAINING_SHARE = 0.8
# Of that rest, what looks at dev along the way may take.
LOOKING_SHARE = 0.1
# So many texts of dev tell an accuracy to within ten points.
DEV_ALONE_TEXTS = 100


@dataclasses.dataclass(frozen=True)
class Judging:
    """What a run and the cross-validation behind it learn with. `folds` of 0: dev is judged by alone, however small."""

    run: FewShotConfig
    fold: FewShotConfig
    folds: int


def keep_to_budget(bench: Bench) -> None:
    """Fewer passes over the training texts where the time budget has no room for all (see `epochs_within`), and fewer
    looks at dev along the way, where nothing but the curve needs them (see `steps_between_looks`)."""
    config = bench.config
    if config.time_budget_seconds is None or choose_device(config.device) != "cpu":
        return
    lengths = row_lengths(config, bench.backbone, bench.tokenizer, bench.train.texts)
    epochs = epochs_within(config, bench.backbone.config, lengths)
    if epochs < config.num_train_epochs:
        bench.warn(
            warning(
                "shortened",
                f"the time budget of {config.time_budget_seconds:.0f} s has room for {epochs:g} of "
                f"{config.num_train_epochs:g} passes over the training texts",
                asked=config.num_train_epochs,
                epochs=epochs,
                seconds=round(config.time_budget_seconds),
            )
        )
        # What was spread over the whole run stays spread over the shorter one: a killed run loses no more than before.
        share = epochs / config.num_train_epochs
        every = {name: math.ceil(share * getattr(config, name)) for name in ("save_steps", "eval_steps")}
        bench.config = config.replace(num_train_epochs=epochs, **every)
        bench.notes["epochs"] = epochs
    on_dev = sum(row_lengths(config, bench.backbone, bench.tokenizer, bench.dev.texts))
    between = steps_between_looks(bench.config, bench.backbone.config, lengths, on_dev)
    bench.config = bench.config.replace(eval_steps=between)


def judging_within(config: FewShotConfig, data: FewShotData, backbone: Backbone) -> Judging:
    """How a run whose dev is too small keeps to its time budget with all that cross-validation trains.

    A fold learns for as many passes as the run. Where there is no room for all folds there are fewer, two at least;
    where there is none for two, a dev of DEV_ALONE_TEXTS with every label among them stands alone, and else the run
    itself learns for as long as leaves that room. A run that looks at the clock gets half of its time, its folds the
    other half.
    """
    as_asked = Judging(config, config, config.cross_validation_folds)
    if config.time_budget_seconds is None or config.method in ("probe", "zero_shot"):
        return as_asked
    if config.searches:
        half = config.replace(time_budget_seconds=config.time_budget_seconds / 2)
        return Judging(half, half, config.cross_validation_folds)
    if choose_device(config.device) != "cpu":
        return as_asked
    train, dev = data.train.with_labels(), data.dev.with_labels()
    if not len(train):
        return as_asked  # `fit` refuses it
    settled = config.replace(freeze_layers=layers_left_alone(config, backbone))
    tokenizer = load_tokenizer(backbone.path)
    lengths = row_lengths(settled, backbone, tokenizer, train.texts)
    tokens = max(1, sum(lengths))
    all_tokens = tokens + sum(row_lengths(settled, backbone, tokenizer, dev.texts))
    alone = len(dev) >= DEV_ALONE_TEXTS and bool(class_counts(dev, data.n_labels).all())
    run = config
    if not alone:
        run = config.replace(time_budget_seconds=config.time_budget_seconds * tokens / (tokens + all_tokens))
    epochs = epochs_within(
        settled.replace(time_budget_seconds=run.time_budget_seconds), backbone.config, lengths
    )
    fold = config.replace(num_train_epochs=epochs, time_budget_seconds=None)
    if epochs == config.num_train_epochs:
        run = config
    settled = settled.replace(num_train_epochs=epochs)
    a_run = training_seconds(settled, backbone.config, lengths)
    a_look = reckoned_seconds(settled, backbone.config, all_tokens - tokens)[0] if len(dev) else 0.0
    room = TRAINING_SHARE * config.time_budget_seconds - a_run - a_look

    def together(folds: int) -> float:
        # Of k folds each learns (k - 1) / k of all texts; a number of steps takes as long whatever the texts.
        return a_run * (folds if config.max_steps > 0 else (folds - 1) * all_tokens / tokens)

    fitting = (folds for folds in range(config.cross_validation_folds, 1, -1) if together(folds) <= room)
    folds = next(fitting, 0 if alone else 2)
    if folds and a_look and config.eval_steps and not _looks_decide(config):
        # The looks along the way take what the folds leave.
        looks = 1 + max(0, math.floor((room - together(folds)) / a_look))
        between = math.ceil(total_steps(config, len(lengths)) / looks)
        run = run.replace(eval_steps=max(config.eval_steps, between))
    return Judging(run, fold, folds)


def row_lengths(
    config: FewShotConfig, backbone: Backbone, tokenizer: Tokenizer, texts: Sequence[str]
) -> list[int]:
    """Tokens of each row that `texts` are trained as."""
    longest = min(config.max_seq_length, int(backbone.config["max_position_embeddings"]))
    found = tokenizer.encode_batch_fast([well_formed(text) for text in texts], add_special_tokens=False)
    return [min(longest, len(one.ids)) for one in found] * config.rows_per_text


def epochs_within(config: FewShotConfig, backbone: dict, lengths: Sequence[int]) -> float:
    """`config.num_train_epochs`, or as many (in quarters, at least LEAST_UPDATES) as the time budget has room for.

    `lengths`: tokens of each training row. `config.freeze_layers` must have been settled.
    """
    if config.time_budget_seconds is None or config.max_steps > 0:
        return config.num_train_epochs
    reading, epoch = reckoned_seconds(config, backbone, sum(lengths))
    room = TRAINING_SHARE * config.time_budget_seconds - reading
    least = math.ceil(4 * LEAST_UPDATES * config.train_batch_size / len(lengths)) / 4
    return min(config.num_train_epochs, max(least, math.floor(4 * room / epoch) / 4))


def steps_between_looks(
    config: FewShotConfig, backbone: dict, lengths: Sequence[int], dev_tokens: int
) -> int:
    """`config.eval_steps`, or more, so that the looks at dev fit into what the training leaves of the time budget.

    One look stays, the last. Where stopping or the kept weights hang on the looks, they are as asked."""
    asked = config.eval_steps
    if not asked or not dev_tokens or config.time_budget_seconds is None or _looks_decide(config):
        return asked
    room = (TRAINING_SHARE + LOOKING_SHARE) * config.time_budget_seconds
    room -= training_seconds(config, backbone, lengths)
    looks = max(1, math.floor(room / reckoned_seconds(config, backbone, dev_tokens)[0]))
    return max(asked, math.ceil(total_steps(config, len(lengths)) / looks))


def _looks_decide(config: FewShotConfig) -> bool:
    return config.load_best_model_at_end or config.early_stopping_patience is not None


def training_seconds(config: FewShotConfig, backbone: dict, lengths: Sequence[int]) -> float:
    """All passes over rows of `lengths` tokens, after one reading. `config.freeze_layers` must have been settled."""
    reading, epoch = reckoned_seconds(config, backbone, sum(lengths))
    passes = config.num_train_epochs
    if config.max_steps > 0:
        passes = (
            config.max_steps * config.train_batch_size * config.gradient_accumulation_steps / len(lengths)
        )
    return reading + passes * epoch


def reckoned_seconds(config: FewShotConfig, backbone: dict, tokens: int) -> tuple[float, float]:
    """(reading `tokens` tokens once, a pass of training over them), in seconds of two cores of a laptop.

    `config.freeze_layers` must have been settled."""
    hidden, inner = backbone["hidden_size"], backbone["intermediate_size"]
    layers = int(backbone["num_hidden_layers"])
    frozen = config.frozen_layers(layers)
    # Multiplications and additions of one token in one layer: four projections and the feed-forward's two.
    once = max(1, tokens) * 2 * (4 * hidden**2 + 2 * hidden * inner)
    # Backwards costs twice what forwards does.
    epoch = max(1, 3 * (layers - frozen)) * once * (2 if config.use_rdrop else 1) / TRAINING_SPEED
    return layers * once / READING_SPEED, epoch
