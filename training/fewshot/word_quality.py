"""How a backbone takes the label words: whether a word fits its sentence, and which words mean nearly the same to it.

Two measures, each from one short pass a word and remembered:

- *fluency*: the mean log-probability (nats) of the two tokens beside the word, each masked in turn: a local
  pseudo-log-likelihood (arXiv 1910.14659). The word's own probability says more about how frequent it is.
- *nearness*: the cosine of two label sentences seen from the mean of sentences about everyday things; without a
  sentence encoder, of the words' own embeddings seen from the vocabulary's mean.

How well both separate, and where the limits come from: docs/research/2026-11-workbench.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from training.fewshot import zero_shot
from training.fewshot.prompt_reader import Prompt, PromptReader

# Below the median of all label words by so many nats.
STIFF_NATS, ODD_NATS = 0.6, 1.2
NEAR_SENTENCES, NEAR_EMBEDDINGS = 0.7, 0.5
MAX_NEAR = 3
# Words about different things: their sentences are the middle from which nearness is seen.
ANCHORS = (
    "汽车", "体育", "音乐", "天气", "历史", "经济", "学校", "医院", "手机", "旅行",
    "食物", "法律", "电影", "动物", "工作", "家庭", "时间", "城市", "颜色", "语言",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A word of another label, and how near it is (a cosine)."""

    label: int
    word: str
    similarity: float


@dataclasses.dataclass(frozen=True)
class WordQuality:
    """`fluency` is None where the word has no neighbour in the template; `reads` is natural, stiff or odd."""

    label: int
    word: str
    tokens: tuple[str, ...]
    fluency: float | None
    reads: str
    near: tuple[Neighbour, ...]


def word_qualities(reader: PromptReader, prompt: Prompt) -> list[WordQuality]:
    """One report a word, label by label."""
    words = [(label, word) for label, one in enumerate(prompt.words.labels) for word in one.words]
    fluencies = fluency(reader, prompt, [word for _, word in words])
    known = [value for value in fluencies if value is not None]
    middle = float(np.median(known)) if known else 0.0
    near = neighbours(similarities(reader, prompt, [word for _, word in words]), words, limit_of(reader))
    return [
        WordQuality(
            label=label,
            word=word,
            tokens=tuple(reader.shown(token) for token in reader.word_ids(word)),
            fluency=None if value is None else value - middle,
            reads="natural" if value is None else how_it_reads(value - middle, len(known)),
            near=tuple(close),
        )
        for (label, word), value, close in zip(words, fluencies, near, strict=True)
    ]


def how_it_reads(below_median: float, n_words: int) -> str:
    """ "natural", "stiff" or "odd" for a fluency relative to the median of `n_words` words.

    Of two words neither is the odd one out."""
    if n_words < 3 or below_median > -STIFF_NATS:
        return "natural"
    return "stiff" if below_median > -ODD_NATS else "odd"


def fluency(reader: PromptReader, prompt: Prompt, words: Sequence[str]) -> list[float | None]:
    """Mean log-probability of the tokens beside each word in its label sentence; None where there are none."""
    if not reader.reader.has_mask_head:
        return [None] * len(words)
    rows: list[tuple[int, ...]] = []
    places: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    before, after = _around(reader, prompt)
    for number, word in enumerate(words):
        ids = [*before, *reader.word_ids(word), *after]
        beside = (len(before) - 1, len(ids) - len(after))
        for place in beside:
            # The first and the last token are the row's own marks.
            if 0 < place < len(ids) - 1:
                targets.append(ids[place])
                rows.append((*ids[:place], reader.special.mask, *ids[place + 1 :]))
                places.append(place)
                owners.append(number)
    if not rows:
        return [None] * len(words)
    states = reader.states_at(rows, places)
    found = token_log_probabilities(states, reader.reader.table, reader.reader.bias, targets)
    owner = np.array(owners)
    return [float(found[owner == number].mean()) for number in range(len(words))]


def token_log_probabilities(
    states: np.ndarray, table: np.ndarray, bias: np.ndarray, tokens: Sequence[int]
) -> np.ndarray:
    """(n,) float64: log-probability of `tokens[i]` over the vocabulary at `states[i]` (n, H)."""
    logits = states @ table.T + bias
    return zero_shot.log_softmax(logits)[np.arange(len(tokens)), np.asarray(tokens)]


def similarities(reader: PromptReader, prompt: Prompt, words: Sequence[str]) -> np.ndarray:
    """(words, words) float32 cosines, by sentences where the backbone reads sentences, else by embeddings."""
    if reader.is_sentence_encoder:
        anchors = reader.vectors([prompt.template.statement(word) for word in ANCHORS])
        centred = reader.vectors([prompt.template.statement(word) for word in words]) - anchors.mean(axis=0)
    else:
        table = reader.reader.table
        centred = np.stack([table[reader.word_ids(word)].mean(axis=0) for word in words]) - table.mean(axis=0)
    rows = zero_shot.unit(centred)
    return rows @ rows.T


def limit_of(reader: PromptReader) -> float:
    """The cosine from which on two words count as near."""
    return NEAR_SENTENCES if reader.is_sentence_encoder else NEAR_EMBEDDINGS


def neighbours(cosines: np.ndarray, words: Sequence[tuple[int, str]], limit: float) -> list[list[Neighbour]]:
    """For each word (label, text) those of other labels at or above `limit`, the nearest first, three at most."""
    found = []
    for row, (label, _) in enumerate(words):
        close = [
            Neighbour(other, text, float(cosines[row, column]))
            for column, (other, text) in enumerate(words)
            if other != label and cosines[row, column] >= limit
        ]
        found.append(sorted(close, key=lambda one: -one.similarity)[:MAX_NEAR])
    return found


def _around(reader: PromptReader, prompt: Prompt) -> tuple[list[int], list[int]]:
    """The template's own tokens before and after the masks, [CLS] and [SEP] included, texts left out."""
    before: list[int] = [reader.special.cls]
    after: list[int] = []
    seen = False
    for part in prompt.template.parts:
        if part.kind == "mask":
            seen = True
        elif part.kind in ("hard", "soft") and part.value:
            ids = reader.reader.tokenizer.encode(part.value, add_special_tokens=False).ids
            at_start = not seen and len(before) == 1
            if not at_start and ids and ids[0] == reader.special.space:
                ids = ids[1:]
            (after if seen else before).extend(ids)
    return before, [*after, reader.special.sep]
