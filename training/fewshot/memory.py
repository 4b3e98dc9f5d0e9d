"""The memory guard: an estimate before training starts, and a smaller batch where it would not fit."""

from __future__ import annotations

import os
from pathlib import Path

from training.fewshot.config import FewShotConfig
from training.fewshot.data import warning
from training.fewshot.errors import NotEnoughMemory

# Paddle, PaddleNLP and their libraries after import, measured with version 3.3.1.
PROCESS_BYTES = 600 << 20
# Measured peaks lie between 0.6 and 0.9 of the estimate; a part of the memory is left to others.
USABLE_SHARE = 0.9


def training_bytes(config: FewShotConfig, backbone: dict, batch_size: int, length: int) -> int:
    """Bytes that training with rows of `length` tokens needs: weights, gradients, moments and activations."""
    hidden, layers = backbone["hidden_size"], backbone["num_hidden_layers"]
    inner, heads = backbone["intermediate_size"], backbone["num_attention_heads"]
    table = backbone["vocab_size"] * hidden
    encoder = layers * (4 * hidden * hidden + 2 * hidden * inner)
    frozen = config.frozen_layers(layers) / layers
    # Moments and gradients only for what is trained; the embedding table is cut to the rows in use.
    weights = 4 * (2 * table + encoder + 3 * encoder * (1 - frozen))
    rows = batch_size * (2 if config.use_rdrop else 1)
    kept_layers = 1 if config.recompute else layers * (1 - frozen) + 1
    # Per token and layer: attention and feed-forward inputs and outputs, dropout factors, and the attention matrix.
    per_token = 20 * hidden + 4 * inner + 6 * heads * length
    width = 2 if config.precision in ("fp16", "bf16") else 4
    activations = width * rows * length * per_token * kept_layers
    return int(PROCESS_BYTES + weights + activations)


def available_bytes() -> int | None:
    """Memory that this process may still take: the system's, or its control group's where that is less."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            most = Path(limit).read_text().strip()
            if most != "max" and int(most) < 1 << 60:
                found.append(int(most) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    return min(found) if found else None


def guard(
    config: FewShotConfig, backbone: dict, longest: int, *, available: int | None = None
) -> tuple[FewShotConfig, list[dict]]:
    """The configuration, with a smaller batch and as much more accumulation where the asked one does not fit.

    Raises NotEnoughMemory when even one row at a time would not fit; `detail` then holds bytes needed and free.
    """
    free = available_bytes() if available is None else available
    if free is None:
        return config, []
    usable = int(free * USABLE_SHARE)
    if training_bytes(config, backbone, config.train_batch_size, longest) <= usable:
        return config, []
    batch = config.train_batch_size
    while batch > 1 and training_bytes(config, backbone, batch, longest) > usable:
        batch = (batch + 1) // 2
    needed = training_bytes(config, backbone, batch, longest)
    if needed > usable:
        raise NotEnoughMemory(
            f"training needs {needed >> 20} MiB even with one text a batch; {free >> 20} MiB are free",
            hint="Choose a smaller backbone, a shorter maximum length, recompute, or frozen layers.",
            needed_bytes=needed,
            free_bytes=free,
        )
    accumulate = config.gradient_accumulation_steps * -(-config.train_batch_size // batch)
    smaller = config.replace(train_batch_size=batch, gradient_accumulation_steps=accumulate)
    return smaller, [
        warning(
            "smaller_batch",
            f"a batch of {config.train_batch_size} does not fit into {free >> 20} MiB: {batch} texts at a time, "
            f"gradients of {accumulate} batches added up",
            asked=config.train_batch_size,
            batch_size=batch,
            accumulation=accumulate,
        )
    ]


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
