"""Texts and labels as plain arrays, read from the recipe's five files or from a job's folder. No Paddle.

The recipe's folder: `train.txt`, `dev.txt`, `test.txt` (a text, a tab, a label; the last tab divides), `data.txt` (a text
a line), `label.txt` (`label` or `label==word`, one a line; a repeated label adds words). JSON stands in for any
of them: `train.json` or `.jsonl` with {"text", "label"}. Multi-label: labels joined by commas. Hierarchical: `a##b`.
Class ids follow the order of label.txt everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from training.fewshot.errors import (
    DataError,
    LabelWithoutText,
    MissingData,
    TooFewLabels,
    TooFewTexts,
    UnknownLabel,
)
from training.fewshot.verbalizer import Label

UNLABELLED = -1
PATH_SEPARATOR = "##"
PAIR_SEPARATOR = "\t"
# Keys of a pair's two texts in JSON files.
PAIR_NAMES = (("text_a", "text_b"), ("sentence1", "sentence2"))
_MISPRINT = re.compile(r"""^(?P<name>.*?)\s*['"‘’“”]\s*={1,2}\s*['"‘’“”]\s*(?P<word>.*)$""")


@dataclasses.dataclass(frozen=True)
class Split:
    """`texts[i]` with `labels[i]`: int64 [n] class ids, or float32 [n, labels] of 0 and 1 for multi-label.

    An unlabelled text has -1 (a row of -1). `ids` are the caller's own numbers of the texts.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labelled(self) -> np.ndarray:
        """bool [n]: which texts have a label."""
        return self.labels >= 0 if self.labels.ndim == 1 else (self.labels >= 0).all(axis=1)

    def take(self, indices: Sequence[int] | np.ndarray) -> Split:
        """The texts at `indices`, in that order."""
        chosen = [int(index) for index in indices]
        return Split(
            tuple(self.texts[i] for i in chosen), self.labels[chosen], tuple(self.ids[i] for i in chosen)
        )

    def with_labels(self) -> Split:
        """Only the labelled texts."""
        return self.take(np.flatnonzero(self.labelled))


@dataclasses.dataclass(frozen=True)
class FewShotData:
    """Everything a run learns from and is measured on. `warnings` are events for the reader."""

    labels: tuple[Label, ...]
    train: Split
    dev: Split
    test: Split
    pool: tuple[str, ...] = ()
    warnings: tuple[dict, ...] = ()

    @property
    def n_labels(self) -> int:
        return len(self.labels)


def is_pair(text: str) -> bool:
    """Whether `text` is two texts with a tab between them."""
    first, tab, second = text.partition(PAIR_SEPARATOR)
    return bool(tab and first.strip() and second.strip())


def warning(code: str, message: str, **detail: object) -> dict:
    """An event that tells of something odd that was put right."""
    return {"type": "warning", "code": code, "message": message, "detail": detail}


def empty_split(n_labels: int, task: str) -> Split:
    """A split without texts."""
    shape = (0,) if task == "single" else (0, n_labels)
    return Split((), np.zeros(shape, dtype=np.int64 if task == "single" else np.float32), ())


def make_split(
    texts: Sequence[str],
    labels: Sequence[str | Sequence[str] | None],
    names: Sequence[str],
    task: str = "single",
    *,
    ids: Sequence[int] | None = None,
    source: str = "",
) -> Split:
    """A split from label names. Raises UnknownLabel with the text's place (1-based) in `source`."""
    index = {name: number for number, name in enumerate(names)}
    rows: list = []
    for place, given in enumerate(labels, start=1):
        try:
            rows.append(_label_ids(given, index, task))
        except KeyError as error:
            name = error.args[0]
            where = f"{source}:{place}" if source else f"text {place}"
            raise UnknownLabel(
                f"{where}: label {name!r} is not in label.txt", label=name, line=place
            ) from None
    if task == "single":
        array = np.array([row[0] if row else UNLABELLED for row in rows], dtype=np.int64)
    else:
        array = np.zeros((len(rows), len(names)), dtype=np.float32)
        for number, row in enumerate(rows):
            if row is None:
                array[number] = UNLABELLED
            else:
                array[number, row] = 1.0
    return Split(tuple(texts), array, tuple(ids) if ids is not None else tuple(range(len(texts))))


def _label_ids(given: str | Sequence[str] | None, index: dict[str, int], task: str) -> list[int] | None:
    if given is None:
        return None
    if task == "single":
        name = given if isinstance(given, str) else (given[0] if len(given) == 1 else ",".join(given))
        return [index[name]]
    names = [part.strip() for part in given.split(",")] if isinstance(given, str) else list(given)
    names = [name for name in names if name]
    if task == "hierarchical":
        names = [path for name in names for path in ancestors(name) if path in index or path == name]
    return sorted({index[name] for name in names})


def ancestors(path: str) -> list[str]:
    """`a##b##c` → [`a`, `a##b`, `a##b##c`]."""
    steps = path.split(PATH_SEPARATOR)
    return [PATH_SEPARATOR.join(steps[: depth + 1]) for depth in range(len(steps))]


