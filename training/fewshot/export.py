"""Static graphs of a trained model: ONNX (fp32, int8) and Paddle. The job that packs them into bundles."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from training.fewshot.export_errors import ExportError
from training.fewshot.quantise import write_int8

OPSET = 17
FORMATS = ("onnx", "int8", "paddle")
# What is written where nobody chooses: int8 answers a little differently, so it is asked for.
EXACT_FORMATS = ("onnx", "paddle")
MODEL_FILES = ("encoding.json", "labels.json", "template.json", "calibration.json", "tokenizer.json")

log = logging.getLogger(__name__)


def write_paddle(model, folder: str | Path, name: str = "model") -> Path:
    """`folder/<name>.json` and `.pdiparams`: the graph of `model.network` with both axes dynamic.

    The network keeps its own forward and its mode. Returns the path of the .json file. Raises ExportError.
    """
    import paddle
    from paddle.static import InputSpec

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = list(model.input_names)

    class Exported(paddle.nn.Layer):
        """Stands around the network: to_static replaces the forward of the layer that it is given."""

        def __init__(self, network: paddle.nn.Layer) -> None:
            super().__init__()
            self.network = network

        def forward(self, first, second=None, third=None, fourth=None, fifth=None):
            given = (first, second, third, fourth, fifth)
            # to_static puts a zip of its own in place of Python's; it knows no `strict`.
            return self.network(**dict(zip(names, given)))  # noqa: B905

    was_training = model.network.training
    model.network.eval()
    exported = Exported(model.network)
    exported.eval()
    spec = [InputSpec([None, None], "int64", name=name) for name in names]
    try:
        static = paddle.jit.to_static(exported, input_spec=spec, full_graph=True)
        paddle.jit.save(static, str(folder / name))
    except Exception as error:  # tracing runs the network's own code
        raise ExportError(f"the static graph cannot be made: {error}") from error
    finally:
        if was_training:
            model.network.train()
    for path in (folder / f"{name}.json", folder / f"{name}.pdiparams"):
        if not path.is_file():
            raise ExportError(f"Paddle wrote no {path.name}")
    return folder / f"{name}.json"


def write_onnx(model, path: str | Path) -> Path:
    """The ONNX file `path` (fp32, constants folded, standard operators only, output `logits`).

    Written beside and renamed into place. Raises ExportError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".onnx-", dir=path.parent) as scratch:
        graph = write_paddle(model, scratch)
        raw = Path(scratch) / "raw.onnx"
        raw.write_bytes(_converted(graph))
        folded = _folded(raw)
        whole = _named(folded, model.input_names)
        whole.replace(path)
    return path


def _converted(graph: Path) -> bytes:
    """ONNX bytes of a Paddle graph."""
    import paddle2onnx

    parameters = graph.with_suffix(".pdiparams")
    try:
        # Without save_file: with it, paddle2onnx folds constants by a tool that runs `pip install`.
        converted = paddle2onnx.export(
            str(graph), str(parameters), save_file=None, opset_version=OPSET, verbose=False
        )
    except Exception as error:  # it logs the cause and then fails with an UnboundLocalError
        raise ExportError(f"paddle2onnx cannot convert the graph: {error}") from error
    if not converted:
        raise ExportError("paddle2onnx gave an empty model")
    return converted


