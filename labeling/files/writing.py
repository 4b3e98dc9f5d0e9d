"""Writers of the formats that the readers read. Each takes (text, label or None, split) rows and gives bytes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from labeling.files.columns import escape_formula

HEADER = ("text", "label", "split")
# Where every text is a pair, its two texts have a column each.
PAIR_HEADER = ("sentence1", "sentence2", "label", "split")
XLSX_MAX_ROWS = 1_048_576  # Excel's limit, the heading included
BATCH_ROWS = 500
PIECE_BYTES = 256 * 1024
_BREAKS = re.compile(r"[\t\n\r]+")
_LINE_ENDS = re.compile(r"[\n\r]+")

T = TypeVar("T")
# Several labels are a tuple; JSON keeps them a list, in the other formats they are joined by commas.
Labels = str | tuple[str, ...] | None
Exported = tuple[str, Labels, str]


def joined(label: Labels) -> str | None:
    """The label as one cell; None where there is none."""
    return ",".join(label) or None if isinstance(label, tuple) else label


def one_line(text: str) -> str:
    """`text` with tabs and line breaks as blanks: the same text by its hash."""
    return _BREAKS.sub(" ", text)


def write_txt(rows: Iterable[Exported]) -> Iterator[bytes]:
    """`text\\tlabel` lines; a text without label stands alone, or before an empty label where it has a tab itself."""
    for batch in _batches(rows):
        yield "".join(_txt_line(text, label) for text, label, _ in batch).encode()


def _txt_line(text: str, labels: Labels) -> str:
    label = joined(labels)
    # The last tab divides, so a text (a pair of sentences) keeps its own.
    text = _LINE_ENDS.sub(" ", text)
    if label is None:
        return f"{text}\t\n" if "\t" in text else f"{text}\n"
    return f"{text}\t{one_line(label)}\n"


def write_tsv(rows: Iterable[Exported], *, pairs: bool = False) -> Iterator[bytes]:
    """A heading, then tab-separated cells; formulas escaped."""
    yield ("\t".join(_header(pairs)) + "\n").encode("utf-8-sig")
    for batch in _batches(rows):
        yield "".join("\t".join(map(one_line, _cells(row, pairs))) + "\n" for row in batch).encode()


def write_csv(rows: Iterable[Exported], *, pairs: bool = False) -> Iterator[bytes]:
    """Comma-separated with BOM and \\r\\n, as Excel expects Chinese; formulas escaped."""
    yield (",".join(_header(pairs)) + "\r\n").encode("utf-8-sig")
    for batch in _batches(rows):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerows(_cells(row, pairs) for row in batch)
        yield text.getvalue().encode()


def _header(pairs: bool) -> tuple[str, ...]:
    return PAIR_HEADER if pairs else HEADER


def _cells(row: Exported, pairs: bool) -> list[str]:
    """The row's cells, none of which a spreadsheet computes."""
    text, label, split = row
    first, _, second = text.partition("\t")
    texts = (first, second) if pairs else (text,)
    return [*map(escape_formula, (*texts, joined(label) or "")), split]


def write_jsonl(rows: Iterable[Exported]) -> Iterator[bytes]:
    """`{"text", "label", "split"}` a line; the label of an unlabelled text is null, several are a list."""
    for batch in _batches(rows):
        yield "".join(f"{_json(row)}\n" for row in batch).encode()


def write_json(rows: Iterable[Exported]) -> Iterator[bytes]:
    """One array of the same objects, one a line."""
    yield b"["
    first = True
    for batch in _batches(rows):
        yield ("\n" if first else ",\n").encode() + ",\n".join(_json(row) for row in batch).encode()
        first = False
    yield b"\n]\n"


def _json(row: Exported) -> str:
    return json.dumps({"text": row[0], "label": row[1], "split": row[2]}, ensure_ascii=False)


def write_xlsx(rows: Iterable[Exported], *, pairs: bool = False) -> Iterator[bytes]:
    """A workbook with one sheet; formulas escaped, characters that XML has no place for left out."""
    with tempfile.TemporaryFile() as file:
        book = Workbook(write_only=True)
        sheet = book.create_sheet("texts")
        sheet.column_dimensions["A"].width = 80
        sheet.append(_header(pairs))
        for row in itertools.islice(rows, XLSX_MAX_ROWS - 1):
            sheet.append([_sheet_text(sheet, cell) for cell in _cells(row, pairs)])
        book.save(file)
        yield from _pieces(file)


def _sheet_text(sheet: Any, text: str) -> Any:
    text = ILLEGAL_CHARACTERS_RE.sub("", text)
    if text[:1] != "#":
        return text
    # openpyxl takes "#N/A" and the like for errors unless it is told otherwise.
    cell = WriteOnlyCell(sheet, value=text)
    cell.data_type = "s"
    return cell


def write_recipe(
    parts: Iterable[tuple[str, Callable[[], Iterable[tuple[str, Labels]]]]], label_file: bytes
) -> Iterator[bytes]:
    """A zip of the recipe's files: (name, rows of that name) and label.txt."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("label.txt", label_file)
            for name, rows in parts:
                with archive.open(f"{name}.txt", "w", force_zip64=True) as member:
                    for batch in _batches(rows()):
                        member.write("".join(_txt_line(text, label) for text, label in batch).encode())
        yield from _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, BATCH_ROWS)):
        yield batch


WRITERS = {
    "txt": write_txt,
    "tsv": write_tsv,
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
    "xlsx": write_xlsx,
}
# Those that have columns, and one more of them for pairs.
TABLE_WRITERS = {"tsv": write_tsv, "csv": write_csv, "xlsx": write_xlsx}
