"""The rows of an import on their way into the database: one short transaction a chunk, in plain SQL.

SQL because 1,000,000 rows through model objects take several times as long; `tests/bench/import_bench.py`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from labeling.files import Refused, Row
from labeling.files.rows import excerpt
from labeling.models import Annotation, Example, ExampleLabel, ImportBatch
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Status, text_hash
from labeling.services import text_index
from labeling.services.import_labels import LabelBook
from labeling.services.splits import Reserver

MAX_TEXTS = 2_000_000
_EXAMPLE = Example._meta.db_table
_ANNOTATION = Annotation._meta.db_table
# Nobody decides on these texts between the look and the change. SQLite has one writer at a time anyway.
_LOCK_ROWS = {"postgresql": " ORDER BY id FOR UPDATE", "sqlite": ""}
_HUMAN = (Action.LABEL, Action.NONE, Action.SKIP, Action.CLEAR, Action.UNDO)


@dataclass(slots=True)
class ReportLine:
    """One row of the report: what became of a row that was not simply added."""

    source: str
    line: int
    outcome: str  # refused, duplicate, relabelled, conflict
    reason: str
    excerpt: str


@dataclass(slots=True)
class Outcome:
    """What became of one chunk."""

    added: int = 0
    duplicate: int = 0
    relabelled: int = 0
    conflict: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    splits_given: bool = False
    report: list[ReportLine] = field(default_factory=list)

    def refuse(self, row: Row | Refused, reason: str, shown: str) -> None:
        self.refused[reason] += 1
        self.report.append(ReportLine(row.source, row.line, "refused", reason, shown))


class ChunkWriter:
    """Writes chunks of rows. `prepare` needs no database; `write` belongs into a transaction.

    The annotations that it appends have no user: a label that came with a file is nobody's decision, and
    nobody's undo takes it back."""

    def __init__(self, *, batch: ImportBatch, labels: LabelBook, forced_split: str | None) -> None:
        self._batch = batch
        self._labels = labels
        self._forced_split = forced_split
        self._reserver = Reserver.of(batch.project)
        self._several = batch.project.task == Task.MULTI_LABEL
        self._room = MAX_TEXTS - batch.project.examples.count()
        self._last_id = self._newest_id()
        self._words: dict[bytes, str] = {}

    def prepare(self, items: Sequence[Row | Refused]) -> list[tuple[bytes, Row] | Refused]:
        """Each row with its hash, its tokens noted; the costly part, done while nobody waits for the database."""
        prepared: list[tuple[bytes, Row] | Refused] = []
        self._words = {}
        for item in items:
            if isinstance(item, Refused):
                prepared.append(item)
                continue
            digest = text_hash(item.text)
            prepared.append((digest, item))
            if digest not in self._words:  # of two forms of one text the first is stored
                self._words[digest] = text_index.words_of(self._batch.project_id, item.text)
        return prepared

    def write(self, prepared: Sequence[tuple[bytes, Row] | Refused]) -> Outcome:
        """Put one chunk into the database and say what became of it."""
        outcome = Outcome()
        first: dict[bytes, Row] = {}
        again: list[tuple[bytes, Row]] = []
        for item in prepared:
            if isinstance(item, Refused):
                outcome.refuse(item, item.reason, item.excerpt)
                continue
            digest, row = item
            if digest in first:
                again.append((digest, row))
            else:
                first[digest] = row
        self._take(list(first.items()), outcome)
        if again:
            self._take(again, outcome)
        return outcome

    def _take(self, rows: list[tuple[bytes, Row]], outcome: Outcome) -> None:
        existing = self._existing([digest for digest, _ in rows])
        now = timezone.now()
        stamp = connection.ops.adapt_datetimefield_value(now)
        new: list[tuple[Any, ...]] = []
        given: dict[bytes, tuple[int, ...]] = {}
        relabel: dict[int, tuple[int, ...]] = {}
        held = self._held_labels(existing)
        touched = self._decided_by_people(existing, rows)
        for digest, row in rows:
            label_ids: tuple[int, ...] | None = None
            if row.label is not None:
                answer = self._labels.ids_of(row.label)
                if isinstance(answer, str):
                    outcome.refuse(row, answer, excerpt(f"{row.text}  {_shown(row.label)}"))
                    continue
                label_ids = answer
            found = existing.get(digest)
            if found is not None:
                self._meet(row, label_ids, found, held, touched, relabel, outcome)
            elif self._room <= 0:
                outcome.refuse(row, "project_full", excerpt(row.text))
            else:
                self._room -= 1
                outcome.splits_given |= row.split is not None
                new.append(self._values(digest, row, label_ids, stamp))
                if label_ids is not None:
                    given[digest] = label_ids
        self._insert(new, given, outcome)
        if relabel:
            self._relabel(relabel, now)

    def _values(
        self, digest: bytes, row: Row, label_ids: tuple[int, ...] | None, stamp: Any
    ) -> tuple[Any, ...]:
        label_id = label_ids[0] if label_ids else None
        split = row.split or self._forced_split
        if split is None:
            split = str(self._reserver.split_for(label_id=label_id, digest=digest))
        elif label_id is not None:
            self._reserver.count(label_id=label_id, split=split)
        status = str(Status.OPEN) if label_ids is None else str(Status.LABELLED)
        decided = None if label_ids is None else stamp
        order = int.from_bytes(digest[:8], "big") >> 1
        batch = self._batch
        return (batch.project_id, row.text, digest, split, status, label_id, False, order,
                batch.pk, row.line, stamp, decided, "", 0, 0)  # fmt: skip

    def _meet(
        self,
        row: Row,
        label_ids: tuple[int, ...] | None,
        found: tuple[int, int | None, str],
        held: dict[int, tuple[int, ...]],
        touched: set[int],
        relabel: dict[int, tuple[int, ...]],
        outcome: Outcome,
    ) -> None:
        """A text that is there already: nothing changes, except that an untouched one may get its label."""
        pk, _label_id, status = found
        now = relabel.get(pk, held.get(pk))
        if label_ids is None or now == label_ids:
            kind, reason = "duplicate", ""
            outcome.duplicate += 1
        elif now is None and status == Status.OPEN and pk not in touched:
            kind, reason = "relabelled", ""
            relabel[pk] = label_ids
            outcome.relabelled += 1
        else:
            kind, reason = "conflict", "label_conflict"
            outcome.duplicate += 1
            outcome.conflict += 1
        shown = row.text if row.label is None else f"{row.text}  {_shown(row.label)}"
        outcome.report.append(ReportLine(row.source, row.line, kind, reason, excerpt(shown)))

    # The statements

    def _existing(self, digests: list[bytes]) -> dict[bytes, tuple[int, int | None, str]]:
        if not digests:
            return {}
        marks = ",".join(["%s"] * len(digests))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT text_hash, id, label_id, status FROM {_EXAMPLE}"  # noqa: S608
                f" WHERE project_id = %s AND text_hash IN ({marks}){_LOCK_ROWS[connection.vendor]}",
                [self._batch.project_id, *digests],
            )
            return {bytes(row[0]): (row[1], row[2], row[3]) for row in cursor.fetchall()}

    def _held_labels(self, existing: dict[bytes, tuple[int, int | None, str]]) -> dict[int, tuple[int, ...]]:
        """{text id: ids of its labels in their order}, of decided texts."""
        decided = {pk: label_id for pk, label_id, status in existing.values() if status == Status.LABELLED}
        if not self._several:
            return {pk: (label_id,) for pk, label_id in decided.items() if label_id is not None}
        held: dict[int, tuple[int, ...]] = dict.fromkeys(decided, ())
        rows = ExampleLabel.objects.filter(example_id__in=decided).order_by("label__position", "label_id")
        for pk, label_id in rows.values_list("example_id", "label_id"):
            held[pk] += (label_id,)
        return held

    def _decided_by_people(
        self, existing: dict[bytes, tuple[int, int | None, str]], rows: list[tuple[bytes, Row]]
    ) -> set[int]:
        """Open texts among those to be relabelled that a person has already decided on and taken back."""
        asked = [
            existing[digest][0]
            for digest, row in rows
            if row.label is not None and digest in existing and existing[digest][1] is None
        ]
        if not asked:
            return set()
        return set(
            Annotation.objects.filter(example_id__in=asked, action__in=_HUMAN)
            .exclude(source=Source.IMPORT)
            .values_list("example_id", flat=True)
        )

    def _insert(
        self, rows: list[tuple[Any, ...]], given: dict[bytes, tuple[int, ...]], outcome: Outcome
    ) -> None:
        if not rows:
            return
        with connection.cursor() as cursor:
            head = (
                f'INSERT INTO {_EXAMPLE} (project_id, text, text_hash, split, status, label_id, flagged, "order",'  # noqa: S608
                " batch_id, line, created_at, decided_at, suggestion, n_comments, n_deciders) VALUES "
            )
            one = f"({', '.join(['%s'] * len(rows[0]))})"
            tail = " ON CONFLICT (project_id, text_hash) DO NOTHING"
            if connection.vendor == "postgresql":  # where each statement is a journey
                cursor.execute(head + ", ".join([one] * len(rows)) + tail, list(itertools.chain(*rows)))
            else:
                cursor.executemany(head + one + tail, rows)
            # Another import may have brought some of them since they were looked for (PostgreSQL only).
            added = cursor.rowcount
            if given and self._several:
                self._label_new(given)
            elif given:
                cursor.execute(
                    f"INSERT INTO {_ANNOTATION} (project_id, example_id, action, label_id, source,"  # noqa: S608
                    " reason, created_at, labels, suggested_labels, suggestion_source)"
                    f" SELECT project_id, id, %s, label_id, %s, '', created_at, '[]', '[]', '' FROM {_EXAMPLE}"
                    " WHERE batch_id = %s AND id > %s AND label_id IS NOT NULL",
                    [str(Action.LABEL), str(Source.IMPORT), self._batch.pk, self._last_id],
                )
        outcome.added += added
        outcome.duplicate += len(rows) - added
        self._index()
        self._last_id = self._newest_id()

    def _index(self) -> None:
        """What was just inserted can be found as soon as it is there."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, text_hash FROM {_EXAMPLE} WHERE batch_id = %s AND id > %s",  # noqa: S608
                [self._batch.pk, self._last_id],
            )
            text_index.add_words([(pk, self._words[bytes(digest)]) for pk, digest in cursor.fetchall()])

    def _label_new(self, given: dict[bytes, tuple[int, ...]]) -> None:
        """Annotations and label rows of what was just inserted, where a text may have several labels."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, text_hash FROM {_EXAMPLE} WHERE batch_id = %s AND id > %s AND status = %s",  # noqa: S608
                [self._batch.pk, self._last_id, str(Status.LABELLED)],
            )
            self._append({pk: given[bytes(digest)] for pk, digest in cursor.fetchall()})

    def _append(self, labels: dict[int, tuple[int, ...]]) -> None:
        Annotation.objects.bulk_create(
            Annotation(
                project_id=self._batch.project_id,
                example_id=pk,
                action=Action.LABEL if label_ids else Action.NONE,
                label_id=label_ids[0] if label_ids else None,
                labels=list(label_ids) if self._several else [],
                source=Source.IMPORT,
            )
            for pk, label_ids in labels.items()
        )
        if self._several:
            ExampleLabel.objects.bulk_create(
                ExampleLabel(example_id=pk, label_id=label_id)
                for pk, label_ids in labels.items()
                for label_id in label_ids
            )

    def _newest_id(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT MAX(id) FROM {_EXAMPLE} WHERE batch_id = %s", [self._batch.pk])  # noqa: S608
            return cursor.fetchone()[0] or 0

    def _relabel(self, labels: dict[int, tuple[int, ...]], now: datetime) -> None:
        stamp = connection.ops.adapt_datetimefield_value(now)
        with connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {_EXAMPLE} SET label_id = %s, status = %s, decided_at = %s"  # noqa: S608
                " WHERE id = %s AND label_id IS NULL",
                [
                    (label_ids[0] if label_ids else None, str(Status.LABELLED), stamp, pk)
                    for pk, label_ids in labels.items()
                ],
            )
        self._append(labels)


def _shown(label: str | int | tuple[str | int, ...]) -> str:
    return ",".join(map(str, label)) if isinstance(label, tuple) else str(label)
