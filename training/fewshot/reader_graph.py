"""The ONNX graph of a frozen backbone, written from its config and weights. No Paddle.

Inputs, int32 unless said otherwise: `input_ids`, `token_type_ids`, `position_ids` [n, L]; `lengths` [n], the real
tokens of each row, which stand first; `mask_positions` int64 [n, M] (M ≥ 1). Outputs, float32: `vectors` [n, H], the
unit mean over the real tokens; `states` [n, M, H], the masked language model's transform at the masks, zeros where
the backbone has no such head.

The network is PaddleNLP's ErnieModel in evaluation mode, with ONNX Runtime's fused operators for attention and
bias + GELU; its fused sum + normalisation is slower than the two apart (`runner.SLOW_FUSIONS`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.fewshot.errors import BackboneError

if TYPE_CHECKING:
    from onnx import ModelProto

# Part of the cache's key: a graph written by an older builder is not read.
BUILDER_VERSION = 2
OPSET, FUSED_OPSET, IR_VERSION = 17, 1, 8
# paddle.nn.LayerNorm's own: PaddleNLP reads no other from the config, and the weights were trained so.
NORM_EPSILON = 1e-5
ACTIVATIONS = ("gelu", "relu")
LARGEST_BYTES = 1900 << 20


class _Writer:
    """Nodes and initializers in the order of the network."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        from onnx import helper, numpy_helper

        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._node = helper.make_node
        self._tensor = numpy_helper.from_array
        self._made = 0

    def weight(self, name: str) -> np.ndarray:
        """float32 array of the backbone, under either spelling of its key."""
        found = self.weights.get(f"ernie.{name}", self.weights.get(name))
        if found is None:
            raise BackboneError(f"the weights lack {name}", tensor=name)
        return found.astype(np.float32, copy=False)

    def constant(self, value: np.ndarray) -> str:
        self._made += 1
        name = f"constant_{self._made}"
        self.constants.append(self._tensor(np.ascontiguousarray(value), name))
        return name

    def op(self, kind: str, *inputs: str, out: str = "", fused: bool = False, **attributes: Any) -> str:
        """Adds a node; the name of its first output."""
        self._made += 1
        name = out or f"value_{self._made}"
        domain = "com.microsoft" if fused else ""
        self.nodes.append(self._node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def matmul(self, value: str, weight: np.ndarray) -> str:
        """`value` [n, L, in] times `weight` [in, out]."""
        return self.op("MatMul", value, self.constant(weight))

    def skip_norm(self, value: str, skip: str, name: str, bias: np.ndarray) -> str:
        """normalise(value + skip + bias) with the scale and shift called `name`."""
        scale, shift = (
            self.constant(self.weight(f"{name}.weight")),
            self.constant(self.weight(f"{name}.bias")),
        )
        total = self.op("Add", self.op("Add", value, self.constant(bias)), skip)
        return self.op("LayerNormalization", total, scale, shift, axis=-1, epsilon=NORM_EPSILON)

    def activation(self, value: str, bias: np.ndarray, kind: str) -> str:
        """The activation of value + bias."""
        if kind == "gelu":
            return self.op("BiasGelu", value, self.constant(bias), fused=True)
        return self.op("Relu", self.op("Add", value, self.constant(bias)))


def build(config: dict, weights: dict[str, np.ndarray]) -> ModelProto:
    """The graph of the backbone. Raises BackboneError when a tensor is missing or the activation is unknown."""
    from onnx import TensorProto, helper

    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise BackboneError(f"hidden_act {activation!r} is none of {', '.join(ACTIVATIONS)}")
    writer = _Writer(weights)
    hidden = _embed(writer, config)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(writer, hidden, layer, config["num_attention_heads"], activation)
    _mean_vectors(writer, hidden)
    _mask_states(writer, hidden, activation, config["hidden_size"])
    integers = {
        "input_ids": ["n", "L"],
        "token_type_ids": ["n", "L"],
        "position_ids": ["n", "L"],
        "lengths": ["n"],
    }
    inputs = [helper.make_tensor_value_info(k, TensorProto.INT32, shape) for k, shape in integers.items()]
    inputs.append(helper.make_tensor_value_info("mask_positions", TensorProto.INT64, ["n", "M"]))
    outputs = [
        helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", config["hidden_size"]]),
        helper.make_tensor_value_info("states", TensorProto.FLOAT, ["n", "M", config["hidden_size"]]),
    ]
    graph = helper.make_graph(writer.nodes, "reader", inputs, outputs, writer.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", FUSED_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="wanxing")
    model.ir_version = IR_VERSION
    return model


def write(config: dict, weights: dict[str, np.ndarray], path: Path) -> None:
    """`build` into a file. Raises BackboneError above 2 GB, which one protobuf cannot hold."""
    content = sum(value.nbytes for value in weights.values())
    if content >= LARGEST_BYTES:
        raise BackboneError(f"a backbone of {content >> 20} MiB is too large to be read without Paddle")
    path.write_bytes(build(config, weights).SerializeToString())


def _embed(writer: _Writer, config: dict) -> str:
    """[n, L, H]: normalised sum of word, position, type and (where the backbone has them) task embeddings."""
    words = writer.op(
        "Gather", writer.constant(writer.weight("embeddings.word_embeddings.weight")), "input_ids"
    )
    table = writer.weight("embeddings.position_embeddings.weight")
    places = writer.op("Gather", writer.constant(table), "position_ids")
    # A bias for the norm's sum: the task is one and the same for every token.
    shift = np.zeros(table.shape[1], dtype=np.float32)
    if config.get("use_task_id"):
        shift = writer.weight("embeddings.task_type_embeddings.weight")[int(config.get("task_id", 0))]
    if config.get("type_vocab_size", 2) > 0:
        types = writer.constant(writer.weight("embeddings.token_type_embeddings.weight"))
        places = writer.op("Add", places, writer.op("Gather", types, "token_type_ids"))
    return writer.skip_norm(words, places, "embeddings.layer_norm", shift)


def _layer(writer: _Writer, hidden: str, layer: int, heads: int, activation: str) -> str:
    at = f"encoder.layers.{layer}"
    parts = [f"{at}.self_attn.{part}_proj" for part in ("q", "k", "v")]
    weight = np.concatenate([writer.weight(f"{part}.weight") for part in parts], axis=1)
    bias = np.concatenate([writer.weight(f"{part}.bias") for part in parts])
    mixed = writer.op(
        "Attention",
        hidden,
        writer.constant(weight),
        writer.constant(bias),
        "lengths",
        fused=True,
        num_heads=heads,
    )
    mixed = writer.matmul(mixed, writer.weight(f"{at}.self_attn.out_proj.weight"))
    hidden = writer.skip_norm(mixed, hidden, f"{at}.norm1", writer.weight(f"{at}.self_attn.out_proj.bias"))
    inner = writer.matmul(hidden, writer.weight(f"{at}.linear1.weight"))
    inner = writer.activation(inner, writer.weight(f"{at}.linear1.bias"), activation)
    inner = writer.matmul(inner, writer.weight(f"{at}.linear2.weight"))
    return writer.skip_norm(inner, hidden, f"{at}.norm2", writer.weight(f"{at}.linear2.bias"))


def _mean_vectors(writer: _Writer, hidden: str) -> None:
    """`vectors`: a row of weights a text times its tokens, then to length 1."""
    one, zero = writer.constant(np.array([1], np.int64)), writer.constant(np.array(0, np.int32))
    length = writer.op("Shape", hidden, start=1, end=2)
    steps = writer.op("Cast", writer.op("Squeeze", length), to=6)
    places = writer.op("Range", zero, steps, writer.constant(np.array(1, np.int32)))
    lengths = writer.op("Unsqueeze", "lengths", one)
    real = writer.op("Cast", writer.op("Less", places, lengths), to=1)
    total = writer.op("MatMul", writer.op("Unsqueeze", real, one), hidden)
    # The mean's divisor falls away in the unit vector.
    writer.op("LpNormalization", writer.op("Squeeze", total, one), out="vectors", axis=1, p=2)


def _mask_states(writer: _Writer, hidden: str, activation: str, hidden_size: int) -> None:
    """`states`: what the decoder over the vocabulary would read at the masks."""
    picked = writer.op("GatherND", hidden, _pairs(writer), batch_dims=1)
    if "cls.predictions.transform.weight" not in writer.weights:
        writer.op("Mul", picked, writer.constant(np.zeros(hidden_size, np.float32)), out="states")
        return
    head = "cls.predictions"
    turned = writer.matmul(picked, writer.weight(f"{head}.transform.weight"))
    turned = writer.activation(turned, writer.weight(f"{head}.transform.bias"), activation)
    scale, shift = (
        writer.constant(writer.weight(f"{head}.layer_norm.{part}")) for part in ("weight", "bias")
    )
    writer.op("LayerNormalization", turned, scale, shift, out="states", axis=-1, epsilon=NORM_EPSILON)


def _pairs(writer: _Writer) -> str:
    """mask_positions as [n, M, 1], the form in which GatherND takes places inside each row."""
    return writer.op("Unsqueeze", "mask_positions", writer.constant(np.array([2], np.int64)))