def parents_of(names: Sequence[str]) -> list[int]:
    """For each label the index of its nearest ancestor among `names`, −1 where there is none."""
    index = {name: number for number, name in enumerate(names)}
    return [
        max(
            (index[path] for path in ancestors(name)[:-1] if path in index),
            key=lambda i: len(names[i]),
            default=-1,
        )
        for name in names
    ]


def read_labels(path: Path) -> tuple[tuple[Label, ...], list[dict]]:
    """Labels in file order and warnings about lines that were put right."""
    words: dict[str, list[str]] = {}
    warnings = []
    for number, line in enumerate(_lines(path), start=1):
        text = line.strip()
        if not text:
            continue
        misprint = _MISPRINT.match(text) if not re.search(r"[^'\"‘’“”\s]==[^'\"‘’“”\s]", text) else None
        if misprint:
            name, word = misprint["name"], misprint["word"]
            warnings.append(
                warning(
                    "label_misprint",
                    f"{path.name}:{number}: {text!r} was read as {name}=={word}",
                    line=number,
                )
            )
        else:
            name, _, word = text.partition("==")
        name, word = name.strip(), word.strip()
        if not name:
            raise DataError(f"{path.name}:{number}: a line without a label", line=number)
        known = words.setdefault(name, [])
        if word and word not in known:
            known.append(word)
    labels = tuple(
        Label(name, tuple(found) or (name.split(PATH_SEPARATOR)[-1],)) for name, found in words.items()
    )
    if not labels:
        raise TooFewLabels(f"{path} names no label")
    return labels, warnings


def read_folder(
    folder: str | Path, task: str = "single", *, need_train: bool = True, with_pool: bool = True
) -> FewShotData:
    """The recipe's folder. Raises MissingData, DataError or UnknownLabel, each with file and line.

    Without label.txt the labels are those of train.txt, in order of appearance.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingData(f"{folder} is not a folder", file=str(folder))
    raw = {name: _read_pairs(folder, name) for name in ("train", "dev", "test")}
    if need_train and raw["train"] is None:
        raise MissingData(f"{folder / 'train.txt'} is missing", file="train.txt")
    warnings: list[dict] = []
    label_file = folder / "label.txt"
    if label_file.is_file():
        labels, warnings = read_labels(label_file)
    else:
        names = _names_in(raw["train"] or ([], []), task)
        if not names:
            raise MissingData(f"{label_file} is missing", file="label.txt")
        labels = tuple(Label(name, (name.split(PATH_SEPARATOR)[-1],)) for name in names)
        warnings.append(warning("no_label_file", f"{label_file} is missing: labels taken from train.txt"))
    if task == "hierarchical":
        labels = _with_ancestors(labels)
    names = [label.name for label in labels]
    splits = {}
    for name, pairs in raw.items():
        if pairs is None:
            splits[name] = empty_split(len(labels), task)
            continue
        texts, given = pairs
        given = [_by_number(item, names) for item in given]
        if name != "test":
            for number, item in enumerate(given, start=1):
                if item is None:
                    raise DataError(f"{name}.txt:{number}: a line without a tab and a label", line=number)
        elif any(given) and not any(item is not None and _known(item, names, task) for item in given):
            # No label is known: these are unlabelled texts that contain tabs themselves.
            texts = [t if g is None else f"{t}\t{_joined(g)}" for t, g in zip(texts, given, strict=True)]
            given = [None] * len(given)
        splits[name] = make_split(texts, given, names, task, source=f"{name}.txt")
    pool: tuple[str, ...] = ()
    if with_pool and (folder / "data.txt").is_file():
        pool = tuple(line for line in _lines(folder / "data.txt") if line.strip())
    return FewShotData(labels, splits["train"], splits["dev"], splits["test"], pool, tuple(warnings))


def read_job_folder(folder: str | Path, labels: Sequence[Label], task: str = "single") -> FewShotData:
    """A job's `{train,dev,test,pool}.jsonl`, each line {"id", "text", "label"}; an absent file is an empty split."""
    folder = Path(folder)
    names = [label.name for label in labels]
    splits = {}
    for name in ("train", "dev", "test"):
        path = folder / f"{name}.jsonl"
        rows = list(_json_lines(path)) if path.is_file() else []
        splits[name] = make_split(
            [row["text"] for row in rows],
            [row.get("label") for row in rows],
            names,
            task,
            ids=[row.get("id", number) for number, row in enumerate(rows)],
            source=path.name,
        )
    path = folder / "pool.jsonl"
    pool = tuple(row["text"] for row in _json_lines(path)) if path.is_file() else ()
    return FewShotData(tuple(labels), splits["train"], splits["dev"], splits["test"], pool)


