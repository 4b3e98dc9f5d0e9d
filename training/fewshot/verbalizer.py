"""Label words → token ids, checked. No Paddle: the pages ask it about words while a person types."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.fewshot.errors import MissingWord, UnknownWord, WordCollision
from training.fewshot.runner import well_formed

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Label:
    """A class: its name and the words that stand for it (the first is the one shown)."""

    name: str
    words: tuple[str, ...]

    def to_json(self) -> dict:
        return {"name": self.name, "words": list(self.words)}

    @classmethod
    def from_json(cls, value: dict) -> Label:
        words = tuple(word.strip() for word in value.get("words") or () if word and word.strip())
        return cls(value["name"], words or (value["name"],))


@dataclasses.dataclass(frozen=True)
class Verbalizer:
    """Token ids of every word of every label: `token_ids[label][word]` is a tuple of ids."""

    labels: tuple[Label, ...]
    token_ids: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def n_masks(self) -> int:
        """Tokens of the longest word: what {mask} alone takes."""
        return max(len(ids) for words in self.token_ids for ids in words)


def encode_word(tokenizer: Tokenizer, word: str) -> list[int]:
    """Token ids of `word` as it stands inside a sentence, without the bare "▁" that starts one."""
    ids = tokenizer.encode(well_formed(word.strip()), add_special_tokens=False).ids
    space = tokenizer.token_to_id("▁")
    return ids[1:] if space is not None and len(ids) > 1 and ids[0] == space else ids


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what the vocabulary lacks."""
    for token in ("<unk>", "[UNK]"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return found
    return None


def build(labels: Sequence[Label], tokenizer: Tokenizer) -> Verbalizer:
    """The checked verbalizer.

    Raises MissingWord (a label without a word), UnknownWord (a word that is all unknown tokens) and WordCollision
    (two labels that share a word, or words with the same tokens).
    """
    unknown = unknown_id(tokenizer)
    owner: dict[tuple[int, ...], tuple[str, str]] = {}
    token_ids = []
    for label in labels:
        if not label.words:
            raise MissingWord(f"label {label.name!r} has no word", label=label.name)
        rows = []
        for word in label.words:
            ids = tuple(encode_word(tokenizer, word))
            if not ids or all(token == unknown for token in ids):
                raise UnknownWord(
                    f"the word {word!r} of label {label.name!r} is not in the model's vocabulary",
                    label=label.name,
                    word=word,
                )
            if ids in owner and owner[ids][0] != label.name:
                raise WordCollision(
                    f"labels {owner[ids][0]!r} and {label.name!r} share the word {word!r}",
                    labels=[owner[ids][0], label.name],
                    word=word,
                )
            if ids not in owner:
                owner[ids] = (label.name, word)
                rows.append(ids)
        token_ids.append(tuple(rows))
    return Verbalizer(tuple(labels), tuple(token_ids))


@dataclasses.dataclass(frozen=True)
class WordReport:
    """What a person should know about one label word; `problems` are codes."""

    label: str
    word: str
    tokens: tuple[str, ...]
    problems: tuple[str, ...]


def inspect(labels: Sequence[Label], tokenizer: Tokenizer) -> list[WordReport]:
    """A report for each word of each label; never raises.

    Problems: `all_unknown`, `some_unknown`, `collision` (another label has these tokens), `longer` (at least two
    tokens more than the shortest word of all), `empty`, `lookalike` (another label's word differs in case, width or
    invisible characters alone), `invisible` (control, direction or zero-width characters), `mask_in_word` (the
    vocabulary's own marks stand in it).
    """
    unknown = unknown_id(tokenizer)
    entries = [(label, word, tuple(encode_word(tokenizer, word))) for label in labels for word in label.words]
    owners: dict[tuple[int, ...], set[str]] = {}
    for label, _, ids in entries:
        owners.setdefault(ids, set()).add(label.name)
    looks: dict[str, set[str]] = {}
    for label, word, _ in entries:
        looks.setdefault(look_of(word), set()).add(label.name)
    special = set(tokenizer.get_added_tokens_decoder()) - {unknown}
    shortest = min((len(ids) for _, _, ids in entries if ids), default=0)
    reports = []
    for label, word, ids in entries:
        problems = []
        if not ids:
            problems.append("empty")
        elif all(token == unknown for token in ids):
            problems.append("all_unknown")
        elif unknown in ids:
            problems.append("some_unknown")
        if ids and len(owners[ids]) > 1 and "all_unknown" not in problems:
            problems.append("collision")
        elif len(looks[look_of(word)]) > 1:
            problems.append("lookalike")
        if any(is_invisible(char) for char in word):
            problems.append("invisible")
        if special.intersection(ids):
            problems.append("mask_in_word")
        if len(ids) >= shortest + 2:
            problems.append("longer")
        tokens = tuple(tokenizer.id_to_token(token) or "" for token in ids)
        reports.append(WordReport(label.name, word, tokens, tuple(problems)))
    return reports


def look_of(word: str) -> str:
    """What is left of a word without case, width, accents' composition and characters that nobody sees."""
    seen = "".join(char for char in word if not is_invisible(char))
    return unicodedata.normalize("NFKC", seen).casefold().strip()


def is_invisible(char: str) -> bool:
    """Whether a character is a control, a direction mark or a joiner: it takes no place where it stands."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn")
