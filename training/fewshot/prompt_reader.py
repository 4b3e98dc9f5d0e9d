"""A prompt read by an untrained backbone: label scores, fills and words, with all that was read once remembered.

What costs time is the encoder. Its results are kept by what they depend on: a text's vector by the text, the states
at the masks by template and text. So a change of words only scores again, and a change of the template leaves the
vectors of the texts alone.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from training.fewshot import encoding, verbalizer, zero_shot
from training.fewshot.backbones import sentence_prefix
from training.fewshot.errors import UnsupportedMethod
from training.fewshot.template import Template, parse
from training.fewshot.tokenization import special_ids

if TYPE_CHECKING:
    from training.fewshot.reader import Reader
    from training.fewshot.word_proposals import Lexicon

METHODS = ("cloze", "label_sentence", "mixed")
# The share of the label sentences in a mixture; see docs/research/2026-11-workbench.md.
MIXED_WEIGHT = 0.8
BATCH_SIZE = 16
REMEMBERED_BYTES = 192 << 20
OnBatch = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A template with the words of every label, checked against a backbone's vocabulary."""

    template: Template
    words: verbalizer.Verbalizer
    masks: int | None = None

    @property
    def n_masks(self) -> int:
        """Masks in the template: `masks`, or as many as the longest word has tokens."""
        return self.masks or self.words.n_masks

    @property
    def sentences(self) -> tuple[list[str], list[int]]:
        """The label sentences and the label that owns each."""
        found = [
            (self.template.statement(word), label)
            for label, one in enumerate(self.words.labels)
            for word in one.words
        ]
        return [sentence for sentence, _ in found], [label for _, label in found]


