"""Checkpoints of a training loop: safetensors and JSON, written beside and renamed. Never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.fewshot.errors import BadCheckpoint

STATE_FILE = "state.json"
ARRAYS_FILE = "state.safetensors"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Everything a loop needs to go on: `arrays` by name, `state` as JSON values, after `step` updates."""

    step: int
    arrays: dict[str, np.ndarray]
    state: dict


def fingerprint(*values: object) -> str:
    """A hash of JSON values: a checkpoint of another run is not resumed."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write(
    folder: str | Path,
    checkpoint: Checkpoint,
    run: str,
    *,
    keep: int | None = None,
    also: Callable[[Path], None] | None = None,
) -> Path:
    """`folder/checkpoint-<step>`; older ones beyond the newest `keep` are removed afterwards.

    `also` may write more into the folder before it appears under its name.
    """
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"checkpoint-{checkpoint.step}"
    beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        save_file(
            {name: np.ascontiguousarray(a) for name, a in checkpoint.arrays.items()}, beside / ARRAYS_FILE
        )
        digest = _digest(beside / ARRAYS_FILE)
        state = {"step": checkpoint.step, "run": run, "arrays_sha256": digest, "state": checkpoint.state}
        (beside / STATE_FILE).write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        for name in (ARRAYS_FILE, STATE_FILE):
            with (beside / name).open("rb") as file:
                os.fsync(file.fileno())
        if also is not None:
            also(beside)
        beside.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if keep is not None:
        for _, old in found(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def found(folder: str | Path) -> list[tuple[int, Path]]:
    """(step, path) of the checkpoints in `folder`, oldest first."""
    steps = []
    for path in Path(folder).glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdecimal() and (path / STATE_FILE).is_file():
            steps.append((int(number), path))
    return sorted(steps)


def read(path: str | Path) -> tuple[Checkpoint, str]:
    """The checkpoint in a folder and the fingerprint of its run. Raises BadCheckpoint."""
    from safetensors.numpy import load_file

    path = Path(path)
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        if _digest(path / ARRAYS_FILE) != state["arrays_sha256"]:
            raise BadCheckpoint(f"{path / ARRAYS_FILE} is damaged", path=str(path))
        arrays = load_file(path / ARRAYS_FILE)
        return Checkpoint(int(state["step"]), arrays, state["state"]), state["run"]
    except BadCheckpoint:
        raise
    except Exception as error:  # safetensors raises its own class, JSON and the disk others
        raise BadCheckpoint(f"{path} cannot be read: {error}", path=str(path)) from error


def newest(folder: str | Path, run: str) -> tuple[Checkpoint | None, list[Path]]:
    """The newest whole checkpoint of this run, and the damaged ones passed over on the way."""
    damaged = []
    for _, path in reversed(found(folder)):
        try:
            checkpoint, made_by = read(path)
        except BadCheckpoint:
            damaged.append(path)
            continue
        if made_by == run:
            return checkpoint, damaged
    return None, damaged


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
