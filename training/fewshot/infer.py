"""`python -m training.fewshot.infer`: labels the texts of data.txt with an exported model.

Reads an export folder by its prefix (`O/export/model`), an .onnx file, a model folder or a bundle zip, through the
same runner as bundles and pages. Prints a line a text and writes predictions.txt (text, tab, label) and
predictions.jsonl (with probabilities) beside the model.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.fewshot import runner
from training.fewshot.bundle.archive import extract
from training.fewshot.errors import DeviceError, EngineError, MissingData, VocabularyMismatch
from training.fewshot.export_errors import BundleError

DATA_FILES = ("data.txt", "data.jsonl", "data.tsv", "data.csv")


@dataclass(frozen=True)
class Exported:
    """Where an export lies: the folder of its JSON files, its graph, and where predictions go."""

    folder: Path
    graph: Path
    beside: Path


@contextlib.contextmanager
def located(prefix: str | Path, *, prefer_paddle: bool = False) -> Iterator[Exported]:
    """The export that `prefix` names; a bundle zip is unpacked, guarded, for as long as the context lasts.

    Raises BundleError when there is none.
    """
    path = Path(prefix)
    if path.is_file() and path.suffix == ".zip":
        with tempfile.TemporaryDirectory(prefix="wanxing-bundle-") as scratch:
            folder = extract(path, Path(scratch))
            yield Exported(folder, runner.find_graph(folder), path.parent)
    elif path.is_dir():
        yield Exported(path, runner.find_graph(path), path)
    else:
        graph = _graph_of_prefix(path, prefer_paddle)
        folders = [
            folder for folder in (graph.parent, graph.parent.parent) if (folder / "encoding.json").is_file()
        ]
        if not folders:
            raise BundleError(
                f"{graph.parent} has no encoding.json",
                hint="Keep the files that --do_export wrote beside the graph together with it.",
            )
        yield Exported(folders[0], graph, graph.parent)


def _graph_of_prefix(path: Path, prefer_paddle: bool) -> Path:
    if path.is_file() and path.suffix in (".onnx", ".json"):
        return path
    found = [Path(f"{path}{suffix}") for suffix in (".onnx", ".json")]
    found = [graph for graph in found if graph.is_file()]
    if not found:
        raise BundleError(
            f"there is neither {path}.onnx nor {path}.json, and {path} is no folder or bundle",
            hint="Export first (--do_export), then name O/export/model.",
        )
    return found[-1] if prefer_paddle else found[0]


def check_vocabulary(folder: Path, given: str) -> None:
    """Raises VocabularyMismatch when the tokenizer of the folder `given` cuts differently from the export's own.

    A name that is no folder is taken as read: the export always brings its own vocabulary.
    """
    other = Path(given) / "tokenizer.json"
    if not other.is_file():
        return
    own = runner.read_tokenizer(folder / "tokenizer.json")
    if own.to_str() != runner.read_tokenizer(other).to_str():
        raise VocabularyMismatch(
            f"{other} is not the vocabulary that this model was trained with",
            hint="Leave out --model_name_or_path: the export brings its own vocabulary.",
        )


def device_settings(chosen: argparse.Namespace, graph: Path) -> dict:
    """Arguments of `Classifier.load` for --device, --device_id and --use_fp16. Raises DeviceError."""
    if chosen.device == "cpu":
        if chosen.use_fp16:
            print("提示 / note: --use_fp16 只对 gpu 有效 / has an effect on gpu only", file=sys.stderr)
        return {}
    if graph.suffix == ".onnx":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise DeviceError(
                "this ONNX Runtime has no CUDA", hint="Install onnxruntime-gpu, or export the Paddle format."
            )
        return {
            "providers": [("CUDAExecutionProvider", {"device_id": chosen.device_id}), "CPUExecutionProvider"]
        }
    import paddle

    if not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() <= chosen.device_id:
        raise DeviceError(f"there is no GPU {chosen.device_id} that this Paddle can use")
    return {"gpu_id": chosen.device_id, "half": chosen.use_fp16}


def find_texts(data_dir: str | Path) -> Path:
    """The file of texts in `data_dir` (or `data_dir` itself when it is a file). Raises MissingData."""
    path = Path(data_dir)
    if path.is_file():
        return path
    for name in DATA_FILES:
        if (path / name).is_file():
            return path / name
    raise MissingData(f"{path} has no {DATA_FILES[0]}", hint="Put the texts into data.txt, a text a line.")


def predict(chosen: argparse.Namespace) -> dict:
    """Does what the flags say; returns {"texts", "seconds", "output"}."""
    with located(chosen.model_path_prefix, prefer_paddle=chosen.device == "gpu") as found:
        if chosen.model_name_or_path:
            check_vocabulary(found.folder, chosen.model_name_or_path)
        model = runner.Classifier.load(
            found.folder,
            chosen.num_threads,
            graph=found.graph,
            max_length=chosen.max_seq_length,
            **device_settings(chosen, found.graph),
        )
        texts = runner.read_texts(find_texts(chosen.data_dir))
        started = time.perf_counter()
        proba = model.predict_proba(texts, batch_size=chosen.batch_size)
        seconds = time.perf_counter() - started
        labels = [",".join(model.labels[i] for i in ids) for ids in model.decide(proba)]
        _write(
            found.beside / "predictions.txt",
            (f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)),
        )
        with _beside(found.beside / "predictions.jsonl") as file:
            runner.write_predictions(file, True, model, texts, proba)
        runner.speak_utf8()
        runner.write_predictions(sys.stdout, False, model, texts, proba)
        return {"texts": len(texts), "seconds": seconds, "output": str(found.beside)}


@contextlib.contextmanager
def _beside(path: Path) -> Iterator:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, lines: Iterator[str]) -> None:
    with _beside(path) as file:
        file.writelines(lines)


def parser() -> argparse.ArgumentParser:
    """The published recipe's flags."""
    made = argparse.ArgumentParser(
        prog="python -m training.fewshot.infer", description=__doc__, allow_abbrev=False
    )
    made.add_argument(
        "--model_path_prefix", required=True, help="O/export/model, an .onnx file, a folder or a zip"
    )
    made.add_argument("--model_name_or_path", help="default: the export's own vocabulary")
    made.add_argument("--data_dir", default="./data", help="folder with data.txt")
    made.add_argument("--max_seq_length", type=_positive, help="default: the export's; can only be shorter")
    made.add_argument("--batch_size", type=_positive, default=32)
    made.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    made.add_argument("--device_id", type=int, default=0)
    made.add_argument("--num_threads", type=int, default=0, help="default: physical cores")
    made.add_argument("--use_fp16", type=_switch, nargs="?", const=True, default=False, help="gpu only")
    return made


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return number


def _switch(value: str) -> bool:
    """The recipe writes both `--use_fp16` and `--use_fp16 True`."""
    if value.lower() in ("true", "1", "yes"):
        return True
    if value.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{value!r} is neither true nor false")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    chosen = parser().parse_args(arguments)
    try:
        done = predict(chosen)
    except EngineError as error:
        print(f"错误 / error [{error.code}]: {error.message}\n{error.hint}", file=sys.stderr)
        return 1
    except (runner.RunnerError, OSError, UnicodeDecodeError) as error:
        print(f"错误 / error: {error}", file=sys.stderr)
        return 1
    print(f"{done['texts']} texts in {done['seconds']:.2f} s → {done['output']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
