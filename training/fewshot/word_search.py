"""The search for a label's words: candidates from every source, each tried in the label's place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from training.fewshot import evaluation, verbalizer
from training.fewshot.prompt_reader import OnBatch, Prompt, PromptReader
from training.fewshot.word_proposals import (
    Effect,
    Lexicon,
    effect,
    expectations,
    fill_lift,
    lexicon,
    log_odds,
    neighbours_of,
    scripts_asked_for,
    words_in,
)

N_PROPOSED = 12
N_FILLS, N_STANDING, N_NEAR = 10, 10, 12
# Fewer texts of a label in a half than these say nothing about its words.
MIN_TEXTS = 2


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
    halves = _halves(right_sets, len(prompt.words.labels))
    sources, judges = _candidates(reader, prompt, label, name, texts, right_sets, halves, on_batch)
    if not texts:
        return [
            Found(word, tuple(found), _tokens(reader, word), None)
            for word, found in list(sources.items())[:limit]
        ]
    if method != "cloze":
        reader.vectors([prompt.template.statement(word) for word in sources], on_batch)
    before = reader.scored(prompt, method, texts, reference, on_batch)[1]
    effects = []
    for word in sources:
        after = reader.scored(with_word(prompt, label, word, reader), method, texts, reference, on_batch)[1]
        rows = judges[word]
        effects.append(effect(before[rows], after[rows], [right_sets[row] for row in rows]))
    found = [
        Found(word, tuple(sources[word]), _tokens(reader, word), one)
        for word, one in zip(sources, expectations(effects), strict=True)
    ]
    # Where nothing can be told by accuracy, the loss sees more.
    found.sort(
        key=lambda one: (-round(one.effect.expected, 4), one.effect.loss_change) if one.effect else (0, 0)
    )
    return found[:limit]


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
    halves: Sequence[np.ndarray],
    on_batch: OnBatch | None,
) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """{word: its sources} in the order name, texts, neighbour; and {word: rows of the texts that may judge it}.

    A word found in one half of the texts is judged by the other; one that was found without them by all.
    """
    scripts = scripts_asked_for([word for one in prompt.words.labels for word in one.words])
    words = _lexicon(reader, texts, scripts)
    taken = {ids for group in prompt.words.token_ids for ids in group}
    unknown = reader.special.unk
    found: dict[str, list[str]] = {}
    judges: dict[str, set[int]] = {}
    all_rows = range(len(texts))

    def add(source: str, candidates: Sequence[str], rows: Iterable[int] = all_rows) -> None:
        for word in candidates:
            ids = tuple(reader.word_ids(word))
            if ids and ids not in taken and unknown not in ids and len(ids) <= prompt.n_masks:
                sources = found.setdefault(word, [])
                judges.setdefault(word, set()).update(rows)
                if source not in sources:
                    sources.append(source)

    known = frozenset(words.words)
    named = words_in(name, known)
    whole = [name] if len(name) <= 8 and scripts_asked_for([name]) <= scripts else []
    add("name", [*whole, *sorted(named, key=name.index)])
    states = reader.states(prompt, texts, on_batch) if texts and reader.reader.has_mask_head else None
    standing_in = [words_in(text, known) for text in texts]
    for half, rest in zip(halves, reversed(halves), strict=True):
        inside = np.array([label in right_sets[row] for row in half], dtype=bool)
        if inside.sum() < MIN_TEXTS or inside.all():
            continue
        if states is not None:
            lift = fill_lift(states[half], inside, reader.reader.table, reader.reader.bias, words)
            add("texts", [words.words[place] for place in np.argsort(-lift)[:N_FILLS]], rest.tolist())
        standing = log_odds([standing_in[row] for row in half], inside, words.words)
        top = [place for place in np.argsort(-standing)[:N_STANDING] if standing[place] > 0]
        add("texts", [words.words[place] for place in top], rest.tolist())
    if len(words):
        own = reader.reader.table[[token for ids in prompt.words.token_ids[label] for token in ids]].mean(
            axis=0
        )
        near = neighbours_of(own, reader.reader.table, words, N_NEAR)
        add("neighbour", [words.words[place] for place in near])
    return found, {word: np.array(sorted(rows), dtype=np.int64) for word, rows in judges.items()}


def _halves(right_sets: Sequence[frozenset[int]], n_labels: int) -> list[np.ndarray]:
    """Two halves of the texts with every label spread evenly."""
    if not right_sets:
        return []
    first = np.array([min(right, default=n_labels) for right in right_sets])
    return [held_out for _, held_out in evaluation.stratified_folds(first, 2, seed=0)]


def _lexicon(reader: PromptReader, texts: Sequence[str], scripts: frozenset[str]) -> Lexicon:
    key = (scripts, hash(tuple(texts)))
    if key not in reader.lexicons:
        if len(reader.lexicons) >= 8:
            reader.lexicons.clear()
        reader.lexicons[key] = lexicon(reader.reader.tokenizer, texts, scripts)
    return reader.lexicons[key]


def _tokens(reader: PromptReader, word: str) -> tuple[str, ...]:
    return tuple(reader.shown(token) for token in reader.word_ids(word))
