"""Seconds from the decision to the new ranking: the fast model's training with 500 labels, by size of the pool.

    python -m tests.bench.probe_bench [--pools 20000 100000] [--labels 15] [--labelled 500]

A project of its own in a throw-away data folder, vectors at random around label middles (384 wide, float16, as the
shipped backbone's). What is timed is `training.services.probe.train`: reading the decisions, cross-validation,
calibration, scoring the pool, every order, and the files; the third of three trainings. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile

os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.settings"
_home = tempfile.mkdtemp(prefix="wanxing-probe-bench-")
os.environ["WANXING_HOME"] = _home

import django  # noqa: E402

django.setup()

import time  # noqa: E402

import numpy as np  # noqa: E402
from django.core.management import call_command  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from labeling.models import Example, Project  # noqa: E402
from labeling.models.texts import Split, Status, text_hash  # noqa: E402
from labeling.services import queue, scores  # noqa: E402
from labeling.services.embeddings import Encoder, embed_texts  # noqa: E402
from labeling.services.suggestions import suggestions_for  # noqa: E402
from tests import factories as make  # noqa: E402
from training.services import probe  # noqa: E402

WIDTH = 384


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pools", type=int, nargs="*", default=[20_000, 100_000])
    parser.add_argument("--labels", type=int, default=15)
    parser.add_argument("--labelled", type=int, default=500)
    asked = parser.parse_args()
    try:
        call_command("migrate", verbosity=0)
        print(
            "| pool | labelled | labels | seconds | afterwards, the first time: the learning curve | a page of 20 texts | suggestions |"
        )
        print("|---|---|---|---|---|---|---|")
        for n in asked.pools:
            print(measure(n, asked.labelled, asked.labels), flush=True)
    finally:
        shutil.rmtree(_home, ignore_errors=True)


def measure(n: int, n_labelled: int, n_labels: int) -> str:
    """A row of the table."""
    random = np.random.default_rng(0)
    middles = random.normal(size=(n_labels, WIDTH))
    project = make.make_project()
    labels = [make.make_label(project, f"标签{number}", words=(f"词{number}",)) for number in range(n_labels)]
    truth = random.integers(0, n_labels, n + n_labelled)
    rows = [
        Example(
            project=project,
            text=(text := f"{project.pk} 第 {number} 条"),
            text_hash=text_hash(text),
            order=int(random.integers(2**40)),
            split=Split.TRAIN if number < n_labelled else Split.POOL,
            label=labels[truth[number]] if number < n_labelled else None,
            status=Status.LABELLED if number < n_labelled else Status.OPEN,
        )
        for number in range(n + n_labelled)
    ]
    Example.objects.bulk_create(rows, batch_size=2_000)
    at = 0

    def read(texts: list[str]) -> np.ndarray:
        nonlocal at
        found = middles[truth[at : at + len(texts)]] + 2.5 * random.normal(size=(len(texts), WIDTH))
        at += len(texts)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    embed_texts(
        project=project,
        encoder=Encoder("made up", "b" * 64, WIDTH, read),
        on_progress=lambda *_: None,
        should_stop=lambda: False,
    )

    def sentences(texts: list[str]) -> np.ndarray:
        found = random.normal(size=(len(texts), WIDTH)) + np.tile(middles, (len(texts) // n_labels, 1))
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    curve = 0.0
    with threadpool_limits(limits=1, user_api="blas"):
        for _ in range(3):
            began = time.perf_counter()
            trained = probe.train(project, sentences)
            curve = max(curve, time.perf_counter() - began - trained.seconds)
    project = Project.objects.get(pk=project.pk)
    began = time.perf_counter()
    texts = queue.next_texts(project=project, user=project.created_by, n=20, order="auto").texts
    page = time.perf_counter() - began
    began = time.perf_counter()
    suggestions_for(project, project.created_by, texts)
    suggested = time.perf_counter() - began
    if scores.read(project.pk, "probe") is None or len(texts) != 20:
        raise RuntimeError("nothing was trained or served")
    return (
        f"| {n} | {trained.n_labelled} | {n_labels} | {trained.seconds:.2f} | {curve:.2f} |"
        f" {1000 * page:.1f} ms | {1000 * suggested:.1f} ms |"
    )


if __name__ == "__main__":
    main()
