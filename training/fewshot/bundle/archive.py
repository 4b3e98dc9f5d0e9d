"""Zip files of bundles: written the same byte for byte from the same content, read with suspicion."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from training.fewshot.export_errors import BundleError

SUMS_FILE = "SHA256SUMS"
MAX_ENTRIES = 200
MAX_BYTES = 8 << 30
MAX_RATIO = 200
CHUNK_BYTES = 1 << 20
# Compressing weights gains some 8 % and costs seconds.
STORED_SUFFIXES = (".onnx", ".pdiparams", ".safetensors")


def write_sums(folder: Path) -> None:
    """`folder/SHA256SUMS` over every other file below `folder`, in the format of sha256sum."""
    lines = []
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        if name != SUMS_FILE:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")


def files_below(folder: Path) -> list[Path]:
    """Every file below `folder`, in the order of its POSIX path."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def write_zip(folder: Path, target: Path, root: str) -> None:
    """`target` with every file below `folder` under the name `root/…`; no times, no owners. Renamed into place."""
    beside = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(beside, "w") as archive:
            for path in files_below(folder):
                name = f"{root}/{path.relative_to(folder).as_posix()}"
                entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                entry.create_system = 3
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                stored = path.suffix in STORED_SUFFIXES
                entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                entry.file_size = path.stat().st_size
                with path.open("rb") as source, archive.open(entry, "w") as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def extract(archive_path: Path, folder: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Unpacks a bundle below `folder` and returns the folder that holds encoding.json.

    Only regular files with relative names are written, `max_bytes` together, however large the entries claim
    to be. Raises BundleError.
    """
    try:
        with zipfile.ZipFile(archive_path) as archive:
            _check_entries(archive, archive_path, max_bytes)
            left = max_bytes
            for entry in archive.infolist():
                if not entry.is_dir():
                    left -= _write_entry(archive, entry, folder, left)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{archive_path} is no whole zip file: {error}") from error
    roots = [path.parent for path in folder.rglob("encoding.json")]
    if len(roots) != 1:
        raise BundleError(f"{archive_path} holds {len(roots)} encoding.json, not one: this is no bundle")
    return roots[0]


def _check_entries(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise BundleError(f"{path} holds {len(entries)} entries, at most {MAX_ENTRIES} are allowed")
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise BundleError(f"{path} unpacks to more than {max_bytes} bytes")
    seen = set()
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        unsafe = (
            name.startswith("/")
            or "\\" in name
            or "\0" in name
            or ".." in parts
            or not parts
            or (len(parts[0]) > 1 and parts[0][1] == ":")
        )
        if unsafe:
            raise BundleError(f"{path} holds an unsafe name: {name!r}")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BundleError(f"{path}: {name!r} is a link or a device")
        if name.casefold() in seen:
            raise BundleError(f"{path} holds {name!r} twice")
        seen.add(name.casefold())
        if entry.file_size > MAX_RATIO * max(entry.compress_size, CHUNK_BYTES):
            raise BundleError(f"{path}: {name!r} grows more than {MAX_RATIO} times when unpacked")


def _write_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, allowed: int) -> int:
    target = folder / PurePosixPath(entry.filename)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{entry.filename!r} points outside the bundle")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK_BYTES):
            written += len(chunk)
            if written > allowed:
                raise BundleError(f"{entry.filename!r} is larger than allowed")
            sink.write(chunk)
    return written
