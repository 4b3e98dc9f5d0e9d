"""Prediction texts/s of one trained model: ONNX Runtime fp32 and int8 against Paddle Inference, side by side.

    python -m tests.bench.prediction_bench [--shape nano|small|base] [--rounds 3] [--threads 2] [--texts 480]

Random weights of the shape, texts as long as tnews' titles, tokenising left out of no figure: whole
`Classifier.predict_logits` calls, each runtime in a process of its own, in turn, best round of each. int8 is what a bundle
holds (`training.fewshot.quantise`). `small` has the shape of the shipped backbone. Paddle Inference runs as it comes, and
once more with the MKL kernels that `threads.settle` chooses on processors of other makers than Intel.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.bench.training_bench import (
    AVX2_MKL,
    PLAIN_MKL,
    SHAPES,
    TEMPLATE,
    made_data,
    make_backbone,
    make_texts,
)

BATCH = 32
RUNTIMES = {
    "paddle inference": ("model.json", PLAIN_MKL),
    "paddle inference: our MKL kernels": ("model.json", AVX2_MKL),
    "onnx runtime": ("model.onnx", {}),
    "onnx runtime, int8": ("model.int8.onnx", {}),
}


def make_export(folder: Path) -> None:
    """`folder/export/` with `model.onnx`, `.int8.onnx` and `.json` of a prompt model that was trained for one step."""
    from training.fewshot import model
    from training.fewshot.backbones import resolve
    from training.fewshot.config import FewShotConfig
    from training.fewshot.export import FORMATS, export

    config = FewShotConfig(method="prompt", template=TEMPLATE, max_steps=1, device="cpu")
    backbone = resolve(str(folder), folder / "cache", trusted=True)
    export(model.fit(config, made_data(), backbone=backbone), folder / "export", FORMATS)


def answer(graph: Path, threads: int, n_texts: int) -> None:
    """One runtime's process: a JSON line a round, told by a line on stdin; logits of 64 texts in the first."""
    from training.fewshot.runner import Classifier
    from training.fewshot.threads import settle

    settle(threads)
    model = Classifier.load(graph.parent, threads, graph=graph, verify=False)
    texts = (make_texts()[0] * (n_texts // 240 + 1))[:n_texts]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(model.predict_logits(texts[:64], batch_size=BATCH).tolist()), file=out, flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        model.predict_logits(texts, batch_size=BATCH)
        rates = n_texts / (time.perf_counter() - began), n_texts / (time.process_time() - used)
        print(json.dumps(rates), file=out, flush=True)


def main() -> int:
    """Prints a JSON line a runtime with its ratio to Paddle Inference."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--shape", choices=tuple(SHAPES), default="nano")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--texts", type=int, default=480)
    made.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.answer:
        answer(given.answer, given.threads, given.texts)
        return 0
    with tempfile.TemporaryDirectory(prefix=f"{given.shape}-") as scratch:
        folder = Path(scratch)
        make_backbone(folder, given.shape)
        make_export(folder)
        started = {
            name: subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.bench.prediction_bench"),
                    *("--answer", str(folder / "export" / graph)),
                    *("--threads", str(given.threads), "--texts", str(given.texts)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **changes},
            )
            for name, (graph, changes) in RUNTIMES.items()
        }
        logits = {name: np.array(json.loads(process.stdout.readline())) for name, process in started.items()}
        best: dict[str, list[float]] = {name: [0.0, 0.0] for name in started}
        for _ in range(given.rounds):
            for name, process in started.items():
                process.stdin.write("\n")
                process.stdin.flush()
                best[name] = list(map(max, best[name], json.loads(process.stdout.readline())))
        for process in started.values():
            process.communicate()
    base = best["paddle inference"]
    for name, (rate, per_cpu) in best.items():
        line = {
            "runtime": name,
            "texts_per_second": round(rate, 1),
            "texts_per_cpu_second": round(per_cpu, 1),
            "ratio": round(rate / base[0], 2),
            "cpu_ratio": round(per_cpu / base[1], 2),
            "largest_difference": float(abs(logits[name] - logits["paddle inference"]).max()),
        }
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
