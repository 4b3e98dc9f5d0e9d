"""Unit vectors of texts in two files that only grow: `ids` (int64) and `vectors` (float16, row by row).

A row is there once both files hold it: what a killed writer left half done, or in one file only, is not read, and the
next writer cuts it off. Rows are never changed. To be rid of rows, the pair is written anew in a folder with the next
number and renamed into place; whoever holds the old one mapped goes on reading it.

    <folder>/about.json          {"form", "hidden_size", …}
    <folder>/000001/ids, vectors
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from labeling.files.arrays import BadArrays

FORM = 1
ABOUT = "about.json"
IDS, VECTORS = "ids", "vectors"
_ID_BYTES, _VALUE_BYTES = 8, 2
_BLOCK = 8_192


def read_vectors(folder: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """(ids (n,) int64, vectors (n, H) float16, about), mapped read-only: the rows that are whole now.

    Raises FileNotFoundError where nothing was ever written, BadArrays for what is none of ours."""
    about = _about(folder)
    while True:
        pair = _newest(folder)
        try:
            return *_mapped(pair, about["hidden_size"]), about
        except FileNotFoundError:
            # Rewritten between the two looks.
            if _newest(folder) == pair:
                raise


class VectorWriter:
    """The only writer of a folder (a lock says so); see `writing`."""

    def __init__(self, folder: Path, hidden_size: int) -> None:
        self.folder = folder
        self.hidden_size = hidden_size
        self.pair = _newest(folder)

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64: which texts are there."""
        return _mapped(self.pair, self.hidden_size)[0]

    def append(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add rows; they are on the disk when this returns. `vectors` (n, H)."""
        if vectors.shape != (len(ids), self.hidden_size):
            raise ValueError(f"vectors are {vectors.shape}, not {(len(ids), self.hidden_size)}")
        # The vectors first: a row counts when its id stands.
        _add(self.pair / VECTORS, np.ascontiguousarray(vectors, dtype=np.float16))
        _add(self.pair / IDS, np.ascontiguousarray(ids, dtype=np.int64))

    def keep(self, wanted: np.ndarray) -> None:
        """Write the pair anew with only the rows whose id is in `wanted`."""
        ids, vectors = _mapped(self.pair, self.hidden_size)
        rows = np.flatnonzero(np.isin(ids, wanted))
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        try:
            for name in (IDS, VECTORS):
                (beside / name).touch()
            for at in range(0, len(rows), _BLOCK):
                chosen = rows[at : at + _BLOCK]
                _add(beside / VECTORS, vectors[chosen], sync=False)
                _add(beside / IDS, ids[chosen], sync=False)
            _sync_all(beside)
            old, self.pair = self.pair, self.folder / f"{int(self.pair.name) + 1:06d}"
            beside.rename(self.pair)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        _sync_folder(self.folder)
        shutil.rmtree(old, ignore_errors=True)


class BeingWritten(Exception):
    """Another process writes this folder now."""


@contextlib.contextmanager
def writing(folder: Path, about: dict[str, Any]) -> Iterator[VectorWriter]:
    """The writer of `folder`, made if it is not there; what a killed writer left half done is cut off first.

    `about` holds hidden_size. Raises BeingWritten, BadArrays."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / ".lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BeingWritten(str(folder)) from error
        if not (folder / ABOUT).is_file():
            written = folder / f".{ABOUT}"
            written.write_text(json.dumps({**about, "form": FORM}), encoding="utf-8")
            os.replace(written, folder / ABOUT)
        hidden_size = _about(folder)["hidden_size"]
        if hidden_size != about["hidden_size"]:
            raise BadArrays(f"{folder} holds vectors of {hidden_size} values, not {about['hidden_size']}")
        for left in folder.glob(".new-*"):
            shutil.rmtree(left, ignore_errors=True)
        numbered = _numbered(folder)
        for left in numbered[:-1]:
            shutil.rmtree(left, ignore_errors=True)
        if not numbered:
            (folder / "000001").mkdir(mode=0o700)
        pair = _newest(folder)
        n = _whole_rows(pair, hidden_size)
        for name, width in ((IDS, _ID_BYTES), (VECTORS, hidden_size * _VALUE_BYTES)):
            (pair / name).touch()
            os.truncate(pair / name, n * width)
        yield VectorWriter(folder, hidden_size)


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        known = about["form"] == FORM and 0 < int(about["hidden_size"]) < 1 << 16
    except (ValueError, KeyError, TypeError) as error:
        raise BadArrays(f"{folder / ABOUT}: {error}") from error
    if not known:
        raise BadArrays(f"{folder / ABOUT}: not of form {FORM}")
    return about


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.isdecimal() and len(path.name) == 6)


def _newest(folder: Path) -> Path:
    found = _numbered(folder)
    if not found:
        raise FileNotFoundError(f"{folder} holds no vectors")
    return found[-1]


def _whole_rows(pair: Path, hidden_size: int) -> int:
    """Rows that both files hold."""
    sizes = []
    for name, width in ((IDS, _ID_BYTES), (VECTORS, hidden_size * _VALUE_BYTES)):
        try:
            sizes.append((pair / name).stat().st_size // width)
        except FileNotFoundError:
            sizes.append(0)
    return min(sizes)


def _mapped(pair: Path, hidden_size: int) -> tuple[np.ndarray, np.ndarray]:
    if not pair.is_dir():
        raise FileNotFoundError(str(pair))
    n = _whole_rows(pair, hidden_size)
    if not n:
        return np.zeros(0, np.int64), np.zeros((0, hidden_size), np.float16)
    return (
        np.memmap(pair / IDS, np.int64, "r", shape=(n,)),
        np.memmap(pair / VECTORS, np.float16, "r", shape=(n, hidden_size)),
    )


def _add(path: Path, array: np.ndarray, *, sync: bool = True) -> None:
    with open(path, "ab") as file:
        file.write(array.tobytes())
        file.flush()
        if sync:
            os.fsync(file.fileno())


def _sync_all(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
