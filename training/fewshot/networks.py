"""The trainable networks: a backbone with one of three heads, and soft prompt vectors.

Every network has one signature, `forward(input_ids, token_type_ids, position_ids, attention_mask, mask_positions)`,
int64 arrays [n, L] ([n, M] the last) to logits [n, labels] float32, and divides into `embed`, `run_layers` and `head`
so that a loop can cache what frozen layers give.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from training.fewshot.encoder_layer import Noise, at_positions, encoder_layer
from training.fewshot.encoding import SoftSpan
from training.fewshot.errors import BackboneError
from training.fewshot.verbalizer import Verbalizer


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
    from paddlenlp.transformers import ErnieConfig, ErnieModel
    from safetensors.numpy import load_file

    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "model.safetensors")
    with paddle.LazyGuard():
        ernie = ErnieModel(ErnieConfig(**config))
    for name, parameter in ernie.named_parameters():
        value = weights.get(f"ernie.{name}", weights.get(name))
        if value is None and name.startswith("pooler."):
            value = np.zeros(parameter.shape, dtype=np.float32)
        _set(parameter, name, value)
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
        self.vectors = _parameter(self, start)
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

    Children define `features(hidden, attention_mask, mask_positions)`: what the last linear map reads, or `read`, which
    may leave out of the last layer what it does not need; `classify(features)`: logits [n, labels]; and `describe()`:
    JSON values from which `rebuild` makes the layer again.
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
        layer.weight = _parameter(layer, rows)
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
        self.soft_rows = _parameter(self, rows)

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

    def run_layers(
        self,
        hidden: paddle.Tensor,
        attention_mask: paddle.Tensor,
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
        away = (1.0 - attention_mask.astype(hidden.dtype)).unsqueeze([1, 2]) * -1e4
        for number in range(first, last):
            layer = self.ernie.encoder.layers[number]
            factors = None if noise is None else noise.of_layer(number - first)
            given = (layer, hidden, away, factors, only if number == last - 1 else None)
            if self.recompute and self.training:
                from paddle.distributed.fleet.utils import recompute

                hidden = recompute(encoder_layer, *given)
            else:
                hidden = encoder_layer(*given)
        return hidden

    def read(
        self,
        hidden: paddle.Tensor,
        attention_mask: paddle.Tensor,
        mask_positions: paddle.Tensor | None = None,
        first: int = 0,
        noise: Noise | None = None,
    ) -> paddle.Tensor:
        """What the last linear map reads, from the states before layer `first`."""
        hidden = self.run_layers(hidden, attention_mask, first, noise=noise)
        return self.features(hidden, attention_mask, mask_positions)

    def forward(
        self,
        input_ids: paddle.Tensor,
        token_type_ids: paddle.Tensor,
        position_ids: paddle.Tensor,
        attention_mask: paddle.Tensor,
        mask_positions: paddle.Tensor | None = None,
    ) -> paddle.Tensor:
        hidden = self.embed(input_ids, token_type_ids, position_ids)
        return self.classify(self.read(hidden, attention_mask, mask_positions))

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


def mean_vector(hidden: paddle.Tensor, attention_mask: paddle.Tensor) -> paddle.Tensor:
    """Mean over the real tokens: [n, H]."""
    weight = attention_mask.astype(hidden.dtype).unsqueeze(-1)
    return (hidden * weight).sum(axis=1) / weight.sum(axis=1)


class LabelSentenceNetwork(TextNetwork):
    """Scores a text against a row a label; rows start as the encoder's own vectors of the label sentences.

    logits = scale · normalise(unit mean vector − centre) · rows + bias, with rows [labels, H] and centre [1, H].
    """

    def __init__(
        self, ernie: nn.Layer, rows: np.ndarray, bias: np.ndarray, centre: np.ndarray, scale: float
    ) -> None:
        super().__init__(ernie, len(rows))
        self.scale = scale
        self.register_buffer("centre", paddle.to_tensor(centre.reshape(1, -1).astype(np.float32)))
        self.rows = _parameter(self, rows)
        self.bias = _parameter(self, bias)

    def describe(self) -> dict:
        return {"kind": "label_sentence", "scale": self.scale, "n_labels": self.n_labels}

    def shift(self, offset: np.ndarray) -> None:
        """Takes `offset` [labels] away from every logit."""
        self.bias.set_value(self.bias.numpy() - offset.astype(np.float32))

    def features(self, hidden, attention_mask, mask_positions=None):
        # Unit vectors first: the centre is a mean of unit vectors.
        vector = F.normalize(mean_vector(hidden, attention_mask), axis=-1)
        return F.normalize(vector - self.centre, axis=-1)

    def classify(self, features):
        return self.scale * paddle.matmul(features, self.rows, transpose_y=True) + self.bias


class FineTuneNetwork(TextNetwork):
    """The baseline: a pooled vector, dropout, one linear layer that starts at random."""

    def __init__(self, ernie: nn.Layer, n_labels: int, *, pooling: str, seed: int = 0) -> None:
        super().__init__(ernie, n_labels)
        self.pooling = pooling
        self.dropout = nn.Dropout(ernie.config.hidden_dropout_prob)
        hidden_size = int(self.words.shape[1])
        start = np.random.default_rng(seed).normal(
            0.0, ernie.config.initializer_range, (hidden_size, n_labels)
        )
        self.classifier = nn.Linear(hidden_size, n_labels)
        self.classifier.weight.set_value(start.astype(np.float32))

    def describe(self) -> dict:
        return {"kind": "finetune", "pooling": self.pooling, "n_labels": self.n_labels}

    def read(self, hidden, attention_mask, mask_positions=None, first=0, noise=None):
        if self.pooling == "mean":
            hidden = self.run_layers(hidden, attention_mask, first, noise=noise)
            return self.dropout(mean_vector(hidden, attention_mask))
        start = attention_mask[:, :1] * 0
        hidden = self.run_layers(hidden, attention_mask, first, noise=noise, only=start)
        return self.dropout(hidden[:, 0] if self.pooling == "cls" else self.ernie.pooler(hidden))

    def classify(self, features):
        return self.classifier(features)


class PromptNetwork(TextNetwork):
    """Fills the masks with label words, scored at the masks alone.

    `rows` [M, labels·words, H]: row (j, w) starts as the embedding of token j of word w, and so the first logits
    are the masked language model's own. A word's logit is the mean over its tokens (a mean, never a product of
    log-probabilities: multiplied twice they rank upside down), a label's the mean over its words.
    Soft verbalizer: rows are trained apart from the embeddings (WARP, arXiv 2101.00121). Manual: rows stay the
    embeddings themselves and only the backbone learns (PET, arXiv 2001.07676).
    """

    def __init__(self, ernie: nn.Layer, n_labels: int, *, n_masks: int, n_words: int, soft: bool) -> None:
        super().__init__(ernie, n_labels)
        hidden_size = int(self.words.shape[1])
        self.n_masks = n_masks
        self.mask_head = MaskHead(hidden_size, ernie.config.hidden_act)
        zero = nn.initializer.Constant(0.0)
        self.rows = self.create_parameter([n_masks, n_words, hidden_size], default_initializer=zero)
        self.bias = self.create_parameter([n_masks, n_words], default_initializer=zero)
        self.rows.stop_gradient = self.bias.stop_gradient = not soft
        self.register_buffer("token_weight", paddle.zeros([n_masks, n_words]))
        self.register_buffer("word_to_label", paddle.zeros([n_words, n_labels]))

    def start_from(self, head: dict[str, np.ndarray], verbalizer: Verbalizer) -> None:
        """Sets mask head and rows to the masked language model's own."""
        if "transform.weight" not in head:
            raise BackboneError(
                "the backbone has no masked-language-model head",
                hint="Choose the method label_sentence or finetune.",
            )
        for name, parameter in self.mask_head.named_parameters():
            parameter.set_value(head[name].astype(np.float32))
        words = self.words.numpy()
        decoder_bias = head.get("decoder_bias", np.zeros(len(words), dtype=np.float32)).astype(np.float32)
        rows, bias, weight = (
            np.zeros(p.shape, dtype=np.float32) for p in (self.rows, self.bias, self.token_weight)
        )
        gather = np.zeros(self.word_to_label.shape, dtype=np.float32)
        flat = [(label, ids) for label, group in enumerate(verbalizer.token_ids) for ids in group]
        for column, (label, ids) in enumerate(flat):
            rows[: len(ids), column] = words[list(ids)]
            bias[: len(ids), column] = decoder_bias[list(ids)]
            weight[: len(ids), column] = 1.0 / len(ids)
            gather[column, label] = 1.0 / len(verbalizer.token_ids[label])
        for tensor, value in (
            (self.rows, rows),
            (self.bias, bias),
            (self.token_weight, weight),
            (self.word_to_label, gather),
        ):
            tensor.set_value(value)

    def describe(self) -> dict:
        return {
            "kind": "prompt",
            "n_labels": self.n_labels,
            "n_masks": self.n_masks,
            "n_words": int(self.rows.shape[1]),
        }

    def shift(self, offset: np.ndarray) -> None:
        """Takes `offset` [labels] away from every logit."""
        # The weights of a word's tokens add up to 1, so the same step at every mask is that step for the word.
        by_word = (self.word_to_label.numpy() > 0) @ offset.astype(np.float32)
        self.bias.set_value(self.bias.numpy() - by_word)

    def read(self, hidden, attention_mask, mask_positions=None, first=0, noise=None):
        return self.mask_head(
            self.run_layers(hidden, attention_mask, first, noise=noise, only=mask_positions)
        )

    def classify(self, features):
        # [M, n, H] x [M, H, words] -> [M, n, words]
        scores = paddle.matmul(
            features.transpose([1, 0, 2]), self.rows, transpose_y=True
        ) + self.bias.unsqueeze(1)
        words = (scores * self.token_weight.unsqueeze(1)).sum(axis=0)
        return paddle.matmul(words, self.word_to_label)


