"""The forward pass of a training step, as it stands or as a static graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import paddle
from paddle import nn

from training.fewshot.encoder_layer import Noise, NoiseSource
from training.fewshot.text_network import TextNetwork


def make_step(
    network: TextNetwork, first_layer: int, noise: NoiseSource | None, *, static: bool
) -> Callable[..., Any]:
    """`Step` of the layers from `first_layer` on; `static`: compiled, for any number and length of rows."""
    step = Step(network, first_layer)
    if not static:
        return step
    width = int(network.words.shape[1])
    spec: list[Any] = [paddle.static.InputSpec([None, None], "int64") for _ in range(5)]
    if first_layer:
        spec[0] = paddle.static.InputSpec([None, None, width], "float32")
    spec += [None, None]
    if noise is not None:
        spec[-2:] = [
            paddle.static.InputSpec([2 * noise.layers + 1, None, None, width], "float32"),
            paddle.static.InputSpec([noise.layers, None, noise.heads, None, None], "float32"),
        ]
    return paddle.jit.to_static(step, input_spec=spec, full_graph=True)


class Step(nn.Layer):
    """One forward pass that gives logits and features: what a static graph is made of, where one is asked for."""

    def __init__(self, network: TextNetwork, first_layer: int) -> None:
        super().__init__()
        self.network = network
        self.first_layer = first_layer

    def forward(
        self,
        start,
        token_type_ids,
        position_ids,
        attention_mask,
        mask_positions,
        hidden_noise,
        attention_noise,
    ):
        network = self.network
        noise = None if hidden_noise is None else Noise(hidden_noise, attention_noise)
        hidden = start
        if not self.first_layer:
            hidden = network.embed(start, token_type_ids, position_ids, noise)
        regions = network.regions(token_type_ids, attention_mask)
        features = network.read(hidden, regions, mask_positions, self.first_layer, noise)
        return network.classify(features), features