def check(data: FewShotData, task: str = "single") -> list[dict]:
    """Raises what makes training senseless, before time is spent; returns warnings about the rest."""
    if data.n_labels < 2:
        raise TooFewLabels(f"there is {data.n_labels} label; at least two are needed")
    train = data.train.with_labels()
    if len(train) < 2:
        raise TooFewTexts(f"train has {len(train)} labelled texts; at least two are needed", n=len(train))
    counts = class_counts(train, data.n_labels)
    empty = [label.name for label, count in zip(data.labels, counts, strict=True) if not count]
    if empty and (task == "single" or len(empty) == data.n_labels):
        raise LabelWithoutText(f"no training text has the label {empty[0]!r}", labels=empty)
    warnings = []
    if any(not text.strip() for text in train.texts):
        raise DataError("a training text is empty")
    if len(data.dev):
        dev_counts = class_counts(data.dev.with_labels(), data.n_labels)
        absent = [label.name for label, count in zip(data.labels, dev_counts, strict=True) if not count]
        if absent:
            warnings.append(
                warning("class_missing_in_dev", f"dev has no text of {', '.join(absent)}", labels=absent)
            )
    shared = set(data.train.texts) & set(data.test.texts)
    if shared:
        warnings.append(
            warning("train_text_in_test", f"{len(shared)} texts stand in train and in test", n=len(shared))
        )
    return warnings


def class_counts(split: Split, n_labels: int) -> np.ndarray:
    """int64 [n_labels]: labelled texts of each class."""
    if split.labels.ndim == 2:
        return (split.labels > 0).sum(axis=0).astype(np.int64)
    return np.bincount(split.labels[split.labels >= 0], minlength=n_labels)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name}:{line}: not UTF-8", file=path.name, line=line) from error
    except OSError as error:
        raise MissingData(f"{path} cannot be read: {error.strerror}", file=path.name) from error
    # str.splitlines would also divide at U+2028, U+0085 and form feeds, which occur inside texts.
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _read_pairs(folder: Path, name: str) -> tuple[list[str], list] | None:
    path = folder / f"{name}.txt"
    if path.is_file():
        texts, labels = [], []
        for line in _lines(path):
            if not line.strip():
                continue
            text, tab, label = line.rpartition("\t")
            texts.append(text if tab else line)
            labels.append(label.strip() or None if tab else None)
        return texts, labels
    for suffix in (".jsonl", ".json"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            rows = list(_json_lines(path))
            return [row["text"] for row in rows], [row.get("label") for row in rows]
    return None


def _json_lines(path: Path) -> Iterable[dict]:
    lines = _lines(path)
    rows: Iterable[tuple[int, object]]
    whole = "\n".join(lines).strip()
    if whole.startswith("["):
        try:
            rows = enumerate(json.loads(whole), start=1)
        except ValueError as error:
            raise DataError(f"{path.name}: not JSON: {error}", file=path.name) from error
    else:
        rows = ((n, _json(path, n, line)) for n, line in enumerate(lines, start=1) if line.strip())
    for number, row in rows:
        if not isinstance(row, dict) or (text := _text_of(row)) is None:
            raise DataError(f'{path.name}:{number}: no "text"', file=path.name, line=number)
        yield {**row, "text": text}


def _text_of(row: dict) -> str | None:
    """The text of a JSON object, or its two texts as a pair."""
    if isinstance(row.get("text"), str):
        return row["text"]
    for names in PAIR_NAMES:
        parts = [row[name].replace(PAIR_SEPARATOR, " ") for name in names if isinstance(row.get(name), str)]
        if len(parts) == len(names):
            return PAIR_SEPARATOR.join(parts)
    return None


def _json(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"{path.name}:{number}: not JSON: {error}", file=path.name, line=number) from error


def _by_number(given: object, names: Sequence[str]) -> object:
    """Labels given as class numbers (JSON files) become names."""
    if isinstance(given, bool):
        raise DataError(f"label {given!r} is neither a name nor a number")
    if isinstance(given, int):
        if not 0 <= given < len(names):
            raise UnknownLabel(f"label number {given} is outside 0 to {len(names) - 1}", label=given)
        return names[given]
    if isinstance(given, list):
        return [_by_number(item, names) for item in given]
    return given


def _known(given: object, names: Sequence[str], task: str) -> bool:
    if task == "single":
        return given in names
    parts = given.split(",") if isinstance(given, str) else given
    return isinstance(parts, list) and all(isinstance(part, str) and part.strip() in names for part in parts)


def _joined(given: object) -> str:
    return ",".join(str(part) for part in given) if isinstance(given, list) else str(given)


def _names_in(pairs: tuple[list[str], list], task: str) -> list[str]:
    names: dict[str, None] = {}
    for given in pairs[1]:
        if given is None:
            continue
        parts = given if isinstance(given, list) else [given] if task == "single" else str(given).split(",")
        for part in parts:
            if isinstance(part, str) and part.strip():
                names.setdefault(part.strip())
    return list(names)


def _with_ancestors(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    known = {label.name: label for label in labels}
    whole: dict[str, Label] = {}
    for label in labels:
        for path in ancestors(label.name):
            whole.setdefault(path, known.get(path) or Label(path, (path.split(PATH_SEPARATOR)[-1],)))
    return tuple(whole.values())
