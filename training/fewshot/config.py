"""All settings of one training run: a frozen dataclass, JSON both ways."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.fewshot.errors import ConfigError

METHODS = ("auto", "prompt", "label_sentence", "mixture", "pair", "finetune", "probe", "zero_shot")
SHIPPED_BACKBONE = "wanxing-small-zh"

CHOICES: dict[str, tuple] = {
    "method": METHODS,
    "task": ("single", "multi_label", "hierarchical"),
    "preset": (None, "quick", "best"),
    "soft_encoder": (None, "lstm", "mlp"),
    "verbalizer": ("soft", "manual"),
    "pooling": ("auto", "mean", "cls", "pooler"),
    "zero_shot_by": ("label_sentence", "cloze", "mixture"),
    "calibration": ("auto", "raw", "empty", "pool"),
    "adapt": ("none", "mlm", "pcp"),
    "precision": ("fp32", "fp16", "bf16"),
    "device": ("auto", "cpu", "gpu"),
    "lr_scheduler_type": ("linear", "cosine", "constant"),
    "metric_for_best_model": ("accuracy", "macro_f1", "loss"),
}

# name: (smallest allowed, largest allowed)
RANGES: dict[str, tuple[float, float]] = {
    "max_seq_length": (8, 8192),
    "learning_rate": (0.0, 1.0),
    "ppt_learning_rate": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "ppt_weight_decay": (0.0, 10.0),
    "max_steps": (-1, 10_000_000),
    "num_train_epochs": (0.0, 100_000.0),
    "eval_steps": (0, 10_000_000),
    "logging_steps": (1, 10_000_000),
    "save_steps": (0, 10_000_000),
    "save_total_limit": (1, 10_000),
    "train_batch_size": (1, 65_536),
    "eval_batch_size": (1, 65_536),
    "gradient_accumulation_steps": (1, 65_536),
    "seed": (0, 2**31 - 1),
    "alpha_rdrop": (0.0, 1000.0),
    "alpha_rgl": (0.0, 1000.0),
    "freeze_layers": (-1, 10_000),
    "warmup_ratio": (0.0, 1.0),
    "warmup_steps": (0, 10_000_000),
    "max_grad_norm": (0.0, 1e9),
    "label_smoothing": (0.0, 0.99),
    "fgm_epsilon": (0.0, 100.0),
    "ema_decay": (0.0, 0.99999),
    "scale": (0.01, 1000.0),
    "early_stopping_patience": (1, 100_000),
    "time_budget_seconds": (1.0, 1e7),
    "encoder_hidden_size": (1, 65_536),
    "num_threads": (0, 4096),
    "cross_validation_folds": (2, 20),
    "ensemble_size": (1, 32),
    "pool_texts": (0, 1_000_000),
    "start_share": (0.0, 1.0),
    "mixture_weight": (0.0, 1.0),
    "adapt_texts": (0, 1_000_000),
    "adapt_passes": (0.0, 1000.0),
    "adapt_learning_rate": (0.0, 1.0),
    "layer_decay": (0.1, 1.0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """Everything that decides a run besides its data, labels and backbone weights.

    Steps count optimiser updates. `max_steps` of -1 means `num_train_epochs` passes over the training texts.
    `eval_steps` and `save_steps` of 0 mean never during training. Rates are per update. `freeze_layers` counts from
    the bottom, embeddings included; -1 leaves two thirds of the layers frozen where texts are read as sentences
    (label_sentence, mixture, pair) and none for the other methods. With `use_pool`,
    `ensemble_size` counts the teachers and `pool_texts` the texts that they label (1 and 0: as `distil` sets them,
    fewer where the time budget is short). `start_share`: that share of the weights before training is kept in the
    weights after it (WiSE-FT, arXiv 2109.01903); None, as presets have it, is what served the method (`rates.share_of_start`).

    `zero_shot_by`: what the method zero_shot scores with. `calibration`: whose mean score is taken away from the cloze
    before training (or instead of it): that of the empty text, that of texts of the pool, or nobody's ("raw"); "auto" is
    the pool, for which the training texts stand in where there is none. `mixture_weight`: the cloze's share in the
    method mixture; None lets dev choose (train for zero_shot, which has not learnt it). `adapt`: the backbone first
    reads the pool as a masked language model, as it is ("mlm") or with pseudo-labels written into it ("pcp", arXiv
    2305.01711); 0 `adapt_texts` means as many as the time budget has room for. `layer_decay`: each layer learns at this
    share of the rate of the layer above it. `to_static` compiles the step: on the CPU it is no faster than as it
    stands, and holds half as much memory again. `refit_on_dev`: when everything is chosen, the model is trained again on
    train + dev with the same settings; dev then says nothing about it any more.
    """

    method: str = "label_sentence"
    task: str = "single"
    preset: str | None = None
    backbone: str = SHIPPED_BACKBONE
    template: str = ""
    extra_templates: tuple[str, ...] = ()
    soft_encoder: str | None = None
    encoder_hidden_size: int | None = 200
    verbalizer: str = "soft"
    pooling: str = "auto"
    scale: float = 10.0
    max_seq_length: int = 128
    learning_rate: float = 5e-5
    ppt_learning_rate: float = 1e-3
    weight_decay: float = 0.0
    ppt_weight_decay: float = 0.0
    max_steps: int = -1
    num_train_epochs: float = 8.0
    eval_steps: int = 0
    logging_steps: int = 10
    save_steps: int = 0
    save_total_limit: int | None = None
    train_batch_size: int = 16
    eval_batch_size: int = 64
    gradient_accumulation_steps: int = 1
    precision: str = "fp32"
    recompute: bool = False
    to_static: bool = False
    seed: int = 42
    device: str = "auto"
    num_threads: int = 0
    use_rdrop: bool = False
    alpha_rdrop: float = 5.0
    use_rgl: bool = False
    alpha_rgl: float = 0.5
    freeze_plm: bool = False
    freeze_dropout: bool = False
    freeze_layers: int = -1
    lr_scheduler_type: str = "linear"
    warmup_ratio: float = 0.0
    warmup_steps: int = 0
    max_grad_norm: float = 1.0
    label_smoothing: float = 0.05
    fgm_epsilon: float = 0.0
    ema_decay: float = 0.0
    class_weights: str | dict[str, float] | None = None
    load_best_model_at_end: bool = False
    metric_for_best_model: str = "accuracy"
    early_stopping_patience: int | None = None
    use_pool: bool = False
    time_budget_seconds: float | None = None
    cross_validation_folds: int = 4
    ensemble_size: int = 1
    pool_texts: int = 0
    start_share: float | None = 0.0
    zero_shot_by: str = "label_sentence"
    calibration: str = "auto"
    mixture_weight: float | None = None
    adapt: str = "none"
    adapt_texts: int = 0
    adapt_passes: float = 1.0
    adapt_learning_rate: float = 1e-4
    layer_decay: float = 1.0
    refit_on_dev: bool = False

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "extra_templates" and isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, field.name, value)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if whole and float in (hints[field.name], *typing.get_args(hints[field.name])):
                value = float(value)
                object.__setattr__(self, field.name, value)
            if not _matches(value, hints[field.name]):
                raise ConfigError(
                    f"{field.name}: {value!r} is not of type {_type_name(hints[field.name])}",
                    setting=field.name,
                )
            if field.name in CHOICES and value not in CHOICES[field.name]:
                allowed = ", ".join(str(choice) for choice in CHOICES[field.name])
                raise ConfigError(f"{field.name}: {value!r} is none of {allowed}", setting=field.name)
            if field.name in RANGES and value is not None:
                low, high = RANGES[field.name]
                if not low <= value <= high:
                    raise ConfigError(
                        f"{field.name}: {value!r} is outside {low} to {high}", setting=field.name
                    )
        if isinstance(self.class_weights, str) and self.class_weights != "balanced":
            raise ConfigError(
                f"class_weights: {self.class_weights!r} is neither balanced nor weights by label",
                setting="class_weights",
            )
        if self.use_rdrop and self.use_rgl:
            raise ConfigError("use_rdrop and use_rgl cannot be combined", setting="use_rgl")

    @property
    def rows_per_text(self) -> int:
        """Rows that a text is read as: a view a template for the cloze, one for the label sentences."""
        views = 1 + len(self.extra_templates)
        return {"prompt": views, "mixture": 1 + views}.get(self.method, 1)

    @property
    def searches(self) -> bool:
        """Whether the run looks at the clock: it compares methods or reads the pool."""
        return self.method == "auto" or self.use_pool or self.adapt != "none"

    @property
    def steepness(self) -> float:
        """What cosines are multiplied by: `scale` before a softmax, twice that before sigmoids.

        A softmax is as sure as the labels' scores lie apart, a sigmoid only as its own score is high. Two folds of texts
        with several labels made of tnews' train and dev, micro F1 with preset quick: 48.8 with 5, 51.1 with 10.
        """
        return self.scale if self.task == "single" else 2.0 * self.scale

    def frozen_layers(self, depth: int) -> int:
        """Layers of `depth` that stay as they are, once `freeze_layers` is settled."""
        return depth if self.freeze_plm else max(0, min(self.freeze_layers, depth))

    def replace(self, **changes: Any) -> FewShotConfig:
        """A copy with some settings changed, checked like any other."""
        known = {field.name for field in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise ConfigError(f"unknown setting {name!r}", setting=name)
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict:
        """A dict of JSON values; `from_json` turns it back into an equal object."""
        values = dataclasses.asdict(self)
        values["extra_templates"] = list(self.extra_templates)
        return values

    @classmethod
    def from_json(cls, values: dict) -> FewShotConfig:
        """The configuration that `values` describes; absent settings take the preset's or the class's default.

        Raises ConfigError on an unknown name, a wrong type or a value out of range.
        """
        if not isinstance(values, dict):
            raise ConfigError("a configuration is a JSON object")
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown setting {unknown[0]!r}", setting=unknown[0])
        preset = values.get("preset")
        merged = {**PRESETS.get(preset, {}), **values} if isinstance(preset, str | None) else values
        return cls(**merged)

    @classmethod
    def load(cls, path: str | Path) -> FewShotConfig:
        """The configuration in a JSON file."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        return cls.from_json(values)


