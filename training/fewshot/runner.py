"""Texts in, label probabilities out. Needs numpy, tokenizers, and onnxruntime or paddlepaddle.

This file stands alone: it imports nothing of the project and travels in every bundle as `infer.py`.

    python infer.py texts.txt                      prints  text<TAB>label<TAB>probability
    python infer.py texts.csv --column title --output labelled.tsv
    python infer.py texts.jsonl --output labelled.jsonl --threads 4
    python infer.py --self-test

    from infer import Classifier
    model = Classifier.load(".")
    print(model.predict(["一段文字"]))

A model folder holds encoding.json, labels.json, calibration.json, tokenizer.json and a graph
(onnx/model.onnx, fp32 or int8, or paddle/model.json with paddle/model.pdiparams). If it holds SHA256SUMS, every
file named there is checked before it is used.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import numpy as np

ENCODING_VERSION = 1
GRAPHS = ("onnx/model.onnx", "model.onnx", "paddle/model.json", "model.json")
# On a CPU, ONNX Runtime's fused sum + normalisation takes six times as long as the two apart (measured with 1.31): a tenth of
# all the time in fp32, a fifth in int8.
SLOW_FUSIONS = ["SkipLayerNormFusion"]
# Of a small graph whole batches run side by side: an operation of its is too short to be worth sharing out.
AT_ONCE, SMALL_GRAPH_BYTES = 4, 64 << 20
TEXT_COLUMNS = ("text", "sentence", "content", "title", "文本", "内容", "标题", "正文")


class RunnerError(ValueError):
    """A file of the model or of the texts is missing, damaged or not understood; the message says which."""


class TextEncoder:
    """Token ids and their companions for a text, as encoding.json prescribes."""

    def __init__(self, encoding: dict, tokenizer, max_length: int | None = None) -> None:
        if encoding.get("version") != ENCODING_VERSION:
            raise RunnerError(
                f"encoding.json has version {encoding.get('version')!r}, not {ENCODING_VERSION}"
            )
        self.tokenizer = tokenizer
        self.inputs: list[str] = encoding["inputs"]
        self.views: list[list[dict]] = encoding["views"]
        self.pad_id: int = encoding["pad_id"]
        self.space_id: int | None = encoding.get("space_id")
        self.n_masks: int = encoding.get("n_masks", 0)
        self.max_length: int = min(max_length or encoding["max_length"], encoding["max_length"])
        self.pairs = any(segment.get("text") == "b" for view in self.views for segment in view)

    def rows(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """One row a text and view: row = text * len(views) + view. Lists of equal length, mask_positions apart."""
        parts = [[well_formed(part) for part in self._parts(text)] for text in texts]
        # All at once and without the offsets that nobody reads: half of the time of text by text.
        encoded = iter(
            self.tokenizer.encode_batch_fast(
                [one for text in parts for one in text], add_special_tokens=False
            )
        )
        tokens = [[next(encoded).ids for _ in text] for text in parts]
        return [self._row(view, ids) for ids in tokens for view in self.views]

    def collate(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, np.ndarray]:
        """int64 arrays [rows, longest], padded on the right; mask_positions [rows, n_masks]."""
        longest = max((len(row["input_ids"]) for row in rows), default=0)
        arrays = {}
        for name in self.inputs:
            if name == "mask_positions":
                arrays[name] = np.array([row[name] for row in rows], dtype=np.int64).reshape(len(rows), -1)
                continue
            fill = self.pad_id if name == "input_ids" else 0
            array = np.full((len(rows), longest), fill, dtype=np.int64)
            for index, row in enumerate(rows):
                array[index, : len(row[name])] = row[name]
            arrays[name] = array
        return arrays

    def _parts(self, text: str) -> list[str]:
        if not self.pairs:
            return [text]
        first, _, second = text.partition("\t")
        return [first, second]

    def _row(self, view: list[dict], parts: list[list[int]]) -> dict[str, list[int]]:
        pieces = [self._piece(segment, parts) for segment in view]
        if sum(map(len, pieces)) > self.max_length:
            pieces = self._cut(view, pieces)
        ids: list[int] = []
        types: list[int] = []
        positions: list[int] = []
        masks: list[int] = []
        position = 0
        for segment, piece in zip(view, pieces, strict=True):
            if segment.get("mask"):
                masks.extend(range(len(ids), len(ids) + len(piece)))
            position = segment.get("position", position)
            ids += piece
            types += [segment.get("type", 0)] * len(piece)
            positions += range(position, position + len(piece))
            position += len(piece)
        return {
            "input_ids": ids,
            "token_type_ids": types,
            "position_ids": positions,
            "attention_mask": [1] * len(ids),
            # A view without masks among views with masks points at the start, where no mask can stand.
            "mask_positions": masks or [0] * self.n_masks,
        }

    def _cut(self, view: list[dict], pieces: list[list[int]]) -> list[list[int]]:
        """`pieces` that fit a row together: texts that may be cut lose their ends, nothing else does."""
        shrinkable = [
            i for i, segment in enumerate(view) if "text" in segment and segment.get("truncate", True)
        ]
        taken = sum(len(piece) for i, piece in enumerate(pieces) if i not in shrinkable)
        lengths = shared_lengths([len(pieces[i]) for i in shrinkable], max(0, self.max_length - taken))
        cut = list(pieces)
        for i, length in zip(shrinkable, lengths, strict=True):
            cut[i] = pieces[i][:length]
        return cut

    def _piece(self, segment: dict, parts: list[list[int]]) -> list[int]:
        if "text" not in segment:
            return segment["ids"]
        ids = parts[0 if segment["text"] == "a" else 1]
        if segment.get("drop_space") and ids and ids[0] == self.space_id:
            return ids[1:]
        return ids


def shared_lengths(lengths: list[int], budget: int) -> list[int]:
    """Lengths that fit `budget` together: while too long, the longest loses one (the first when equal)."""
    lengths = [min(length, budget) for length in lengths]
    while sum(lengths) > budget:
        lengths[lengths.index(max(lengths))] -= 1
    return lengths


def well_formed(text: str) -> str:
    """`text` with half surrogate pairs, which no encoder accepts, replaced by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def probabilities(logits: np.ndarray, calibration: dict, multi_label: bool) -> np.ndarray:
    """float32 of the same shape as `logits` ([n, labels]): softmax, or sigmoid with `multi_label`.

    With `parents` in the calibration (hierarchical labels), a label is never more probable than its parent. With `paths`
    there, `logits` are [n, paths], of which one is right: a label is as probable as its paths are together, [n, labels].
    """
    scores = logits.astype(np.float64) / float(calibration.get("temperature") or 1.0)
    paths = calibration.get("paths")
    if multi_label and paths is None:
        proba = (0.5 * (1.0 + np.tanh(0.5 * scores))).astype(np.float32)
        for label, parent in _downwards(calibration.get("parents")):
            proba[:, label] = np.minimum(proba[:, label], proba[:, parent])
        return proba
    prior = calibration.get("prior")
    if prior is not None:
        scores = scores - np.log(np.maximum(np.asarray(prior, dtype=np.float64), 1e-12))
    scores = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    scores /= scores.sum(axis=1, keepdims=True)
    if paths is not None:
        scores = np.minimum(scores @ _on_path(paths, len(calibration["parents"])), 1.0)
    return scores.astype(np.float32)


