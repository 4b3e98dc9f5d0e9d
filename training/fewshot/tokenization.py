"""The one tokenizer: the `tokenizers` library and a tokenizer.json. No Paddle."""

from __future__ import annotations

import os
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
    return SpecialIds(**found, space=tokenizer.token_to_id("▁"))
