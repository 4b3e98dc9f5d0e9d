"""Vectors of many texts: how fast they are made, how fast the nearest are found, and the near-duplicates.

    python -m tests.bench.embedding_bench [--texts 2000] [--rows 100000] [--questions 50]

Prints one JSON object: texts/s of sentence vectors (two threads, texts made here of 8 to 40 characters); milliseconds
for the nearest 20 among --rows made vectors, held in float32 as the live worker does, and read from the file; seconds
for near_pairs over them, and the share of the planted doubles that it found.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
import numpy as np

HIDDEN = 384


def made_vectors(n: int) -> tuple[np.ndarray, int]:
    """float16 unit vectors with much in common, as sentence vectors have, and how many are doubles of others."""
    random = np.random.default_rng(3)
    common = random.standard_normal(HIDDEN).astype(np.float32) * 2
    rows = random.standard_normal((n, HIDDEN)).astype(np.float32) + common
    doubles = n // 100
    rows[-doubles:] = rows[:doubles] + 0.2 * random.standard_normal((doubles, HIDDEN)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float16), doubles


def milliseconds(work, times: int) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """(median, 95th percentile)."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(taken), 1), round(float(np.percentile(taken, 95)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=50)
    chosen = parser.parse_args()
    django.setup()
    from labeling.files.vectors import read_vectors, writing
    from labeling.services.embeddings import EmbeddingIndex
    from tests.bench.reader_bench import seconds, texts_of
    from training.fewshot import backbones
    from training.fewshot.config import SHIPPED_BACKBONE
    from training.fewshot.near_duplicates import near_pairs
    from training.fewshot.reader import Reader
    from workers.embedding import BATCH_SIZE

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict = {"texts": chosen.texts, "rows": chosen.rows}
        reader = Reader.load(
            backbones.resolve(SHIPPED_BACKBONE, folder / "backbones"), folder / "graphs", threads=2
        )
        texts = texts_of(None, chosen.texts)
        reader.sentence_vectors(texts[:64], batch_size=BATCH_SIZE)
        spent = time.process_time()
        taken = seconds(
            lambda: [
                reader.sentence_vectors(texts[at : at + 128], batch_size=BATCH_SIZE)
                for at in range(0, len(texts), 128)
            ]
        )
        found["texts_a_second"] = round(len(texts) / taken)
        found["processor_ms_a_text"] = round((time.process_time() - spent) / len(texts) * 1000, 1)

        vectors, doubles = made_vectors(chosen.rows)
        about = {"backbone": "made", "hash": "0" * 64, "hidden_size": HIDDEN}
        with writing(folder / "vectors", about) as writer:
            found["append_seconds"] = round(
                seconds(lambda: writer.append(np.arange(len(vectors)) + 1, vectors)), 2
            )
        index = EmbeddingIndex(*read_vectors(folder / "vectors")[:2], len(vectors), about, folder / "vectors")
        queries = vectors[: chosen.questions].astype(np.float32)
        index.nearest(queries[0], 20)
        found["nearest_20_from_file_ms"] = milliseconds(lambda n: index.nearest(queries[n], 20), 10)
        found["hold_seconds"] = round(seconds(index.hold), 2)
        found["nearest_20_held_ms"] = milliseconds(lambda n: index.nearest(queries[n], 20), chosen.questions)
        began, spent = time.perf_counter(), time.process_time()
        first, second, _cosines = near_pairs(index.vectors, 0.97)
        found["near_pairs_seconds"] = round(time.perf_counter() - began, 1)
        found["near_pairs_processor_seconds"] = round(time.process_time() - spent, 1)
        planted = {(n, len(vectors) - doubles + n) for n in range(doubles)}
        hits = planted & set(zip(first.tolist(), second.tolist(), strict=True))
        found["planted_doubles_found"] = round(len(hits) / doubles, 4)
    found["load_average"] = round(os.getloadavg()[0], 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