class RowMemory:
    """The rows read last, by a key each; the oldest are forgotten beyond `limit_bytes`."""

    def __init__(self, limit_bytes: int = REMEMBERED_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._rows: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def all(
        self,
        keys: Sequence[Hashable],
        sizes: Sequence[int],
        read: Callable[[list[int]], np.ndarray],
        chunk: int = BATCH_SIZE,
        on_batch: OnBatch | None = None,
    ) -> np.ndarray:
        """One row a key, stacked; `read(places)` gives those that are not remembered, `chunk` of like size at a time.

        `on_batch` hears how many were read. What was read before it raises stays remembered: a question that is
        dropped half-way was not in vain.
        """
        rows: dict[Hashable, np.ndarray] = {}
        missing: dict[Hashable, int] = {}
        for place, key in enumerate(keys):
            if key in self._rows:
                self._rows.move_to_end(key)
                rows[key] = self._rows[key]
            else:
                missing.setdefault(key, place)
        places = sorted(missing.values(), key=lambda place: sizes[place])
        for start in range(0, len(places), chunk):
            chosen = places[start : start + chunk]
            for place, row in zip(chosen, read(chosen), strict=True):
                rows[keys[place]] = row
                self._keep(keys[place], row)
            if on_batch is not None:
                on_batch(start + len(chosen))
        return np.stack([rows[key] for key in keys])

    def put(self, key: Hashable, row: np.ndarray) -> None:
        """Remember `row`, unless the key has one."""
        if key not in self._rows:
            self._keep(key, row)

    def _keep(self, key: Hashable, row: np.ndarray) -> None:
        kept = row.astype(np.float32)
        self._rows[key] = kept
        self.held_bytes += kept.nbytes
        while self.held_bytes > self.limit_bytes and len(self._rows) > 1:
            self.held_bytes -= self._rows.popitem(last=False)[1].nbytes


class PromptReader:
    """`reader` asked about prompts. From one thread at a time."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.special = special_ids(reader.tokenizer)
        self.lexicons: dict[Hashable, Lexicon] = {}
        self._vectors = RowMemory()
        self._states = RowMemory()

    @property
    def is_sentence_encoder(self) -> bool:
        """Whether the backbone was made for sentence vectors: it names a prefix for them."""
        return bool(sentence_prefix(self.reader.backbone)) or not self.reader.has_mask_head

    def prompt(self, labels: Sequence[verbalizer.Label], template: str) -> Prompt:
        """The checked prompt. Raises TemplateError, VerbalizerError."""
        parsed = parse(template).require_mask()
        return Prompt(parsed, verbalizer.build(labels, self.reader.tokenizer))

    def methods_of(self, prompt: Prompt) -> tuple[str, ...]:
        """The methods that this backbone and template allow, the usual one first.

        A pair of texts has no sentence vector of its own, a backbone without a mask head fills nothing in.
        """
        vectors = "b" not in prompt.template.fields
        if not self.reader.has_mask_head:
            if not vectors:
                raise UnsupportedMethod("a pair of texts needs a backbone that fills in masks")
            return ("label_sentence",)
        if not vectors:
            return ("cloze",)
        first = "label_sentence" if self.is_sentence_encoder else "cloze"
        return (first, *(method for method in METHODS if method != first))

    def vectors(self, texts: Sequence[str], on_batch: OnBatch | None = None) -> np.ndarray:
        """(n, H) float32 unit sentence vectors."""

        def read(places: list[int]) -> np.ndarray:
            return self.reader.sentence_vectors([texts[place] for place in places], batch_size=BATCH_SIZE)

        if not texts:
            return np.zeros((0, self.reader.hidden_size), dtype=np.float32)
        return self._vectors.all(list(texts), [len(text) for text in texts], read, on_batch=on_batch)

    def remember(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Take `vectors` (n, H), read before by this backbone, for the sentence vectors of `texts`."""
        for text, vector in zip(texts, vectors, strict=True):
            self._vectors.put(text, vector)

    def states(self, prompt: Prompt, texts: Sequence[str], on_batch: OnBatch | None = None) -> np.ndarray:
        """(n, masks, H) float32: what the mask head reads at the masks. Raises TemplateError."""
        plan = self._plan(prompt)

        def read(places: list[int]) -> np.ndarray:
            found = self.reader.mask_states(
                plan.encoding,
                [texts[place] for place in places],
                batch_size=BATCH_SIZE,
                soft_spans=plan.soft_spans,
            )
            return found[:, 0]

        if not texts:
            return np.zeros((0, prompt.n_masks, self.reader.hidden_size), dtype=np.float32)
        key = (prompt.template, prompt.n_masks)
        keys = [(key, text) for text in texts]
        return self._states.all(keys, [len(text) for text in texts], read, on_batch=on_batch)

    def scores(
        self, prompt: Prompt, method: str, texts: Sequence[str], on_batch: OnBatch | None = None
    ) -> np.ndarray:
        """(n, labels) float32, raw, as `zero_shot` defines them for `method` "cloze" or "label_sentence"."""
        if method == "cloze":
            states = self.states(prompt, texts, on_batch)
            return zero_shot.cloze_scores(states, self.reader.table, self.reader.bias, prompt.words.token_ids)
        if method == "label_sentence":
            return zero_shot.label_sentence_scores(self.vectors(texts, on_batch), self.label_vectors(prompt))
        raise UnsupportedMethod(f"{method!r} is read from no single pass")

    def scored(
        self,
        prompt: Prompt,
        method: str,
        texts: Sequence[str],
        reference: Sequence[str],
        on_batch: OnBatch | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(raw, calibrated), (n, labels) float32 each; calibrated by the mean over `reference` (by `texts`
        themselves where it is empty). "mixed" joins both methods, each calibrated before for the second array."""
        if method == "mixed":
            raw, calibrated = zip(
                *(
                    self.scored(prompt, part, texts, reference, on_batch)
                    for part in ("cloze", "label_sentence")
                ),
                strict=True,
            )
            return (
                zero_shot.mixed(raw[0], raw[1], MIXED_WEIGHT),
                zero_shot.mixed(calibrated[0], calibrated[1], MIXED_WEIGHT),
            )
        raw_scores = self.scores(prompt, method, texts, on_batch)
        if not len(raw_scores):
            return raw_scores, raw_scores
        beside = self.scores(prompt, method, reference, on_batch) if reference else raw_scores
        return raw_scores, zero_shot.calibrated_by(raw_scores, beside)

    def label_vectors(self, prompt: Prompt) -> np.ndarray:
        """(labels, H): the mean vectors of the labels' sentences."""
        sentences, owners = prompt.sentences
        return zero_shot.label_vectors(self.vectors(sentences), owners, len(prompt.words.labels))

    def fills(
        self, prompt: Prompt, texts: Sequence[str], k: int = 5, on_batch: OnBatch | None = None
    ) -> list[list[list[tuple[str, float]]]]:
        """For each text and mask the `k` most probable tokens with their probabilities; special tokens left out."""
        states = self.states(prompt, texts, on_batch)
        flat = states.reshape(-1, states.shape[-1])
        logits = flat @ self.reader.table.T + self.reader.bias
        logits[:, list(self._special_ids())] = -np.inf
        logits -= logits.max(axis=1, keepdims=True)
        proba = np.exp(logits)
        proba /= proba.sum(axis=1, keepdims=True)
        top = np.argsort(-proba, axis=1)[:, :k]
        rows = [
            [(self.shown(int(token)), float(proba[row, token])) for token in tokens]
            for row, tokens in enumerate(top)
        ]
        n_masks = states.shape[1]
        return [rows[start : start + n_masks] for start in range(0, len(rows), n_masks)]

    def states_at(self, rows: Sequence[tuple[int, ...]], places: Sequence[int]) -> np.ndarray:
        """(n, H) float32: the mask head's state of row i, token ids as they stand, at position `places[i]`."""

        def read(chosen: list[int]) -> np.ndarray:
            views = []
            for index in chosen:
                ids, place = list(rows[index]), places[index]
                view = [
                    {"ids": ids[:place], "type": 0},
                    {"ids": [ids[place]], "mask": True, "type": 0},
                    {"ids": ids[place + 1 :], "type": 0},
                ]
                views.append(view)
            return self.reader.mask_states(encoding.fixed_rows(self.special, views), [""])[0, :, 0]

        keys = list(zip(rows, places, strict=True))
        return self._states.all(keys, [len(row) for row in rows], read, chunk=64)

    def word_ids(self, word: str) -> list[int]:
        """Token ids of a word as it stands inside a sentence."""
        return verbalizer.encode_word(self.reader.tokenizer, word)

    def truncated(self, prompt: Prompt, texts: Sequence[str]) -> list[bool]:
        """Whether a text loses tokens in this template."""
        plan = self._plan(prompt).encoding
        return [bool(encoding.count_truncated(plan, self.reader.tokenizer, [text])) for text in texts]

    def shown(self, token_id: int) -> str:
        """A token as people read it, without the marks of the vocabulary."""
        token = self.reader.tokenizer.id_to_token(token_id) or ""
        return token.removeprefix("▁").removeprefix("##") or token

    def _plan(self, prompt: Prompt) -> encoding.Plan:
        return encoding.plan_prompt(
            self.reader.tokenizer,
            [prompt.template],
            n_masks=prompt.n_masks,
            vocab_size=int(self.reader.backbone.config["vocab_size"]),
            max_length=self.reader.max_length,
            multi_label=False,
        )

    def _special_ids(self) -> set[int]:
        return {self.special.cls, self.special.sep, self.special.pad, self.special.unk, self.special.mask}
