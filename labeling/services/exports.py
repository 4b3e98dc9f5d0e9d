"""Texts with their labels, out of a project in the formats in which they may come in again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from labeling.files.label_file import write_label_file
from labeling.files.writing import WRITERS, XLSX_MAX_ROWS, Exported, Labels, write_recipe
from labeling.models import Example, Project
from labeling.models.projects import Task
from labeling.models.texts import Split, Status
from labeling.services.states import label_ids_of

FORMATS = (*WRITERS, "recipe")
MEDIA_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "recipe": "application/zip",
}
FILTERS = frozenset({"status", "split", "label"})
PAGE_ROWS = 2_000


class ExportRefused(Exception):
    """The export cannot be made so; the message is for the page."""


def export_filename(project: Project, *, format: str) -> str:
    """A name for the download, of our own making."""
    return f"wanxing-{project.pk}.{'zip' if format == 'recipe' else format}"


def iter_export(project: Project, *, format: str, filters: dict[str, Any] | None = None) -> Iterator[bytes]:
    """The bytes of the file, piece by piece, read in pages: no long transaction, no list of all texts.

    `filters`: status (open, labelled, skipped), split, label (an id). The recipe's zip takes no filter: a text
    without label that is kept for dev is left out of it, since the recipe wants a label there and in data.txt it
    would reach training. In txt and tsv, tabs and line breaks in a text become blanks, which its hash does not
    see. Raises ExportRefused at once."""
    filters = {name: value for name, value in (filters or {}).items() if value not in ("", None)}
    if format not in FORMATS:
        raise ExportRefused(_("不认识的格式：%(format)s") % {"format": format})
    if unknown := sorted(set(filters) - FILTERS):
        raise ExportRefused(_("不认识的筛选：%(name)s") % {"name": unknown[0]})
    if format == "recipe":
        return _recipe(project)
    rows = _filtered(project, filters)
    if format == "xlsx" and rows.count() >= XLSX_MAX_ROWS:
        raise ExportRefused(_("xlsx 最多放 1,048,575 行。请选 csv，或者先筛选。"))
    return WRITERS[format](_rows(project, rows))


def _filtered(project: Project, filters: dict[str, Any]) -> QuerySet[Example]:
    rows = project.examples.all()
    if "status" in filters:
        rows = rows.filter(status=_one_of(filters["status"], Status.values))
    if "split" in filters:
        rows = rows.filter(split=_one_of(filters["split"], Split.values))
    if "label" in filters:
        if not str(filters["label"]).isdecimal():
            raise ExportRefused(_("不认识的筛选：%(name)s") % {"name": "label"})
        carrying = "label_rows__label" if project.task == Task.MULTI_LABEL else "label"
        rows = rows.filter(**{carrying: int(filters["label"])})
    return rows


def _one_of(value: Any, values: list[str]) -> str:
    if value not in values:
        raise ExportRefused(_("不认识的筛选：%(name)s") % {"name": value})
    return value


def _rows(project: Project, rows: QuerySet[Example]) -> Iterator[Exported]:
    names = dict(project.labels.values_list("pk", "name"))
    several = project.task == Task.MULTI_LABEL
    last = 0
    while True:
        page = list(
            rows.filter(pk__gt=last)
            .order_by("pk")
            .only("text", "label_id", "status", "split", "project_id")[:PAGE_ROWS]
        )
        if not page:
            return
        last = page[-1].pk
        held = label_ids_of(project=project, examples=page)
        for example in page:
            label: Labels = None
            if several and example.status == Status.LABELLED:
                label = tuple(names[pk] for pk in held[example.pk])
            elif not several and example.label_id is not None:
                label = names.get(example.label_id)
            yield example.text, label, example.split


def _recipe(project: Project) -> Iterator[bytes]:
    texts = project.examples.all()
    parts = {
        "train": texts.for_training(),
        "dev": texts.labelled().filter(split=Split.DEV),
        "test": texts.filter(split=Split.TEST),
        "data": texts.pool(),
    }

    def rows_of(rows: QuerySet[Example]) -> Any:
        return lambda: ((text, label) for text, label, _split in _rows(project, rows))

    labels = [
        (label.name, [word.text for word in label.words.all()])
        for label in project.labels.prefetch_related("words")
        if label.archived_at is None or label.examples.exists() or label.example_rows.exists()
    ]
    return write_recipe([(name, rows_of(rows)) for name, rows in parts.items()], write_label_file(labels))
