"""The flags of `cli.py`, and the configuration that they ask for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.fewshot.config import PRESETS, SHIPPED_BACKBONE, FewShotConfig
from training.fewshot.export import EXACT_FORMATS, FORMATS

ALIASES = {
    "--data_dir": "--dataset_dir",
    "--output_dir": "--save_dir",
    "--model_name_or_path": "--model_name",
    "--per_device_train_batch_size": "--batch_size",
    "--num_train_epochs": "--epochs",
    "--early_stopping_patience": "--early_stop",
}
# Flags that stand for a field of FewShotConfig under another name.
FIELD_OF_FLAG = {
    "prompt": "template",
    "model_name_or_path": "backbone",
    "per_device_train_batch_size": "train_batch_size",
    "per_device_eval_batch_size": "eval_batch_size",
    "time_budget": "time_budget_seconds",
}
CONFIG_FLAGS = [
    "prompt",
    "soft_encoder",
    "encoder_hidden_size",
    "max_seq_length",
    "learning_rate",
    "ppt_learning_rate",
    "weight_decay",
    "ppt_weight_decay",
    "max_steps",
    "num_train_epochs",
    "eval_steps",
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "recompute",
    "seed",
    "device",
    "use_rdrop",
    "alpha_rdrop",
    "use_rgl",
    "alpha_rgl",
    "freeze_plm",
    "freeze_dropout",
    "freeze_layers",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "max_grad_norm",
    "load_best_model_at_end",
    "metric_for_best_model",
    "early_stopping_patience",
    "class_weights",
    "method",
    "preset",
    "time_budget",
    "use_pool",
    "model_name_or_path",
    "verbalizer",
    "label_smoothing",
    "ema_decay",
    "fgm_epsilon",
    "task",
    "num_threads",
    "zero_shot_by",
    "calibration",
    "mixture_weight",
    "adapt",
    "adapt_texts",
    "adapt_passes",
    "adapt_learning_rate",
    "layer_decay",
    "refit_on_dev",
    "extra_templates",
    "start_share",
]
# Filled by `parser`: what a flag means that is not given.
DEFAULTS: dict[str, object] = {}


def switch(text: str) -> bool:
    """The recipe writes switches with and without a value: `--do_train`, `--do_train True`."""
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def none_or(kind):
    """A value, or None written as a word."""

    def read(text: str):
        return None if text.lower() in ("none", "null", "") else kind(text)

    read.__name__ = f"{kind.__name__} or None"
    return read


def formats(text: str) -> tuple[str, ...]:
    """The export formats named, divided by commas."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r}: some of {', '.join(FORMATS)}, divided by commas")
    return names


