"""Bringing texts in: asked for by a page or a command, done by a worker in short transactions.

An import is harmless when repeated (a text is unique in its project) and when resumed: each chunk commits its rows,
the counts, and how far the report file had come, together. Whoever goes on skips what has been counted.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import itertools
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.files import DataFile, FileRefused, Options
from labeling.files.columns import escape_formula
from labeling.files.rows import SPLITS
from labeling.jobs import create_job
from labeling.models import ImportBatch, Job, JobEvent, Project
from labeling.models.jobs import JobKind, JobStatus
from labeling.services.import_labels import LabelBook, bring_labels, label_names
from labeling.services.import_rows import ChunkWriter, Outcome, ReportLine
from labeling.services.import_words import file_text, reason_text
from labeling.services.uploads import find_upload, imports_folder, keep_upload, shown_name

CHUNK_ROWS = 2_000
FIRST_ROWS = 250  # on a busy machine a whole chunk first held the database for six seconds
# A writer who waits for SQLite looks every 1 to 100 ms; between chunks it finds the door open.
PAUSE_SECONDS = 0.004
# A chunk that takes longer makes the next one smaller: saving a decision is to stay under 500 ms.
SLOW_SECONDS = 0.2
OPTION_NAMES = frozenset(
    {"format", "encoding", "text_column", "label_column", "split_column", "has_header", "add_labels", "split"}
)
MAX_WARNINGS = 100

OnProgress = Callable[[str, int, int], None]
ShouldStop = Callable[[], bool]


class ImportRefused(Exception):
    """The import cannot go on. `code` is stable; `message` (in the page's language) says what to do."""

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        self.code = code
        self.message = message
        self.hint = hint
        super().__init__(message)


def request_import(
    *,
    project: Project,
    user: Any,
    upload: BinaryIO | None = None,
    filename: str = "",
    token: str = "",
    options: dict[str, Any] | None = None,
) -> ImportBatch:
    """Store `upload` (or take the one that `keep_upload` stored as `token`) and queue its import.

    Options: those of `labeling.files.Options`, `add_labels` (default True: labels that the project lacks are
    made), `split` (train, dev, test or pool for rows that have none; "" reserves dev and test parts).
    Raises UploadRefused, ImportRefused for an option that does not exist, TooManyJobs."""
    checked = _checked(options or {})
    if upload is not None:
        stored = keep_upload(project=project, upload=upload, filename=filename)
    else:
        stored = find_upload(project=project, token=token)
    with transaction.atomic():
        return ImportBatch.objects.create(
            project=project,
            job=create_job(project=project, kind=JobKind.IMPORT, queue="data", user=user),
            filename=stored.filename,
            path=str(stored.path.relative_to(settings.WANXING_HOME)),
            size_bytes=stored.size_bytes,
            options=checked,
            created_by=user,
        )


def import_now(
    *,
    project: Project,
    user: Any,
    path: Path,
    options: dict[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop = lambda: False,
) -> ImportBatch:
    """Import the file or folder at `path` in this process; return the finished batch.

    It has a job row like any other import: when this process dies, the sweep gives it to a worker.
    Raises ImportRefused; the job then says so too."""
    path = Path(path).resolve()
    now = timezone.now()
    with transaction.atomic():
        job = Job.objects.create(
            project=project,
            kind=JobKind.IMPORT,
            queue="data",
            status=JobStatus.RUNNING,
            created_by=user,
            started_at=now,
            heartbeat_at=now,
            worker=f"{socket.gethostname()}:{os.getpid()}"[:120],
        )
        JobEvent.objects.create(job=job, attempt=1, type="status", data={"status": job.status})
        batch = ImportBatch.objects.create(
            project=project,
            job=job,
            filename=shown_name(path.name),
            path=str(path),
            options=_checked(options or {}),
            created_by=user,
        )

    def progress(stage: str, step: int, total: int) -> None:
        job.beat(stage=stage, step=step, total=total)
        if on_progress:
            on_progress(stage, step, total)

    try:
        finished = run_import(batch, on_progress=progress, should_stop=should_stop)
    except ImportRefused as error:
        job.fail(code=error.code, message=error.message, hint=error.hint)
        raise
    if finished:
        job.succeed()
    else:
        job.cancelled()
    return batch


def run_import(
    batch: ImportBatch,
    *,
    on_progress: OnProgress = lambda stage, step, total: None,
    should_stop: ShouldStop = lambda: False,
) -> bool:
    """Bring the batch's rows in; True when done, False when `should_stop` said so (what came in stays).

    `on_progress(stage, step, total)` is called after each chunk: bytes read of all bytes, or rows read of 0 where
    the number is not known before (xlsx). Raises ImportRefused."""
    try:
        return _Run(batch).go(on_progress, should_stop)
    except FileRefused as error:
        raise ImportRefused(error.code, file_text(error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full() from error
        raise
    except OperationalError as error:
        if "disk is full" in str(error) or "No space left" in str(error):
            raise _disk_full() from error
        raise


class _Run:
    """One attempt at one batch."""

    def __init__(self, batch: ImportBatch) -> None:
        batch.refresh_from_db()
        self.batch = batch
        self.options = batch.options
        self.folder = self._folder()
        self.report_file = self.folder / "report.tsv"

    def go(self, on_progress: OnProgress, should_stop: ShouldStop) -> bool:
        batch = self.batch
        path = Path(settings.WANXING_HOME) / batch.path
        if batch.resume.get("finished"):
            self._remove_source(path)
            return True
        with DataFile(path, filename=batch.filename, options=Options.of(self.options)) as file:
            self._begin(file)
            closed = bool(batch.resume["closed"])
            writer = ChunkWriter(
                batch=batch,
                labels=LabelBook(batch=batch, known=batch.resume["known"], closed=closed),
                forced_split=self.options.get("split") or None,
            )
            rows = file.rows()
            skipped = sum(1 for _ in itertools.islice(rows, batch.rows_read))
            if skipped < batch.rows_read:
                raise ImportRefused("changed", _("文件在导入过程中变了，请重新导入。"))
            with self._report() as report, _bulk_writing():
                size = min(FIRST_ROWS, CHUNK_ROWS)
                while chunk := list(itertools.islice(rows, size)):
                    if should_stop():
                        return False
                    prepared = writer.prepare(chunk)
                    started = time.monotonic()
                    with transaction.atomic():
                        outcome = writer.write(prepared)
                        self._advance(len(chunk), outcome, report)
                    size = _next_size(size, time.monotonic() - started)
                    done, total = file.progress.done, file.progress.total
                    on_progress("import", *((done, total) if total else (batch.rows_read, 0)))
                    if connection.vendor == "sqlite":
                        time.sleep(PAUSE_SECONDS)
        batch.resume["finished"] = True
        batch.save(update_fields=["resume"])
        self._remove_source(path)
        return True

    def _begin(self, file: DataFile) -> None:
        """Labels of a label.txt, once; and what a resumed attempt has to know about the start."""
        batch = self.batch
        if batch.resume:
            return
        specs, warnings = file.labels()
        header = _report_line(["source", "line", "outcome", "code", "reason", "excerpt"])
        with self.report_file.open("wb") as report:
            report.write(header)
        with transaction.atomic():
            bring_labels(batch=batch, specs=specs)
            batch.resume = {
                "known": label_names(batch),
                "closed": bool(specs) or not self.options.get("add_labels", True),
                "report_bytes": len(header),
                "splits_given": False,
            }
            batch.warnings = [
                {"code": warned.code, "line": warned.line, "excerpt": warned.excerpt} for warned in warnings
            ][:MAX_WARNINGS]
            batch.report_path = str(self.report_file.relative_to(settings.WANXING_HOME))
            batch.save(update_fields=["resume", "warnings", "report_path"])

    def _report(self) -> BinaryIO:
        """The report, cut to what the last committed chunk wrote."""
        file = self.report_file.open("r+b")
        file.truncate(self.batch.resume["report_bytes"])
        file.seek(0, io.SEEK_END)
        return file

    def _advance(self, n_rows: int, outcome: Outcome, report: BinaryIO) -> None:
        batch = self.batch
        for line in outcome.report:
            report.write(_report_line(_report_cells(line)))
        report.flush()
        before = batch.rows_read
        batch.rows_read += n_rows
        batch.rows_added += outcome.added
        batch.rows_duplicate += outcome.duplicate
        batch.rows_relabelled += outcome.relabelled
        batch.rows_conflict += outcome.conflict
        batch.rows_refused += sum(outcome.refused.values())
        for reason, n in outcome.refused.items():
            batch.refused_by_reason[reason] = batch.refused_by_reason.get(reason, 0) + n
        batch.resume["report_bytes"] = report.tell()
        batch.resume["splits_given"] |= outcome.splits_given
        fields = ("rows_read", "rows_added", "rows_duplicate", "rows_relabelled", "rows_conflict", "rows_refused",
                  "refused_by_reason", "resume")  # fmt: skip
        # Two processes may hold one batch (a laptop that slept): the one that finds the count moved on writes nothing.
        changed = ImportBatch.objects.filter(pk=batch.pk, rows_read=before).update(
            **{name: getattr(batch, name) for name in fields}
        )
        if not changed:
            raise ImportRefused("taken", _("这次导入已由另一个进程接着做。"))

    def _folder(self) -> Path:
        """Where the report goes: beside the upload, or a folder of its own."""
        if self.batch.report_path:
            return (Path(settings.WANXING_HOME) / self.batch.report_path).parent
        path = Path(settings.WANXING_HOME) / self.batch.path
        folder = path.parent if path.is_relative_to(imports_folder()) else imports_folder() / uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _remove_source(self, path: Path) -> None:
        """The upload has done its work; a file that was given by its own path is not ours to remove."""
        if not path.is_relative_to(imports_folder()):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _bulk_writing() -> Iterator[None]:
    """SQLite for many rows: a larger page cache, fewer checkpoints, and no wait for the disk at each chunk.

    A power cut may then lose the last chunks, together with the note of how far the import had come: it
    goes on from before them. A decision that somebody saves meanwhile is synced by its own connection, and
    the log with it; the import's end, after which its file is removed, is synced again (the bench has the numbers)."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:  # inside a transaction SQLite refuses
        yield
        return
    names = ("cache_size", "wal_autocheckpoint", "synchronous")
    with connection.cursor() as cursor:
        before = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        for name, value in zip(names, (-32_000, 16_000, "NORMAL"), strict=True):
            cursor.execute(f"PRAGMA {name} = {value}")
        try:
            yield
        finally:
            for name, value in zip(names, before, strict=True):
                cursor.execute(f"PRAGMA {name} = {value}")


def _next_size(size: int, seconds: float) -> int:
    """Rows of the next chunk: fewer where a busy machine holds the database too long for whoever labels."""
    if seconds > SLOW_SECONDS:
        return max(CHUNK_ROWS // 8, size // 2)
    return min(CHUNK_ROWS, size * 2) if seconds < SLOW_SECONDS / 3 else size


def _report_cells(line: ReportLine) -> list[str]:
    return [
        line.source,
        str(line.line),
        line.outcome,
        line.reason,
        reason_text(line.reason or line.outcome),
        line.excerpt,
    ]


def _report_line(cells: list[str]) -> bytes:
    """A row that a spreadsheet shows and does not compute."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\r\n").writerow([escape_formula(cell) for cell in cells])
    return text.getvalue().encode("utf-8-sig" if cells[0] == "source" else "utf-8")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(options) - OPTION_NAMES)
    if unknown:
        raise ImportRefused("bad_option", _("不认识的导入选项：%(name)s") % {"name": unknown[0]})
    if options.get("split") and options["split"] not in SPLITS:
        raise ImportRefused("bad_option", _("不认识的划分：%(name)s") % {"name": options["split"]})
    return {name: value for name, value in options.items() if value not in ("", None)}


def _disk_full() -> ImportRefused:
    return ImportRefused(
        "disk_full", _("磁盘已满。已导入的文本都在；腾出空间后再次导入同一个文件，只会补上余下的。")
    )
