"""Tables for tasks that a data folder was not made for: labels with parents, and several labels a text.

Made in memory from a folder with one label a text; what comes out is harder or easier than real data of its kind, and
figures on it compare methods with each other and with nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from training.fewshot.data import PATH_SEPARATOR, FewShotData, Split
from training.fewshot.errors import DataError
from training.fewshot.verbalizer import Label

GROUP_SIZE = 4
KINDS = ("hierarchy", "several")


def derive(kind: str, data: FewShotData, *, seed: int = 0) -> tuple[FewShotData, str]:
    """`data` as `kind` and the task's name."""
    if kind == "hierarchy":
        return with_parents(data), "hierarchical"
    if kind == "several":
        return with_several_labels(data, seed=seed), "multi_label"
    raise DataError(f"{kind!r} is none of {', '.join(KINDS)}")


def groups_of(n_labels: int, size: int = GROUP_SIZE) -> list[list[int]]:
    """Labels 0 … n−1 in groups of neighbours, none of a single label where there are two or more."""
    groups = [list(range(at, min(at + size, n_labels))) for at in range(0, n_labels, size)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        groups[-1].insert(0, groups[-2].pop())
    return groups


def with_parents(data: FewShotData, groups: Sequence[Sequence[int]] | None = None) -> FewShotData:
    """Each label below a parent that stands for its group; the parent's word is its first two children's together."""
    groups = groups_of(data.n_labels) if groups is None else groups
    labels: list[Label] = []
    place: dict[int, list[int]] = {}
    for group in groups:
        word = "".join(data.labels[number].words[0] for number in group[:2])
        parent = len(labels)
        labels.append(Label(word, (word,)))
        for number in group:
            place[number] = [parent, len(labels)]
            child = data.labels[number]
            labels.append(Label(f"{word}{PATH_SEPARATOR}{child.name}", child.words))

    def told(split: Split) -> Split:
        rows = np.full((len(split), len(labels)), -1.0, dtype=np.float32)
        for row, label in zip(rows, split.labels, strict=True):
            if label >= 0:
                row[:] = 0.0
                row[place[int(label)]] = 1.0
        return dataclasses.replace(split, labels=rows)

    return FewShotData(tuple(labels), told(data.train), told(data.dev), told(data.test), data.pool)


def with_several_labels(data: FewShotData, *, seed: int = 0) -> FewShotData:
    """Every second text joined with one of another label: half of the texts then have one label, half have two.

    Each text of a split is used about once, so that the joined split is no larger than the texts allow.
    """

    def told(split: Split, number: int) -> Split:
        random = np.random.default_rng([seed, number])
        labelled = split.with_labels()
        order = [int(index) for index in random.permutation(len(labelled))]
        texts: list[str] = []
        rows: list[np.ndarray] = []
        joins = False
        while order:
            first = order.pop()
            row = np.zeros(data.n_labels, dtype=np.float32)
            row[labelled.labels[first]] = 1.0
            text = labelled.texts[first]
            other = next((i for i in reversed(order) if labelled.labels[i] != labelled.labels[first]), None)
            if joins and other is not None:
                order.remove(other)
                row[labelled.labels[other]] = 1.0
                text = f"{text} {labelled.texts[other]}"
            joins = not joins
            texts.append(text)
            rows.append(row)
        array = np.stack(rows) if rows else np.zeros((0, data.n_labels), dtype=np.float32)
        return Split(tuple(texts), array, tuple(range(len(texts))))

    return dataclasses.replace(
        data, train=told(data.train, 0), dev=told(data.dev, 1), test=told(data.test, 2), warnings=()
    )
