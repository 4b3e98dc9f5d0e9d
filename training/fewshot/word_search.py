"""The search for a label's words: candidates from every source, each tried in the label's place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from training.fewshot import verbalizer
from training.fewshot.prompt_reader import OnBatch, Prompt, PromptReader
from training.fewshot.word_proposals import (
    Effect,
    Lexicon,
    effect,
    fill_lift,
    lexicon,
    log_odds,
    neighbours_of,
    scripts_asked_for,
    words_in,
)

N_PROPOSED = 12
N_FILLS, N_STANDING, N_NEAR = 16, 16, 12
# Fewer texts of a label than these say nothing about its words.
MIN_TEXTS = 3


@dataclasses.dataclass(frozen=True)
class Found:
    """A proposed word; `effect` is None where there is no text to measure on."""

    word: str
    sources: tuple[str, ...]
    tokens: tuple[str, ...]
    effect: Effect | None


def propose(
    reader: PromptReader,
    prompt: Prompt,
    label: int,
    *,
    name: str,
    method: str,
    texts: Sequence[str],
    right_sets: Sequence[frozenset[int]],
    reference: Sequence[str],
    on_batch: OnBatch | None = None,
    limit: int = N_PROPOSED,
) -> list[Found]:
    """Words for `label` (its class id), those that explain the labelled `texts` best first.

    `name`: the label's, for people. `right_sets[i]`: the class ids of text i. `reference`: texts that calibrate the scores. Words that any label has,
    or that cannot be read in the present number of masks, are left out.
    """
    sources = _candidates(reader, prompt, label, name, texts, right_sets, on_batch)
    if not texts:
        return [
            Found(word, tuple(found), _tokens(reader, word), None)
            for word, found in list(sources.items())[:limit]
        ]
    if method != "cloze":
        reader.vectors([prompt.template.statement(word) for word in sources], on_batch)
    before = reader.scored(prompt, method, texts, reference, on_batch)[1]
    measured = []
    for word, found in sources.items():
        after = reader.scored(with_word(prompt, label, word, reader), method, texts, reference, on_batch)[1]
        measured.append(Found(word, tuple(found), _tokens(reader, word), effect(before, after, right_sets)))
    # The loss sees what the accuracy of a few texts is too coarse for.
    measured.sort(key=lambda one: one.effect.loss_change if one.effect else 0.0)
    return measured[:limit]


def with_word(prompt: Prompt, label: int, word: str, reader: PromptReader) -> Prompt:
    """`prompt` with `word` as the only word of `label`, in as many masks as before."""
    labels, ids = list(prompt.words.labels), list(prompt.words.token_ids)
    labels[label] = verbalizer.Label(labels[label].name, (word,))
    ids[label] = (tuple(reader.word_ids(word)),)
    words = verbalizer.Verbalizer(tuple(labels), tuple(ids))
    return dataclasses.replace(prompt, words=words, masks=prompt.n_masks)


def _candidates(
    reader: PromptReader,
    prompt: Prompt,
    label: int,
    name: str,
    texts: Sequence[str],
    right_sets: Sequence[frozenset[int]],
    on_batch: OnBatch | None,
) -> dict[str, list[str]]:
    """{word: its sources} in the order name, texts, neighbour."""
    scripts = scripts_asked_for([word for one in prompt.words.labels for word in one.words])
    words = _lexicon(reader, texts, scripts)
    taken = {ids for group in prompt.words.token_ids for ids in group}
    unknown = reader.special.unk
    found: dict[str, list[str]] = {}

    def add(source: str, candidates: Sequence[str]) -> None:
        for word in candidates:
            ids = tuple(reader.word_ids(word))
            if ids and ids not in taken and unknown not in ids and len(ids) <= prompt.n_masks:
                sources = found.setdefault(word, [])
                if source not in sources:
                    sources.append(source)

    known = frozenset(words.words)
    named = words_in(name, known)
    whole = [name] if len(name) <= 8 and scripts_asked_for([name]) <= scripts else []
    add("name", [*whole, *sorted(named, key=name.index)])
    inside = np.array([label in right for right in right_sets], dtype=bool)
    if inside.sum() >= MIN_TEXTS and not inside.all():
        if reader.reader.has_mask_head:
            states = reader.states(prompt, texts, on_batch)
            lift = fill_lift(states, inside, reader.reader.table, reader.reader.bias, words)
            add("texts", [words.words[place] for place in np.argsort(-lift)[:N_FILLS]])
        standing = log_odds([words_in(text, known) for text in texts], inside, words.words)
        top = [place for place in np.argsort(-standing)[:N_STANDING] if standing[place] > 0]
        add("texts", [words.words[place] for place in top])
    if len(words):
        own = reader.reader.table[[token for ids in prompt.words.token_ids[label] for token in ids]].mean(
            axis=0
        )
        near = neighbours_of(own, reader.reader.table, words, N_NEAR)
        add("neighbour", [words.words[place] for place in near])
    return found


def _lexicon(reader: PromptReader, texts: Sequence[str], scripts: frozenset[str]) -> Lexicon:
    key = (scripts, hash(tuple(texts)))
    if key not in reader.lexicons:
        if len(reader.lexicons) >= 8:
            reader.lexicons.clear()
        reader.lexicons[key] = lexicon(reader.reader.tokenizer, texts, scripts)
    return reader.lexicons[key]


def _tokens(reader: PromptReader, word: str) -> tuple[str, ...]:
    return tuple(reader.shown(token) for token in reader.word_ids(word))
