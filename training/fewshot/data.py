"""Texts and labels as plain arrays: splits, what they must be to be trained on, and labels' paths. No Paddle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from training.fewshot.errors import (
    DataError,
    LabelWithoutText,
    TooFewLabels,
    TooFewTexts,
    UnknownLabel,
)
from training.fewshot.verbalizer import Label

UNLABELLED = -1
PATH_SEPARATOR = "##"
PAIR_SEPARATOR = "\t"
# Contract: under this many dev texts a class, cross-validation stands in for dev.
MIN_DEV_TEXTS_A_CLASS = 10
# With fewer texts of dev a temperature says little.
MIN_TEXTS_TO_CALIBRATE = 20


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


def dev_is_too_small(data: FewShotData, task: str) -> bool:
    """Whether dev has fewer than ten texts of some class; where a text may have several labels, whether it has none."""
    dev = data.dev.with_labels()
    if task != "single":
        return not len(dev)
    return bool(class_counts(dev, data.n_labels).min() < MIN_DEV_TEXTS_A_CLASS)


def class_counts(split: Split, n_labels: int) -> np.ndarray:
    """int64 [n_labels]: labelled texts of each class."""
    if split.labels.ndim == 2:
        return (split.labels > 0).sum(axis=0).astype(np.int64)
    return np.bincount(split.labels[split.labels >= 0], minlength=n_labels)
