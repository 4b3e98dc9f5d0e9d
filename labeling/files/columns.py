"""Which column is the text, which the label, which the split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labeling.files.rows import FileRefused, Options, Refused, Row, excerpt, make_row, split_of

TEXT_NAMES = (
    "text",
    "文本",
    "content",
    "内容",
    "正文",
    "title",
    "标题",
    "sentence",
    "句子",
    "texts",
    "text_a",
    "评论",
    "review",
    "sentence1",
    "text1",
    "句子1",
    "文本1",
)
# A column of the first name with one of the second beside it: the two texts of a pair.
PAIR_NAMES = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("text1", "text2"),
    ("句子1", "句子2"),
    ("文本1", "文本2"),
)
LABEL_NAMES = ("label", "标签", "labels", "category", "类别", "分类", "class", "label_desc", "target", "标注")
SPLIT_NAMES = ("split", "划分", "数据集")
NO_LABELS = "-"
MAX_COLUMNS = 64


@dataclass(frozen=True, slots=True)
class Columns:
    """Positions from 0; None where the file has no such column. `width` is what each row should have.

    `second`: the second text of a pair."""

    names: tuple[str, ...]
    text: int
    label: int | None
    split: int | None
    has_header: bool
    second: int | None = None

    @property
    def width(self) -> int:
        return len(self.names)

    def name(self, position: int | None) -> str:
        return "" if position is None else self.names[position]


def guess(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    """The position of the first name in `wanted` that is in `names`, whatever its case."""
    lowered = [name.strip().lower() for name in names]
    return next((lowered.index(name) for name in wanted if name in lowered), None)


def second_of(names: Sequence[str], text: str) -> int | None:
    """The position of the column that makes a pair with the column called `text`."""
    mates = dict(PAIR_NAMES)
    name = text.strip().lower()
    return guess(names, (mates[name],)) if name in mates else None


def joined_pair(first: str, second: str) -> str:
    """The two texts as one, a tab between them; a tab inside either would divide it elsewhere."""
    return "\t".join(" ".join(part.split("\t")).strip() for part in (first, second))


def resolve(rows: Sequence[Sequence[str]], options: Options, *, headerless_pair: bool) -> Columns:
    """The columns of a table that begins with `rows`. Raises FileRefused with the names that there are.

    Without a known name in the first row, one column is the text; two are text and label when
    `headerless_pair` (a tsv), or when the first row's second cell comes again further down, which no
    heading does. Anything else is a question for the user, not a guess."""
    first = [cell.strip() for cell in rows[0]][:MAX_COLUMNS]
    known = guess(first, TEXT_NAMES) is not None or guess(first, LABEL_NAMES) is not None
    chosen = [value for value in (options.text_column, options.label_column, options.split_column) if value]
    named = any(value in first for value in chosen if value != NO_LABELS)
    has_header = options.has_header if options.has_header is not None else known or named
    # Without a header the usual width counts: one row with a tab too many must not change what the others are.
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=lambda size: (widths.count(size), size))
    width = len(first) if has_header else min(max(usual, 1), MAX_COLUMNS)
    names = tuple(first) if has_header else tuple(str(number + 1) for number in range(width))
    label = _find(options.label_column, names, LABEL_NAMES if has_header else ())
    split = _find(options.split_column, names, SPLIT_NAMES if has_header else ())
    text = _find(options.text_column, names, TEXT_NAMES if has_header else ())
    if text is None:
        left = [position for position in range(width) if position not in (label, split)]
        if len(left) == 1:
            text = left[0]
        elif width == 2 and not has_header and (headerless_pair or _recurs(rows, 1)):
            text = 0
            if label is None and options.label_column != NO_LABELS:
                label = 1
    if text is None or text == label:
        raise FileRefused("columns_unknown", "、".join(first), columns=names)
    second = second_of(names, names[text]) if has_header else None
    return Columns(names, text, label, split, has_header, second if second not in (label, split) else None)


def _find(chosen: str, names: tuple[str, ...], wanted: Sequence[str]) -> int | None:
    if chosen == NO_LABELS:
        return None
    if chosen:
        if chosen not in names:
            raise FileRefused("no_such_column", chosen, columns=names)
        return names.index(chosen)
    return guess(names, wanted)


def _recurs(rows: Sequence[Sequence[str]], position: int) -> bool:
    cells = [row[position].strip() for row in rows if len(row) > position]
    return len(rows[0]) > position and bool(cells[0]) and cells.count(cells[0]) > 1


def row_of(line: int, cells: Sequence[str], columns: Columns, source: str = "") -> Row | Refused:
    """The row that `cells` hold. A cell too many is refused, unless empty; a missing label is no label."""
    if len(cells) > columns.width and any(cell.strip() for cell in cells[columns.width :]):
        return Refused(line, "too_many_columns", excerpt(" ".join(cells)), source)
    if len(cells) <= columns.text:
        return Refused(line, "column_missing" if cells else "empty_text", excerpt(" ".join(cells)), source)
    label = cells[columns.label] if columns.label is not None and columns.label < len(cells) else None
    split = None
    if columns.split is not None and columns.split < len(cells) and cells[columns.split].strip():
        split = split_of(cells[columns.split])
        if split is None:
            return Refused(line, "unknown_split", excerpt(cells[columns.split]), source)
    if label is not None:
        label = unescape_formula(label)
    text = unescape_formula(cells[columns.text])
    if columns.second is not None:
        if len(cells) <= columns.second or not cells[columns.second].strip():
            return Refused(line, "column_missing", excerpt(" ".join(cells)), source)
        text = joined_pair(text, unescape_formula(cells[columns.second]))
    return make_row(line, text, label, split, source)


# Spreadsheets run a cell that begins so; full-width forms are folded to these by some of them.
_FORMULA_STARTS = "=+-@\t\r＝＋－＠"


def escape_formula(cell: str) -> str:
    """`cell` so that no spreadsheet computes it: an apostrophe in front where it begins like a formula.

    A cell that already begins with apostrophes before such a start gets one more, so that reading undoes it."""
    bare = cell.lstrip("'")
    return "'" + cell if bare[:1] and bare[0] in _FORMULA_STARTS else cell


def unescape_formula(cell: str) -> str:
    """Undo `escape_formula`."""
    if cell[:1] == "'":
        bare = cell.lstrip("'")
        if bare[:1] and bare[0] in _FORMULA_STARTS:
            return cell[1:]
    return cell
