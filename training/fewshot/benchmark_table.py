"""What a benchmark's runs come to: a Markdown table with intervals and paired differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

NOT_COMPARABLE = " (learnt dev too: not comparable with the published split)"


@dataclasses.dataclass
class Run:
    """One training: `right` (n,) float, the share of each judged text that was answered rightly."""

    row: str
    seed: int
    settings: str
    figures: dict[str, float]
    right: list[float]
    notes: dict

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


def compare(first: np.ndarray, second: np.ndarray, *, repeats: int = 2000, seed: int = 0) -> dict:
    """Paired difference second − first of two methods, (seeds, texts) each, on the same texts.

    The interval (95 %) is a bootstrap over texts and, within each method, over seeds.
    """
    random = np.random.default_rng(seed)
    n = first.shape[1]
    draws = []
    for _ in range(repeats):
        texts = random.integers(0, n, n)
        one = first[random.integers(0, len(first), len(first))].mean(axis=0)
        two = second[random.integers(0, len(second), len(second))].mean(axis=0)
        draws.append(float((two - one)[texts].mean()))
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "difference": float(second.mean() - first.mean()),
        "interval": [float(low), float(high)],
        "tell_apart": bool(low > 0 or high < 0),
    }


def interval(right: np.ndarray, *, repeats: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean of (seeds, texts): a bootstrap over both."""
    random = np.random.default_rng(seed)
    n_seeds, n = right.shape
    draws = [
        right[random.integers(0, n_seeds, n_seeds)].mean(axis=0)[random.integers(0, n, n)].mean()
        for _ in range(repeats)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def table(
    runs: Sequence[Run], rows: Sequence[str], against: str, anchors: Sequence[tuple[str, float]]
) -> str:
    """The Markdown table: a line a row that has runs, then the published anchors."""
    by_row = {row: [one for one in runs if one.row == row] for row in rows}
    by_row = {row: found for row, found in by_row.items() if found}
    several = any("micro_f1" in found[0].figures for found in by_row.values())
    head = ["method", "seeds", "dev", "accuracy", "95 %", "macro F1"]
    head += ["micro F1"] if several else []
    head += [f"against {against} (95 %)", "s to train", "CPU s", "peak MiB"]
    lines = [" | ".join(["", *head, ""]).strip(), "|" + "---|" * len(head)]
    reference = _right(by_row[against]) if against in by_row else None
    for row, found in by_row.items():
        right = _right(found)
        low, high = interval(right)
        difference = ""
        if reference is not None and row != against:
            told = compare(reference, right)
            least, most = (100 * end for end in told["interval"])
            difference = f"{100 * told['difference']:+.1f} ({least:+.1f} to {most:+.1f})"
            difference += "" if told["tell_apart"] else ", cannot be told apart"

        def mean(name: str, found=found) -> float | None:
            values = [one.figures[name] for one in found if name in one.figures]
            return float(np.mean(values)) if values else None

        cells = [
            row + (NOT_COMPARABLE if "refit" in found[0].notes else ""),
            str(len(found)),
            _percent(mean("dev_accuracy")),
        ]
        cells += [
            f"**{100 * right.mean():.1f}**",
            f"{100 * low:.1f} – {100 * high:.1f}",
            _percent(mean("macro_f1")),
        ]
        cells += [_percent(mean("micro_f1"))] if several else []
        cells += [
            difference,
            f"{mean('fit_seconds') or 0:.0f}",
            f"{mean('fit_cpu_seconds') or 0:.0f}",
            f"{(mean('peak_bytes') or 0) / (1 << 20):.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for name, accuracy in anchors:
        cells = [name, "", "", f"{100 * accuracy:.2f}"] + [""] * (len(head) - 4)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _right(runs: Sequence[Run]) -> np.ndarray:
    return np.array([one.right for one in runs])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
