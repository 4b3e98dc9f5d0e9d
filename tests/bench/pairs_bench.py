"""How much of the likeness of two sentences each method finds, on made pairs and the shipped backbone.

    python -m tests.bench.pairs_bench [--seeds 6] [--methods pair,label_sentence,probe,finetune] [--set start_share=0.25 …]

`made_pairs.txt`, written for this bench: 40 requests to an assistant, each beside one that asks the same in other words
and one that shares its words and asks something else. A run learns both pairs of 16 requests and answers those of the
other 24, so that no sentence by itself tells the answer. The pairs are easy to tell for people and few: the table compares methods with each other, and with nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training.fewshot import threads

threads.settle()

import numpy as np  # noqa: E402

from training.fewshot import model as models  # noqa: E402
from training.fewshot.backbones import resolve  # noqa: E402
from training.fewshot.benchmark import read_settings  # noqa: E402
from training.fewshot.config import SHIPPED_BACKBONE, FewShotConfig  # noqa: E402
from training.fewshot.data import FewShotData, empty_split, make_split  # noqa: E402
from training.fewshot.verbalizer import Label  # noqa: E402

LABELS = (Label("0", ("不同",)), Label("1", ("相同",)))
REQUESTS, LEARNT = 40, 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--methods", default="pair,label_sentence,probe,finetune")
    parser.add_argument("--set", nargs="*", default=[], metavar="name=value", help="settings of every method")
    asked = parser.parse_args()
    settings = FewShotConfig.from_json(read_settings(asked.set))
    lines = (Path(__file__).parent / "made_pairs.txt").read_text(encoding="utf-8").splitlines()
    texts, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
    whole = make_split(texts, labels, ["0", "1"])
    empty = empty_split(2, "single")
    backbone = resolve(SHIPPED_BACKBONE, models.default_cache_dir(), lambda event: None, trusted=True)
    found: dict[str, list[float]] = {}
    for seed in range(asked.seeds):
        requests = np.random.default_rng(seed).permutation(REQUESTS)[:LEARNT]
        learnt = np.concatenate([requests, REQUESTS + requests])
        judged = whole.take(np.setdiff1d(np.arange(len(whole)), learnt))
        data = FewShotData(LABELS, whole.take(learnt), empty, empty)
        for method in asked.methods.split(","):
            fitted = models.fit(settings.replace(method=method, seed=seed), data, backbone=backbone)
            right = fitted.predict_proba(judged.texts).argmax(axis=1) == judged.labels
            found.setdefault(method, []).append(float(right.mean()))
    print("| method | mean of splits | standard error |\n|---|---|---|")
    for method, shares in found.items():
        error = np.std(shares, ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else float("nan")
        print(f"| {method} | {100 * np.mean(shares):.1f} | {100 * error:.1f} |")


if __name__ == "__main__":
    main()