def _folded(raw: Path) -> Path:
    """The same graph with constants folded by ONNX Runtime's basic level, which adds no operators of its own."""
    import onnxruntime

    folded = raw.with_name("folded.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3
    try:
        onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a class of its own for each kind of failure
        raise ExportError(f"ONNX Runtime refuses the converted model: {error}") from error
    return folded


def _named(folded: Path, input_names: Sequence[str]) -> Path:
    """The same graph with readable names for axes and output, and only the operator sets that it uses."""
    import onnx

    model = onnx.load(str(folded))
    used = {node.domain for node in model.graph.node}
    if used - {"", "ai.onnx"}:
        raise ExportError(f"the graph uses operators outside the standard: {', '.join(sorted(used))}")
    kept = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    for value in model.graph.input:
        if value.name not in input_names:
            raise ExportError(f"the graph has an input {value.name!r} that the model does not name")
        _name_axes(value, "masks" if value.name == "mask_positions" else "length")
    if len(model.graph.output) != 1:
        raise ExportError(f"the graph has {len(model.graph.output)} outputs, not one")
    output = model.graph.output[0]
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = "logits"
        for index, name in enumerate(node.input):
            if name == output.name:
                node.input[index] = "logits"
    output.name = "logits"
    output.type.tensor_type.shape.dim[0].dim_param = "rows"
    model.producer_name = "wanxing"
    model.doc_string = ""
    named = folded.with_name("named.onnx")
    onnx.checker.check_model(model)
    onnx.save(model, str(named))
    return named


def _name_axes(value, second: str) -> None:
    axes = value.type.tensor_type.shape.dim
    for axis, name in zip(axes, ("rows", second), strict=True):
        axis.dim_param = name


def export(
    model, folder: str | Path, formats: Sequence[str] = EXACT_FORMATS, name: str = "model"
) -> list[Path]:
    """A folder that `infer` reads by the prefix `folder/name`: the graphs, and beside them the model's JSON files.

    Returns the paths of the graphs, int8 as `<name>.int8.onnx`. `model`: a FittedModel. Raises ExportError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".model-", dir=folder) as scratch:
        model.save(scratch)
        for file_name in MODEL_FILES:
            if (Path(scratch) / file_name).is_file():
                shutil.copyfile(Path(scratch) / file_name, folder / file_name)
    written = []
    if "paddle" in formats:
        written.append(write_paddle(model, folder, name))
    if "onnx" in formats:
        written.append(write_onnx(model, folder / f"{name}.onnx"))
    if "int8" in formats:
        written.append(_write_int8(model, folder / f"{name}.int8.onnx", folder / f"{name}.onnx"))
    return written


def _write_int8(model, path: Path, ready: Path | None) -> Path:
    """The int8 graph at `path`, made from `ready` if that file exists, else from a new fp32 graph."""
    with tempfile.TemporaryDirectory(prefix="wanxing-fp32-") as scratch:
        exact = (
            ready if ready is not None and ready.is_file() else write_onnx(model, Path(scratch) / "m.onnx")
        )
        done = write_int8(exact, path)
    log.info("int8: %d MatMuls and %d tables quantised", done.n_matmuls, done.n_tables)
    return path


def run_export_job(
    folder: str | Path,
    emit: Callable[[dict], None],
    *,
    load: Callable[[Path], Any] | None = None,
) -> dict:
    """Packs and replays the bundles that `folder/spec.json` asks for; writes and returns `folder/report.json`.

    Reads `folder/replay.jsonl` (held-out texts). A bundle that does not answer like the trained model stays in
    the report with `ok` false and its file is removed. What `emit` raises ends the job.
    """
    from training.fewshot.bundle.job import run

    if load is None:
        from training.fewshot import model

        load = model.load
    return run(Path(folder), emit, load)


@contextlib.contextmanager
def graph_in_layout(model, fmt: str, ready: Path | None = None) -> Iterator[Path]:
    """A temporary folder with the graph where a bundle has it: `onnx/model.onnx` (int8 too) or `paddle/model.json`.

    `ready`: a fp32 ONNX file written earlier for the same model, used as it is.
    """
    with tempfile.TemporaryDirectory(prefix="wanxing-graph-") as scratch:
        root = Path(scratch)
        if fmt == "onnx":
            (root / "onnx").mkdir()
            if ready is not None and ready.is_file():
                shutil.copyfile(ready, root / "onnx" / "model.onnx")
            else:
                write_onnx(model, root / "onnx" / "model.onnx")
        elif fmt == "int8":
            _write_int8(model, root / "onnx" / "model.onnx", ready)
        elif fmt == "paddle":
            write_paddle(model, root / "paddle")
        else:
            raise ExportError(f"unknown format {fmt!r}", hint=f"One of {', '.join(FORMATS)}.")
        yield root
