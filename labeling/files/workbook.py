"""Rows of xlsx workbooks, through openpyxl's read-only mode."""

from __future__ import annotations

import datetime
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from labeling.files.archives import ZIP_ERRORS, open_zip
from labeling.files.columns import MAX_COLUMNS, Columns, resolve, row_of
from labeling.files.rows import FileRefused, Options, Refused, Row
from labeling.files.tables import HEAD_ROWS, Cells

MAX_WORKBOOK_BYTES = 1024**3  # unpacked
MAX_SHARED_STRINGS_BYTES = 256 * 1024**2  # openpyxl holds these in memory
_BROKEN = (
    *ZIP_ERRORS,
    ParseError,
    InvalidFileException,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
)


def read_workbook(path: Path, options: Options, *, source: str = "") -> Iterator[Row | Refused]:
    """Rows of the first visible sheet. A cell with a formula is refused: nothing here computes, and the
    value that a spreadsheet stored beside it may be stale."""
    cells = workbook_cells(path)
    head, columns = workbook_head(cells, options)
    for number, item in enumerate(itertools.chain(head, cells)):
        if isinstance(item, Refused):
            yield Refused(item.line, item.reason, item.excerpt, source)
            continue
        if number == 0 and columns.has_header:
            continue
        line, row = item
        wanted = [row[at] for at in (columns.text, columns.label) if at is not None and at < len(row)]
        problem = next((cell for cell in wanted if isinstance(cell, _Bad)), None)
        if problem is not None:
            yield Refused(line, problem.reason, str(problem)[:80], source)
        elif any(row):
            yield row_of(line, row, columns, source)


def workbook_head(cells: Iterator[Cells], options: Options) -> tuple[list[Cells], Columns]:
    """The first rows, taken from `cells`, and the columns they show."""
    head = list(itertools.islice(cells, HEAD_ROWS))
    while head and not isinstance(head[0], Refused) and not any(head[0][1]):
        del head[0]
    sample = [item[1] for item in head if not isinstance(item, Refused) and any(item[1])]
    if not sample:
        raise FileRefused("empty_file")
    return head, resolve(sample, options, headerless_pair=False)


class _Bad(str):
    """A cell that is no value: its text, and why."""

    reason = "formula"


class _BadError(_Bad):
    reason = "cell_error"


def workbook_cells(path: Path) -> Iterator[Cells]:
    """(row number from 1, cells as text) of each row, trailing empty cells cut. Raises FileRefused."""
    with open_zip(path, max_unpacked_bytes=MAX_WORKBOOK_BYTES) as archive:
        _check(archive)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=False, keep_links=False)
    except _BROKEN as error:
        raise FileRefused("broken_workbook", type(error).__name__) from error
    try:
        sheet = next((sheet for sheet in book.worksheets if sheet.sheet_state == "visible"), None)
        if sheet is None:
            raise FileRefused("no_such_sheet")
        # The stated size of a sheet is whatever its writer says, up to 16,384 columns in each row.
        sheet.reset_dimensions()
        number = 0
        try:
            for cells in sheet.iter_rows(max_col=MAX_COLUMNS):
                number += 1
                yield number, _texts(cells)
        except _BROKEN:
            yield Refused(number + 1, "file_broken")
    finally:
        book.close()


def _check(archive: zipfile.ZipFile) -> None:
    names = {entry.filename: entry.file_size for entry in archive.infolist()}
    if "xl/workbook.xml" not in names:
        raise FileRefused("broken_workbook", "xl/workbook.xml")
    if names.get("xl/sharedStrings.xml", 0) > MAX_SHARED_STRINGS_BYTES:
        raise FileRefused("zip_bomb", "xl/sharedStrings.xml")


def _texts(cells: tuple[Any, ...]) -> list[str]:
    texts = [_text(cell) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _text(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    kind = cell.data_type
    if kind == "f":
        return _Bad(getattr(value, "text", value) or "=")
    if kind == "e":
        return _BadError(value)
    if value.__class__ is str:
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and not (value.hour or value.minute or value.second):
        return value.date().isoformat()
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
