"""Prediction texts/s of one trained model: ONNX Runtime fp32 and int8 against Paddle Inference, side by side.

    python -m tests.bench.prediction_bench [--shape nano|small|base] [--rounds 3] [--threads 2] [--texts 480]

Random weights of the shape, texts as long as tnews' titles, tokenising left out of no figure: whole
`Classifier.predict_logits` calls, the runtimes in turn, best round of each. int8 is what a bundle holds (`training.fewshot.quantise`).
`small` has the shape of the shipped backbone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.training_bench import SHAPES, TEMPLATE, WORDS, make_backbone, make_texts

BATCH = 32


def make_export(folder: Path) -> None:
    """`folder/export/` with `model.onnx`, `.int8.onnx` and `.json` of a prompt model that was trained for one step."""
    from training.fewshot import data as datas
    from training.fewshot import model
    from training.fewshot.backbones import resolve
    from training.fewshot.config import FewShotConfig
    from training.fewshot.export import FORMATS, export
    from training.fewshot.verbalizer import Label

    texts, numbers = make_texts()
    labels = tuple(Label(str(i), (word,)) for i, word in enumerate(WORDS))
    names = [label.name for label in labels]
    split = datas.make_split(texts, [names[n] for n in numbers], names)
    empty = datas.empty_split(len(names), "single")
    config = FewShotConfig(method="prompt", template=TEMPLATE, max_steps=1, device="cpu")
    backbone = resolve(str(folder), folder / "cache", trusted=True)
    export(
        model.fit(config, datas.FewShotData(labels, split, empty, empty), backbone=backbone),
        folder / "export",
        FORMATS,
    )


def main() -> int:
    """Prints a JSON line a runtime with its ratio to Paddle Inference."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--shape", choices=tuple(SHAPES), default="nano")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--texts", type=int, default=480)
    given = made.parse_args()
    from training.fewshot import threads

    threads.settle(given.threads)
    from training.fewshot.runner import Classifier

    texts = (make_texts()[0] * (given.texts // 240 + 1))[: given.texts]
    with tempfile.TemporaryDirectory(prefix=f"{given.shape}-") as scratch:
        folder = Path(scratch)
        make_backbone(folder, given.shape)
        make_export(folder)
        graphs = {
            "paddle inference": "model.json",
            "onnx runtime": "model.onnx",
            "onnx runtime, int8": "model.int8.onnx",
        }
        models = {
            name: Classifier.load(
                folder / "export", given.threads, graph=folder / "export" / graph, verify=False
            )
            for name, graph in graphs.items()
        }
        reference = models["paddle inference"].predict_logits(texts[:64], batch_size=BATCH)
        best: dict[str, tuple[float, float]] = {}
        for _ in range(given.rounds):
            for name, model in models.items():
                began, used = time.perf_counter(), time.process_time()
                model.predict_logits(texts, batch_size=BATCH)
                rates = len(texts) / (time.perf_counter() - began), len(texts) / (time.process_time() - used)
                best[name] = max(best.get(name, (0.0, 0.0)), rates)
        base = best["paddle inference"]
        for name, (rate, per_cpu) in best.items():
            found = models[name].predict_logits(texts[:64], batch_size=BATCH)
            line = {
                "runtime": name,
                "texts_per_second": round(rate, 1),
                "texts_per_cpu_second": round(per_cpu, 1),
                "ratio": round(rate / base[0], 2),
                "cpu_ratio": round(per_cpu / base[1], 2),
                "largest_difference": float(abs(found - reference).max()),
            }
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
