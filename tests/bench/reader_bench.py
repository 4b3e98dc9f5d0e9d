"""A frozen backbone read without Paddle, against Paddle, and how long a page would wait for it.

    python -m tests.bench.reader_bench [--data ../shared/data/tnews] [--texts 240] [--rounds 5] [--beside-training]

Prints one JSON object: texts/s of sentence vectors by ONNX Runtime (`Reader`) and by Paddle's dynamic graph, turn by
turn on the same texts, and the processor's milliseconds a text, which a busy machine lengthens less; the largest difference between the two; milliseconds for the states at the masks of 10 and of
240 texts (median of the rounds), which is what the workbench asks for. With --beside-training a training run goes on
meanwhile, ten steps nicer, as the house starts it. Two threads each. Without --data, texts are made here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

from tests.bench.import_bench import CHARACTERS
from training.fewshot import backbones
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.encoding import plan_prompt, plan_sentence
from training.fewshot.reader import Reader
from training.fewshot.runner import TextEncoder
from training.fewshot.template import parse

TEMPLATE = "以下是一条{mask}新闻。{text}"


def texts_of(folder: Path | None, n: int) -> list[str]:
    """The first `n` of train and dev, or made ones of 8 to 40 characters."""
    if folder is None:
        rng = random.Random(7)
        return ["".join(rng.choices(CHARACTERS, k=rng.randint(8, 40))) for _ in range(n)]
    lines = [
        line for name in ("train", "dev") for line in (folder / f"{name}.txt").read_text("utf-8").splitlines()
    ]
    return [line.rpartition("\t")[0] for line in lines][:n]


def paddle_reader(reader: Reader) -> Callable[[list[str]], np.ndarray]:
    """The same vectors by the engine that trains."""
    from training.fewshot.forward import run_rows
    from training.fewshot.text_network import TextNetwork, load_backbone, mean_vector

    ernie, _head = load_backbone(reader.backbone.path)
    network = TextNetwork(ernie, 2)
    network.eval()
    plan = plan_sentence(
        reader.tokenizer,
        fields=("a",),
        prefix=backbones.sentence_prefix(reader.backbone),
        max_length=reader.max_length,
        multi_label=False,
    )
    encoder = TextEncoder(plan.encoding, reader.tokenizer)

    def vectors(arrays):  # type: ignore[no-untyped-def]
        hidden = network.run_layers(network.embed(*arrays[:3]), arrays[3])
        return mean_vector(hidden, arrays[3])

    def read(texts: list[str]) -> np.ndarray:
        found = run_rows(vectors, network, encoder, encoder.rows(texts), 32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return read


@contextmanager
def training(home: Path) -> Iterator[None]:
    """A training run in its own process, nice 10, until the block ends."""
    data = home / "data"
    data.mkdir()
    labels = ["体育", "财经", "科技"]
    (data / "label.txt").write_text("\n".join(labels) + "\n", "utf-8")
    rng = random.Random(1)
    for name in ("train", "dev"):
        rows = ["".join(rng.choices(CHARACTERS, k=25)) + "\t" + labels[i % 3] for i in range(240)]
        (data / f"{name}.txt").write_text("\n".join(rows) + "\n", "utf-8")
    command = [
        *("nice", "-n", "10", sys.executable, "-m", "training.fewshot.cli", "--data_dir", str(data)),
        *("--output_dir", str(home / "out"), "--do_train", "--max_steps", "100000", "--prompt", TEMPLATE),
    ]
    log = home / "train.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while b"loss" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(errors="replace")[-2000:])
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(reader: Reader, texts: list[str], rounds: int) -> dict:
    """Milliseconds for the states at the masks of 10 texts and of all."""
    plan = plan_prompt(
        reader.tokenizer,
        [parse(TEMPLATE)],
        n_masks=2,
        vocab_size=len(reader.table),
        max_length=128,
        multi_label=False,
    )
    reader.mask_states(plan.encoding, texts[:10])
    found = {}
    for n in (10, len(texts)):
        taken = [
            seconds(lambda n=n: reader.mask_states(plan.encoding, texts[:n], batch_size=16))
            for _ in range(rounds)
        ]
        found[f"states_of_{n}_ms"] = round(statistics.median(taken) * 1000)
        found[f"states_of_{n}_longest_ms"] = round(max(taken) * 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--texts", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--beside-training", action="store_true")
    chosen = parser.parse_args()
    texts = texts_of(chosen.data, chosen.texts)
    with tempfile.TemporaryDirectory() as folder:
        backbone = backbones.resolve(SHIPPED_BACKBONE, Path(folder) / "backbones")
        first = seconds(lambda: Reader.load(backbone, Path(folder) / "graphs", threads=2))
        again = seconds(lambda: Reader.load(backbone, Path(folder) / "graphs", threads=2))
        reader = Reader.load(backbone, Path(folder) / "graphs", threads=2)
        found: dict = {
            "texts": len(texts),
            "tokens_a_text": round(float(np.mean([len(reader.tokenizer.encode(t).ids) for t in texts])), 1),
            "load_first_seconds": round(first, 2),
            "load_again_seconds": round(again, 2),
        }
        if chosen.beside_training:
            with training(Path(folder)):
                found |= measure(reader, texts, chosen.rounds)
        else:
            found |= measure(reader, texts, chosen.rounds)
            by_paddle = paddle_reader(reader)
            by_paddle(texts[:32])
            works = {"reader": reader.sentence_vectors, "paddle": by_paddle}
            speeds: dict[str, list[float]] = {name: [] for name in works}
            processor: dict[str, list[float]] = {name: [] for name in works}
            for _ in range(chosen.rounds):
                for name, work in works.items():
                    spent = time.process_time()
                    speeds[name].append(len(texts) / seconds(lambda work=work: work(texts)))
                    processor[name].append((time.process_time() - spent) / len(texts) * 1000)
            for name, taken in processor.items():
                found[f"{name}_processor_ms_a_text"] = round(statistics.median(taken), 1)
            found |= {
                f"{name}_texts_a_second": round(statistics.median(rates)) for name, rates in speeds.items()
            }
            ratios = [a / b for a, b in zip(speeds["reader"], speeds["paddle"], strict=True)]
            found["ratio"] = round(statistics.median(ratios), 2)
            apart = np.abs(reader.sentence_vectors(texts) - by_paddle(texts)).max()
            found["largest_difference"] = float(f"{apart:.2g}")
    found["load_average"] = round(os.getloadavg()[0], 1)
    print(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()
