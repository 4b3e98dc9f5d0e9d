"""Texts with their labels, out of a project in the formats in which they may come in again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from labeling.files.label_file import write_label_file
from labeling.files.writing import TABLE_WRITERS, WRITERS, XLSX_MAX_ROWS, Exported, Labels, write_recipe
from labeling.models import Example, Project
from labeling.models.projects import Task
from labeling.models.texts import Split, Status
from labeling.services import search
from labeling.services.filters import Filters
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
PAGE_ROWS = 2_000
_COLUMNS = ("text", "label_id", "status", "split", "project_id")


class ExportRefused(Exception):
    """The export cannot be made so; the message is for the page."""


def export_filename(project: Project, *, format: str) -> str:
    """A name for the download, of our own making."""
    return f"wanxing-{project.pk}.{'zip' if format == 'recipe' else format}"


def iter_export(project: Project, *, format: str, filters: Filters | None = None) -> Iterator[bytes]:
    """The bytes of the file, piece by piece, read in pages: no long transaction, no list of all texts.

    `filters`: what the list shows, in the order of import. The recipe's zip takes no filter: a text without label
    that is kept for dev is left out of it, since the recipe wants a label there and in data.txt it would reach
    training. Where every text of the project is a pair, tables have a column for each of the two. In txt line breaks in a
    text become blanks, in tsv tabs too, which its hash does not see.
    Raises ExportRefused at once."""
    if format not in FORMATS:
        raise ExportRefused(_("不认识的格式：%(format)s") % {"format": format})
    if format == "recipe":
        return _recipe(project)
    if format == "xlsx" and project.examples.count() >= XLSX_MAX_ROWS and not _fits(project, filters):
        raise ExportRefused(_("xlsx 最多放 1,048,575 行。请选 csv，或者先筛选。"))
    if filters is not None and filters.narrowing:
        rows = _found(project, filters)
    else:
        rows = _rows(project, project.examples.all())
    if format in TABLE_WRITERS:
        return TABLE_WRITERS[format](rows, pairs=holds_pairs(project))
    return WRITERS[format](rows)


def holds_pairs(project: Project) -> bool:
    """Whether the project has texts and each is a pair: two texts with a tab between them."""
    return project.examples.exists() and not project.examples.exclude(text__contains="\t").exists()


def _fits(project: Project, filters: Filters | None) -> bool:
    if filters is None or not filters.narrowing:
        return False
    return sum(len(ids) for ids in search.iter_ids(project, filters)) < XLSX_MAX_ROWS


def _found(project: Project, filters: Filters) -> Iterator[Exported]:
    for ids in search.iter_ids(project, filters, step=PAGE_ROWS):
        found = Example.objects.only(*_COLUMNS).in_bulk(list(ids))
        yield from _exported(project, [found[pk] for pk in ids if pk in found])


def _rows(project: Project, rows: QuerySet[Example]) -> Iterator[Exported]:
    last = 0
    while True:
        page = list(rows.filter(pk__gt=last).order_by("pk").only(*_COLUMNS)[:PAGE_ROWS])
        if not page:
            return
        last = page[-1].pk
        yield from _exported(project, page)


def _exported(project: Project, examples: list[Example]) -> Iterator[Exported]:
    """The rows of these texts, with all labels where a project allows several."""
    names = dict(project.labels.values_list("pk", "name"))
    several = project.task == Task.MULTI_LABEL
    held = label_ids_of(project=project, examples=examples)
    for example in examples:
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
