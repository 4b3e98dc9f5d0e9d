"""The int8 form of an ONNX graph: a quarter of the size, faster on a CPU, close to the trained model.

Weights become int8 with a scale a column, embedding tables int8 with a scale a row; what enters a MatMul becomes uint8
while the graph runs, each token by its own largest value. Standard operators only, and no Paddle.

ONNX Runtime's `quantize_dynamic` was measured first: with the shipped backbone, trained by preset quick, it changes 7 to
22 of 100 labels (by the kind of weights), for the three reasons that stand below at `PAIR_STEPS`, `_rounded`
and `_quantised_tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.fewshot.export_errors import ExportError

# Steps from 0 to the largest weight of a column or row.
STEPS = 126.0
# Steps that two weights under each other may take together: processors without VNNI add their two products, with
# tokens up to 255, in 16 bits. Rounding adds less than a step to each, and 255 * 128 fits. Without this bound an
# (emulated) Haswell answered 0.023 apart from a processor with VNNI in the mean, with it 0.003.
PAIR_STEPS = 126.0
SEED = 0
# A smaller table has nothing to gain.
MIN_TABLE_VALUES = 1 << 16
# Values of a token lie on 0 … 254 around this.
ZERO = 128
TOKEN_STEPS = 127.0


@dataclass(frozen=True)
class Quantised:
    """What was turned into int8."""

    n_matmuls: int
    n_tables: int


def write_int8(source: str | Path, path: str | Path) -> Quantised:
    """Writes the int8 form of the fp32 ONNX file `source` to `path`, beside and renamed into place.

    Raises ExportError when no MatMul has constant weights, since the file would be int8 in name only.
    """
    import onnx

    model = onnx.load(str(source))
    graph = model.graph
    weights = {value.name: value for value in graph.initializer}
    nodes: list[Any] = []
    made: dict[str, np.ndarray] = {}
    tokens: dict[str, _Tokens] = {}
    n_matmuls = n_tables = 0
    for node in graph.node:
        if node.op_type == "MatMul" and _is_float_matrix(weights.get(node.input[1])):
            given, weight = node.input
            if given not in tokens:
                tokens[given] = _quantised_tokens(given, nodes, made)
            if weight + "_int8" not in made:
                made |= _by_column(weight, onnx.numpy_helper.to_array(weights[weight]))
            _integer_matmul(node, tokens[given], nodes)
            n_matmuls += 1
        elif node.op_type == "Gather" and _is_table(weights.get(node.input[0])) and _axis(node) == 0:
            if node.input[0] + "_int8" not in made:
                made |= _by_row(node.input[0], onnx.numpy_helper.to_array(weights[node.input[0]]))
            _integer_gather(node, nodes)
            n_tables += 1
        else:
            nodes.append(node)
    if not n_matmuls:
        raise ExportError(
            "int8: no MatMul of the graph has constant weights, so nothing can be quantised",
            hint="Export the ONNX format; it needs no quantisation.",
        )
    del graph.node[:]
    graph.node.extend(nodes)
    _swap_initializers(graph, made)
    onnx.checker.check_model(model)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        onnx.save(model, str(beside))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return Quantised(n_matmuls, n_tables)


@dataclass(frozen=True)
class _Tokens:
    """Names of an activation's parts: `values` uint8 around ZERO, `size` float32 [..., 1], the largest of each token."""

    values: str
    size: str