class MixtureNetwork(PromptNetwork):
    """Cloze and label sentences on one encoder: a row with masks is completed, a row without is read as a sentence.

    A text has rows of both kinds; its logits are their mean, weighed by `shares` (sentence, cloze). Which kind a row
    is, `mask_positions` tells: all 0 where there is no mask (position 0 is [CLS]).
    """

    def __init__(
        self, ernie: nn.Layer, n_labels: int, *, n_masks: int, n_words: int, soft: bool, scale: float
    ) -> None:
        super().__init__(ernie, n_labels, n_masks=n_masks, n_words=n_words, soft=soft)
        hidden_size = int(self.words.shape[1])
        self.scale = scale
        self.sentence_rows = _parameter(self, np.zeros((n_labels, hidden_size)))
        self.sentence_bias = _parameter(self, np.zeros(n_labels))
        self.register_buffer("centre", paddle.zeros([1, hidden_size]))
        self.register_buffer("shares", paddle.ones([2]))

    def start_sentences(self, rows: np.ndarray, centre: np.ndarray) -> None:
        """Sets the rows [labels, H] and the centre [H] of the label sentences."""
        self.sentence_rows.set_value(rows.astype(np.float32))
        self.centre.set_value(centre.reshape(1, -1).astype(np.float32))

    def shift_sentences(self, offset: np.ndarray) -> None:
        """Takes `offset` [labels] away from the logits of sentences."""
        self.sentence_bias.set_value(self.sentence_bias.numpy() - offset.astype(np.float32))

    def weigh(self, weight: float, n_cloze: int) -> None:
        """Makes the mean over 1 + `n_cloze` views give the cloze the share `weight`."""
        n_views = 1 + n_cloze
        self.shares.set_value(
            np.array([(1 - weight) * n_views, weight * n_views / n_cloze], dtype=np.float32)
        )

    def describe(self) -> dict:
        return {**super().describe(), "kind": "mixture", "scale": self.scale}

    def read(self, hidden, attention_mask, mask_positions=None, first=0, noise=None):
        hidden = self.run_layers(hidden, attention_mask, first, noise=noise)
        is_cloze = (mask_positions[:, :1] > 0).astype(hidden.dtype)
        vector = F.normalize(mean_vector(hidden, attention_mask), axis=-1)
        vector = F.normalize(vector - self.centre, axis=-1) * (1.0 - is_cloze)
        states = self.mask_head(at_positions(hidden, mask_positions)) * is_cloze.unsqueeze(-1)
        # Flat: Paddle Inference fails on a slice that takes the axis away which a concat made.
        return paddle.concat([vector, states.reshape([0, -1])], axis=1)

    def classify(self, features):
        width = int(self.sentence_rows.shape[1])
        vector = features[:, :width]
        # A sentence's vector has length 1, a cloze's place of it is empty.
        is_sentence = ((vector.detach() ** 2).sum(axis=-1, keepdim=True) > 0.5).astype(vector.dtype)
        read = self.scale * paddle.matmul(vector, self.sentence_rows, transpose_y=True) + self.sentence_bias
        completed = super().classify(features[:, width:].reshape([0, self.n_masks, width]))
        return is_sentence * self.shares[0] * read + (1.0 - is_sentence) * self.shares[1] * completed


