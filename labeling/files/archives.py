"""Zips from strangers: looked at before anything is unpacked, and never unpacked by their own names."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from labeling.files.rows import FileRefused

MAX_ENTRIES = 1_000
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_RATIO = 200
RATIO_FREE_BYTES = 64 * 1024**2  # below this size nothing is called a bomb
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError)


def open_zip(path: Path, *, max_unpacked_bytes: int = MAX_UNPACKED_BYTES) -> zipfile.ZipFile:
    """The zip, once its directory is whole and harmless. Raises FileRefused.

    Reading a member stops at the size that the directory gives, so a false directory gains nothing."""
    try:
        archive = zipfile.ZipFile(path)
    except ZIP_ERRORS as error:
        raise FileRefused("broken_zip", type(error).__name__) from error
    try:
        _check(archive, path.stat().st_size, max_unpacked_bytes)
    except FileRefused:
        archive.close()
        raise
    return archive


def _check(archive: zipfile.ZipFile, packed: int, max_unpacked_bytes: int) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise FileRefused("too_many_entries", str(len(entries)))
    unpacked = 0
    for entry in entries:
        name = entry.filename.replace("\\", "/")
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":"):
            raise FileRefused("unsafe_zip", name[:80])
        if entry.flag_bits & 0x1:
            raise FileRefused("encrypted", name[:80])
        unpacked += entry.file_size
    if unpacked > max_unpacked_bytes or (
        unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * max(packed, 1)
    ):
        raise FileRefused("zip_bomb", str(unpacked))


def files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries that are files of the user's: no folders, no hidden files, nothing of macOS's own."""
    return [
        entry
        for entry in archive.infolist()
        if not entry.is_dir()
        and not PurePosixPath(entry.filename).name.startswith((".", "~$"))
        and "__MACOSX" not in PurePosixPath(entry.filename).parts
    ]


def open_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO:
    """A stream of the entry's bytes. Raises FileRefused("broken_zip")."""
    try:
        return archive.open(entry)  # type: ignore[return-value]
    except ZIP_ERRORS as error:
        raise FileRefused("broken_zip", type(error).__name__) from error
