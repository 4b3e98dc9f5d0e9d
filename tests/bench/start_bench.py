"""One job of the engine on a data folder, as the worker starts it: seconds from the start of its process to each point.

    python -m tests.bench.start_bench [--data_dir D] [--preset quick] [--set method=prompt …] [--rounds 3] [--threads 2]
        [--stop_at_first_step]

Without a data folder, 240 made texts as long as tnews' titles.

A round is a process of its own, `python -m training.fewshot.job train`; the first step is when its first update is done,
the model is trained when dev is to be answered, and the result is there when it says so: predictions of dev and test
written, model saved, ONNX made. Best round of each point; peak memory is the job's own figure.
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

from tests.bench.training_bench import made_data
from training.fewshot.benchmark import read_settings
from training.fewshot.config import PRESETS, SHIPPED_BACKBONE
from training.fewshot.data import FewShotData
from training.fewshot.data_files import read_folder

POINTS = ("load", "prepare", "train", "first step", "evaluate", "export", "done")


def write_job(folder: Path, data: FewShotData, settings: dict) -> None:
    """A job's folder with these texts."""
    names = [label.name for label in data.labels]
    for part in ("train", "dev", "test"):
        split = getattr(data, part)
        lines = [
            json.dumps(
                {"id": number, "text": text, "label": names[int(label)] if label >= 0 else None},
                ensure_ascii=False,
            )
            for number, (text, label) in enumerate(zip(split.texts, split.labels, strict=True))
        ]
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = {"config": settings, "labels": [label.to_json() for label in data.labels]}
    (folder / "spec.json").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")


def round_of(folder: Path, threads: int, stop_early: bool) -> dict[str, float]:
    """Seconds to each point of one job, and its peak memory."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "training.fewshot.job", "train", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "log.txt").open("ab"),
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    found: dict[str, float] = {}
    for line in process.stdout:
        event, now = json.loads(line), time.monotonic() - began
        if event["type"] == "stage":
            found.setdefault(event["stage"], now)
        elif event["type"] == "progress" and event["stage"] == "train":
            found.setdefault("first step", now)
            if stop_early:
                process.stdin.write(b"cancel\n")
                process.stdin.flush()
        elif event["type"] == "done":
            found["done"] = now
        elif event["type"] == "error":
            raise SystemExit(event["message"])
    process.wait()
    result = folder / "result.json"
    if result.is_file():
        found["peak MiB"] = json.loads(result.read_text())["peak_memory_bytes"] / (1 << 20)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir")
    parser.add_argument("--model", default=SHIPPED_BACKBONE)
    parser.add_argument("--preset", choices=[name for name in PRESETS if name], default="quick")
    parser.add_argument("--set", nargs="*", default=[], metavar="name=value")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stop_at_first_step", action="store_true")
    chosen = parser.parse_args()
    settings: dict = {"backbone": chosen.model}
    settings |= {**PRESETS[chosen.preset], "preset": chosen.preset, **read_settings(chosen.set)}
    data = read_folder(chosen.data_dir, "single") if chosen.data_dir else made_data()
    rounds = []
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as folder:
            write_job(Path(folder), data, settings)
            rounds.append(round_of(Path(folder), chosen.threads, chosen.stop_at_first_step))
    for point in (*POINTS, "peak MiB"):
        values = [one[point] for one in rounds if point in one]
        if values:
            print(f"{point:12} {min(values):8.2f}   {' '.join(f'{value:.2f}' for value in values)}")


if __name__ == "__main__":
    main()
