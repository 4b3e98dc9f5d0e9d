"""What the data folder holds, by kind and by project, and how to free some of it.

Only what can be made again, or has served its purpose, is ever freed: never texts, decisions, models or the
database. Links are neither followed nor counted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from labeling.models import ImportBatch, Job, Project
from labeling.models.jobs import FINISHED, JobKind
from labeling.services import embeddings, scores
from training.models import Export, FilePrediction, TrainingRun

# Bundles and answers younger than this stay: somebody may be about to fetch them.
KEPT_FOR = timedelta(days=7)
RUN_CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Use:
    """One kind of content: its size now, and how much of it `free(kind=…)` would give back."""

    kind: str
    size_bytes: int
    freeable_bytes: int = 0

    @property
    def can_free(self) -> bool:
        return self.kind in FREEABLE


@dataclass(frozen=True, slots=True)
class ProjectUse:
    """What the files of one project take. Its rows lie in the database, which is not divided."""

    project: Project
    size_bytes: int


def home() -> Path:
    """WANXING_HOME."""
    return Path(settings.WANXING_HOME)


def folder_bytes(folder: Path) -> int:
    """Bytes of the plain files below `folder` (or of `folder`, if it is a file); 0 where there is nothing."""
    total = 0
    try:
        if folder.is_symlink():
            return 0
        if folder.is_file():
            return folder.stat().st_size
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += folder_bytes(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        # Runs write and rename while we look: what went away takes no room.
        return total
    return total


def disk() -> tuple[int, int]:
    """(bytes of the disk under the data folder, bytes of it that are free)."""
    found = shutil.disk_usage(home())
    return found.total, found.free


def usage() -> list[Use]:
    """Every kind with its size; together they are the whole data folder (and the database, wherever it is)."""
    checkpoints = sum(folder_bytes(path) for path in (home() / "runs").glob(f"*/{RUN_CHECKPOINTS}"))
    sizes = {
        "database": _database_bytes(),
        "runs": folder_bytes(home() / "runs") - checkpoints,
        "checkpoints": checkpoints,
        **{
            kind: folder_bytes(home() / kind)
            for kind in ("exports", "imports", "predictions", "embeddings", "backups", "logs")
        },
        "backbones": folder_bytes(home() / "backbones") + folder_bytes(home() / "paddlenlp"),
    }
    elsewhere = 0 if _database_is_in_home() else sizes["database"]
    sizes["other"] = max(0, folder_bytes(home()) + elsewhere - sum(sizes.values()))
    return [
        Use(kind, size, sum(map(folder_bytes, FREEABLE[kind]())) if kind in FREEABLE else 0)
        for kind, size in sizes.items()
    ]


def usage_by_project() -> list[ProjectUse]:
    """The files of every project, the largest first."""
    found = [ProjectUse(project, project_bytes(project)) for project in Project.objects.all()]
    return sorted(found, key=lambda use: -use.size_bytes)


def project_bytes(project: Project) -> int:
    """Bytes of the project's imports, runs, bundles, predicted files and vectors."""
    return sum(folder_bytes(path) for path in _project_paths(project))


def free(*, kind: str) -> int:
    """Delete what of `kind` can go; the bytes that came free. Raises KeyError for a kind that cannot."""
    freed = 0
    for path in FREEABLE[kind]():
        size = folder_bytes(path)
        if _delete(path):
            freed += size
    return freed


def _database_bytes() -> int:
    if connection.vendor == "sqlite":
        path = Path(str(connection.settings_dict["NAME"]))
        return sum(folder_bytes(path.with_name(path.name + tail)) for tail in ("", "-wal", "-shm"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def _database_is_in_home() -> bool:
    return connection.vendor == "sqlite" and Path(str(connection.settings_dict["NAME"])).parent == home()


def _project_paths(project: Project) -> Iterator[Path]:
    for run in TrainingRun.objects.filter(project=project).only("pk"):
        yield run.folder
    for export in Export.objects.filter(project=project).only("pk"):
        yield export.folder
    for prediction in FilePrediction.objects.filter(project=project).only("pk"):
        yield prediction.folder
    yield embeddings.folder_of(project.pk)
    folders = {_import_folder(batch) for batch in ImportBatch.objects.filter(project=project)}
    yield from (folder for folder in folders if folder is not None)
    yield scores.folder_of(project.pk)


# What can go -------------------------------------------------------------------------------------


def _old_checkpoints() -> Iterable[Path]:
    """Of runs that ended: their model stays, and they cannot be resumed any more."""
    for run in TrainingRun.objects.filter(job__status__in=FINISHED).only("pk"):
        yield run.folder / RUN_CHECKPOINTS


def _old_exports() -> Iterable[Path]:
    """Bundles that were made a while ago; the page offers to make them again."""
    exports = Export.objects.filter(job__status__in=FINISHED, job__finished_at__lt=timezone.now() - KEPT_FOR)
    return (export.folder for export in exports.only("pk"))


def _old_predictions() -> Iterable[Path]:
    """Predicted files that were given back a while ago."""
    old = FilePrediction.objects.filter(
        job__status__in=FINISHED, job__finished_at__lt=timezone.now() - KEPT_FOR
    )
    return (prediction.folder for prediction in old.only("pk"))


def _imported_originals() -> Iterable[Path]:
    """Uploaded files whose rows are in the database; the report about them stays."""
    for batch in ImportBatch.objects.filter(job__status__in=FINISHED).exclude(path=""):
        path = _below_home(batch.path)
        if path is not None:
            yield path


def _embeddings() -> Iterable[Path]:
    """Vectors of texts: made again when somebody looks for texts by meaning. Not under a job that writes them."""
    busy = set(Job.objects.filter(kind=JobKind.EMBED).active().values_list("project_id", flat=True))
    for folder in (home() / "embeddings").glob("*"):
        if folder.name.isdecimal() and int(folder.name) not in busy:
            yield folder


def _rotated_logs() -> Iterable[Path]:
    """Logs that nobody writes any more: name.log.1, name.log.2 and so on."""
    return (home() / "logs").glob("*.log.*")


def _older_backups() -> Iterable[Path]:
    """All copies of the database but the newest."""
    return sorted((home() / "backups").glob("*.sqlite3"))[:-1]


FREEABLE: dict[str, Callable[[], Iterable[Path]]] = {
    "checkpoints": _old_checkpoints,
    "exports": _old_exports,
    "predictions": _old_predictions,
    "imports": _imported_originals,
    "embeddings": _embeddings,
    "logs": _rotated_logs,
    "backups": _older_backups,
}


def _import_folder(batch: Any) -> Path | None:
    path = _below_home(batch.path) if batch.path else None
    if path is None:
        return None
    # A batch has a folder of its own below `imports`; never take that one itself for it.
    return path.parent if path.parent != home() / "imports" else path


def _below_home(relative: str) -> Path | None:
    """The path, unless a row would lead out of the data folder."""
    path = (home() / relative).resolve()
    return path if path.is_relative_to(home().resolve()) and path != home().resolve() else None


def _delete(path: Path) -> bool:
    """Remove a file or folder of the data folder; False if it was not there."""
    if path.is_symlink() or not path.resolve().is_relative_to(home().resolve()):
        return False
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return False
    return True
