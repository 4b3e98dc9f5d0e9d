"""One layer of the encoder, computed from the parameters of PaddleNLP's layer, and the noise of its dropout."""

from __future__ import annotations

import dataclasses

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn


@dataclasses.dataclass(frozen=True)
class Noise:
    """Factors of dropout for one batch: 0 where a value is dropped, 1 / (share kept) elsewhere.

    `hidden` [2·layers + 1, n, L, H]: two a layer, and the embeddings' last. `attention` [layers, n, heads, L, L].
    """

    hidden: paddle.Tensor
    attention: paddle.Tensor

    def of_layer(self, number: int) -> LayerNoise:
        """The factors of the layer that is `number` steps above the first one trained."""
        return LayerNoise(self.attention[number], self.hidden[2 * number], self.hidden[2 * number + 1])


@dataclasses.dataclass(frozen=True)
class LayerNoise:
    """One layer's factors: attention weights, attention output, feed-forward output."""

    attention: paddle.Tensor
    first: paddle.Tensor
    second: paddle.Tensor


class NoiseSource:
    """Draws dropout's factors with numpy, and switches the network's own dropout off.

    Paddle's dropout on the CPU takes 10 ns a value, ten times what GELU takes; a byte a value compared with a limit
    takes 1. The share dropped is rounded to 1/256 and made up for exactly. The draw depends on the given numbers alone.
    """

    def __init__(self, ernie: nn.Layer, first_layer: int) -> None:
        config = ernie.config
        self.layers = len(ernie.encoder.layers) - first_layer
        self.width, self.heads = config.hidden_size, config.num_attention_heads
        self.hidden_limit = round(256 * config.hidden_dropout_prob)
        self.attention_limit = round(256 * config.attention_probs_dropout_prob)
        ernie.embeddings.dropout.p = 0.0

    def draw(self, seed: list[int], n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """float32 arrays for `Noise`."""
        random = np.random.Generator(np.random.SFC64(seed))
        return (
            _factors(random, (2 * self.layers + 1, n, length, self.width), self.hidden_limit),
            _factors(random, (self.layers, n, self.heads, length, length), self.attention_limit),
        )


def _factors(random: np.random.Generator, shape: tuple[int, ...], limit: int) -> np.ndarray:
    size = int(np.prod(shape))
    if not limit:
        return np.ones(shape, dtype=np.float32)
    drawn = np.frombuffer(random.bytes(size), dtype=np.uint8)
    kept = np.float32(256.0 / (256 - limit))
    return np.multiply(drawn >= limit, kept, dtype=np.float32).reshape(shape)


def encoder_layer(
    layer: nn.Layer,
    hidden: paddle.Tensor,
    away: paddle.Tensor,
    noise: LayerNoise | None = None,
    only: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """What `layer` (post-norm) makes of `hidden` [n, L, H]: [n, L, H], or [n, M, H] at the positions `only` [n, M].

    `away` [n, 1, 1, L]: added to the attention scores, 0 or −1e4. Without `noise` the layer's own dropout is at work.
    """
    attention = layer.self_attn
    heads, width = attention.num_heads, attention.head_dim
    asking = hidden if only is None else at_positions(hidden, only)

    def by_head(values: paddle.Tensor) -> paddle.Tensor:
        return values.reshape([0, 0, heads, width]).transpose([0, 2, 1, 3])

    scores = paddle.matmul(
        by_head(attention.q_proj(asking)) * width**-0.5, by_head(attention.k_proj(hidden)), transpose_y=True
    )
    weights = F.softmax(scores + away)
    if noise is None:
        weights = F.dropout(weights, attention.dropout, training=layer.training)
    else:
        weights = weights * (
            noise.attention if only is None else _rows_of_attention(noise.attention, only, heads)
        )
    found = paddle.matmul(weights, by_head(attention.v_proj(hidden)))
    found = attention.out_proj(found.transpose([0, 2, 1, 3]).reshape([0, 0, heads * width]))
    hidden = layer.norm1(
        asking + _dropped(layer.dropout1, found, None if noise is None else noise.first, only)
    )
    found = layer.linear2(layer.dropout(layer.activation(layer.linear1(hidden))))
    return layer.norm2(
        hidden + _dropped(layer.dropout2, found, None if noise is None else noise.second, only)
    )


def at_positions(hidden: paddle.Tensor, positions: paddle.Tensor) -> paddle.Tensor:
    """[n, M, H]: the rows of `hidden` [n, L, H] at `positions` [n, M]."""
    index = positions.unsqueeze(-1).expand([-1, -1, hidden.shape[-1]])
    return paddle.take_along_axis(hidden, index, axis=1, broadcast=False)


def _dropped(
    dropout: nn.Layer, values: paddle.Tensor, factors: paddle.Tensor | None, only: paddle.Tensor | None
) -> paddle.Tensor:
    if factors is None:
        return dropout(values)
    return values * (factors if only is None else at_positions(factors, only))


def _rows_of_attention(factors: paddle.Tensor, only: paddle.Tensor, heads: int) -> paddle.Tensor:
    """[n, heads, M, L] of [n, heads, L, L]."""
    index = only.unsqueeze(1).unsqueeze(-1).expand([-1, heads, -1, factors.shape[-1]])
    return paddle.take_along_axis(factors, index, axis=2, broadcast=False)
