"""What a reader yields: a row, a refusal with its reason, or a warning. Pure data; no Django here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_TEXT_CHARS = 20_000
MAX_LABEL_CHARS = 80
MAX_LINE_CHARS = 200_000  # a longer line is refused while it is being skipped, never held in memory
EXCERPT_CHARS = 80

SPLITS = ("train", "dev", "test", "pool")
SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "dev",
    "val": "dev",
    "validation": "dev",
    "eval": "dev",
    "unlabeled": "pool",
    "unlabelled": "pool",
    "训练集": "train",
    "验证集": "dev",
    "测试集": "test",
    "未标注池": "pool",
}

# Why a row was refused. The pages translate by code; the English stands here for logs and other callers.
REASONS = {
    "empty_text": "the text is empty",
    "nul": "a NUL character",
    "undecodable": "bytes that are no characters in the file's encoding",
    "line_too_long": f"a line of more than {MAX_LINE_CHARS} characters",
    "text_too_long": f"a text of more than {MAX_TEXT_CHARS} characters",
    "label_too_long": f"a label of more than {MAX_LABEL_CHARS} characters",
    "bad_label": "a label with a line break or another control character",
    "label_missing": "train.txt and dev.txt need a label on every line",
    "unknown_label": "the label is not one of the project's labels",
    "several_labels": "more than one label on one text",
    "too_many_labels": "the project has as many labels as it may have",
    "too_many_columns": "more tabs or columns than the other rows have",
    "column_missing": "the row has no such column",
    "bad_quotes": "quotation marks that do not close",
    "bad_json": "not a JSON object with a text",
    "formula": "a spreadsheet formula; only values are read",
    "cell_error": "a spreadsheet error such as #N/A",
    "unknown_split": "the split is none of train, dev, test, pool",
    "project_full": "the project has as many texts as it may have",
    "file_broken": "the file is broken from here on",
    "row_too_long": "one JSON element is too large; the rest of the file was not read",
}


class FileRefused(Exception):
    """The file as a whole cannot be read. `code` is stable, `detail` goes into the translated message."""

    MESSAGES = {
        "empty_file": "the file is empty",
        "not_text": "this is not a text file",
        "old_excel": "an .xls workbook of Excel 2003 or older",
        "unsupported": "this kind of file is not read",
        "broken_zip": "the zip is incomplete or damaged",
        "encrypted": "the file is protected by a password",
        "unsafe_zip": "the zip holds a path that leads out of its folder",
        "too_many_entries": "the zip holds too many files",
        "zip_bomb": "the zip unpacks to far more than its size",
        "nothing_in_zip": "the zip holds none of train, dev, test, data, label .txt",
        "nothing_in_folder": "the folder holds none of train, dev, test, data .txt",
        "columns_unknown": "it is not clear which column is the text",
        "no_such_column": "the file has no such column",
        "no_such_sheet": "the workbook has no sheet to read",
        "broken_workbook": "the workbook is incomplete or damaged",
        "bad_encoding": "unknown encoding",
        "missing": "no such file",
        "bad_label_file": "label.txt cannot be read",
    }

    def __init__(self, code: str, detail: str = "", *, columns: tuple[str, ...] = ()) -> None:
        self.code = code
        self.detail = detail
        self.columns = columns
        super().__init__(f"{self.MESSAGES[code]}{f' ({detail})' if detail else ''}")


# Not frozen: freezing doubles what it costs to make one, and a file has a million.
@dataclass(slots=True)
class Row:
    """One text. `line` is 1-based in `source` (the member of a folder or zip; "" for a single file).

    `label` is the label's name, an int for a class id, a tuple of several (or of none: decided that no label fits),
    or None; `split` is given by the file, or None."""

    line: int
    text: str
    label: str | int | tuple[str | int, ...] | None = None
    split: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not taken. `reason` is a key of REASONS; `excerpt` its first EXCERPT_CHARS characters."""

    line: int
    reason: str
    excerpt: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """A label of label.txt with its words, in the file's order."""

    name: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """Something read otherwise than it stands."""

    line: int
    code: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How to read a file; empty strings and None mean "find out".

    Columns are names of the header, or "1", "2" … where there is none. `label_column` "-" means: no labels."""

    format: str = ""
    encoding: str = ""
    text_column: str = ""
    label_column: str = ""
    split_column: str = ""
    has_header: bool | None = None

    @classmethod
    def of(cls, values: dict[str, object]) -> Options:
        """From a JSON object; keys of other parts of the import are left aside."""
        header = values.get("has_header")
        return cls(
            **{name: str(values.get(name) or "") for name in ("format", "encoding", *COLUMN_KINDS)},
            has_header=header if isinstance(header, bool) else None,
        )


COLUMN_KINDS = ("text_column", "label_column", "split_column")


@dataclass(frozen=True, slots=True)
class Preview:
    """What `peek` found: enough for a page that asks before the import starts."""

    format: str
    encoding: str
    columns: tuple[str, ...] = ()
    text_column: str = ""
    label_column: str = ""
    split_column: str = ""
    has_header: bool = False
    needs_columns: bool = False
    rows: tuple[Row | Refused, ...] = ()
    labels: tuple[LabelSpec, ...] = ()
    cells: tuple[tuple[str, ...], ...] = field(default=())


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CONTROL_OR_BREAK = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TRIM = " \t\r\n\v\f\u3000\xa0\ufeff"


def excerpt(text: str) -> str:
    """The start of `text` with control characters and lone surrogates made visible, for a report."""
    shown = text[:EXCERPT_CHARS].replace("\t", " ").replace("\n", " ").replace("\r", " ")
    shown = _SURROGATE.sub("\ufffd", _CONTROL.sub("\u2421", shown))
    return shown + "…" if len(text) > EXCERPT_CHARS else shown


def make_row(
    line: int, text: str, label: object = None, split: str | None = None, source: str = ""
) -> Row | Refused:
    """A checked row, or the reason why it is none. `label` may be a string, an int, or a list of these."""
    text = text.strip(_TRIM)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    reason = text_problem(text)
    if reason:
        return Refused(line, reason, excerpt(text), source)
    if label.__class__ is str:
        name = label.strip(_TRIM)
        if len(name) > MAX_LABEL_CHARS:
            return Refused(line, "label_too_long", excerpt(f"{text}  {name}"), source)
        if not name:
            return Row(line, text, None, split, source)
        if not name.isprintable():
            if _SURROGATE.search(name):
                return Refused(line, "undecodable", excerpt(f"{text}  {name}"), source)
            if _CONTROL_OR_BREAK.search(name):
                return Refused(line, "bad_label", excerpt(f"{text}  {name}"), source)
        return Row(line, text, name, split, source)
    if label is None:
        return Row(line, text, None, split, source)
    if isinstance(label, list):
        return _several(line, text, label, split, source)
    if isinstance(label, bool) or not isinstance(label, int):
        return Refused(line, "bad_label", excerpt(text), source)
    return Row(line, text, label, split, source)


def _several(line: int, text: str, labels: list[object], split: str | None, source: str) -> Row | Refused:
    """A row with a list of labels: one is that label, none or several are a tuple."""
    found: list[str | int] = []
    for label in labels:
        one = make_row(line, text, None if isinstance(label, list) else label, split, source)
        if isinstance(one, Refused):
            return one
        if one.label is None or isinstance(one.label, tuple):
            return Refused(line, "bad_label", excerpt(text), source)
        found.append(one.label)
    return Row(line, text, found[0] if len(found) == 1 else tuple(found), split, source)


def text_problem(text: str) -> str | None:
    """The reason to refuse a trimmed text, or None."""
    if not text:
        return "empty_text"
    if len(text) > MAX_TEXT_CHARS:
        return "text_too_long"
    if text.isprintable():  # the common case, at C speed: no control character, no surrogate
        return None
    if "\x00" in text:
        return "nul"
    return "undecodable" if _SURROGATE.search(text) else None


def split_of(name: str) -> str | None:
    """train, dev, test or pool for the names in use; None for an unknown one."""
    return SPLIT_NAMES.get(name.strip(_TRIM).lower())
