"""Whether an artefact answers like the model that was trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.fewshot.bundle.archive import extract
from training.fewshot.export_errors import ReplayFailed

# Two labels whose probabilities are closer than this in the trained model are a tie that rounding may turn.
TIE = 1e-5
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Gate:
    """What an artefact must reach.

    `max_abs_difference` is between probabilities; None: not looked at. `max_accuracy_loss`: by how much it may be less
    accurate than the trained model; what chance explains is never held against it.
    """

    min_same_label_share: float
    max_abs_difference: float | None = None
    max_accuracy_loss: float | None = None
    # Put before the reasons of a refusal: another remedy, another sentence on the page.
    name: str = ""


FP32 = Gate(min_same_label_share=0.999, max_abs_difference=1e-3)
# Measured on held-out texts, three models of the shipped backbone: 94.6 to 99.0 % of the labels were the same, accuracy
# between 0.8 points lower and 0.3 higher (240 to 2,010 texts; 1 text of 32 on the smallest set); ONNX Runtime's own quantisation kept 86 to 93 %.
INT8 = Gate(min_same_label_share=0.9, max_accuracy_loss=0.02, name="int8_")


@dataclass(frozen=True)
class Replay:
    """Answers of an artefact: `proba` (n_texts, n_labels) float32, `decisions` label ids, one tuple a text."""

    proba: np.ndarray
    decisions: list[tuple[int, ...]]
    texts_per_second: float


def replay_bundle(
    archive: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    python: str = sys.executable,
    threads: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> Replay:
    """What the bundle's own infer.py answers, unpacked in an empty folder and run in a fresh process.

    `tick` is called twice a second; what it raises ends the process and passes on. Raises ReplayFailed.
    """
    with tempfile.TemporaryDirectory(prefix="wanxing-replay-") as scratch:
        root = extract(archive, Path(scratch) / "bundle")
        _run([python, "-I", str(root / "infer.py"), "--self-test", "--threads", str(threads)], tick)
        source, answers, stats = (Path(scratch) / name for name in ("texts.jsonl", "out.jsonl", "stats.json"))
        with source.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        command = [python, "-I", str(root / "infer.py"), str(source), "--output", str(answers)]
        _run([*command, "--stats", str(stats), "--threads", str(threads)], tick)
        rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
        measured = json.loads(stats.read_text(encoding="utf-8"))
    if len(rows) != len(texts):
        raise ReplayFailed(f"the bundle answered {len(rows)} of {len(texts)} texts")
    position = {label: index for index, label in enumerate(labels)}
    proba = np.array([[row["proba"][label] for label in labels] for row in rows], dtype=np.float32)
    decisions = [tuple(sorted(position[label] for label in _given(row["label"], position))) for row in rows]
    return Replay(proba, decisions, measured["texts"] / max(measured["seconds"], 1e-9))


def _given(joined: str, position: dict[str, int]) -> list[str]:
    if not joined:
        return []
    return [joined] if joined in position else joined.split(",")


def compare(
    replay: Replay,
    reference: np.ndarray,
    reference_decisions: Sequence[Sequence[int]],
    truth: Sequence[Sequence[int] | None],
    gate: Gate,
) -> dict:
    """The report's figures: differences, accuracies (None without true labels), `ok` and `refused_because`.

    `reference`: the trained model's (n_texts, n_labels); `truth`: label ids a text, None where unknown.
    """
    n_texts = len(reference)
    difference = float(np.abs(replay.proba - reference).max()) if n_texts else None
    same = [
        1.0 if _is_tie(row, given, expected) else _alike(given, expected)
        for row, given, expected in zip(reference, replay.decisions, reference_decisions, strict=True)
    ]
    share = sum(same) / n_texts if n_texts else None
    refused = None
    if share is None or difference is None:
        refused = "no_texts"
    elif share < gate.min_same_label_share:
        refused = f"{gate.name}labels_differ"
    elif gate.max_abs_difference is not None and not difference <= gate.max_abs_difference:
        refused = "probabilities_differ"
    elif _is_less_accurate(replay.decisions, reference_decisions, truth, gate.max_accuracy_loss):
        refused = f"{gate.name}less_accurate"
    return {
        "ok": refused is None,
        "refused_because": refused,
        "max_abs_difference": difference,
        "same_label_share": share,
        "accuracy": _accuracy(replay.decisions, truth),
        "reference_accuracy": _accuracy(reference_decisions, truth),
        "texts_per_second": round(replay.texts_per_second, 1),
        "n_replayed": n_texts,
    }


def _is_less_accurate(
    decisions: Sequence[Sequence[int]],
    reference: Sequence[Sequence[int]],
    truth: Sequence[Sequence[int] | None],
    margin: float | None,
) -> bool:
    """Whether right answers were lost: more than `margin` of the texts, and more than twice the spread of chance.

    Chance: every text that only one of the two has right might as well have gone the other way (McNemar 1947).
    """
    if margin is None:
        return False
    known = [
        (sorted(given) == sorted(right), sorted(before) == sorted(right))
        for given, before, right in zip(decisions, reference, truth, strict=True)
        if right is not None
    ]
    lost = sum(before and not now for now, before in known)
    won = sum(now and not before for now, before in known)
    return lost - won > max(margin * len(known), 2 * (lost + won) ** 0.5)


def _alike(given: Sequence[int], expected: Sequence[int]) -> float:
    """The share of labels that two answers to a text have in common (Dice 1945): 0 or 1 where each is one label.

    Of 15 labels with thresholds one is nearly always at its edge: whole sets would differ where almost nothing has changed.
    """
    if not given and not expected:
        return 1.0
    return 2 * len(set(given) & set(expected)) / (len(given) + len(expected))


def _is_tie(row: np.ndarray, given: Sequence[int], expected: Sequence[int]) -> bool:
    return len(given) == len(expected) == 1 and abs(float(row[given[0]] - row[expected[0]])) < TIE


def _accuracy(decisions: Sequence[Sequence[int]], truth: Sequence[Sequence[int] | None]) -> float | None:
    known = [(given, right) for given, right in zip(decisions, truth, strict=True) if right is not None]
    if not known:
        return None
    return sum(sorted(given) == sorted(right) for given, right in known) / len(known)


def _run(command: list[str], tick: Callable[[], None]) -> None:
    """Runs a bundle's runner; the program's own settings and packages path stay out of it."""
    passed = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while child.poll() is None:
                tick()
                time.sleep(POLL_SECONDS)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            output.seek(0)
            said = output.read()[-2000:].decode("utf-8", "replace").strip()
            raise ReplayFailed(f"the bundle's runner ended with {child.returncode}: {said}")
