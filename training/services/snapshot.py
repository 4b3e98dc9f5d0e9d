"""The texts of a run, frozen: what it learns from, what it is judged by, and what it may look at."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from labeling.models import Example, Label, Project
from labeling.models.projects import Task
from labeling.models.texts import Split

SPLITS = ("train", "dev", "test", "pool")
# The most unlabelled texts that a run looks at: more have never helped and cost memory in the engine.
POOL_LIMIT = 20_000


@dataclass
class Snapshot:
    """Files in `folder`, not yet in the run's place. `counts` holds texts by split and by label in train."""

    folder: Path
    hash: str = ""
    counts: dict[str, Any] = field(default_factory=dict)

    def discard(self) -> None:
        """Remove the files of a run that never came to be."""
        shutil.rmtree(self.folder, ignore_errors=True)


def active_labels(project: Project) -> list[Label]:
    """The labels that a model knows, in class-id order."""
    return list(project.labels.filter(archived_at__isnull=True).prefetch_related("words"))


def labels_json(labels: Iterable[Label]) -> list[dict[str, Any]]:
    """`[{"id", "name", "words"}]` in class-id order, as a run keeps it."""
    return [{"id": label.pk, "name": label.name, "words": label.word_texts} for label in labels]


def write_snapshot(*, project: Project, labels: list[Label], with_pool: bool) -> Snapshot:
    """The snapshot as {train,dev,test,pool}.jsonl in a folder of its own beside the runs.

    Streams; no more than the ids of the labelled texts are held. Splits without a text get no file."""
    runs = Path(settings.WANXING_HOME) / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    snapshot = Snapshot(Path(tempfile.mkdtemp(prefix=".new-", dir=runs)))
    try:
        _write(snapshot, project, {label.pk: label.name for label in labels}, with_pool)
    except BaseException:
        snapshot.discard()
        raise
    return snapshot


def _write(snapshot: Snapshot, project: Project, names: dict[int, str], with_pool: bool) -> None:
    counts: dict[str, Any] = dict.fromkeys(SPLITS, 0)
    per_label = dict.fromkeys(names.values(), 0)
    digest = hashlib.sha256()
    files = {name: open(snapshot.folder / f"{name}.jsonl", "w", encoding="utf-8") for name in SPLITS}  # noqa: SIM115
    try:
        for split, example_id, text, label in _rows(project, names, with_pool):
            line = json.dumps({"id": example_id, "text": text, "label": label}, ensure_ascii=False) + "\n"
            files[split].write(line)
            digest.update(f"{split} {line}".encode("utf-8", "surrogatepass"))
            counts[split] += 1
            if split == Split.TRAIN and label is not None:
                for name in [label] if isinstance(label, str) else label:
                    per_label[name] += 1
    finally:
        for file in files.values():
            file.close()
    for name in SPLITS:
        if not counts[name]:
            (snapshot.folder / f"{name}.jsonl").unlink()
    snapshot.hash = digest.hexdigest()
    snapshot.counts = {**counts, "per_label": per_label}


def _rows(
    project: Project, names: dict[int, str], with_pool: bool
) -> Iterator[tuple[str, int, str, str | list[str] | None]]:
    """(split, id, text, label name; a list of names where there may be several) by ids, the pool last."""
    labelled = set()
    examples = Example.objects.filter(project=project)
    several = project.task == Task.MULTI_LABEL
    rows = examples.labelled().order_by("id")
    rows = rows.prefetch_related("label_rows") if several else rows.filter(label_id__in=names)
    for example in rows.iterator(2_000):
        labelled.add(example.pk)
        split = Split.TRAIN if example.split == Split.POOL else example.split
        if several:
            given = {row.label_id for row in example.label_rows.all()}
            yield split, example.pk, example.text, [name for pk, name in names.items() if pk in given]
        elif example.label_id is not None:
            yield split, example.pk, example.text, names[example.label_id]
    if not with_pool:
        return
    pool = examples.pool().order_by("order", "id").values_list("id", "text")[:POOL_LIMIT]
    for pk, text in pool.iterator(2_000):
        # Two queries are two moments: a text labelled in between is in the first alone.
        if pk not in labelled:
            yield Split.POOL, pk, text, None
