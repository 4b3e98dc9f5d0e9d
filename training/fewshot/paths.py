"""Labels with parents where every text has one path: learnt as a choice of one path, told as all labels on it.

With a yes or no for each label a path comes out whole only where every part of it does; a softmax over the paths knows
that one of them is right. What is learnt is then a task with one label a text, whose labels are the ends of the paths; a
label's probability is the sum of its paths', and the answer is the most probable path.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

import numpy as np

from training.fewshot.config import FewShotConfig, check_weights
from training.fewshot.data import UNLABELLED, FewShotData, Split, parents_of, warning
from training.fewshot.verbalizer import Label

if TYPE_CHECKING:
    from training.fewshot.model import FittedModel

Paths = list[list[int]]
# Above this share of texts with one path, the others are pointed out: a slip among them changes what can be learnt.
MOSTLY = 0.9


def single_paths(data: FewShotData) -> Paths | None:
    """The paths that a text may have, each as class ids from its root to its end; None where a labelled text of train
    or dev has no path or several.

    A label without children ends a path; one with children does where a text has it and none of them.
    """
    parents = parents_of([label.name for label in data.labels])
    found = ends_of_texts(data)
    if any(end is None for end in found):
        return None
    ends = (set(range(len(parents))) - set(parents)).union(end for end in found if end is not None)
    return [path_to(end, parents) for end in sorted(ends)]


def ends_of_texts(data: FewShotData) -> list[int | None]:
    """For each labelled text of train, then dev, the label that ends its one path; None where it has none or several."""
    parents = parents_of([label.name for label in data.labels])
    ends: list[int | None] = []
    for split in (data.train, data.dev):
        for row in split.with_labels().labels:
            given = set(np.flatnonzero(row > 0).tolist())
            deepest = given - {parents[label] for label in given}
            one = len(deepest) == 1 and given == set(path_to(min(deepest), parents))
            ends.append(min(deepest) if one else None)
    return ends


def notices(data: FewShotData) -> list[dict]:
    """A warning where nearly all texts have one path and some do not: every label is then a yes or no of its own."""
    ends = ends_of_texts(data)
    others = [place for place, end in enumerate(ends) if end is None]
    if not others or len(ends) - len(others) < MOSTLY * len(ends):
        return []
    texts = [*data.train.with_labels().texts, *data.dev.with_labels().texts]
    return [
        warning(
            "several_paths",
            f"{len(others)} of {len(ends)} texts have no path of labels or several, the first: "
            f"{texts[others[0]][:40]!r}; with one path each, whole paths would be learnt far better",
            n=len(others),
            of=len(ends),
            text=texts[others[0]][:40],
        )
    ]


def path_to(label: int, parents: list[int]) -> list[int]:
    """The class ids from the root to `label`."""
    return [*path_to(parents[label], parents), label] if parents[label] >= 0 else [label]


def as_choice(data: FewShotData, paths: Paths) -> FewShotData:
    """`data` as a task with one label a text, the end of its path; a text of another kind is unlabelled."""
    number = {frozenset(path): place for place, path in enumerate(paths)}
    counts = Counter(word for path in paths for word in set(data.labels[path[-1]].words))
    shared = {word for word, count in counts.items() if count > 1}

    def told(split: Split) -> Split:
        rows = [number.get(frozenset(np.flatnonzero(row > 0).tolist()), UNLABELLED) for row in split.labels]
        return dataclasses.replace(split, labels=np.array(rows, dtype=np.int64))

    return dataclasses.replace(
        data,
        labels=tuple(end_of(path, data.labels, shared) for path in paths),
        train=told(data.train),
        dev=told(data.dev),
        test=told(data.test),
    )


def end_of(path: list[int], labels: Sequence[Label], shared: Set[str]) -> Label:
    """The label that ends `path`; a word that other ends have too, such as "other", follows its parent's first word."""
    end = labels[path[-1]]
    if len(path) < 2:
        return end
    before = labels[path[-2]].words[0]
    return Label(end.name, tuple(before + word if word in shared else word for word in end.words))


def choosing(config: FewShotConfig, data: FewShotData, paths: Paths) -> FewShotConfig:
    """The settings for `as_choice`; a label's own weight counts where it ends a path. Raises ConfigError."""
    weights = config.class_weights
    if isinstance(weights, dict):
        names = [label.name for label in data.labels]
        check_weights(weights, names)
        ends = {names[path[-1]] for path in paths}
        weights = {name: weight for name, weight in weights.items() if name in ends}
    return config.replace(task="single", class_weights=weights)


def as_asked(model: FittedModel, data: FewShotData, paths: Paths) -> FittedModel:
    """A model of `as_choice(data, paths)` as one of `data`: it gives every label of its path."""
    before = model.before_refit
    return dataclasses.replace(
        model,
        config=model.config.replace(task="hierarchical"),
        labels=data.labels,
        encoding={**model.encoding, "multi_label": True},
        calibration={
            **model.calibration,
            "parents": parents_of([label.name for label in data.labels]),
            "paths": paths,
        },
        before_refit=before and as_asked(before, data, paths),
    )