def weights(text: str):
    """none, balanced, a JSON object, or a JSON file."""
    if text.lower() == "none":
        return None
    if text == "balanced":
        return text
    try:
        source = Path(text).read_text(encoding="utf-8") if not text.lstrip().startswith("{") else text
        return {str(name): float(value) for name, value in json.loads(source).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def metric(text: str) -> str:
    """The metric's name; `eval_accuracy` means accuracy."""
    return text.removeprefix("eval_")


def parser(description: str | None = None) -> argparse.ArgumentParser:
    """All flags, with the defaults of the published recipe. Flags not given follow the preset where it has one."""
    made = argparse.ArgumentParser(
        prog="python -m training.fewshot.cli", description=description, argument_default=argparse.SUPPRESS
    )

    def add(name: str, help: str, default: object = None, **options: Any) -> None:
        names = [name, ALIASES[name]] if name in ALIASES else [name]
        shown = "" if default is None and "choices" not in options else f" (default {default})"
        made.add_argument(*names, help=f"{help}{shown}".replace("%", "%%"), **options)
        DEFAULTS[name.removeprefix("--")] = default

    def on_off(name: str, help: str) -> None:
        add(name, help, False, type=switch, nargs="?", const=True)

    add("--data_dir", "folder with train.txt dev.txt test.txt data.txt label.txt", "./data")
    add("--output_dir", "where results, checkpoints and export go", "./checkpoints")
    add("--model_name_or_path", "a PaddleNLP name or a folder", SHIPPED_BACKBONE)
    add("--prompt", "a sentence or a template; empty: one is chosen by the training data", "")
    add("--soft_encoder", "lstm, mlp or None", "lstm", type=none_or(str))
    add(
        "--encoder_hidden_size",
        "inner width of the soft encoder, None: the backbone's",
        200,
        type=none_or(int),
    )
    add(
        "--verbalizer",
        "soft (trained rows) or manual (the words' own embeddings)",
        "soft",
        choices=("soft", "manual"),
    )
    add("--max_seq_length", "tokens of a row; only texts are cut, never the prompt", 128, type=int)
    add("--learning_rate", "of the backbone", 3e-5, type=float)
    add("--ppt_learning_rate", "of prompt and verbalizer (or classifier rows)", 3e-4, type=float)
    add("--weight_decay", "of the backbone", 0.0, type=float)
    add("--ppt_weight_decay", "of prompt and verbalizer", 0.0, type=float)
    for action, what in (
        ("train", "train"),
        ("eval", "measure on dev"),
        ("predict", "label test.txt"),
        ("export", "write export/"),
    ):
        on_off(f"--do_{action}", what)
    add(
        "--export_formats",
        "what --do_export writes, divided by commas: onnx, paddle, int8 (model.int8.onnx, kept if it answers dev.txt alike)",
        ",".join(EXACT_FORMATS),
        type=formats,
    )
    add("--max_steps", "updates; overrides --num_train_epochs when positive", -1, type=int)
    add("--num_train_epochs", "passes over train.txt", 3.0, type=float)
    add("--eval_steps", "updates between two looks at dev", 100, type=int)
    add("--logging_steps", "updates between two lines of the log", 10, type=int)
    add("--save_steps", "updates between two checkpoints", 500, type=int)
    add("--save_total_limit", "checkpoints kept, None: all", None, type=none_or(int))
    add("--per_device_train_batch_size", "texts a batch", 8, type=int)
    add("--per_device_eval_batch_size", "texts a batch outside training", 8, type=int)
    add("--gradient_accumulation_steps", "batches an update", 1, type=int)
    on_off("--fp16", "half precision on a GPU")
    on_off("--bf16", "bfloat16 on a GPU")
    on_off("--recompute", "less memory, more time")
    add("--seed", "decides order, dropout and random starts", 42, type=int)
    add("--device", "auto takes a GPU where there is one", "auto", choices=("auto", "cpu", "gpu"))
    add("--num_threads", "0: physical cores", 0, type=int)
    add(
        "--resume_from_checkpoint",
        "a checkpoint-N, or a folder that holds some; enough for --do_eval, --do_predict and --do_export without train.txt",
    )
    on_off("--use_rdrop", "R-Drop")
    add(
        "--alpha_rdrop",
        "weight of R-Drop's KL, a mean over texts: PaddleNLP sums, so its alpha a acts like a times the batch size here",
        5.0,
        type=float,
    )
    on_off("--use_rgl", "RGL: texts of one class drawn together")
    add("--alpha_rgl", "weight of RGL", 0.5, type=float)
    on_off("--freeze_plm", "train prompt and verbalizer alone")
    on_off("--freeze_dropout", "no dropout")
    add("--freeze_layers", "lowest layers left as they are, embeddings too", 0, type=int)
    add(
        "--lr_scheduler_type",
        "linear, cosine or constant",
        "linear",
        choices=("linear", "cosine", "constant"),
    )
    add("--warmup_ratio", "share of the updates with a rising rate", 0.0, type=float)
    add("--warmup_steps", "updates with a rising rate; overrides the ratio", 0, type=int)
    add("--max_grad_norm", "gradients are clipped to this norm", 1.0, type=float)
    on_off("--load_best_model_at_end", "keep the weights that were best on dev")
    add("--metric_for_best_model", "accuracy, macro_f1 or loss", "accuracy", type=metric)
    add("--early_stopping_patience", "looks at dev without gain before it stops", None, type=none_or(int))
    add("--class_weights", "none, balanced, a JSON object by label, or a JSON file", None, type=weights)
    add("--label_smoothing", "share of each target spread over all labels", 0.0, type=float)
    add("--ema_decay", "moving average of the weights, 0: none", 0.0, type=float)
    add("--fgm_epsilon", "size of adversarial noise on embeddings, 0: none", 0.0, type=float)
    add(
        "--task",
        "single, multi_label or hierarchical",
        "single",
        choices=("single", "multi_label", "hierarchical"),
    )
    add(
        "--method",
        "how to classify",
        "prompt",
        choices=("prompt", "label_sentence", "mixture", "pair", "finetune", "probe", "zero_shot", "auto"),
    )
    add(
        "--zero_shot_by",
        "what --method zero_shot scores with",
        "label_sentence",
        choices=("label_sentence", "cloze", "mixture"),
    )
    add(
        "--calibration",
        "whose mean score is taken from the cloze at the start: nobody's, the empty text's, the pool's",
        "raw",
        choices=("raw", "empty", "pool", "auto"),
    )
    add(
        "--mixture_weight",
        "share of the cloze in --method mixture, None: dev chooses",
        None,
        type=none_or(float),
    )
    add("--extra_templates", "further templates, trained and averaged with --prompt", nargs="*")
    add(
        "--start_share",
        "share of the weights before training kept in those after it, None: what served the method",
        0.0,
        type=none_or(float),
    )
    add(
        "--adapt",
        "first read data.txt as a masked language model: as it is (mlm), or with pseudo-labels written in (pcp)",
        "none",
        choices=("none", "mlm", "pcp"),
    )
    add("--adapt_texts", "texts of data.txt to read, 0: as many as the time budget has room for", 0, type=int)
    add("--adapt_passes", "passes over them", 1.0, type=float)
    add("--adapt_learning_rate", "rate of the backbone while it reads them", 1e-4, type=float)
    add("--layer_decay", "each layer learns at this share of the rate of the layer above it", 1.0, type=float)
    on_off("--refit_on_dev", "when all is chosen, train again on train.txt and dev.txt together")
    add(
        "--preset",
        "quick: about 3 minutes on two cores, no pool; best: up to 30, reads data.txt, compares methods, learns dev.txt too",
        None,
        choices=("quick", "best"),
    )
    add(
        "--time_budget",
        "seconds that a run may take: auto tries less, a long training makes fewer passes",
        None,
        type=none_or(float),
    )
    on_off("--use_pool", "learn from data.txt too")
    return made


def configuration(given: dict) -> FewShotConfig:
    """The engine's configuration: what was given, else the preset's, else the recipe's defaults."""
    values: dict = {}
    preset = given.get("preset")
    for flag in CONFIG_FLAGS:
        field = FIELD_OF_FLAG.get(flag, flag)
        if flag in given:
            values[field] = given[flag]
        elif preset is None or flag in ("model_name_or_path", "prompt"):
            values[field] = DEFAULTS[flag]
    if given.get("fp16") or given.get("bf16"):
        values["precision"] = "fp16" if given.get("fp16") else "bf16"
    if preset is not None:
        values = {**PRESETS[preset], "preset": preset, **values}
    if "extra_templates" in values:
        values["extra_templates"] = tuple(values["extra_templates"] or ())
    return FewShotConfig.from_json(values)
