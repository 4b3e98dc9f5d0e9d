"""label.txt: `label`, or `label==word`, one a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import BinaryIO

from labeling.files.encodings import detect
from labeling.files.lines import numbered_lines
from labeling.files.rows import MAX_LABEL_CHARS, FileRefused, LabelSpec, Refused, Warned, excerpt, make_row

MAX_WORD_CHARS = 40
MAX_LINES = 10_000
# Quotation marks, blanks and full-width signs that people type around or instead of `==`.
_ALMOST = re.compile(r"[ \t'\"‘’“”`]*(?:==|＝＝|=＝|＝=|='='|=\"=\")[ \t'\"‘’“”`]*")


def read_label_file(
    open_file: Callable[[], BinaryIO], encoding: str = ""
) -> tuple[list[LabelSpec], list[Warned]]:
    """The labels in order with their words, and what was read otherwise than it stands.

    A repeated label adds words. `news_car'=='汽车` and the like are read as `==`, with a warning.
    Raises FileRefused for a line that holds no label."""
    words: dict[str, list[str]] = {}
    warnings: list[Warned] = []
    with open_file() as file:
        for item in numbered_lines(file, encoding or detect(open_file)):
            if isinstance(item, Refused) or item[0] > MAX_LINES:
                raise FileRefused(
                    "bad_label_file", f"line {item.line if isinstance(item, Refused) else item[0]}"
                )
            line, text = item
            if not text.strip("\ufeff \t\u3000"):
                continue
            name, word, misprint = split_label(text)
            problem = make_row(line, "x", name)
            if (
                not name
                or isinstance(problem, Refused)
                or (word and isinstance(make_row(line, word), Refused))
            ):
                raise FileRefused("bad_label_file", f"line {line}: {excerpt(text)}")
            if len(word) > MAX_WORD_CHARS:
                raise FileRefused("bad_label_file", f"line {line}: {excerpt(word)}")
            if misprint:
                warnings.append(Warned(line, "misprint", excerpt(text)))
            held = words.setdefault(name, [])
            if word and word not in held:
                held.append(word)
            elif name and (word in held or (not word and held)):
                warnings.append(Warned(line, "repeated", excerpt(text)))
    return [LabelSpec(name, tuple(held)) for name, held in words.items()], warnings


def split_label(text: str) -> tuple[str, str, bool]:
    """(label, word or "", whether the `==` was misprinted) of one line."""
    text = text.strip("\ufeff \t\u3000")
    match = _ALMOST.search(text)
    if match is None:
        return text, "", False
    name, word = text[: match.start()].strip(), text[match.end() :].strip()
    quotes = "'\"‘’“”`"
    stripped = (name.strip(quotes), word.strip(quotes))
    misprint = match.group().strip(" \t") != "==" or stripped != (name, word)
    return stripped[0], stripped[1], misprint


def write_label_file(labels: Iterable[tuple[str, Iterable[str]]]) -> bytes:
    """label.txt in UTF-8: a line for each word; a label without words alone on its line."""
    lines = []
    for name, words in labels:
        lines.extend([f"{name}=={word}" for word in words] or [name])
    return "".join(f"{line}\n" for line in lines).encode()


__all__ = ["MAX_LABEL_CHARS", "MAX_WORD_CHARS", "read_label_file", "split_label", "write_label_file"]
