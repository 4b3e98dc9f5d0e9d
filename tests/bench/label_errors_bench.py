"""How many planted label errors does the list of suspect labels hold, and how near its top?

    python -m tests.bench.label_errors_bench [--name tnews] [--seeds 20]

Of the texts in train.txt (or train + dev) 10 % and 20 % get another label at random; then the very functions that the
quality page uses look for them. Nothing is chosen by the outcome per seed; test texts are not read. Prints Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tests.bench.labelling_replay_bench import OWN_TEMPLATE, vectors_of
from training.fewshot import probe as probes
from training.fewshot import quality
from training.fewshot.evaluation import mean_interval

REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--name", default="tnews", choices=sorted(OWN_TEMPLATE))
    parser.add_argument("--cache", type=Path, default=Path("/tmp/wanxing-replay"))
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    vectors = vectors_of(asked.name, asked.data, asked.cache)
    start = probes.untrained(vectors["labels"][0])
    for splits in (("train",), ("train", "dev")):
        x = np.concatenate([vectors[split] for split in splits]).astype(np.float32)
        y = np.concatenate([vectors[f"{split}_y"] for split in splits])
        for share in (0.1, 0.2):
            print(f"\n## {' + '.join(splits)}: {len(y)} texts, {share:.0%} of the labels wrong\n")
            print(report(start, x, y, share, asked.seeds))


def report(start: probes.Probe, x: np.ndarray, y: np.ndarray, share: float, seeds: int) -> str:
    """Markdown: a row a way to list, means over seeds with Student's intervals (95 %)."""
    found: dict[str, list[list[float]]] = {}
    n_planted = round(share * len(y))
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        given = y.copy()
        planted = random.choice(len(y), n_planted, replace=False)
        given[planted] = (given[planted] + random.integers(1, len(start.rows), n_planted)) % len(start.rows)
        proba = (
            sum(probes.learn(start, x, given, seed=repeat).held_out_proba for repeat in range(REPEATS))
            / REPEATS
        )
        wrong = np.zeros(len(y), dtype=bool)
        wrong[planted] = True
        own = proba[np.arange(len(y)), given]
        ways = {
            "list (noise rate)": quality.label_errors(given, proba),
            "list (confident joint)": quality.label_errors(given, proba, by="confident"),
        }
        for name, errors in ways.items():
            found.setdefault(name, []).append(
                [*_of_list(errors.rows, wrong, n_planted), errors.expected,
                 float((errors.suggested == y[errors.rows])[wrong[errors.rows]].mean())]
            )  # fmt: skip
        found.setdefault("all, least self-confidence first", []).append(
            [*_of_list(np.argsort(own, kind="stable"), wrong, n_planted), np.nan, np.nan]
        )
        found.setdefault("all, at random", []).append(
            [*_of_list(random.permutation(len(y)), wrong, n_planted), np.nan, np.nan]
        )
    lines = [
        (
            "| | listed | recall | precision | precision of the first 10 | of the first 20 | recall in as many as were planted"
            " | errors estimated | right label suggested |"
        ),
        "|---|" + "---|" * 8,
    ]
    for name, rows in found.items():
        cells = []
        for place, values in enumerate(np.array(rows).T):
            mean, low, high = mean_interval(values)
            if np.isnan(mean):
                cells.append("")
            elif place in (0, 6):
                cells.append(f"{mean:.0f}")
            else:
                cells.append(f"{100 * mean:.0f} ({100 * low:.0f}–{100 * high:.0f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _of_list(rows: np.ndarray, wrong: np.ndarray, n_planted: int) -> list[float]:
    """Listed, recall, precision, precision of the first 10 and 20, recall in the first `n_planted`."""
    hits = wrong[rows]
    n = max(1, len(rows))
    return [
        float(len(rows)), hits.sum() / n_planted, hits.sum() / n, float(hits[:10].mean()) if len(rows) else 0.0,
        float(hits[:20].mean()) if len(rows) else 0.0, hits[:n_planted].sum() / n_planted,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
