"""Unpacked backbones on disk: written beside and renamed into place, checked by a stamp. No Paddle.

A backbone folder holds `config.json` (PaddleNLP's ErnieConfig), `model.safetensors` (float32, the keys of
`ErnieForMaskedLM.state_dict()`, Linear weights `[in, out]`; read by PaddleNLP's `from_pretrained`),
`tokenizer.json` and `stamp.json`. `stamp.json` is written last and names every other file with its SHA-256.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from training.fewshot.errors import BackboneError

LAYOUT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
STAMP_FILE = "stamp.json"
ABANDONED_SECONDS = 6 * 3600


class BackboneDamaged(BackboneError):
    """A file's content is not what its checksum promises."""

    code = "backbone_damaged"
    default_hint = (
        "Restore the named file (for the shipped backbone: git checkout -- training/fewshot/backbone)."
    )


class BackboneOffline(BackboneError):
    """The weights are not on this machine and cannot be fetched."""

    code = "backbone_offline"


class BackboneUntrusted(BackboneError):
    """The folder holds pickled weights, which run code when loaded, and no operator vouches for it."""

    code = "backbone_untrusted"
    default_hint = (
        "Have the operator register the folder on the server, or convert the weights to safetensors."
    )


class BackboneIncomplete(BackboneError):
    """A file or a tensor that the architecture needs is missing or has the wrong shape."""

    code = "backbone_incomplete"


class DiskFull(BackboneError):
    """No room to write the unpacked backbone."""

    code = "disk_full"
    default_hint = "Free some space, or let WANXING_HOME point to a larger disk."


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checksums(path: Path) -> dict[str, str]:
    """{file name: SHA-256} from the lines of a SHA256SUMS file."""
    checksums = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.strip().partition("  ")
        if name:
            checksums[name.lstrip("*")] = digest.lower()
    return checksums


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or read-only disk into a named error."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space left while writing to {folder}", folder=str(folder)) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise BackboneError(
                f"{folder} cannot be written: {error.strerror}",
                hint="Give the server write access to the folder, or set WANXING_HOME to one it may write to.",
                folder=str(folder),
            ) from error
        raise


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raises DiskFull when `folder`'s disk has less than `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DiskFull(
            f"{folder} has {free >> 20} MiB free, {needed_bytes >> 20} MiB are needed",
            folder=str(folder),
            free_bytes=free,
            needed_bytes=needed_bytes,
        )


def write_json(path: Path, value: object) -> None:
    """`value` as indented UTF-8 JSON with a final newline."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """The JSON object in a file; BackboneDamaged when it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneDamaged(f"{path} cannot be read as JSON: {error}", file=str(path)) from error
    if not isinstance(value, dict):
        raise BackboneDamaged(f"{path} is not a JSON object", file=str(path))
    return value


def is_whole(folder: Path, source_hash: str) -> bool:
    """Whether `folder` holds a complete backbone made from `source_hash`.

    A file with the size and modification time of its stamp is taken as read; any other is hashed again.
    """
    try:
        stamp = json.loads((folder / STAMP_FILE).read_text(encoding="utf-8"))
        if stamp["layout"] != LAYOUT_VERSION or stamp["source_hash"] != source_hash:
            return False
        for name, known in stamp["files"].items():
            found = (folder / name).stat()
            if found.st_size != known["bytes"]:
                return False
            if found.st_mtime_ns != known["mtime_ns"] and sha256_of(folder / name) != known["sha256"]:
                return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def publish(cache_dir: Path, folder_name: str, source_hash: str, write: Callable[[Path], None]) -> Path:
    """`cache_dir/folder_name`, filled by `write(folder)` unless it is whole already.

    `write` gets an empty folder beside the target, which is stamped and renamed into place. Two processes at
    once both write; the first rename wins and the second takes what is there.
    """
    target = cache_dir / folder_name
    if is_whole(target, source_hash):
        return target
    with disk_errors(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        _sweep(cache_dir)
        beside = Path(tempfile.mkdtemp(prefix=".unpack-", dir=cache_dir))
        try:
            write(beside)
            _stamp(beside, source_hash)
            beside.chmod(0o755)
            _rename_into_place(beside, target, source_hash)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return target


def dequantise(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """float32 tensors from int8 ones with a `<key>.scale` beside them; others are only widened."""
    wide = {}
    for key, value in tensors.items():
        if key.endswith(".scale") and key.removesuffix(".scale") in tensors:
            continue
        scale = tensors.get(f"{key}.scale")
        widened = value.astype(np.float32)
        wide[key] = widened if scale is None else widened * scale.astype(np.float32)
    return wide


def write_weights(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """`model.safetensors` in the form that PaddleNLP reads."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    whole = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    try:
        save_file(whole, folder / WEIGHTS_FILE, metadata={"format": "np"})
    except SafetensorError as error:
        # The library wraps the system's error into its own text.
        if "os error 28" in str(error) or "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _stamp(folder: Path, source_hash: str) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        found = path.stat()
        files[path.name] = {
            "bytes": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "sha256": sha256_of(path),
        }
    write_json(folder / STAMP_FILE, {"layout": LAYOUT_VERSION, "source_hash": source_hash, "files": files})


def _rename_into_place(beside: Path, target: Path, source_hash: str) -> None:
    for _ in range(10):
        try:
            beside.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if is_whole(target, source_hash):
            return
        # A damaged folder is moved away first: a rename cannot replace a folder that is not empty.
        aside = Path(tempfile.mkdtemp(prefix=".damaged-", dir=target.parent))
        with contextlib.suppress(FileNotFoundError):
            target.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)
    raise BackboneError(f"{target} cannot be replaced", hint="Delete that folder and try again.")


def _sweep(cache_dir: Path) -> None:
    """Removes what killed processes left behind."""
    for left in (*cache_dir.glob(".unpack-*"), *cache_dir.glob(".damaged-*")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
