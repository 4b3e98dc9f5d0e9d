"""A loop in the middle of its run as arrays by name, and back."""

from __future__ import annotations

import numpy as np
import paddle


def to_arrays(
    trained: dict[str, paddle.Tensor],
    averages: dict[str, paddle.Tensor],
    best: dict[str, np.ndarray] | None,
    optimizer: paddle.optimizer.Optimizer,
) -> dict[str, np.ndarray]:
    """Weights, their moving averages, the best ones so far and the optimiser's moments, all by parameter name.

    Paddle names a moment after its parameter's own counted name, which differs from process to process: here it is
    `moment/<name>|<the rest>`.
    """
    arrays = {f"weight/{name}": parameter.numpy() for name, parameter in trained.items()}
    arrays |= {f"average/{name}": value.numpy() for name, value in averages.items()}
    arrays |= {f"best/{name}": value for name, value in (best or {}).items()}
    moments = optimizer.state_dict()
    for name, parameter in trained.items():
        for key, value in moments.items():
            if key.startswith(f"{parameter.name}_"):
                arrays[f"moment/{name}|{key.removeprefix(parameter.name)}"] = value.numpy()
    return arrays


def put_back(
    arrays: dict[str, np.ndarray],
    trained: dict[str, paddle.Tensor],
    averages: dict[str, paddle.Tensor],
    optimizer: paddle.optimizer.Optimizer,
) -> dict[str, np.ndarray] | None:
    """Sets weights, averages and moments to what `to_arrays` gave; returns the best weights, None without any."""
    best: dict[str, np.ndarray] = {}
    moments = {}
    for key, value in arrays.items():
        kind, _, name = key.partition("/")
        if kind == "weight":
            trained[name].set_value(value)
        elif kind == "average":
            averages[name] = paddle.to_tensor(value)
        elif kind == "best":
            best[name] = value
        else:
            name, _, suffix = name.partition("|")
            moments[trained[name].name + suffix] = paddle.to_tensor(value)
    optimizer.set_state_dict(moments)
    return best or None
