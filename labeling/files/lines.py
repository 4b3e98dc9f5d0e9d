"""Lines of a file of any length in little memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from labeling.files.rows import MAX_LINE_CHARS, Refused, excerpt

CHUNK_BYTES = 256 * 1024


def decoded_chunks(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The file's text in pieces, without BOM, every line break a \\n.

    Bytes that are no characters come as a lone surrogate (U+DCFF)."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)("wanxing-mark"), translate=True
    )
    first = True
    while True:
        data = file.read(CHUNK_BYTES)
        text = decoder.decode(data, final=not data)
        if first and text:
            text = text.removeprefix("\ufeff")
            first = False
        if text:
            yield text
        if not data:
            return


def numbered_lines(file: BinaryIO, encoding: str) -> Iterator[tuple[int, str] | Refused]:
    """(line number from 1, line without its break), or a refusal for a line beyond MAX_LINE_CHARS.

    Such a line is skipped piece by piece: no more than a piece of it is ever in memory.
    Only \\n, \\r\\n and \\r end a line."""
    number, carry, skipping = 1, "", False
    for chunk in decoded_chunks(file, encoding):
        if skipping:
            end = chunk.find("\n")
            if end < 0:
                continue
            chunk, skipping = chunk[end + 1 :], False
            number += 1
        lines = (carry + chunk).split("\n")
        carry = lines.pop()
        for line in lines:
            if len(line) > MAX_LINE_CHARS:
                yield Refused(number, "line_too_long", excerpt(line))
            else:
                yield number, line
            number += 1
        if len(carry) > MAX_LINE_CHARS:
            yield Refused(number, "line_too_long", excerpt(carry))
            carry, skipping = "", True
    if carry:
        yield number, carry