# What a preset sets; anything said beside it wins.
PRESETS: dict[str | None, dict] = {
    None: {},
    "quick": {"time_budget_seconds": 180.0, "start_share": None, "scale": 5.0},
    "best": {
        "method": "auto",
        "time_budget_seconds": 1800.0,
        "start_share": None,
        "scale": 5.0,
        "adapt": "mlm",
        "refit_on_dev": True,
    },
}


def preset(name: str, **changes: object) -> FewShotConfig:
    """The configuration of preset `name` ("quick": minutes, no pool; "best": at most half an hour; it
    reads the pool, compares methods, and at last learns dev too)."""
    return FewShotConfig.from_json({"preset": name, **changes})


def check_weights(weights: Mapping[str, float], names: Sequence[str]) -> None:
    """Raises ConfigError where `class_weights` names a label that is not among `names`."""
    unknown = sorted(set(weights) - set(names))
    if unknown:
        raise ConfigError(f"class_weights: no label is called {unknown[0]!r}", setting="class_weights")


def _matches(value: object, hint: object) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, part) for part in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if origin is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            isinstance(key, str) and isinstance(item, int | float) and not isinstance(item, bool)
            for key, item in value.items()
        )
    if hint is float:
        return isinstance(value, float) and value == value and abs(value) != float("inf")
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)


def _type_name(hint: object) -> str:
    return getattr(hint, "__name__", None) or str(hint)