def _parameter(layer: nn.Layer, values: np.ndarray) -> paddle.Tensor:
    """A parameter for `layer` that holds `values`.

    Paddle's Assign initializer makes a Python list of them first: 0.9 GB for the shipped backbone's vocabulary.
    """
    made = layer.create_parameter(list(values.shape), default_initializer=nn.initializer.Constant(0.0))
    made.set_value(values.astype(np.float32, copy=False))
    return made


def rebuild(described: dict, backbone_config: dict, weights: dict[str, np.ndarray]) -> TextNetwork:
    """The network that `describe` and its weights tell of, in evaluation mode. Raises BackboneError."""
    from paddlenlp.transformers import ErnieConfig, ErnieModel

    with paddle.LazyGuard():
        ernie = ErnieModel(ErnieConfig(**backbone_config))
    for name, parameter in ernie.named_parameters():
        _set(parameter, name, weights.get(f"ernie.{name}"))
    n_labels = described["n_labels"]
    hidden_size = backbone_config["hidden_size"]
    if described["kind"] == "label_sentence":
        blank = np.zeros((n_labels, hidden_size), dtype=np.float32)
        network: TextNetwork = LabelSentenceNetwork(ernie, blank, blank[:, 0], blank[0], described["scale"])
    elif described["kind"] == "finetune":
        network = FineTuneNetwork(ernie, n_labels, pooling=described["pooling"])
    else:
        shape = {name: described[name] for name in ("n_masks", "n_words")}
        if described["kind"] == "mixture":
            network = MixtureNetwork(ernie, n_labels, **shape, soft=True, scale=described["scale"])
        else:
            network = PromptNetwork(ernie, n_labels, **shape, soft=True)
    if "soft_rows" in weights:
        network.set_soft_rows(weights["soft_rows"])
    for name, tensor in network.state_dict().items():
        if not name.startswith("ernie."):
            _set(tensor, name, weights.get(name))
    network.eval()
    return network


def _set(tensor: paddle.Tensor, name: str, value: np.ndarray | None) -> None:
    if value is None:
        raise BackboneError(f"the weights lack {name}", tensor=name)
    if list(value.shape) != list(tensor.shape):
        raise BackboneError(f"{name}: shape {list(value.shape)}, expected {list(tensor.shape)}", tensor=name)
    if hasattr(tensor, "initialize") and not tensor._is_initialized():
        tensor.initialize()
    tensor.set_value(value.astype(np.float32, copy=False))