def _quantised_tokens(given: str, nodes: list, made: dict[str, np.ndarray]) -> _Tokens:
    """Appends the nodes that turn the activation `given` into uint8, each token divided by its largest absolute value.

    A few tokens hold values thirty times as large as the others'. One scale for a whole batch, as in
    DynamicQuantizeLinear, leaves the others a handful of levels, and a text's answer then depends on the texts
    that happen to share its batch.
    """
    from onnx import helper

    absolute, largest, size, inverse, level, values = (
        f"{given}_{part}" for part in ("abs", "max", "size", "inverse", "level", "uint8")
    )
    made.setdefault("int8_least_size", np.array(1e-9, dtype=np.float32))
    made.setdefault("int8_token_step", np.array(1 / TOKEN_STEPS, dtype=np.float32))
    made.setdefault("int8_zero", np.array(ZERO, dtype=np.uint8))
    nodes += [
        helper.make_node("Abs", [given], [absolute]),
        helper.make_node("ReduceMax", [absolute], [largest], axes=[-1], keepdims=1),
        helper.make_node("Max", [largest, "int8_least_size"], [size]),
        # One division a token; by value it takes twice as long as a product.
        helper.make_node("Reciprocal", [size], [inverse]),
        helper.make_node("Mul", [given, inverse], [level]),
        helper.make_node("QuantizeLinear", [level, "int8_token_step", "int8_zero"], [values]),
    ]
    return _Tokens(values, size)


def _integer_matmul(node, given: _Tokens, nodes: list) -> None:
    """Appends what stands for the MatMul `node`."""
    from onnx import helper

    weight, output = node.input[1], node.output[0]
    whole, real, product = (f"{output}_{part}" for part in ("int32", "cast", "product"))
    nodes += [
        helper.make_node("MatMulInteger", [given.values, f"{weight}_int8", "int8_zero"], [whole]),
        helper.make_node("Cast", [whole], [real], to=1),
        helper.make_node("Mul", [real, f"{weight}_step"], [product]),
        helper.make_node("Mul", [product, given.size], [output]),
    ]


def _integer_gather(node, nodes: list) -> None:
    """Appends what stands for the Gather `node` of an embedding table."""
    from onnx import helper

    table, ids = node.input
    output = node.output[0]
    whole, real, step = (f"{output}_{part}" for part in ("int8", "cast", "step"))
    nodes += [
        helper.make_node("Gather", [f"{table}_int8", ids], [whole], axis=0),
        helper.make_node("Cast", [whole], [real], to=1),
        helper.make_node("Gather", [f"{table}_step", ids], [step], axis=0),
        helper.make_node("Mul", [real, step], [output]),
    ]


def _by_column(name: str, weight: np.ndarray) -> dict[str, np.ndarray]:
    """int8 (inputs, outputs), and float32 (outputs,): what one step of token and weight together is worth."""
    size = np.abs(weight)
    pairs = size[0 : len(size) // 2 * 2 : 2] + size[1::2]
    step = np.maximum(size.max(axis=0) / STEPS, pairs.max(axis=0, initial=0) / PAIR_STEPS)
    step = np.maximum(step, 1e-12)
    return {f"{name}_int8": _rounded(weight / step), f"{name}_step": (step / TOKEN_STEPS).astype(np.float32)}


def _by_row(name: str, table: np.ndarray) -> dict[str, np.ndarray]:
    """int8 (rows, width) and float32 steps (rows, 1)."""
    step = np.maximum(np.abs(table).max(axis=1, keepdims=True) / STEPS, 1e-12)
    return {f"{name}_int8": _rounded(table / step), f"{name}_step": step.astype(np.float32)}


def _rounded(values: np.ndarray) -> np.ndarray:
    """int8: each value rounded up or down by (seeded) chance, up the likelier the nearer, so that the mean is kept.

    The shipped backbone was stored as int8 itself, and what training changes is smaller than half a step. To round to the
    nearest on the same grid, or on one in a simple ratio to it, takes weights back to where they were before
    training: weights so rounded, all else in float, changed 12 of 100 labels, by chance 0.4.
    """
    chance = np.random.default_rng(SEED).random(values.shape)
    return np.floor(values + chance).astype(np.int8)


def _is_float_matrix(value) -> bool:
    return value is not None and value.data_type == 1 and len(value.dims) == 2


def _is_table(value) -> bool:
    return _is_float_matrix(value) and value.dims[0] * value.dims[1] >= MIN_TABLE_VALUES


def _axis(node) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def _swap_initializers(graph, made: dict[str, np.ndarray]) -> None:
    """Adds `made` and drops the initializers that no node reads any more."""
    from onnx import numpy_helper

    used = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.initializer if value.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in made.items())
