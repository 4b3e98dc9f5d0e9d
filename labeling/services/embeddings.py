"""Sentence vectors of a project's texts: `WANXING_HOME/embeddings/<project>/<backbone's hash>/`.

The job EMBED writes them, a text once, in chunks that outlive a kill; pages and queue orders read them. Vectors have
length 1, so a dot product is the cosine. A text that was deleted stays in the files until they are written anew.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from labeling.files.arrays import BadArrays
from labeling.files.vectors import VectorWriter, read_vectors, writing
from labeling.jobs import create_job
from labeling.models import Example, Job, Project
from labeling.models.jobs import JobKind, JobStatus

LOG = logging.getLogger(__name__)

QUEUE = "bulk"
# A chunk is on the disk, and told, before the next one: seconds even on a slow machine.
CHUNK_TEXTS = 128
ID_ROWS = 20_000
# Another job of the queue waits at most about so long behind a long embedding.
TURN_SECONDS = 60
# The files are written anew when more than this share of their rows belongs to deleted texts.
DEAD_SHARE = 0.1
NEAREST_ROWS = 4_096
# Rows that a process keeps in float32, which numpy multiplies ten times as fast as float16.
HELD_VALUES = 400_000 * 384

OnProgress = Callable[[str, int, int, float | None], None]
Read = Callable[[list[str]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """What makes the vectors. `read(texts)`: (n, hidden_size) float32 of length 1."""

    name: str
    hash: str
    hidden_size: int
    read: Read


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingIndex:
    """A project's vectors by one backbone: `ids` (n,) int64, `vectors` (n, H) float16, mapped.

    `n_texts`: texts of the project now; `about`: backbone and hash."""

    ids: np.ndarray
    vectors: np.ndarray
    n_texts: int
    about: dict[str, Any]
    folder: Path

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def coverage(self) -> float:
        """Share of the project's texts that have a vector; at most 1."""
        return min(1.0, len(self.ids) / self.n_texts) if self.n_texts else 1.0

    def rows_of(self, example_ids: Iterable[int]) -> dict[int, int]:
        """{example id: its row} of those that have a vector."""
        wanted = np.fromiter(example_ids, dtype=np.int64)
        if not len(wanted) or not len(self.ids):
            return {}
        order = np.argsort(self.ids, kind="stable")
        places = np.searchsorted(self.ids, wanted, sorter=order)
        places[places == len(order)] = 0
        rows = order[places]
        there = self.ids[rows] == wanted
        return {int(one): int(row) for one, row, known in zip(wanted, rows, there, strict=True) if known}

    def vector_of(self, example_id: int) -> np.ndarray | None:
        """(H,) float32, or None where the text has none yet."""
        rows = np.flatnonzero(self.ids == example_id)
        return None if not len(rows) else self.vectors[rows[0]].astype(np.float32)

    def nearest(
        self, vector: np.ndarray, k: int, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ids, cosines) of the `k` rows nearest to `vector` (H,), the nearest first; only `among` these ids.

        Reads the rows in blocks; a process that asks often calls `hold` before."""
        scores = np.concatenate(
            [block @ vector.astype(np.float32) for block in _blocks(self)] or [np.zeros(0, np.float32)]
        )
        rows = np.arange(len(scores)) if among is None else np.flatnonzero(np.isin(self.ids, among))
        k = min(k, len(rows))
        if k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        best = rows[np.argpartition(-scores[rows], k - 1)[:k]]
        best = best[np.lexsort((self.ids[best], -scores[best]))]
        return np.asarray(self.ids[best]), scores[best]

    def hold(self) -> None:
        """Keep these rows in float32 in this process, as far as they fit (`HELD_VALUES`)."""
        _HELD.hold(self)


def index_of(project: Project, backbone_hash: str = "") -> EmbeddingIndex | None:
    """The vectors of `project` by that backbone, or by the one that wrote last; None where there are none."""
    for folder in _folders(project.pk, backbone_hash):
        try:
            ids, vectors, about = read_vectors(folder)
        except FileNotFoundError:
            continue
        except BadArrays as error:
            LOG.warning("vectors cannot be read: %s", error)
            continue
        return EmbeddingIndex(ids, vectors, Example.objects.filter(project=project).count(), about, folder)
    return None


def folder_of(project_id: int) -> Path:
    """Where the vectors of a project lie, whatever made them."""
    return Path(settings.WANXING_HOME) / "embeddings" / str(int(project_id))


def remove(project_id: int) -> None:
    """Delete the vectors of a project."""
    shutil.rmtree(folder_of(project_id), ignore_errors=True)


# The job --------------------------------------------------------------------------------------------------


def active_job(project: Project) -> Job | None:
    """The embedding that is queued or running."""
    return Job.objects.filter(project=project, kind=JobKind.EMBED).active().first()


def latest_job(project: Project) -> Job | None:
    """The newest embedding, whatever became of it."""
    return Job.objects.filter(project=project, kind=JobKind.EMBED).order_by("-pk").first()


def request_embedding(*, project: Project, user: Any = None) -> Job | None:
    """The job that gives vectors to the texts that lack them; the one that is going; None when nothing lacks one."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        going = active_job(project)
        if going is not None:
            return going
        index = index_of(project)
        if index is not None and len(index) >= index.n_texts and not _lacking(project, index.ids, limit=1):
            return None
        if index is None and not project.examples.exists():
            return None
        return create_job(project=project, kind=JobKind.EMBED, queue=QUEUE, user=user)


