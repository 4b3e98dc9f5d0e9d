"""How long a run learns, and how fast each parameter does at each update."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import paddle

from training.fewshot.backbones import Backbone
from training.fewshot.config import FewShotConfig
from training.fewshot.text_network import TextNetwork

# Fewer updates than this teach too little, whatever the time.
LEAST_UPDATES = 60
# Methods that answered better with a quarter of their start kept.
SERVED_BY_START = ("label_sentence", "pair", "finetune")


def total_steps(config: FewShotConfig, n_rows: int) -> int:
    """Optimiser updates of a run over `n_rows` rows."""
    if config.max_steps > 0:
        return config.max_steps
    batches = math.ceil(n_rows / config.train_batch_size)
    return max(1, math.ceil(config.num_train_epochs * batches / config.gradient_accumulation_steps))


def layers_left_alone(config: FewShotConfig, backbone: Backbone) -> int:
    """`config.freeze_layers`; where it leaves that open (-1), two thirds of the layers for methods that read sentences.

    A sentence encoder already reads the label sentences; training its upper third reached the same held-out accuracy
    on tnews' train and dev (55.2 and 54.6 % over two seeds; all layers: 55.8 % on dev alone, where the upper third had
    57.1 %) in less than half the time, since what the frozen layers give is computed once.
    """
    if config.freeze_layers >= 0:
        return config.freeze_layers
    reads_sentences = config.method in ("label_sentence", "mixture", "pair")
    return 2 * int(backbone.config["num_hidden_layers"]) // 3 if reads_sentences else 0


def share_of_start(config: FewShotConfig) -> float:
    """`config.start_share`; where it leaves that open, a quarter for the methods that gained by it.

    On folds of train + dev it costs the methods that complete a cloze about a point (docs/research/2026-11-few-shot.md).
    """
    if config.start_share is not None:
        return config.start_share
    return 0.25 if config.method in SERVED_BY_START else 0.0


def schedule(config: FewShotConfig, total: int) -> Callable[[int], float]:
    """Update number (from 0) → factor on the learning rates: warm-up from 0, then linear, cosine or constant."""
    warmup = config.warmup_steps or math.ceil(config.warmup_ratio * total)

    def factor(step: int) -> float:
        if step < warmup:
            return step / max(1, warmup)
        if config.lr_scheduler_type == "constant":
            return 1.0
        progress = (step - warmup) / max(1, total - warmup)
        if config.lr_scheduler_type == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return max(0.0, 1.0 - progress)

    return factor


def layers_above(name: str, depth: int) -> int:
    """How many layers of `depth` stand above the parameter `name`: what layer-wise rates decay by (arXiv 2006.05987)."""
    if ".embeddings." in name:
        return depth
    found = re.search(r"encoder\.layers\.(\d+)\.", name)
    return depth - 1 - int(found[1]) if found else 0


def parameter_groups(
    config: FewShotConfig, network: TextNetwork, trained: dict[str, paddle.Tensor]
) -> list[Any]:
    """Groups for AdamW whose base rate carries the schedule; each group's own rate multiplies it."""
    heads = network.head_names()
    by_rate: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in trained.items():
        if name in heads:
            rate, decay = config.ppt_learning_rate, config.ppt_weight_decay
        else:
            rate = config.learning_rate * config.layer_decay ** layers_above(name, network.depth)
            decay = config.weight_decay
        # Biases and norms are not drawn to zero.
        by_rate.setdefault((rate, decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    # Paddle keeps the type of a parameter group to itself.
    return [
        {"params": parameters, "learning_rate": rate, "weight_decay": decay}
        for (rate, decay), parameters in by_rate.items()
    ]
