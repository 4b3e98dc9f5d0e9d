"""The one tokenizer: the `tokenizers` library and a tokenizer.json. No Paddle."""

from __future__ import annotations

import functools
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from training.fewshot.errors import BackboneError


@dataclass(frozen=True)
class SpecialIds:
    """Token ids of the special tokens; `space` is the bare "▁" of a SentencePiece vocabulary, or None."""

    cls: int
    sep: int
    pad: int
    unk: int
    mask: int
    space: int | None


SPECIAL_NAMES = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "mask": ("[MASK]", "<mask>"),
}


def load_tokenizer(folder: str | Path):
    """`tokenizers.Tokenizer` of the tokenizer.json in `folder`, without truncation and padding.

    Call `encode(text, add_special_tokens=False)`: templates place the special tokens themselves.
    """
    # The library's threads do not survive a fork and shout about it; the caller's own setting wins.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    path = Path(folder)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise BackboneError(f"{path} is no tokenizer.json: {error}", file=str(path)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def special_ids(tokenizer) -> SpecialIds:
    """Ids of the special tokens of `tokenizer`; BackboneError names one that it lacks."""
    found = {}
    for role, names in SPECIAL_NAMES.items():
        ids = [tokenizer.token_to_id(name) for name in names]
        present = [token_id for token_id in ids if token_id is not None]
        if not present:
            raise BackboneError(f"the vocabulary has no {role} token ({' or '.join(names)})", role=role)
        found[role] = present[0]
    # In a WordPiece vocabulary "▁" is the block character that a text may hold, not a space.
    is_wordpiece = type(tokenizer.model).__name__ == "WordPiece"
    return SpecialIds(**found, space=None if is_wordpiece else tokenizer.token_to_id("▁"))


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """{token: id} of a vocab.txt: a token a line, the line's number its id, the last of repeated tokens wins."""
    vocabulary = {}
    with Path(path).open(encoding="utf-8") as file:
        for index, line in enumerate(file):
            vocabulary[line.rstrip("\n")] = index
    return vocabulary


def wordpiece_tokenizer(
    vocabulary: dict[str, int], *, lowercase: bool = True, strip_accents: bool | None = None
):
    """`tokenizers.Tokenizer` that cuts exactly as PaddleNLP's ErnieTokenizer does with this vocabulary.

    `strip_accents`: None means as `lowercase`. The classes of characters are spelled out from Python's own
    tables, because the library's BertNormalizer differs: it keeps unassigned characters, knows U+2B920 for
    U+2B820, and does not part symbols such as ＋ or ￥. Raises BackboneError when a special token is missing.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    missing = [names[0] for names in SPECIAL_NAMES.values() if names[0] not in vocabulary]
    if missing:
        raise BackboneError(f"vocab.txt has no {missing[0]}", token=missing[0])
    classes = _character_classes()
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace(Regex(classes["removed"]), ""),
        normalizers.Replace(Regex(classes["space"]), " "),
    ]
    if lowercase:
        steps.append(normalizers.Lowercase())
    if lowercase if strip_accents is None else strip_accents:
        steps += [normalizers.NFD(), normalizers.Replace(Regex(classes["marks"]), "")]
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106 (no password)
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(classes["alone"]), "isolated")]
    )
    made.add_special_tokens(
        [AddedToken(names[0], special=True, normalized=False) for names in SPECIAL_NAMES.values()]
    )
    return made


CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# PaddleNLP counts these among the symbols, whatever Unicode says.
EXTRA_SYMBOLS = frozenset((0x00AD, 0x00B2, 0x00BA, 0x3007, 0x00B5, 0x00D8, 0x014B, 0x01B1))


@functools.cache
def _character_classes() -> dict[str, str]:
    """Regular expressions of what is removed, what is white space, what are accents, what is a word by itself."""
    found: dict[str, list[int]] = {"removed": [], "space": [], "marks": [], "alone": []}
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF:
            continue
        category = unicodedata.category(chr(code))
        if chr(code) in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
            found["space"].append(code)
        elif code == 0xFFFD or category[0] == "C":
            found["removed"].append(code)
        elif category == "Mn":
            found["marks"].append(code)
        if (
            category[0] in "PS"
            or code in EXTRA_SYMBOLS
            or 33 <= code <= 47
            or 58 <= code <= 64
            or 91 <= code <= 96
            or 123 <= code <= 126
            or any(first <= code <= last for first, last in CJK)
        ):
            found["alone"].append(code)
    return {name: _class_of(codes) for name, codes in found.items()}


def _class_of(codes: list[int]) -> str:
    """A bracket expression with the sorted `codes` as ranges."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in ranges) + "]"
