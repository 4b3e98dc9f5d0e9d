"""A backbone under a head: what all networks share, and soft prompt vectors. The heads stand in `networks`.

Every network has one signature, `forward(input_ids, token_type_ids, position_ids, attention_mask, mask_positions)`,
int64 arrays [n, L] ([n, M] the last) to logits [n, labels] float32, and divides into `embed`, `run_layers`, `read` and
`classify` so that a loop can cache what frozen layers give.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from training.fewshot.encoder_layer import Noise, encoder_layer
from training.fewshot.encoding import SoftSpan
from training.fewshot.ernie import empty_ernie
from training.fewshot.errors import BackboneError


class MaskHead(nn.Layer):
    """The masked language model's transform, without the decoder over the vocabulary."""

    def __init__(self, hidden_size: int, activation: str) -> None:
        super().__init__()
        self.transform = nn.Linear(hidden_size, hidden_size)
        self.layer_norm = nn.LayerNorm(hidden_size)
        self.activation = activation

    def forward(self, hidden: paddle.Tensor) -> paddle.Tensor:
        return self.layer_norm(getattr(F, self.activation)(self.transform(hidden)))


def load_backbone(folder: str | Path) -> tuple[nn.Layer, dict[str, np.ndarray]]:
    """PaddleNLP's ErnieModel with the folder's weights, and the masked-LM head's arrays by their short names.

    The head's names: transform.weight, transform.bias, layer_norm.weight, layer_norm.bias, decoder_bias; absent
    from the dict where the folder has none. Raises BackboneError on a tensor that is missing or misshapen.
    """
    from safetensors.numpy import load_file

    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "model.safetensors")
    ernie = empty_ernie(config)
    for name, parameter in ernie.named_parameters():
        value = weights.get(f"ernie.{name}", weights.get(name))
        if value is None and name.startswith("pooler."):
            value = np.zeros(parameter.shape, dtype=np.float32)
        set_array(parameter, name, value)
    prefix = "cls.predictions."
    head = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if "decoder_bias" not in head and "decoder.bias" in head:
        head["decoder_bias"] = head["decoder.bias"]
    ernie.has_pooler = "ernie.pooler.dense.weight" in weights
    return ernie, head


class SoftPrompt(nn.Layer):
    """Trainable prompt vectors [n, H], span by span through none, an LSTM or an MLP.

    The encoder adds to the vectors and its last layer starts at zero, so that a soft prompt starts as exactly the
    words it was given. (P-tuning, arXiv 2103.10385, lets the encoder replace them and starts at random.)
    """

    def __init__(self, spans: Sequence[SoftSpan], words: np.ndarray, seed: int) -> None:
        super().__init__()
        hidden_size = words.shape[1]
        random = np.random.default_rng(seed)
        rows = []
        for span in spans:
            if span.init_ids:
                rows.append(words[np.resize(np.array(span.init_ids), span.length)])
            else:
                rows.append(random.normal(0.0, words.std(), (span.length, hidden_size)))
        start = np.concatenate(rows).astype(np.float32)
        self.spans = tuple(spans)
        self.vectors = make_parameter(self, start)
        zero = paddle.ParamAttr(initializer=nn.initializer.Constant(0.0))
        self.lstms = nn.LayerDict()
        self.mlps = nn.LayerDict()
        for number, span in enumerate(spans):
            if span.encoder is None:
                continue
            inner = span.hidden_size or hidden_size
            width = hidden_size
            if span.encoder == "lstm":
                self.lstms[str(number)] = nn.LSTM(hidden_size, inner, num_layers=2, direction="bidirect")
                width = 2 * inner
            self.mlps[str(number)] = nn.Sequential(
                nn.Linear(width, inner),
                nn.ReLU(),
                nn.Linear(inner, hidden_size, weight_attr=zero, bias_attr=zero),
            )

    def forward(self) -> paddle.Tensor:
        rows = []
        for number, span in enumerate(self.spans):
            vectors = self.vectors[span.first : span.first + span.length]
            change = vectors
            if span.encoder == "lstm":
                change = self.lstms[str(number)](change.unsqueeze(0))[0].squeeze(0)
            if span.encoder is not None:
                vectors = vectors + self.mlps[str(number)](change)
            rows.append(vectors)
        return paddle.concat(rows)