class OnnxGraph:
    """A graph run by ONNX Runtime. `at_once`: batches that may run side by side, each on its share of the threads."""

    def __init__(self, path: Path, threads: int, providers: Sequence | None) -> None:
        self.path = path
        self.providers = list(providers or ["CPUExecutionProvider"])
        self.threads = threads
        self.session = self._open(threads)
        self.inputs = [value.name for value in self.session.get_inputs()]
        on_cpu = self.providers == ["CPUExecutionProvider"]
        self.at_once = min(threads, AT_ONCE) if on_cpu and path.stat().st_size <= SMALL_GRAPH_BYTES else 1

    def for_many(self) -> OnnxGraph:
        """The same graph with the threads shared out among `at_once` batches: its weights are held once more."""
        return OnnxGraph(self.path, self.threads // self.at_once, self.providers)

    def _open(self, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        left_out = SLOW_FUSIONS if self.providers == ["CPUExecutionProvider"] else []
        try:
            return onnxruntime.InferenceSession(
                str(self.path), options, providers=self.providers, disabled_optimizers=left_out
            )
        except Exception as error:  # the runtime has a class of its own for each kind of failure
            raise RunnerError(f"{self.path} cannot be loaded: {error}") from error

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return self.session.run(None, {name: arrays[name] for name in self.inputs})[0]


class PaddleGraph:
    """A static graph run by Paddle Inference."""

    at_once = 1

    def __init__(self, path: Path, threads: int, gpu_id: int | None, half: bool) -> None:
        from paddle import inference

        config = inference.Config(str(path), str(path.with_suffix(".pdiparams")))
        config.disable_glog_info()
        if gpu_id is None:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads)
        else:
            precision = inference.PrecisionType.Half if half else inference.PrecisionType.Float32
            config.enable_use_gpu(256, gpu_id, precision)
        self.predictor = inference.create_predictor(config)
        self.inputs = self.predictor.get_input_names()

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        for name in self.inputs:
            self.predictor.get_input_handle(name).copy_from_cpu(arrays[name])
        self.predictor.run()
        return self.predictor.get_output_handle(self.predictor.get_output_names()[0]).copy_to_cpu()


class Classifier:
    """A trained model in a folder. `labels` are names in class-id order."""

    def __init__(
        self, encoder: TextEncoder, graph, labels: list[str], calibration: dict, multi_label: bool
    ) -> None:
        self.encoder = encoder
        self.graph = graph
        self.graph_for_many = None
        self.labels = labels
        self.calibration = calibration
        self.multi_label = multi_label

    @classmethod
    def load(
        cls,
        folder: str | Path,
        threads: int | None = None,
        providers: Sequence | None = None,
        *,
        graph: str | Path | None = None,
        max_length: int | None = None,
        gpu_id: int | None = None,
        half: bool = False,
        verify: bool = True,
    ) -> Classifier:
        """The model in `folder`.

        `threads`: 0 or None means the physical cores. `providers`: ONNX Runtime's, default CPU. `graph`: an
        .onnx or a Paddle .json file, default the one in the folder. `max_length` can only shorten rows.
        `gpu_id`, `half`: for Paddle graphs. Raises RunnerError.
        """
        folder = Path(folder)
        if verify:
            check_sums(folder)
        encoding = read_json(folder / "encoding.json")
        labels = [label["name"] for label in read_json(folder / "labels.json")]
        calibration = read_json(folder / "calibration.json") if (folder / "calibration.json").exists() else {}
        encoder = TextEncoder(encoding, read_tokenizer(folder / "tokenizer.json"), max_length)
        path = Path(graph) if graph else find_graph(folder)
        threads = threads or physical_cores()
        is_onnx = path.suffix == ".onnx"
        loaded = OnnxGraph(path, threads, providers) if is_onnx else PaddleGraph(path, threads, gpu_id, half)
        return cls(encoder, loaded, labels, calibration, bool(encoding.get("multi_label")))

    def predict_logits(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """(n_texts, n_labels) float32, or (n_texts, n_paths) where the calibration has `paths`: the mean over the views.

        Texts of like length share a batch. `on_batch` hears the number of texts done; what it raises ends
        the work. RunnerError when the graph gives a value that is not finite.
        """
        n_views = len(self.encoder.views)
        n_scores = len(self.calibration.get("paths") or self.labels)
        logits = np.zeros((len(texts), n_scores), dtype=np.float32)
        # Characters stand in for tokens, so that only a window of texts is held as token ids.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        done = 0
        for chosen, scores in self._answers(texts, batches):
            logits[chosen] = scores.reshape(len(chosen), n_views, -1).mean(axis=1)
            done += len(chosen)
            if on_batch is not None:
                on_batch(done)
        if not np.isfinite(logits).all():
            raise RunnerError(
                "the model gives values that are not finite; it is damaged or was badly converted"
            )
        return logits

    def _answers(
        self, texts: Sequence[str], batches: list[list[int]]
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Each batch with the scores of its rows."""

        def answer(graph, chosen: list[int]) -> tuple[list[int], np.ndarray]:
            return chosen, graph(self.encoder.collate(self.encoder.rows([texts[index] for index in chosen])))

        at_once = self.graph.at_once
        if at_once < 2 or len(batches) < 2 * at_once:
            yield from (answer(self.graph, chosen) for chosen in batches)
            return
        self.graph_for_many = self.graph_for_many or self.graph.for_many()
        workers = ThreadPoolExecutor(at_once)
        try:
            # The longest first, so that no worker is left alone with it at the end.
            yield from workers.map(lambda chosen: answer(self.graph_for_many, chosen), reversed(batches))
        finally:
            workers.shutdown(cancel_futures=True)

    def predict_proba(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """(n_texts, n_labels) float32; rows sum to 1 unless the task is multi-label."""
        logits = self.predict_logits(texts, batch_size=batch_size, on_batch=on_batch)
        return probabilities(logits, self.calibration, self.multi_label)

    def decide(self, proba: np.ndarray) -> list[list[int]]:
        """Class ids given to each row of `proba`: one, or for multi-label those at or over their threshold."""
        return decide(proba, self.calibration, self.multi_label)

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> list[tuple[str, float]]:
        """(label, probability) a text; labels of a multi-label task joined by commas, with their least."""
        proba = self.predict_proba(texts, batch_size=batch_size)
        return [
            (",".join(self.labels[i] for i in ids), float(min((row[i] for i in ids), default=0.0)))
            for row, ids in zip(proba, self.decide(proba), strict=True)
        ]


def decide(proba: np.ndarray, calibration: dict, multi_label: bool) -> list[list[int]]:
    """The rule from probabilities (n, labels) to class ids, as a model folder's calibration.json gives it."""
    if not multi_label:
        return [[int(index)] for index in proba.argmax(axis=1)]
    return [[int(index) for index in np.flatnonzero(row)] for row in given_labels(proba, calibration)]


def given_labels(proba: np.ndarray, calibration: dict) -> np.ndarray:
    """bool (n, labels): the labels at or over their thresholds, for tasks with several labels a text.

    With `at_least_one` in the calibration, a text has its most probable label in any case. Hierarchical labels form whole
    paths: a label is given only below a given parent, and every text has at least its most probable label of the first
    level. With `paths` in the calibration, the labels of the most probable path.
    """
    paths = calibration.get("paths")
    if paths is not None:
        ends = proba.astype(np.float64)
        for label, parent in _downwards(calibration["parents"]):
            ends[:, parent] -= proba[:, label]
        best = ends[:, [path[-1] for path in paths]].argmax(axis=1)
        return _on_path(paths, proba.shape[1])[best] > 0
    given = proba >= np.asarray(calibration.get("thresholds") or [0.5] * proba.shape[1])
    parents = calibration.get("parents")
    if calibration.get("at_least_one") and len(proba):
        given[np.arange(len(proba)), proba.argmax(axis=1)] = True
    if parents is not None and len(proba):
        roots = np.flatnonzero(np.asarray(parents) < 0)
        given[np.arange(len(proba)), roots[proba[:, roots].argmax(axis=1)]] = True
        for label, parent in _downwards(parents):
            given[:, label] &= given[:, parent]
    return given


def _on_path(paths: Sequence[Sequence[int]], n_labels: int) -> np.ndarray:
    """[paths, labels]: 1 where a label is on a path."""
    table = np.zeros((len(paths), n_labels))
    for row, path in zip(table, paths, strict=True):
        row[path] = 1.0
    return table


def _downwards(parents: Sequence[int] | None) -> list[tuple[int, int]]:
    """(label, parent) pairs, parents before their children; `parents[label]` is −1 for the first level."""
    if parents is None:
        return []

    def depth(label: int) -> int:
        return 0 if parents[label] < 0 else 1 + depth(parents[label])

    order = sorted(range(len(parents)), key=depth)
    return [(label, parents[label]) for label in order if parents[label] >= 0]


def read_json(path: Path):
    """The JSON value in a file of the model."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunnerError(f"{path} cannot be read: {error}") from error


def read_tokenizer(path: Path):
    """The tokenizer in a tokenizer.json, without truncation and padding."""
    # The library's threads do not survive a fork; the caller's own setting wins.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise RunnerError(f"{path} cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def find_graph(folder: Path) -> Path:
    """The graph in a model folder."""
    for name in GRAPHS:
        if (folder / name).is_file():
            return folder / name
    raise RunnerError(f"{folder} holds none of {', '.join(GRAPHS)}")


def check_sums(folder: Path) -> None:
    """Compares every file named in `folder/SHA256SUMS`, if there is one, with its checksum."""
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return
    for line in sums.read_text(encoding="utf-8").splitlines():
        expected, _, name = line.partition("  ")
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise RunnerError(f"{name} is missing: unpack the whole bundle again") from error
        if found != expected:
            raise RunnerError(f"{name} is damaged (its SHA-256 differs): unpack the bundle again")


def physical_cores() -> int:
    """Cores this process may use, a core with two hardware threads counted once."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for index in allowed:
        try:
            siblings = Path(f"/sys/devices/system/cpu/cpu{index}/topology/thread_siblings_list")
            cores.add(siblings.read_text(encoding="ascii"))
        except OSError:
            cores.add(str(index))
    return max(1, len(cores))


def decode(content: bytes, encoding: str | None = None) -> str:
    """Text of a file: `encoding` if given, else by its BOM, else UTF-8, else GB18030."""
    if encoding:
        return content.decode(encoding)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    for guess in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(guess)
        except UnicodeDecodeError:
            continue
    raise RunnerError("the file is neither UTF-8 nor GB18030 nor UTF-16: say which with --encoding")


def read_texts(path: Path, column: str | None = None, encoding: str | None = None) -> list[str]:
    """The texts of a .txt (one a line), .tsv, .csv or .jsonl file, in order; blank lines are left out.

    `column`: name of the text's column or key, or its number from 1. Without it a known name is looked for
    in the first line, and otherwise the first column holds the texts.
    """
    content = decode(path.read_bytes(), encoding)
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return list(_texts_of_jsonl(content, column))
    if suffix in (".csv", ".tsv"):
        return list(_texts_of_table(content, column, "," if suffix == ".csv" else "\t"))
    lines = (line.rstrip("\r") for line in content.split("\n"))
    return [line for line in lines if line.strip()]


def _texts_of_jsonl(content: str, column: str | None) -> Iterator[str]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise RunnerError(f"line {number} is no JSON: {error}") from error
        if isinstance(value, dict):
            keys = [column] if column else [name for name in TEXT_COLUMNS if name in value]
            value = value.get(keys[0]) if keys else None
        if not isinstance(value, str):
            raise RunnerError(
                f"line {number} has no text under {column or 'text'!r}: say which key with --column"
            )
        yield value


def _texts_of_table(content: str, column: str | None, delimiter: str) -> Iterator[str]:
    csv.field_size_limit(2**31 - 1)
    lines = io.StringIO(content, newline="")
    if delimiter == ",":
        found = csv.reader(lines)
    else:
        found = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    rows = [row for row in found if row]
    if not rows:
        return
    header = [name.strip().lower() for name in rows[0]]
    wanted = (
        column.strip().lower() if column else next((name for name in TEXT_COLUMNS if name in header), None)
    )
    if wanted in header:
        index, rows = header.index(wanted), rows[1:]
    elif wanted is None:
        index = 0
    elif wanted.isdecimal() and int(wanted) >= 1:
        index = int(wanted) - 1
    else:
        raise RunnerError(f"there is no column {column!r}; the first line has {', '.join(rows[0])}")
    for number, row in enumerate(rows, start=1):
        if index >= len(row):
            raise RunnerError(f"row {number} has only {len(row)} columns")
        if row[index].strip():
            yield row[index]


def speak_utf8() -> None:
    """Standard output in UTF-8, whatever the terminal's language says."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def write_predictions(
    file: TextIO, as_json: bool, model: Classifier, texts: Sequence[str], proba: np.ndarray
) -> None:
    """A line a text: text, label, probability by tabs; or JSON with the probability of every label."""
    for text, row, ids in zip(texts, proba, model.decide(proba), strict=True):
        label = ",".join(model.labels[i] for i in ids)
        if as_json:
            by_label = dict(zip(model.labels, (float(value) for value in row), strict=True))
            file.write(
                json.dumps({"text": well_formed(text), "label": label, "proba": by_label}, ensure_ascii=False)
                + "\n"
            )
        else:
            flat = " ".join(well_formed(text).split())
            file.write(f"{flat}\t{label}\t{min((row[i] for i in ids), default=0.0):.4f}\n")


def self_test(model: Classifier, folder: Path) -> str:
    """Compares the answers to selftest.json with the ones given when the bundle was made; says the result."""
    expected = read_json(folder / "selftest.json")
    wanted = np.asarray(expected["proba"], dtype=np.float64)
    found = model.predict_proba(expected["texts"])
    difference = float(np.abs(found - wanted).max())
    if model.labels != expected["labels"] or difference > expected["tolerance"]:
        raise RunnerError(
            f"self-test failed: largest difference {difference:.2g}, allowed {expected['tolerance']:.2g}"
        )
    return f"self-test passed: {len(wanted)} texts, largest difference {difference:.2g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="给文本打标签 / label texts", allow_abbrev=False)
    parser.add_argument("texts", nargs="?", help="txt, tsv, csv, jsonl")
    parser.add_argument("--output", help=".tsv or .jsonl; default: print")
    parser.add_argument("--column", help="column or key of the text, by name or number from 1")
    parser.add_argument("--encoding", help="default: utf-8, utf-16 or gb18030, whichever fits")
    parser.add_argument("--threads", type=int, default=0, help="default: physical cores")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--stats", help="write number of texts and seconds to this JSON file")
    parser.add_argument("--self-test", action="store_true", help="check files and answers, then stop")
    chosen = parser.parse_args(arguments)
    folder = Path(__file__).resolve().parent
    try:
        if not chosen.self_test and not chosen.texts:
            parser.error("name a file of texts, or --self-test")
        model = Classifier.load(folder, chosen.threads)
        if chosen.self_test:
            print(self_test(model, folder))
            return 0
        texts = read_texts(Path(chosen.texts), chosen.column, chosen.encoding)
        started = time.perf_counter()
        proba = model.predict_proba(texts, batch_size=max(1, chosen.batch_size))
        seconds = time.perf_counter() - started
        if chosen.output:
            with open(chosen.output, "w", encoding="utf-8", newline="\n") as file:
                write_predictions(file, chosen.output.lower().endswith(".jsonl"), model, texts, proba)
        else:
            speak_utf8()
            write_predictions(sys.stdout, False, model, texts, proba)
        if chosen.stats:
            Path(chosen.stats).write_text(
                json.dumps({"texts": len(texts), "seconds": seconds}), encoding="utf-8"
            )
        print(f"{len(texts)} texts in {seconds:.2f} s", file=sys.stderr)
    except (RunnerError, OSError, UnicodeDecodeError, LookupError) as error:
        print(f"错误 / error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
