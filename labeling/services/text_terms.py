"""What a search box means, and the bigrams by which texts are found. Pure functions; no database.

Chinese has no blanks between its words, so a text is indexed by each pair of neighbouring characters. The pairs
narrow the texts down; whether a text holds a term is then decided on the text itself (`holds`).
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from operator import add

MAX_QUERY = 200
MAX_TERMS = 10
_SPACES = re.compile(r"\s+")
# Both languages' quotation marks; an unclosed one quotes to the end.
_PARTS = re.compile(r'"([^"]*)(?:"|$)|“([^”]*)(?:”|$)|「([^」]*)(?:」|$)|([^\s"“「]+)')
_END = "\u3400"
_HAN, _HAN_END = 0x4E00, 0x9FA5
_STANDS_FOR, _STANDS_FOR_N = 0x3401, 6_580


class _Letters(dict[int, int]):
    """Every character as one that each database's tokenizer takes for a letter.

    Common Han characters stand for themselves; all others (Latin, digits, punctuation, emoji) share the rare ones
    of extension A. Two that share one are told apart on the text."""

    def __missing__(self, code: int) -> int:
        own = _HAN <= code <= _HAN_END
        self[code] = letter = code if own else _STANDS_FOR + code % _STANDS_FOR_N
        return letter


_LETTERS = _Letters()


def fold(text: str) -> str:
    """`text` without differences of width, case and spacing."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).lower()


def tokens(folded: str) -> list[str]:
    """The pairs of neighbouring characters; the last character's partner is a mark, so each character begins one."""
    letters = folded.translate(_LETTERS)
    return list(map(add, letters, letters[1:] + _END))


@dataclasses.dataclass(frozen=True)
class Terms:
    """What all of a text must hold. `shortened`: the box held more than is searched for."""

    words: tuple[str, ...] = ()
    shortened: bool = False

    def holds(self, text: str) -> bool:
        """Whether `text` holds each word."""
        folded = fold(text)
        return all(word in folded for word in self.words)

    @property
    def exact(self) -> bool:
        """Whether the index alone decides: each word is one pair of common characters."""
        return all(
            len(word) == 2 and all(_HAN <= ord(one) <= _HAN_END for one in word) for word in self.words
        )

    @property
    def pairs(self) -> list[str]:
        """The tokens of which a text that holds all words has each; empty for single characters."""
        found: dict[str, None] = {}
        for word in self.words:
            letters = word.translate(_LETTERS)
            found.update(dict.fromkeys(map(add, letters, letters[1:])))
        return list(found)

    @property
    def beginnings(self) -> list[str]:
        """The letters with which some token begins, for words of one character."""
        return [word.translate(_LETTERS) for word in self.words if len(word) == 1]


def read_terms(query: str) -> Terms:
    """Words divided by blanks, and phrases in quotation marks. Nothing else has a meaning of its own."""
    clean = unicodedata.normalize("NFC", query.replace("\x00", " ")).strip()
    cut = clean[:MAX_QUERY]
    words: dict[str, None] = {}
    for part in _PARTS.finditer(cut):
        word = fold(next((group for group in part.groups() if group is not None), "")).strip()
        if word:
            words.setdefault(word)
    kept = tuple(words)[:MAX_TERMS]
    return Terms(kept, len(cut) < len(clean) or len(kept) < len(words))
