"""A file of texts, read so that it can be given back as it was with the answers beside each text."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import openpyxl

from labeling.files import DataFile, FileRefused, Options, Refused, json_rows, lines, rows, tables, workbook
from labeling.files.columns import escape_formula
from labeling.files.reading import Counted, Progress

FORMATS = ("txt", "tsv", "csv", "xlsx", "json", "jsonl")
MAX_ROWS = 1_000_000
TRIM = " \t\r\n\v\f\u3000\xa0\ufeff"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of one text; `probabilities` are in the order of the labels."""

    label: str
    confidence: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One row: `original` as read (a line, cells, or a JSON object), and its text, None where it has none."""

    original: Any
    text: str | None


class TextFile:
    """An uploaded file of texts. `header` holds the names of its columns, or is None where there are no columns.

    Raises FileRefused: of a kind that is not read, or without a clear column of texts."""

    def __init__(self, path: Path, *, filename: str, options: Options) -> None:
        self.path = path
        self.progress = Progress()
        with DataFile(path, filename=filename, options=options) as data:
            self.format = data.format
            self.encoding = data.encoding
            preview = data.peek()
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if self.format not in FORMATS or (zipped and self.format != "xlsx"):
            raise FileRefused("unsupported", filename)
        if preview.needs_columns:
            # Without a known heading the columns are only numbered; the first row shows which is which.
            names = preview.columns if preview.has_header else next(iter(preview.cells), preview.columns)
            raise FileRefused("columns_unknown", "、".join(names), columns=tuple(names))
        self.options = options
        self.header: list[str] | None = None
        if self.format in ("tsv", "csv", "xlsx"):
            self.header = list(preview.columns)
            if not preview.has_header:
                self.header = ["text" if name == preview.text_column else name for name in self.header]

    def records(self) -> Iterator[Record | Refused]:
        """Every row in order; a Refused is one that could not be read at all and cannot be given back."""
        self.progress = Progress(total=0 if self.format == "xlsx" else self.path.stat().st_size)
        if self.format == "xlsx":
            with closing(workbook.workbook_cells(self.path)) as cells:  # type: ignore[type-var]
                yield from self._table(cells)
            return
        with Counted(self.path.open("rb"), self.progress) as file:
            if self.format == "txt":
                yield from _lines(lines.numbered_lines(file, self.encoding))  # type: ignore[arg-type]
            elif self.format in ("tsv", "csv"):
                yield from self._table(tables.table_cells(file, self.encoding, kind=self.format))  # type: ignore[arg-type]
            else:
                yield from _objects(
                    json_rows.elements(file, self.encoding, kind=self.format),  # type: ignore[arg-type]
                    self.options,
                )

    def _table(self, cells: Iterator[Any]) -> Iterator[Record | Refused]:
        head, columns = (
            workbook.workbook_head(cells, self.options)
            if self.format == "xlsx"
            else tables.table_head(cells, self.options, kind=self.format)
        )
        for number, item in enumerate(itertools.chain(head, cells)):
            if isinstance(item, Refused):
                yield item
            elif not (number == 0 and columns.has_header):
                line, row = item
                if not any(row):
                    continue
                found = rows.make_row(line, row[columns.text] if len(row) > columns.text else "")
                bad = len(row) > columns.text and row[columns.text].__class__ is not str
                yield Record(
                    [str(cell) for cell in row], None if bad or isinstance(found, Refused) else found.text
                )


def _lines(items: Iterable[Any]) -> Iterator[Record | Refused]:
    for item in items:
        if isinstance(item, Refused):
            yield item
            continue
        line, whole = item
        # As in an import, what stands behind the last tab is a label: the model must not read it.
        text = whole.rpartition("\t")[0] if "\t" in whole else whole
        found = rows.make_row(line, text)
        yield Record(whole, None if isinstance(found, Refused) else found.text)


def _objects(items: Iterable[Any], options: Options) -> Iterator[Record | Refused]:
    key: str | None = None
    for item in items:
        if isinstance(item, Refused):
            yield item
            continue
        number, value = item
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            yield Refused(number, "bad_json", rows.excerpt(str(value)))
            continue
        if key is None:
            key = json_rows.json_keys(value, options)[0]
        text = value.get(key)
        found = rows.make_row(number, text) if isinstance(text, str) else None
        yield Record(value, found.text if isinstance(found, rows.Row) else None)


class Writer:
    """The same kind of file with label, confidence and a probability for each label added to each row.

    csv and xlsx cells that begin like a formula are escaped. Text is UTF-8 (csv with the BOM that Excel needs)."""

    def __init__(self, path: Path, source: TextFile, labels: list[str]) -> None:
        self.format = source.format
        self.labels = labels
        self.columns = _added_columns(source.header or [], labels)
        self.width = len(source.header or [])
        self._started = False
        if self.format == "xlsx":
            self._path = path
            self._book = openpyxl.Workbook(write_only=True)
            self._sheet = self._book.create_sheet()
            self._sheet.append([escape_formula(name) for name in [*source.header, *self.columns]])  # type: ignore[misc]
            return
        encoding = "utf-8-sig" if self.format == "csv" else "utf-8"
        self._file = path.open("w", encoding=encoding, errors="replace", newline="")
        if self.format == "csv":
            self._csv = csv.writer(self._file, lineterminator="\r\n")
            self._csv.writerow([escape_formula(name) for name in [*source.header, *self.columns]])  # type: ignore[misc]
        elif self.format == "tsv":
            self._file.write("\t".join(_flat(name) for name in [*source.header, *self.columns]) + "\n")  # type: ignore[misc]
        elif self.format == "json":
            self._file.write("[")

    def write(self, record: Record, answer: Answer | None) -> None:
        """One row; without an answer its added cells stay empty."""
        if self.format in ("json", "jsonl"):
            self._write_object(record, answer)
            return
        added: list[Any] = [""] * len(self.columns)
        if answer is not None:
            added = [answer.label, round(answer.confidence, 6), *(round(p, 6) for p in answer.probabilities)]
        if self.format == "txt":
            self._file.write("\t".join([record.original, *(_flat(str(value)) for value in added)]) + "\n")
            return
        cells = (record.original + [""] * self.width)[: max(self.width, len(record.original))]
        if self.format == "tsv":
            self._file.write("\t".join([*map(_flat, cells), *(_flat(str(value)) for value in added)]) + "\n")
        elif self.format == "csv":
            self._csv.writerow([*map(escape_formula, cells), *map(_safe, added)])
        else:
            self._sheet.append([*map(_sheet_text, cells), *map(_safe, added)])

    def _write_object(self, record: Record, answer: Answer | None) -> None:
        value = dict(record.original)
        label, confidence = self.columns[:2]
        value[label] = answer.label if answer else None
        value[confidence] = round(answer.confidence, 6) if answer else None
        value["probabilities"] = (
            {name: round(p, 6) for name, p in zip(self.labels, answer.probabilities, strict=True)}
            if answer
            else None
        )
        start = "" if self.format == "jsonl" else (",\n" if self._started else "\n")
        self._file.write(start + json.dumps(value, ensure_ascii=False) + ("\n" if not start else ""))
        self._started = True

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.format == "xlsx":
            if kind is None:
                self._book.save(self._path)
            else:
                self._book.close()
            return
        if self.format == "json" and kind is None:
            self._file.write("\n]\n")
        self._file.close()


def _added_columns(header: list[str], labels: list[str]) -> list[str]:
    """Names of the added columns; a name that the file has already gets "predicted_" in front."""
    taken = {name.strip().lower() for name in header}
    names = ["label", "confidence", *(f"p({label})" for label in labels)]
    return [f"predicted_{name}" if name.lower() in taken else name for name in names]


def _flat(cell: str) -> str:
    return cell.replace("\t", " ").replace("\r", " ").replace("\n", " ")


def _safe(value: Any) -> Any:
    return escape_formula(value) if isinstance(value, str) else value


def _sheet_text(cell: str) -> str:
    return escape_formula(openpyxl.cell.cell.ILLEGAL_CHARACTERS_RE.sub("", cell))
