"""How long a run learns, and how fast each parameter does at each update."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import paddle

from training.fewshot.config import FewShotConfig
from training.fewshot.text_network import TextNetwork

# Multiplications and additions a second of two cores of a laptop, reading and training; measured on 952 texts of 128
# tokens. Fixed numbers, so that a run's length depends on its settings and texts alone and can be repeated elsewhere.
READING_SPEED, TRAINING_SPEED = 85e9, 50e9
# The rest of the time budget is for loading, dev and test.
TRAINING_SHARE = 0.8
# Fewer updates than this teach too little, whatever the time.
LEAST_UPDATES = 60


def epochs_within(config: FewShotConfig, backbone: dict, lengths: Sequence[int]) -> float:
    """`config.num_train_epochs`, or as many (in quarters, at least LEAST_UPDATES) as the time budget has room for.

    `lengths`: tokens of each training row. `config.freeze_layers` must have been settled.
    """
    if config.time_budget_seconds is None or config.max_steps > 0:
        return config.num_train_epochs
    hidden, inner = backbone["hidden_size"], backbone["intermediate_size"]
    layers = int(backbone["num_hidden_layers"])
    frozen = config.frozen_layers(layers)
    # Multiplications and additions of one token in one layer: four projections and the feed-forward's two.
    once = sum(lengths) * 2 * (4 * hidden**2 + 2 * hidden * inner)
    room = TRAINING_SHARE * config.time_budget_seconds - layers * once / READING_SPEED
    # Backwards costs twice what forwards does.
    epoch = max(1, 3 * (layers - frozen)) * once * (2 if config.use_rdrop else 1) / TRAINING_SPEED
    least = math.ceil(4 * LEAST_UPDATES * config.train_batch_size / len(lengths)) / 4
    return min(config.num_train_epochs, max(least, math.floor(4 * room / epoch) / 4))


def total_steps(config: FewShotConfig, n_rows: int) -> int:
    """Optimiser updates of a run over `n_rows` rows."""
    if config.max_steps > 0:
        return config.max_steps
    batches = math.ceil(n_rows / config.train_batch_size)
    return max(1, math.ceil(config.num_train_epochs * batches / config.gradient_accumulation_steps))


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