def ensure_embedding(*, project: Project) -> Job | None:
    """`request_embedding` for a page that needs vectors: not again after one that failed or was stopped.

    The job whose progress, error or stop the page shows; None when all is there."""
    latest = latest_job(project)
    if latest is not None and latest.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        index = index_of(project)
        return None if index is not None and len(index) >= index.n_texts else latest
    return request_embedding(project=project)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What a turn of the job did. `whole`: nothing lacks a vector any more."""

    added: int
    whole: bool


def embed_texts(
    *,
    project: Project,
    encoder: Encoder,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
    give_way: Callable[[], bool] = lambda: False,
) -> Embedded:
    """Give a vector to each text that lacks one, oldest first, chunk by chunk.

    Ends early when `should_stop`, or, after TURN_SECONDS, when `give_way`. Raises BeingWritten."""
    folder = folder_of(project.pk) / encoder.hash[:16]
    about = {"backbone": encoder.name, "hash": encoder.hash, "hidden_size": encoder.hidden_size}
    try:
        read_vectors(folder)
    except FileNotFoundError:
        pass
    except BadArrays as error:
        # All of it can be made again.
        LOG.warning("vectors are made anew: %s", error)
        shutil.rmtree(folder)
    with writing(folder, about) as writer:
        _compact(project, writer)
        lacking = _lacking(project, writer.ids)
        total, before = len(writer.ids) + len(lacking), len(writer.ids)
        began = time.monotonic()
        on_progress("embed", before, total, None)
        done = 0
        for at in range(0, len(lacking), CHUNK_TEXTS):
            if should_stop():
                return Embedded(done, whole=False)
            if time.monotonic() - began > TURN_SECONDS and give_way():
                return Embedded(done, whole=False)
            found = dict(
                Example.objects.filter(pk__in=lacking[at : at + CHUNK_TEXTS]).values_list("pk", "text")
            )
            if found:
                writer.append(np.fromiter(found, np.int64), encoder.read(list(found.values())))
            done = min(at + CHUNK_TEXTS, len(lacking))
            seconds = time.monotonic() - began
            left = seconds / done * (len(lacking) - done) if seconds > 1 else None
            on_progress("embed", before + done, total, left)
    return Embedded(done, whole=True)


def _lacking(project: Project, ids: np.ndarray, limit: int | None = None) -> list[int]:
    """Ids of the project's texts that are not in `ids`, ascending; the first `limit`."""
    known = np.sort(np.asarray(ids))
    found: list[int] = []
    for chunk in _example_ids(project):
        places = np.searchsorted(known, chunk)
        places[places == len(known)] = 0
        missing = chunk if not len(known) else chunk[known[places] != chunk]
        found += missing.tolist()
        if limit is not None and len(found) >= limit:
            return found[:limit]
    return found


def _compact(project: Project, writer: VectorWriter) -> None:
    """Write the files anew when too many of their rows belong to texts that were deleted."""
    ids = writer.ids
    if not len(ids):
        return
    present = np.concatenate([*_example_ids(project), np.zeros(0, np.int64)])
    dead = len(ids) - int(np.isin(ids, present).sum())
    if dead > DEAD_SHARE * len(ids):
        writer.keep(present)


def _example_ids(project: Project) -> Iterator[np.ndarray]:
    """int64 arrays of the project's text ids, ascending."""
    after = 0
    while True:
        rows = Example.objects.filter(project=project, pk__gt=after).order_by("pk")
        chunk = np.fromiter(rows.values_list("pk", flat=True)[:ID_ROWS], dtype=np.int64)
        if not len(chunk):
            return
        yield chunk
        after = int(chunk[-1])


def others_wait(job: Job) -> bool:
    """Whether another job of the queue is waiting behind `job`."""
    return (
        Job.objects.queued()
        .filter(queue=job.queue, enqueued_at__lte=timezone.now())
        .exclude(pk=job.pk)
        .exists()
    )


def _folders(project_id: int, backbone_hash: str) -> list[Path]:
    """The folders to look into, the one that was written last first."""
    root = folder_of(project_id)
    if backbone_hash:
        return [root / backbone_hash[:16]]
    try:
        found = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda path: -path.stat().st_mtime_ns)


# Rows in float32 ------------------------------------------------------------------------------------------


class _Held:
    """float32 blocks of the indexes used last, full blocks only: the files grow, their rows never change."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[str, list[np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    def hold(self, index: EmbeddingIndex) -> None:
        key = _key(index)
        with self._lock:
            blocks = self._blocks.setdefault(key, [])
            self._blocks.move_to_end(key)
            n_full = len(index) // NEAREST_ROWS
            fits = HELD_VALUES // (NEAREST_ROWS * index.vectors.shape[1])
            for number in range(len(blocks), min(n_full, fits)):
                at = number * NEAREST_ROWS
                blocks.append(index.vectors[at : at + NEAREST_ROWS].astype(np.float32))
            while len(self._blocks) > 1 and self._size() > HELD_VALUES:
                self._blocks.popitem(last=False)

    def of(self, index: EmbeddingIndex) -> list[np.ndarray]:
        return self._blocks.get(_key(index), [])

    def _size(self) -> int:
        return sum(block.size for blocks in self._blocks.values() for block in blocks)


_HELD = _Held()


def _key(index: EmbeddingIndex) -> str:
    """The file behind the rows: written anew, it is another one."""
    return str(getattr(index.vectors, "filename", "")) or f"{index.folder}:empty"


def _blocks(index: EmbeddingIndex) -> Iterator[np.ndarray]:
    """float32 blocks of the rows in order: those that are held, then the rest as it is read."""
    held = _HELD.of(index)
    yield from held
    for at in range(len(held) * NEAREST_ROWS, len(index), NEAREST_ROWS):
        yield index.vectors[at : at + NEAREST_ROWS].astype(np.float32)
