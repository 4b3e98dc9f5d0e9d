"""The recipe's five files, or a job's folder, read into arrays. No Paddle.

The recipe's folder: `train.txt`, `dev.txt`, `test.txt` (a text, a tab, a label; the last tab divides), `data.txt` (a text
a line), `label.txt` (`label` or `label==word`, one a line; a repeated label adds words). JSON stands in for any
of them: `train.json` or `.jsonl` with {"text", "label"}. Multi-label: labels joined by commas. Hierarchical: `a##b`.
Class ids follow the order of label.txt everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.fewshot.data import (
    PAIR_SEPARATOR,
    PATH_SEPARATOR,
    FewShotData,
    ancestors,
    empty_split,
    make_split,
    warning,
)
from training.fewshot.errors import DataError, MissingData, TooFewLabels, UnknownLabel
from training.fewshot.verbalizer import Label

# Keys of a pair's two texts in JSON files.
PAIR_NAMES = (("text_a", "text_b"), ("sentence1", "sentence2"))
_MISPRINT = re.compile(r"""^(?P<name>.*?)\s*['"‘’“”]\s*={1,2}\s*['"‘’“”]\s*(?P<word>.*)$""")


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
