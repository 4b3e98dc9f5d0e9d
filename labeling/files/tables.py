"""Rows of txt, tsv and csv files."""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from labeling.files.columns import NO_LABELS, Columns, resolve, row_of
from labeling.files.lines import numbered_lines
from labeling.files.rows import MAX_LINE_CHARS, FileRefused, Options, Refused, Row, excerpt, make_row

HEAD_ROWS = 200
MAX_LINES_IN_A_CELL = 2_000
# The csv module's limit is one number for the whole process; lines longer than this never reach it.
csv.field_size_limit(MAX_LINE_CHARS + 1)

Cells = tuple[int, list[str]] | Refused


def read_txt(
    file: BinaryIO,
    encoding: str,
    *,
    labels: str = "optional",
    split: str | None = None,
    source: str = "",
) -> Iterator[Row | Refused]:
    """A text a line; the last tab divides text from label. `labels`: required, optional or none."""
    for item in numbered_lines(file, encoding):
        if isinstance(item, Refused):
            yield _at(item, source)
            continue
        line, text = item
        if labels == "none":
            yield make_row(line, text, None, split, source)
            continue
        head, tab, label = text.rpartition("\t")
        if labels == "required" and text.strip() and not (tab and label.strip()):
            yield Refused(line, "label_missing", excerpt(text), source)
        else:
            yield (
                make_row(line, head, label, split, source)
                if tab
                else make_row(line, text, None, split, source)
            )


def read_table(
    file: BinaryIO, encoding: str, options: Options, *, kind: str, source: str = ""
) -> Iterator[Row | Refused]:
    """Rows of a tsv (no quoting; a tab too many is refused) or csv (quoted cells may hold line breaks)."""
    cells = table_cells(file, encoding, kind=kind)
    head, columns = table_head(cells, options, kind=kind)
    for number, item in enumerate(itertools.chain(head, cells)):
        if isinstance(item, Refused):
            yield _at(item, source)
        elif not (number == 0 and columns.has_header):
            yield row_of(item[0], item[1], columns, source)


def table_head(cells: Iterator[Cells], options: Options, *, kind: str) -> tuple[list[Cells], Columns]:
    """The first rows, taken from `cells`, and the columns they show."""
    head = list(itertools.islice(cells, HEAD_ROWS))
    sample = [item[1] for item in head if not isinstance(item, Refused) and any(item[1])]
    if not sample:
        if any(isinstance(item, Refused) for item in head):
            return head, Columns(("1",), 0, None, None, False)
        raise FileRefused("empty_file")
    while head and not isinstance(head[0], Refused) and not any(head[0][1]):
        del head[0]
    return head, resolve(sample, options, headerless_pair=kind == "tsv")


def table_cells(file: BinaryIO, encoding: str, *, kind: str) -> Iterator[Cells]:
    """(line of the row's start, cells) of each row."""
    lines = numbered_lines(file, encoding)
    if kind == "tsv":
        for item in lines:
            yield item if isinstance(item, Refused) else (item[0], item[1].split("\t"))
    else:
        yield from _csv_cells(lines)


def _csv_cells(lines: Iterator[tuple[int, str] | Refused]) -> Iterator[Cells]:
    again: deque[tuple[int, str] | Refused] = deque()
    delimiter = ""
    while True:
        item = again.popleft() if again else next(lines, None)
        if item is None:
            return
        if isinstance(item, Refused):
            yield item
            continue
        line, text = item
        delimiter = delimiter or _delimiter(text)
        if '"' not in text:
            yield line, text.split(delimiter)
            continue
        records = _parse(text, delimiter)
        following: list[tuple[int, str] | Refused] = []
        if records is None:
            # The row goes on until its quotes pair up. When they never do, only its first line is
            # refused and the others are read afresh.
            taken, size, ended = [text], len(text), False
            while not ended and len(taken) < MAX_LINES_IN_A_CELL and size <= MAX_LINE_CHARS:
                more = again.popleft() if again else next(lines, None)
                if more is None:
                    break
                following.append(more)
                if isinstance(more, Refused):
                    break
                taken.append(more[1])
                size += len(more[1])
                ended = more[1].count('"') % 2 == 1
            records = _parse("\n".join(taken), delimiter) if ended else None
        if records is None:
            yield Refused(line, "bad_quotes", excerpt(text))
            again.extendleft(reversed(following))
        else:
            for offset, record in records:
                yield line + offset, record


def _parse(text: str, delimiter: str) -> list[tuple[int, list[str]]] | None:
    reader = csv.reader([part + "\n" for part in text.split("\n")], delimiter=delimiter, strict=True)
    records, offset = [], 0
    try:
        for record in reader:
            records.append((offset, record))
            offset = reader.line_num
    except csv.Error:
        return None
    return records


def _delimiter(first_line: str) -> str:
    """Comma, semicolon or tab: the one that the first row uses most, outside of quotes."""
    bare = "".join(first_line.split('"')[0::2])
    return max(",;\t", key=lambda mark: (bare.count(mark), mark == ","))


def _at(item: Refused, source: str) -> Refused:
    return Refused(item.line, item.reason, item.excerpt, source) if source else item


def label_mode(options: Options) -> str:
    """How `read_txt` treats tabs under these options."""
    return "none" if options.label_column == NO_LABELS else "optional"