class TextNetwork(nn.Layer):
    """A backbone under a head.

    Children define `features(hidden, regions, mask_positions)`: what the last linear map reads, or `read`, which
    may leave out of the last layer what it does not need; `classify(features)`: logits [n, labels]; `shift(offset)`, which
    takes `offset` [labels] away from every logit; and `describe()`: JSON values from which `rebuild` makes the layer again.
    """

    def __init__(self, ernie: nn.Layer, n_labels: int) -> None:
        super().__init__()
        self.ernie = ernie
        self.n_labels = n_labels
        self.soft: SoftPrompt | None = None
        self.soft_rows: paddle.Tensor | None = None
        self.recompute = False

    @property
    def depth(self) -> int:
        """Number of transformer layers."""
        return len(self.ernie.encoder.layers)

    @property
    def words(self) -> paddle.Tensor:
        """The token embeddings [vocabulary, H]."""
        return self.ernie.embeddings.word_embeddings.weight

    def replace_words(self, rows: np.ndarray) -> None:
        """Puts another table of token embeddings in place."""
        layer = self.ernie.embeddings.word_embeddings
        old = layer.weight
        layer.weight = make_parameter(layer, rows)
        layer.weight.stop_gradient = old.stop_gradient

    def add_soft_prompt(self, spans: Sequence[SoftSpan], seed: int) -> None:
        """Adds the vectors that ids vocabulary, vocabulary + 1, … stand for."""
        if spans:
            # Paddle's layers start from its one generator.
            paddle.seed(seed)
            self.soft = SoftPrompt(spans, self.words.numpy(), seed)

    def fold_soft_prompt(self) -> None:
        """Encodes the soft prompt once and keeps the vectors as plain rows."""
        if self.soft is not None:
            self.set_soft_rows(self.soft().numpy())
            self.soft = None

    def set_soft_rows(self, rows: np.ndarray) -> None:
        self.soft_rows = make_parameter(self, rows)

    def embed(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        position_ids: paddle.Tensor,
        noise: Noise | None = None,
    ) -> paddle.Tensor:
        """What the first layer reads: [n, L, H]."""
        table = self.words
        if self.soft is not None:
            table = paddle.concat([table, self.soft()])
        elif self.soft_rows is not None:
            table = paddle.concat([table, self.soft_rows])
        hidden = self.ernie.embeddings(
            inputs_embeds=F.embedding(input_ids, table),
            token_type_ids=token_type_ids,
            position_ids=position_ids,
        )
        # With noise, the layer's own dropout has been switched off (`encoder_layer.NoiseSource`).
        return hidden if noise is None else hidden * noise.hidden[-1]

    def regions(self, token_type_ids: paddle.Tensor, attention_mask: paddle.Tensor) -> paddle.Tensor:
        """[n, L]: 0 where nothing is to be read, the same number where tokens may read each other."""
        return attention_mask

    def away(self, regions: paddle.Tensor, dtype: paddle.dtype) -> paddle.Tensor:
        """[n, 1, 1, L] or [n, 1, L, L], added to attention scores: −1e4 where a token is not to be read."""
        return (1.0 - regions.astype(dtype)).unsqueeze([1, 2]) * -1e4

    def over_heads(self, away: paddle.Tensor) -> paddle.Tensor:
        """`away` as the scores are: [n, heads, L, L]."""
        n, _, _, length = away.shape
        return away.expand([n, self.ernie.config.num_attention_heads, length, length])

    def run_layers(
        self,
        hidden: paddle.Tensor,
        regions: paddle.Tensor,
        first: int = 0,
        last: int | None = None,
        *,
        noise: Noise | None = None,
        only: paddle.Tensor | None = None,
    ) -> paddle.Tensor:
        """`hidden` after layers first … last − 1: [n, L, H], or at the positions `only` [n, M] alone: [n, M, H].

        The last layer then computes nothing for the other positions: a fifth of the work on four layers.
        """
        last = self.depth if last is None else last
        away = self.away(regions, hidden.dtype)
        # Paddle adds arrays of one shape forty times faster than it broadcasts one, and every layer adds this one.
        spread = self.over_heads(away) if paddle.in_dynamic_mode() else away
        for number in range(first, last):
            layer = self.ernie.encoder.layers[number]
            factors = None if noise is None else noise.of_layer(number - first)
            positions = only if number == last - 1 else None
            given = (layer, hidden, spread if positions is None else away, factors, positions)
            if self.recompute and self.training:
                from paddle.distributed.fleet.utils import recompute

                hidden = recompute(encoder_layer, *given)
            else:
                hidden = encoder_layer(*given)
        return hidden

    def read(
        self,
        hidden: paddle.Tensor,
        regions: paddle.Tensor,
        mask_positions: paddle.Tensor | None = None,
        first: int = 0,
        noise: Noise | None = None,
    ) -> paddle.Tensor:
        """What the last linear map reads, from the states before layer `first`."""
        hidden = self.run_layers(hidden, regions, first, noise=noise)
        return self.features(hidden, regions, mask_positions)

    def forward(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        position_ids: paddle.Tensor,
        attention_mask: paddle.Tensor,
        mask_positions: paddle.Tensor | None = None,
    ) -> paddle.Tensor:
        hidden = self.embed(input_ids, token_type_ids, position_ids)
        regions = self.regions(token_type_ids, attention_mask)
        return self.classify(self.read(hidden, regions, mask_positions))

    def shift_views(self, offsets: np.ndarray) -> None:
        """Takes from the logits of every view its row of `offsets` [views, labels], or their mean from all."""
        self.shift(offsets.mean(axis=0))

    def arrays(self) -> dict[str, np.ndarray]:
        """float32 arrays from which `rebuild` makes this network; a soft prompt as its encoded vectors."""
        found = {
            name: np.ascontiguousarray(value.numpy().astype(np.float32))
            for name, value in self.state_dict().items()
            if not name.startswith("soft.")
        }
        if self.soft is not None:
            with paddle.no_grad():
                found["soft_rows"] = self.soft().numpy()
        return found

    def head_names(self) -> set[str]:
        """Parameters that learn at the prompt's rate: everything outside the backbone and the mask head's layers."""
        return {
            name
            for name, _ in self.named_parameters()
            if not name.startswith("ernie.") and not name.startswith("mask_head.")
        }


def mean_vector(hidden: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
    """Mean over the tokens where `mask` [n, L] is 1: [n, H]."""
    weight = mask.astype(hidden.dtype).unsqueeze(-1)
    return (hidden * weight).sum(axis=1) / weight.sum(axis=1)


def make_parameter(layer: nn.Layer, values: np.ndarray) -> paddle.Tensor:
    """A parameter for `layer` that holds `values`.

    Paddle's Assign initializer makes a Python list of them first: 0.9 GB for the shipped backbone's vocabulary.
    """
    made = layer.create_parameter(list(values.shape), default_initializer=nn.initializer.Constant(0.0))
    made.set_value(values.astype(np.float32, copy=False))
    return made


def set_array(tensor: paddle.Tensor, name: str, value: np.ndarray | None) -> None:
    if value is None:
        raise BackboneError(f"the weights lack {name}", tensor=name)
    if list(value.shape) != list(tensor.shape):
        raise BackboneError(f"{name}: shape {list(value.shape)}, expected {list(tensor.shape)}", tensor=name)
    if hasattr(tensor, "initialize") and not tensor._is_initialized():
        tensor.initialize()
    tensor.set_value(value.astype(np.float32, copy=False))
