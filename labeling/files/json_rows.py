"""Rows of json (one array of objects) and jsonl (an object a line) files, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from labeling.files.columns import (
    LABEL_NAMES,
    NO_LABELS,
    SPLIT_NAMES,
    TEXT_NAMES,
    guess,
    joined_pair,
    second_of,
)
from labeling.files.lines import decoded_chunks, numbered_lines
from labeling.files.rows import (
    MAX_LINE_CHARS,
    FileRefused,
    Options,
    Refused,
    Row,
    excerpt,
    make_row,
    split_of,
)

Element = tuple[int, Any] | Refused
_BLANK = " \t\n\r"


def read_json(
    file: BinaryIO, encoding: str, options: Options, *, kind: str, source: str = ""
) -> Iterator[Row | Refused]:
    """Rows of a json array (`line` counts its elements) or of jsonl."""
    keys: tuple[str, str, str] | None = None
    for item in elements(file, encoding, kind=kind):
        if isinstance(item, Refused):
            yield Refused(item.line, item.reason, item.excerpt, source)
            continue
        number, value = item
        if isinstance(value, str):
            yield make_row(number, value, None, None, source)
            continue
        if not isinstance(value, dict):
            yield Refused(number, "bad_json", excerpt(str(value)), source)
            continue
        if keys is None:
            keys = json_keys(value, options)
        yield _row(number, value, keys, source)


def json_keys(value: dict[str, Any], options: Options) -> tuple[str, str, str]:
    """The keys of text, label ("" for none) and split in an object like `value`. Raises FileRefused."""
    names = tuple(value)
    found = []
    for chosen, wanted in (
        (options.text_column, TEXT_NAMES),
        (options.label_column, LABEL_NAMES),
        (options.split_column, SPLIT_NAMES),
    ):
        position = None if chosen else guess(names, wanted)
        found.append(
            "" if chosen == NO_LABELS else chosen or (names[position] if position is not None else wanted[0])
        )
    if found[0] not in value:
        code = "no_such_column" if options.text_column else "columns_unknown"
        raise FileRefused(code, options.text_column or "、".join(names), columns=names)
    return found[0], found[1], found[2]


def _row(number: int, value: dict[str, Any], keys: tuple[str, str, str], source: str) -> Row | Refused:
    text, label, split = value.get(keys[0]), value.get(keys[1]), value.get(keys[2])
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        text = str(text)
    second = second_of(tuple(value), keys[0])
    if second is not None and isinstance(text, str):
        mate = tuple(value.values())[second]
        text = joined_pair(text, mate) if isinstance(mate, str) and mate.strip() else None
    if not isinstance(text, str):
        return Refused(number, "column_missing", excerpt(json.dumps(value, ensure_ascii=False)), source)
    if split is not None and split != "":
        name = split_of(split) if isinstance(split, str) else None
        if name is None:
            return Refused(number, "unknown_split", excerpt(str(split)), source)
        split = name
    return make_row(number, text, label, split or None, source)


def elements(file: BinaryIO, encoding: str, *, kind: str) -> Iterator[Element]:
    """(number from 1, decoded value) of each element or line."""
    if kind == "json":
        yield from _array(decoded_chunks(file, encoding))
        return
    for item in numbered_lines(file, encoding):
        if isinstance(item, Refused):
            yield item
            continue
        number, line = item
        if not line.strip(_BLANK):
            yield Refused(number, "empty_text")
            continue
        try:
            yield number, json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            yield Refused(number, _problem(line), excerpt(line))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _problem(line: str) -> str:
    if "\x00" in line:
        return "nul"
    return "undecodable" if "\udcff" in line else "bad_json"


def _array(chunks: Iterator[str]) -> Iterator[Element]:
    """The elements of one top-level array, holding no more than one of them.

    An element beyond MAX_LINE_CHARS, or text that is not JSON, ends the reading: what follows it has
    no certain beginning."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    buffer, at, number = "", 0, 0
    more = True

    def fill() -> bool:
        nonlocal buffer, at, more
        chunk = next(chunks, None)
        more = chunk is not None
        buffer, at = buffer[at:] + (chunk or ""), 0
        return more

    def skip_blanks() -> str:
        nonlocal at
        while True:
            while at < len(buffer) and buffer[at] in _BLANK:
                at += 1
            if at < len(buffer) or not fill():
                return buffer[at : at + 1]

    if skip_blanks() != "[":
        raise FileRefused("unsupported", "json")
    at += 1
    mark = skip_blanks()
    while mark != "]":
        number += 1
        while True:
            try:
                value, end = decoder.raw_decode(buffer, at)
                # A number at the buffer's end may go on in the next piece.
                if end < len(buffer) or not fill():
                    break
            except (ValueError, RecursionError):
                # A short piece that does not decode may still be the start of an element.
                if len(buffer) - at > MAX_LINE_CHARS:
                    broken = _whole_but_wrong(buffer, at)
                    yield Refused(number, "bad_json" if broken else "row_too_long", excerpt(buffer[at:]))
                    return
                if not fill():
                    yield Refused(number, "file_broken", excerpt(buffer[at:]))
                    return
        at = end
        yield number, value
        mark = skip_blanks()
        if mark == ",":
            at += 1
            mark = skip_blanks()
            if mark == "]":
                return
        elif mark != "]":
            yield Refused(number + 1, "file_broken", excerpt(buffer[at:]))
            return


def _whole_but_wrong(buffer: str, at: int) -> bool:
    """Whether the element at `at` is broken near its start, rather than just long."""
    try:
        json.JSONDecoder().raw_decode(buffer, at)
    except json.JSONDecodeError as error:
        return error.pos < len(buffer) - 16 and not error.msg.startswith("Unterminated string")
    except RecursionError:
        return True
    return False
