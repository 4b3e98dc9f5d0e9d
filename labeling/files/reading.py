"""One door to every kind of file: look at it, read its rows, learn its labels."""

from __future__ import annotations

import itertools
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from labeling.files import tables, workbook
from labeling.files.archives import ZIP_ERRORS, files_in, open_member, open_zip
from labeling.files.columns import NO_LABELS, Columns
from labeling.files.encodings import chosen
from labeling.files.json_rows import elements, json_keys, read_json
from labeling.files.label_file import read_label_file
from labeling.files.rows import FileRefused, LabelSpec, Options, Preview, Refused, Row, Warned

EXTENSIONS = {
    ".txt": "txt",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".zip": "recipe",
}
FORMATS = ("txt", "tsv", "csv", "xlsx", "json", "jsonl", "recipe")
# test comes first: a text that also stands in train.txt stays a test text.
RECIPE_MEMBERS = (("test", "optional"), ("dev", "required"), ("train", "required"), ("data", "none"))
PREVIEW_ROWS = 20


@dataclass(slots=True)
class Progress:
    """Bytes of the file, or files, that have been read; `total` is known from the start."""

    done: int = 0
    total: int = 0


class Counted:
    """A binary stream that adds what is read from it to a Progress."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file, self._progress = file, progress

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._progress.done += len(data)
        return data

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


Member = tuple[str, int, Callable[[], BinaryIO]]


class DataFile:
    """A file, a zip or a folder of texts that a user gave.

    `filename` is the name that the user gave it: only its ending is used. Nothing is unpacked to disk.
    Raises FileRefused as soon as it is clear that it cannot be read. Close it, or use it in a `with`."""

    def __init__(self, path: Path, *, filename: str = "", options: Options | None = None) -> None:
        self.path = Path(path)
        self.filename = filename or self.path.name
        self.options = options or Options()
        self.progress = Progress()
        self._archive: zipfile.ZipFile | None = None
        self._single: Member | None = None
        self._members: dict[str, Member] = {}
        if not self.path.exists():
            raise FileRefused("missing", self.filename)
        self.format = self._find_format()
        if self.format == "recipe" and not self._members:
            raise FileRefused("nothing_in_folder")

    def __enter__(self) -> DataFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()

    # What it is

    def _find_format(self) -> str:
        if self.path.is_dir():
            self._members = _recipe_members(
                (item.name, item.stat().st_size, item)
                for item in sorted(self.path.iterdir())
                if item.is_file()
            )
            if not any(name in self._members for name, _ in RECIPE_MEMBERS):
                raise FileRefused("nothing_in_folder")
            return "recipe"
        size = self.path.stat().st_size
        if size == 0:
            raise FileRefused("empty_file")
        with self.path.open("rb") as file:
            head = file.read(8)
        if head.startswith(b"PK"):
            return self._look_into_zip()
        if head.startswith(b"\xd0\xcf\x11\xe0"):
            raise FileRefused("old_excel")
        if head.startswith(
            (b"%PDF", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\x89PNG", b"\xff\xd8\xff", b"SQLite f")
        ):
            raise FileRefused("unsupported")
        by_name = EXTENSIONS.get(PurePosixPath(self.filename.lower()).suffix, "")
        if by_name in ("xlsx", "recipe"):
            raise FileRefused("broken_workbook" if by_name == "xlsx" else "broken_zip")
        self._single = (self.filename, size, lambda: self.path.open("rb"))
        return self._text_format(by_name)

    def _look_into_zip(self) -> str:
        archive = self._archive = open_zip(self.path)
        names = {entry.filename for entry in archive.infolist()}
        if "xl/workbook.xml" in names:
            return "xlsx"
        if "[Content_Types].xml" in names:
            raise FileRefused("unsupported")
        entries = files_in(archive)
        lock = threading.Lock()

        def opener(entry: object) -> Callable[[], BinaryIO]:
            def open_entry() -> BinaryIO:
                with lock:
                    return open_member(archive, entry)  # type: ignore[arg-type]

            return open_entry

        self._members = _recipe_members((entry.filename, entry.file_size, opener(entry)) for entry in entries)
        if any(name in self._members for name, _ in RECIPE_MEMBERS):
            return "recipe"
        texts = [
            entry
            for entry in entries
            if EXTENSIONS.get(PurePosixPath(entry.filename.lower()).suffix) in FORMATS[:6]
        ]
        if len(texts) != 1 or texts[0].filename.lower().endswith((".xlsx", ".xlsm")):
            raise FileRefused("nothing_in_zip", ", ".join(sorted(entry.filename for entry in entries)[:8]))
        entry = texts[0]
        self._single = (entry.filename, entry.file_size, opener(entry))
        return self._text_format(EXTENSIONS[PurePosixPath(entry.filename.lower()).suffix])

    def _text_format(self, by_name: str) -> str:
        chosen = self.options.format or by_name
        if chosen and chosen not in FORMATS[:6]:
            raise FileRefused("unsupported", chosen)
        if chosen and chosen != "json":
            return chosen
        encoding = self.encoding
        with self._single[2]() as file:  # type: ignore[index]
            start = file.read(4096).decode(encoding, errors="replace").lstrip("\ufeff \t\r\n")
        if start[:1] == "[":
            return "json"
        return "jsonl" if start[:1] == "{" else ("txt" if not chosen else "json")

    @property
    def encoding(self) -> str:
        """The encoding of a single text file; "" where each member has its own, or none."""
        if self._single is None:
            return ""
        return chosen(self.options.encoding, self._single[2])

    # What it holds

    def labels(self) -> tuple[list[LabelSpec], list[Warned]]:
        """The labels of label.txt in order, and its warnings; empty where there is none."""
        member = self._members.get("label")
        if member is None or not member[1]:
            return [], []
        return read_label_file(member[2], chosen(self.options.encoding, member[2]))

    def rows(self) -> Iterator[Row | Refused]:
        """Every row in the file's order (in a recipe: test, dev, train, data), refused ones included.

        Damage in the middle ends a file with one refusal, `file_broken`; what came before it stands."""
        self.progress = Progress()
        if self.format == "recipe":
            members = [
                (name, mode, self._members[name]) for name, mode in RECIPE_MEMBERS if name in self._members
            ]
            self.progress.total = sum(member[1] for _, _, member in members)
            return itertools.chain.from_iterable(self._recipe_rows(*item) for item in members)
        if self.format == "xlsx":
            self.progress.total = 0
            return workbook.read_workbook(self.path, self.options)
        self.progress.total = self._single[1]  # type: ignore[index]
        return self._guarded(self._single_rows(), "")

    def _recipe_rows(self, name: str, mode: str, member: Member) -> Iterator[Row | Refused]:
        split = "pool" if name == "data" else name
        source = f"{name}.txt"
        if not member[1]:
            return
        encoding = chosen(self.options.encoding, member[2])
        with Counted(member[2](), self.progress) as file:
            rows = tables.read_txt(file, encoding, labels=mode, split=split, source=source)  # type: ignore[arg-type]
            yield from self._guarded(rows, source)

    def _single_rows(self) -> Iterator[Row | Refused]:
        encoding = self.encoding
        with Counted(self._single[2](), self.progress) as file:  # type: ignore[index]
            if self.format == "txt":
                yield from tables.read_txt(file, encoding, labels=tables.label_mode(self.options))  # type: ignore[arg-type]
            elif self.format in ("tsv", "csv"):
                yield from tables.read_table(file, encoding, self.options, kind=self.format)  # type: ignore[arg-type]
            else:
                yield from read_json(file, encoding, self.options, kind=self.format)  # type: ignore[arg-type]

    def _guarded(self, rows: Iterator[Row | Refused], source: str) -> Iterator[Row | Refused]:
        last = 0
        try:
            for row in rows:
                last = row.line
                yield row
        except ZIP_ERRORS as error:
            if self._archive is None:
                raise
            yield Refused(last + 1, "file_broken", type(error).__name__, source)

    # What to show before reading it all

    def peek(self) -> Preview:
        """Format, encoding, columns and the first rows. Raises FileRefused only where no choice would help."""
        preview = Preview(format=self.format, encoding=self.encoding)
        if self.format == "recipe":
            return replace(preview, rows=self._first_rows(), labels=tuple(self.labels()[0]))
        if self.format in ("json", "jsonl"):
            return self._peek_json(preview)
        if self.format == "txt":
            rows = self._first_rows()
            labelled = any(isinstance(row, Row) and row.label is not None for row in rows)
            return replace(preview, columns=("1", "2") if labelled else ("1",), rows=rows,
                           text_column="1", label_column="2" if labelled else NO_LABELS)  # fmt: skip
        return self._peek_table(preview)

    def _first_rows(self) -> tuple[Row | Refused, ...]:
        return tuple(itertools.islice(self.rows(), PREVIEW_ROWS))

    def _peek_table(self, preview: Preview) -> Preview:
        if self.format == "xlsx":
            cells = workbook.workbook_cells(self.path)
            first = [
                item[1] for item in itertools.islice(cells, PREVIEW_ROWS) if not isinstance(item, Refused)
            ]
            cells.close()  # type: ignore[attr-defined]
        else:
            with self._single[2]() as file:  # type: ignore[index]
                cells = tables.table_cells(file, preview.encoding, kind=self.format)
                first = [
                    item[1] for item in itertools.islice(cells, PREVIEW_ROWS) if not isinstance(item, Refused)
                ]
        preview = replace(preview, cells=tuple(tuple(cell[:200] for cell in row) for row in first))
        try:
            columns = self._columns()
            rows = self._first_rows()
        except FileRefused as error:
            if error.code not in ("columns_unknown", "no_such_column"):
                raise
            return replace(
                preview, columns=error.columns, needs_columns=True, has_header=error.columns[:1] != ("1",)
            )
        return replace(
            preview,
            columns=columns.names,
            text_column=columns.name(columns.text),
            label_column=columns.name(columns.label) or NO_LABELS,
            split_column=columns.name(columns.split),
            has_header=columns.has_header,
            rows=rows,
        )

    def _columns(self) -> Columns:
        if self.format == "xlsx":
            return workbook.workbook_head(workbook.workbook_cells(self.path), self.options)[1]
        with self._single[2]() as file:  # type: ignore[index]
            cells = tables.table_cells(file, self.encoding, kind=self.format)
            return tables.table_head(cells, self.options, kind=self.format)[1]

    def _peek_json(self, preview: Preview) -> Preview:
        with self._single[2]() as file:  # type: ignore[index]
            values = (
                item[1]
                for item in itertools.islice(elements(file, preview.encoding, kind=self.format), PREVIEW_ROWS)
                if not isinstance(item, Refused)
            )
            first = [value for value in values if isinstance(value, dict)]
        if not first:
            return replace(preview, rows=self._first_rows())
        names = tuple(first[0])
        cells = tuple(tuple(_shown(value.get(name))[:200] for name in names) for value in first)
        preview = replace(preview, columns=names, cells=cells, has_header=True)
        try:
            keys = json_keys(first[0], self.options)
        except FileRefused:
            return replace(preview, needs_columns=True)
        label = keys[1] if any(keys[1] in value for value in first) else NO_LABELS
        split = keys[2] if any(keys[2] in value for value in first) else ""
        return replace(
            preview, text_column=keys[0], label_column=label, split_column=split, rows=self._first_rows()
        )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _recipe_members(items: Iterator[tuple[str, int, object]]) -> dict[str, Member]:
    """train, dev, test, data, label of one folder: the one that holds the most of them, the shallowest first."""
    folders: dict[str, dict[str, Member]] = {}
    for name, size, how in items:
        path = PurePosixPath(name)
        stem = path.name.lower().removesuffix(".txt")
        if path.suffix.lower() == ".txt" and stem in ("train", "dev", "test", "data", "label"):
            opener = how if callable(how) else (lambda how=how: how.open("rb"))
            folders.setdefault(str(path.parent), {})[stem] = (name, size, opener)
    if not folders:
        return {}
    return max(folders.items(), key=lambda item: (len(item[1]), -item[0].count("/")))[1]


def peek(path: Path, *, filename: str = "", options: Options | None = None) -> Preview:
    """What stands in the file, for a page that asks before an import. Raises FileRefused."""
    with DataFile(path, filename=filename, options=options) as file:
        return file.peek()
