"""Named arrays in one file: written beside and renamed into place, read without being loaded.

The format is numpy's npz without compression. Each array begins at a multiple of 64 bytes, so reading maps it into
memory: a million rows cost what is looked at. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np

ALIGNMENT_BYTES = 64
_ABOUT = "about.json"
_LOCAL_HEADER_BYTES = 30
# Whoever reads the archive passes over an extra field of an unknown kind: it makes room for the alignment.
_PADDING_KIND = 0xD935
_LONGEST_ABOUT_BYTES = 1 << 20
_KEPT_OPEN = 32

T = TypeVar("T")


class BadArrays(Exception):
    """A file that does not hold what it should; the message says where it breaks."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Replace `path` by a file of `arrays` and the JSON object `about`; a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, written = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_ABOUT, json.dumps(about, ensure_ascii=False))
                for name, array in arrays.items():
                    _add(archive, file, f"{name}.npy", np.ascontiguousarray(array))
            file.flush()
            os.fsync(file.fileno())
        os.replace(written, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(written)
        raise


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of `path`, mapped read-only, and its JSON object.

    They stay readable when the file is replaced. Raises FileNotFoundError, BadArrays."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            if archive.getinfo(_ABOUT).file_size > _LONGEST_ABOUT_BYTES:
                raise BadArrays(f"{path.name}: {_ABOUT} is too long")
            about = json.loads(archive.read(_ABOUT))
            arrays = {
                info.filename.removesuffix(".npy"): _mapped(path, file, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except FileNotFoundError:
        raise
    except (OSError, KeyError, ValueError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise BadArrays(f"{path.name}: {error}") from error
    if not isinstance(about, dict):
        raise BadArrays(f"{path.name}: {_ABOUT} is not an object")
    return arrays, about


class Watched(Generic[T]):
    """Calls `load(path)` once for each version of a file, and keeps the newest few. Threads may share it."""

    def __init__(self, load: Callable[[Path], T | None]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, tuple[tuple[int, int, int], T | None]] = OrderedDict()

    def read(self, path: Path) -> T | None:
        """What `load` makes of `path` as it is now; None where there is no such file."""
        try:
            found = path.stat()
        except OSError:
            with self._lock:
                self._open.pop(path, None)
            return None
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
        with self._lock:
            kept = self._open.get(path)
            if kept is not None and kept[0] == version:
                self._open.move_to_end(path)
                return kept[1]
        loaded = self._load(path)
        with self._lock:
            self._open[path] = (version, loaded)
            self._open.move_to_end(path)
            while len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)
        return loaded


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, array: np.ndarray) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    info = zipfile.ZipInfo(name)
    info.file_size = array.nbytes + len(header.getvalue())
    # zipfile adds 20 bytes to the extra field once a size needs 64 bits.
    wide = info.file_size * 1.05 > zipfile.ZIP64_LIMIT
    start = file.tell() + _LOCAL_HEADER_BYTES + len(name) + 20 * wide + 4
    padding = -(start + len(header.getvalue())) % ALIGNMENT_BYTES
    info.extra = struct.pack("<HH", _PADDING_KIND, padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=wide) as member:
        member.write(header.getvalue())
        member.write(array.reshape(-1).view(np.uint8).data if array.size else b"")


def _mapped(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    file.seek(info.header_offset)
    local = file.read(_LOCAL_HEADER_BYTES)
    name_bytes, extra_bytes = struct.unpack("<HH", local[26:30])
    begin = info.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    file.seek(begin)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{info.filename} has an unknown version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    offset = file.tell()
    if dtype.hasobject or fortran:
        raise ValueError(f"{info.filename} holds {dtype}")
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if min(shape, default=0) < 0 or offset + n_bytes != begin + info.file_size:
        raise ValueError(f"{info.filename} does not fill its place")
    if not n_bytes:
        return np.empty(shape, dtype)
    if offset + n_bytes > os.fstat(file.fileno()).st_size:
        raise ValueError(f"{info.filename} is cut off")
    return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape)
