"""The trainable networks: one a head. What they share, and their signature, is `text_network`'s."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from training.fewshot.encoder_layer import at_positions
from training.fewshot.ernie import empty_ernie
from training.fewshot.errors import BackboneError
from training.fewshot.text_network import MaskHead, TextNetwork, make_parameter, mean_vector, set_array
from training.fewshot.verbalizer import Verbalizer


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
        self.rows = make_parameter(self, rows)
        self.bias = make_parameter(self, bias)

    def describe(self) -> dict:
        return {"kind": "label_sentence", "scale": self.scale, "n_labels": self.n_labels}

    def shift(self, offset: np.ndarray) -> None:
        self.bias.set_value(self.bias.numpy() - offset.astype(np.float32))

    def features(self, hidden, regions, mask_positions=None):
        # Unit vectors first: the centre is a mean of unit vectors.
        vector = F.normalize(mean_vector(hidden, regions), axis=-1)
        return F.normalize(vector - self.centre, axis=-1)

    def classify(self, features):
        return self.scale * paddle.matmul(features, self.rows, transpose_y=True) + self.bias


class PairNetwork(TextNetwork):
    """Reads the two texts of a pair apart and compares their vectors.

    Both stand in one row, told apart by their token types; neither reads the other. With unit mean vectors u and v the
    features are u·v, u∘v and |u − v| (InferSent, arXiv 1705.02364; SBERT, arXiv 1908.10084), each of the three seen from
    its own mean and spread over the training pairs. `rows` [labels, 1 + 2H]. Swapping the texts changes nothing.
    """

    def __init__(self, ernie: nn.Layer, n_labels: int) -> None:
        super().__init__(ernie, n_labels)
        width = 1 + 2 * int(self.words.shape[1])
        self.register_buffer("middle", paddle.zeros([1, width]))
        self.register_buffer("spread", paddle.ones([1, width]))
        self.rows = make_parameter(self, np.zeros((n_labels, width)))
        self.bias = make_parameter(self, np.zeros(n_labels))

    def describe(self) -> dict:
        return {"kind": "pair", "n_labels": self.n_labels}

    def see_from(self, middle: np.ndarray, spread: np.ndarray) -> None:
        """Sets what features are seen from: [1 + 2H] each."""
        self.middle.set_value(middle.reshape(1, -1).astype(np.float32))
        self.spread.set_value(spread.reshape(1, -1).astype(np.float32))

    def shift(self, offset: np.ndarray) -> None:
        self.bias.set_value(self.bias.numpy() - offset.astype(np.float32))

    def embed(self, input_ids, token_type_ids, position_ids, noise=None):
        # The types tell the texts apart and nothing else: each is read as it is read alone.
        return super().embed(input_ids, token_type_ids * 0, position_ids, noise)

    def regions(self, token_type_ids, attention_mask):
        return attention_mask * (token_type_ids + 1)

    def away(self, regions, dtype):
        return (regions.unsqueeze(1) != regions.unsqueeze(2)).astype(dtype).unsqueeze(1) * -1e4

    def features(self, hidden, regions, mask_positions=None):
        first, second = (
            F.normalize(mean_vector(hidden, (regions == number).astype(hidden.dtype)), axis=-1)
            for number in (1, 2)
        )
        product = first * second
        found = paddle.concat([product.sum(axis=-1, keepdim=True), product, (first - second).abs()], axis=-1)
        return (found - self.middle) / self.spread

    def classify(self, features):
        return paddle.matmul(features, self.rows, transpose_y=True) + self.bias


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

    def shift(self, offset: np.ndarray) -> None:
        self.classifier.bias.set_value(self.classifier.bias.numpy() - offset.astype(np.float32))

    def read(self, hidden, regions, mask_positions=None, first=0, noise=None):
        if self.pooling == "mean":
            hidden = self.run_layers(hidden, regions, first, noise=noise)
            return self.dropout(mean_vector(hidden, regions))
        start = regions[:, :1] * 0
        hidden = self.run_layers(hidden, regions, first, noise=noise, only=start)
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
        # The weights of a word's tokens add up to 1, so the same step at every mask is that step for the word.
        by_word = (self.word_to_label.numpy() > 0) @ offset.astype(np.float32)
        self.bias.set_value(self.bias.numpy() - by_word)

    def read(self, hidden, regions, mask_positions=None, first=0, noise=None):
        return self.mask_head(self.run_layers(hidden, regions, first, noise=noise, only=mask_positions))

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
        self.sentence_rows = make_parameter(self, np.zeros((n_labels, hidden_size)))
        self.sentence_bias = make_parameter(self, np.zeros(n_labels))
        self.register_buffer("centre", paddle.zeros([1, hidden_size]))
        self.register_buffer("shares", paddle.ones([2]))

    def start_sentences(self, rows: np.ndarray, centre: np.ndarray) -> None:
        """Sets the rows [labels, H] and the centre [H] of the label sentences."""
        self.sentence_rows.set_value(rows.astype(np.float32))
        self.centre.set_value(centre.reshape(1, -1).astype(np.float32))

    def shift_views(self, offsets: np.ndarray) -> None:
        self.sentence_bias.set_value(self.sentence_bias.numpy() - offsets[0].astype(np.float32))
        self.shift(offsets[1:].mean(axis=0))

    def weigh(self, weight: float, n_cloze: int) -> None:
        """Makes the mean over 1 + `n_cloze` views give the cloze the share `weight`."""
        n_views = 1 + n_cloze
        self.shares.set_value(
            np.array([(1 - weight) * n_views, weight * n_views / n_cloze], dtype=np.float32)
        )

    def describe(self) -> dict:
        return {**super().describe(), "kind": "mixture", "scale": self.scale}

    def read(self, hidden, regions, mask_positions=None, first=0, noise=None):
        hidden = self.run_layers(hidden, regions, first, noise=noise)
        is_cloze = (mask_positions[:, :1] > 0).astype(hidden.dtype)
        vector = F.normalize(mean_vector(hidden, regions), axis=-1)
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


def rebuild(described: dict, backbone_config: dict, weights: dict[str, np.ndarray]) -> TextNetwork:
    """The network that `describe` and its weights tell of, in evaluation mode. Raises BackboneError."""
    ernie = empty_ernie(backbone_config)
    for name, parameter in ernie.named_parameters():
        set_array(parameter, name, weights.get(f"ernie.{name}"))
    n_labels = described["n_labels"]
    hidden_size = backbone_config["hidden_size"]
    if described["kind"] == "label_sentence":
        blank = np.zeros((n_labels, hidden_size), dtype=np.float32)
        network: TextNetwork = LabelSentenceNetwork(ernie, blank, blank[:, 0], blank[0], described["scale"])
    elif described["kind"] == "pair":
        network = PairNetwork(ernie, n_labels)
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
            set_array(tensor, name, weights.get(name))
    network.eval()
    return network
