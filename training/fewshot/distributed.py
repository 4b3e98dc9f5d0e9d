"""Several processes that train one model: each takes its share of every batch, gradients are averaged.

`PYTHONPATH=. python -m paddle.distributed.launch --nproc_per_node 2 --backend gloo training/fewshot/cli.py …` starts
them; on GPUs without `--backend` (NCCL; not tried for want of one). Class weights and RGL are taken within each
process's share of a batch. Every process holds the whole model and draws the same order, so that one seed gives the numbers that one process
would give up to dropout and the rounding of sums; only the first one writes and speaks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np
import paddle

from training.fewshot.config import FewShotConfig
from training.fewshot.errors import UnsupportedMethod


def world_size() -> int:
    """Processes of this run, as the launcher says; 1 without a launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def rank() -> int:
    """This process's number among them."""
    return int(os.environ.get("PADDLE_TRAINER_ID", "0"))


def check(config: FewShotConfig) -> None:
    """Raises UnsupportedMethod for settings by which processes would part company, each looking at its own clock."""
    if world_size() == 1:
        return
    if config.searches or config.train_batch_size < world_size():
        raise UnsupportedMethod(
            "several processes train one method on the labelled texts, with at least one text each a batch",
            hint="Choose a method other than auto, no pool, and a larger batch; or start one process.",
        )


def join() -> None:
    """Meets the other processes, once; nothing where there is only this one."""
    if world_size() > 1 and not paddle.distributed.is_initialized():
        paddle.distributed.init_parallel_env()


def share_of(batch: np.ndarray) -> np.ndarray:
    """The part of a batch that this process reads; at least one row, so that every process has a gradient to give."""
    world = world_size()
    if world == 1:
        return batch
    mine = batch[rank() :: world]
    return mine if len(mine) else batch[:1]


def weight_of(batch: np.ndarray) -> float:
    """What this process's mean loss counts for, so that the average over processes is the mean over the batch."""
    world = world_size()
    if world == 1:
        return 1.0
    return len(batch[rank() :: world]) * world / len(batch)


def average_gradients(parameters: Sequence[paddle.Tensor]) -> None:
    """Replaces each gradient by its mean over the processes."""
    world = world_size()
    if world == 1:
        return
    with paddle.no_grad():
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = paddle.zeros_like(parameter)
            paddle.distributed.all_reduce(parameter.grad)
            parameter.grad.scale_(1.0 / world)


def average(value: float) -> float:
    """The mean of a number over the processes."""
    if world_size() == 1:
        return value
    tensor = paddle.to_tensor([value], dtype="float32")
    paddle.distributed.all_reduce(tensor)
    return float(tensor) / world_size()


def wait() -> None:
    """Until every process has come here."""
    if world_size() > 1:
        paddle.distributed.barrier()


def leave(status: int) -> None:
    """Ends this process with `status` where there are several, together where all went well.

    Python is not taken down in order: Paddle's store and its threads now and then abort a process that has done all of
    its work, and the launcher then reports that the training failed.
    """
    if world_size() == 1:
        return
    if status == 0 and paddle.distributed.is_initialized():
        wait()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
