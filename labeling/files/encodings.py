"""Which encoding a text file is in: UTF-8, UTF-16 in both orders, with or without BOM, or GB18030."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import BinaryIO

from labeling.files.rows import FileRefused

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "gb18030")
# What a person may type, and what it stands for here. GB18030 holds GBK, which holds GB2312.
ALIASES = {
    "utf8": "utf-8",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "cp936": "gb18030",
}
SAMPLE_BYTES = 64 * 1024
SCAN_BYTES = 1024 * 1024

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_COMMON = re.compile(
    "[的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市]"
    "|[，。、；：？！“”《》（）\u3000]"
)
_EXPECTED = re.compile(r"[\t\n\r\x20-\x7e\u4e00-\u9fff\u3000-\u303f\uff00-\uffef\u2010-\u2027\u00b7]")
_MARK = "\udcff"


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Put a lone surrogate where bytes are no characters, so that just that row can be refused."""
    if isinstance(error, UnicodeDecodeError):
        return _MARK, error.end
    raise error


codecs.register_error("wanxing-mark", _mark)


def chosen(name: str, open_file: Callable[[], BinaryIO]) -> str:
    """The name used here for an encoding that a person chose; "" finds it out.

    "utf-16" leaves the order of bytes to the file. Raises FileRefused."""
    name = name.strip().lower().replace("_", "-")
    if not name:
        return detect(open_file)
    if name in ("utf-16", "utf16"):
        with open_file() as file:
            head = file.read(SAMPLE_BYTES)
        if head.startswith(codecs.BOM_UTF16_BE):
            return "utf-16-be"
        if head.startswith(codecs.BOM_UTF16_LE):
            return "utf-16-le"
        return max(("utf-16-le", "utf-16-be"), key=lambda order: _score(head, order))
    name = ALIASES.get(name, name)
    if name not in ENCODINGS:
        raise FileRefused("bad_encoding", name)
    return name


def detect(open_file: Callable[[], BinaryIO]) -> str:
    """The encoding of the file that `open_file` opens, one of ENCODINGS. Raises FileRefused.

    A file that begins with a long stretch of ASCII is scanned to its first other byte, so that a
    GB18030 text below an English header is not taken for UTF-8."""
    with open_file() as file:
        head = file.read(SAMPLE_BYTES)
        if not head:
            raise FileRefused("empty_file")
        for bom, name in _BOMS:
            if head.startswith(bom):
                return name
        wide = _utf16_by_zeros(head)
        if wide:
            return wide
        sample = head
        tail = b""
        while sample and sample.isascii():
            tail = sample[-1024:]
            sample = file.read(SCAN_BYTES)
        if not sample:
            return "utf-8"
        if sample is not head:
            first = next(index for index, byte in enumerate(sample) if byte > 127)
            start = sample.rfind(b"\n", 0, first) + 1
            sample = (sample[start:] if start else tail + sample)[: 4 * SAMPLE_BYTES]
    return _best(sample)


def _utf16_by_zeros(head: bytes) -> str | None:
    """UTF-16 without a BOM shows as zero bytes on one side of the pairs: line breaks, tabs, digits, letters."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    pairs = len(head) // 2
    if odd > 20 * even and odd >= max(1, pairs // 500) and _looks_right(head, "utf-16-le"):
        return "utf-16-le"
    if even > 20 * odd and even >= max(1, pairs // 500) and _looks_right(head, "utf-16-be"):
        return "utf-16-be"
    return None


def _looks_right(head: bytes, name: str) -> bool:
    text = head[: len(head) // 2 * 2].decode(name, errors="replace")
    return len(_EXPECTED.findall(text)) >= 0.9 * len(text)


def _best(sample: bytes) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")("wanxing-mark")
    text = decoder.decode(sample)  # a character cut at the sample's end stays in the decoder
    foreign = sum(1 for character in text if character > "\x7f")
    # A few broken bytes do not make a UTF-8 file something else: those rows are refused one by one.
    if foreign and text.count(_MARK) <= 0.05 * foreign:
        return "utf-8"
    scores = {name: _score(sample, name) for name in ("gb18030", "utf-16-le", "utf-16-be", "utf-8")}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] < 0.3:
        raise FileRefused("not_text")
    return best


def _score(sample: bytes, name: str) -> float:
    """How much the sample reads like Chinese text in that encoding: up to 2; below 0.3 it does not."""
    text = codecs.getincrementaldecoder(name)("wanxing-mark").decode(sample)
    if not text:
        return -1.0
    marks = text.count(_MARK)
    return (len(_EXPECTED.findall(text)) + len(_COMMON.findall(text)) - 8 * marks) / len(text)
