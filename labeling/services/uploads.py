"""Files that a person has sent: stored below WANXING_HOME/imports under names of our own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from django.conf import settings
from django.utils.translation import gettext as _

from labeling.files import DataFile, FileRefused, Options, Preview
from labeling.files.reading import EXTENSIONS
from labeling.models import ImportBatch, Project
from labeling.services.import_words import file_text

CHUNK_BYTES = 1024 * 1024
RECIPE_NAMES = frozenset(f"{name}.txt" for name in ("train", "dev", "test", "data", "label"))
FORGOTTEN_SECONDS = 24 * 3600
KEEP_FREE_BYTES = 64 * 1024 * 1024


class UploadRefused(Exception):
    """The file was not taken; the message says why and what to do. `columns` are set where some must be chosen."""

    def __init__(self, code: str, message: str, *, columns: tuple[str, ...] = ()) -> None:
        self.code = code
        self.message = message
        self.columns = columns
        super().__init__(message)

    @classmethod
    def of(cls, error: FileRefused) -> UploadRefused:
        return cls(error.code, file_text(error), columns=error.columns)


@dataclass(frozen=True, slots=True)
class Upload:
    """A stored file, or folder of recipe files. `token` names it; `path` is absolute."""

    token: str
    filename: str
    path: Path
    size_bytes: int


def imports_folder() -> Path:
    return Path(settings.WANXING_HOME) / "imports"


def keep_upload(
    *, project: Project, upload: BinaryIO, filename: str, more: Sequence[tuple[str, BinaryIO]] = ()
) -> Upload:
    """Store a file, or with `more` the files of a recipe folder, piece by piece. Raises UploadRefused.

    Nothing of the name that the user gave becomes part of a path, except a known ending."""
    remove_forgotten()
    token = uuid.uuid4().hex
    folder = imports_folder() / token
    files = [(filename, upload), *more]
    try:
        folder.mkdir(parents=True, mode=0o700)
        if len(files) == 1:
            ending = PurePosixPath(filename.replace("\\", "/").lower()).suffix
            path = folder / f"source{ending if ending in EXTENSIONS else ''}"
            size = _store(upload, path, limit=settings.UPLOAD_MAX_BYTES)
        else:
            path, size = folder / "source", 0
            path.mkdir(mode=0o700)
            for name, file in files:
                own = PurePosixPath(name.replace("\\", "/").lower()).name
                if own in RECIPE_NAMES:
                    size += _store(file, path / own, limit=settings.UPLOAD_MAX_BYTES - size)
        shown = (
            shown_name(filename) if len(files) == 1 else " + ".join(sorted(p.name for p in path.iterdir()))
        )
        (folder / "upload.json").write_text(json.dumps({"project": project.pk, "filename": shown}), "utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full() from error
        raise
    except UploadRefused:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Upload(token, shown, path, size)


def _store(upload: BinaryIO, path: Path, *, limit: int) -> int:
    size = 0
    with path.open("xb") as file:
        while chunk := upload.read(CHUNK_BYTES):
            size += len(chunk)
            if size > limit:
                raise UploadRefused(
                    "too_large",
                    _(
                        "文件超过 %(limit)d MB 的上限。请分成几个文件，或者在服务器上用 manage.py import_dataset 导入。"
                    )
                    % {"limit": settings.UPLOAD_MAX_BYTES // 1024**2},
                )
            if shutil.disk_usage(path.parent).free < KEEP_FREE_BYTES:
                raise _disk_full()
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if not size:
        raise UploadRefused("empty_file", file_text(FileRefused("empty_file")))
    return size


def _disk_full() -> UploadRefused:
    return UploadRefused("disk_full", _("磁盘已满，文件没有存下来。请腾出空间再试。"))


def find_upload(*, project: Project, token: str) -> Upload:
    """The upload that `keep_upload` stored for this project. Raises UploadRefused."""
    gone = UploadRefused("gone", _("这个文件已经不在了，请重新上传。"))
    try:
        folder = imports_folder() / uuid.UUID(token).hex
        about = json.loads((folder / "upload.json").read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise gone from error
    path = next(folder.glob("source*"), None)
    if about["project"] != project.pk or path is None:
        raise gone
    files = path.iterdir() if path.is_dir() else [path]
    return Upload(folder.name, about["filename"], path, sum(file.stat().st_size for file in files))


def peek_upload(*, upload: Upload, options: dict[str, Any] | None = None) -> Preview:
    """Format, encoding, columns and first rows of a stored upload. Raises UploadRefused."""
    try:
        with DataFile(upload.path, filename=upload.filename, options=Options.of(options or {})) as file:
            return file.peek()
    except FileRefused as error:
        raise UploadRefused.of(error) from error


def forget_upload(*, upload: Upload) -> None:
    """Remove a stored upload that will not be imported."""
    shutil.rmtree(imports_folder() / upload.token, ignore_errors=True)


def remove_forgotten(*, older_than_seconds: float = FORGOTTEN_SECONDS) -> int:
    """Remove uploads that were never imported; return how many."""
    root = imports_folder()
    if not root.is_dir():
        return 0
    old = [
        folder
        for folder in root.iterdir()
        if folder.is_dir() and time.time() - folder.stat().st_mtime > older_than_seconds
    ]
    removed = 0
    for folder in old:
        batch = (
            ImportBatch.objects.filter(path__startswith=f"imports/{folder.name}/")
            .select_related("job")
            .first()
        )
        if (
            batch is None
            and not ImportBatch.objects.filter(report_path__startswith=f"imports/{folder.name}/").exists()
        ):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
        elif batch is not None and batch.job.is_finished:
            for source in folder.glob("source*"):  # a failed or cancelled import's; its report stays
                shutil.rmtree(source) if source.is_dir() else source.unlink(missing_ok=True)
    return removed


def shown_name(filename: str) -> str:
    """The last part of a name that a user gave, printable and at most 200 characters: for showing only."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    return "".join(character if character.isprintable() else "�" for character in name)[:200] or "upload"
