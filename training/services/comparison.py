"""Two runs side by side: on the texts that both were judged by, and in what made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from labeling.models import Example
from training.fewshot import evaluation
from training.models import TrainingRun
from training.services.results import judged_rows

MAX_FLIPS = 40
HIDDEN_SETTINGS = ("device", "num_threads", "to_static", "logging_steps")


@dataclass(frozen=True, slots=True)
class Flip:
    """A text on which the two runs differ. `kind`: fixed (only the second is right), broken, other."""

    example_id: int
    text: str
    true: str
    first: str
    second: str
    kind: str


@dataclass(frozen=True, slots=True)
class SplitComparison:
    """Both runs on the `n` texts of `split` that both judged under the same label.

    `difference` (second − first) with its 95 % interval from a paired bootstrap; `p_value` of McNemar's test."""

    split: str
    n: int
    first_accuracy: float
    second_accuracy: float
    difference: float
    low: float
    high: float
    p_value: float
    tell_apart: bool
    by_cross_validation: bool
    classes: list[dict[str, Any]]
    flips: list[Flip]
    n_fixed: int
    n_broken: int


def compare_split(first: TrainingRun, second: TrainingRun, split: str) -> SplitComparison | None:
    """The comparison on `split`, or None when no text was judged by both."""
    left = {row["id"]: row for row in judged_rows(first, split)}
    both = [
        (left[row["id"]], row)
        for row in judged_rows(second, split)
        if row["id"] in left and row["label"] is not None and left[row["id"]]["label"] == row["label"]
    ]
    if not both:
        return None
    first_right = np.array([a["predicted"] == a["label"] for a, _ in both])
    second_right = np.array([b["predicted"] == b["label"] for _, b in both])
    found = evaluation.compare(first_right, second_right)
    fixed = int((~first_right & second_right).sum())
    broken = int((first_right & ~second_right).sum())
    return SplitComparison(
        split=split,
        n=len(both),
        first_accuracy=float(first_right.mean()),
        second_accuracy=float(second_right.mean()),
        difference=found["difference"],
        low=found["interval"][0],
        high=found["interval"][1],
        p_value=found["p_value"],
        tell_apart=found["tell_apart"],
        by_cross_validation=any(_by_cross_validation(run, split) for run in (first, second)),
        classes=_classes(first, both),
        flips=_flips(first, both),
        n_fixed=fixed,
        n_broken=broken,
    )


def setting_differences(first: TrainingRun, second: TrainingRun) -> list[dict[str, Any]]:
    """`[{"name", "first", "second"}]` of the settings and circumstances that differ."""
    rows = [
        {"name": name, "first": first.config.get(name), "second": second.config.get(name)}
        for name in sorted(set(first.config) | set(second.config))
        if name not in HIDDEN_SETTINGS and first.config.get(name) != second.config.get(name)
    ]
    for name, values in (
        ("train", [run.counts.get("train") for run in (first, second)]),
        ("dev", [run.counts.get("dev") for run in (first, second)]),
        ("test", [run.counts.get("test") for run in (first, second)]),
        ("words", [_("；").join(_words(run)) for run in (first, second)]),
        ("backbone_hash", [run.backbone_hash[:12] for run in (first, second)]),
    ):
        if values[0] != values[1]:
            rows.append({"name": name, "first": values[0], "second": values[1]})
    return rows


def _classes(run: TrainingRun, both: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
    """F1 of each class for both runs on the shared texts, and the difference."""
    names = [label["name"] for label in run.labels]
    names += sorted(
        {row[key] for pair in both for row in pair for key in ("label", "predicted")} - set(names)
    )
    place = {name: index for index, name in enumerate(names)}
    truth = np.array([place[a["label"]] for a, _ in both])
    scores = []
    for side in (0, 1):
        said = np.array([place[pair[side]["predicted"]] for pair in both])
        scores.append(evaluation.per_class(evaluation.confusion_matrix(truth, said, len(names)))[2])
    support = np.bincount(truth, minlength=len(names))
    return [
        {
            "name": name,
            "support": int(support[index]),
            "first": float(scores[0][index]),
            "second": float(scores[1][index]),
            "difference": float(scores[1][index] - scores[0][index]),
        }
        for index, name in enumerate(names)
        if support[index]
    ]


def _flips(run: TrainingRun, both: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[Flip]:
    differing = [(a, b) for a, b in both if a["predicted"] != b["predicted"]]
    order = {"broken": 0, "fixed": 1, "other": 2}

    def kind(a: dict[str, Any], b: dict[str, Any]) -> str:
        if b["predicted"] == b["label"]:
            return "fixed"
        return "broken" if a["predicted"] == a["label"] else "other"

    differing.sort(key=lambda pair: (order[kind(*pair)], -pair[1]["confidence"]))
    shown = differing[:MAX_FLIPS]
    ids = [a["id"] for a, _ in shown]
    texts = dict(Example.objects.filter(project=run.project, pk__in=ids).values_list("pk", "text"))
    return [
        Flip(a["id"], texts[a["id"]], a["label"], a["predicted"], b["predicted"], kind(a, b))
        for a, b in shown
        if a["id"] in texts
    ]


def _by_cross_validation(run: TrainingRun, split: str) -> bool:
    return any(
        found.split == split and found.data.get("by") == "cross_validation" for found in run.evaluations.all()
    )


def _words(run: TrainingRun) -> list[str]:
    return [f"{label['name']}={'/'.join(label['words'])}" for label in run.labels]
