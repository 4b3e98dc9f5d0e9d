"""How a text becomes arrays. Writes `encoding.json`, which `runner.py` reads. Imports no Paddle.

encoding.json
-------------
::

    {"version": 1,
     "max_length": 128,                      tokens of one row, everything included
     "pad_id": 1, "unk_id": 3, "mask_id": 19500,
     "space_id": 6,                          the bare "▁" piece of a SentencePiece vocabulary, or null
     "inputs": ["input_ids", "token_type_ids", "position_ids", "attention_mask"],
                                             the arrays that this model's graph takes, always in this order;
                                             prompt models add "mask_positions"
     "n_masks": 0,                           M: columns of mask_positions
     "multi_label": false,                   true: probabilities by sigmoid, each label by itself
     "views": [ [segment, …], … ]}           one list of segments a template; the usual model has one

A segment is one of::

    {"ids": [0, 38, 556, 12], "type": 0}     fixed token ids (specials, prompt words, soft prompts as
                                             vocab_size + k); never truncated
    {"ids": [19500, 19500], "mask": true, "type": 0}
                                             the same, and these are the M positions of mask_positions
    {"text": "a", "type": 0, "truncate": true, "drop_space": false}
                                             the text ("b": the second text of a pair), encoded by
                                             tokenizer.json without special tokens; with drop_space its first
                                             id is dropped if it is `space_id`

"position" (int, optional, on any segment): position ids of the segment count up from it instead of going on.

From a text to a row
--------------------
1. A pair "a<TAB>b" is split at its first tab if any segment asks for "b"; otherwise all of it is "a".
2. budget = max_length − (all fixed ids) − (texts with truncate false). Texts with truncate true share the
   budget: while they are too long together, the longest loses its last token (a before b when equal).
3. input_ids: the segments one after the other; token_type_ids: each segment's "type"; position_ids: 0, 1, 2 …
   (or from "position"); attention_mask: 1. mask_positions: indices into the row of the mask segment's ids,
   M of them, all 0 for a view without masks (a graph without masks does not have this input).
4. A batch is padded on the right to its longest row: pad_id, 0, 0, 0.

Several views: a text is encoded once a view; its logits are the mean over its views. Rows are ordered by view
inside a text: row = text * len(views) + view.

Probabilities: calibration.json {"temperature": t, "thresholds": [..] | null, "prior": [..] | null}:
z = logits / t − log(prior) if a prior is given, then softmax; with multi_label, sigmoid(logits / t), label k is
given when its probability ≥ thresholds[k]; with "at_least_one": true the most probable one always is. Hierarchical
labels add "parents": [-1, 0, …], the parent of each label: a probability is cut to its parent's, a label is given only
below a given parent, and the most probable label of the first level always is. Where every text has one path they add
"paths": [[0, 1], …] too, class ids from root to end: the graph gives a score a path, z is their softmax, a label's
probability is the sum over the paths that it is on, and the labels of the most probable path are given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.fewshot.errors import TemplateError, TemplateTooLong
from training.fewshot.runner import ENCODING_VERSION, TextEncoder, shared_lengths, well_formed
from training.fewshot.tokenization import SpecialIds, special_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from training.fewshot.template import Template

MIN_TEXT_TOKENS = 4
INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask", "mask_positions")


@dataclasses.dataclass(frozen=True)
class SoftSpan:
    """Soft prompt vectors first … first + length − 1 of a model, encoded together as one sequence.

    `init_ids`: the tokens whose embeddings they start from, repeated as needed; empty for a random start.
    """

    first: int
    length: int
    init_ids: tuple[int, ...]
    encoder: str | None
    hidden_size: int | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `encoding.json` holds, and the soft spans whose ids (vocab_size + k) stand in it."""

    encoding: dict
    soft_spans: tuple[SoftSpan, ...]

    @property
    def n_soft(self) -> int:
        return sum(span.length for span in self.soft_spans)


def plan_sentence(
    tokenizer: Tokenizer, *, fields: Sequence[str], prefix: str, max_length: int, multi_label: bool
) -> Plan:
    """Rows for methods that read a text as a sentence: [CLS] prefix text (sep text_b) [SEP]."""
    special = special_ids(tokenizer)
    lead = [special.cls, *_prefix_ids(tokenizer, prefix)]
    view: list[dict] = [
        {"ids": lead, "type": 0},
        {"text": "a", "type": 0, "truncate": True, "drop_space": False},
    ]
    if "b" in fields:
        view += [
            {"ids": [special.sep], "type": 0},
            {"text": "b", "type": 1, "truncate": True, "drop_space": False},
            {"ids": [special.sep], "type": 1},
        ]
    else:
        view.append({"ids": [special.sep], "type": 0})
    return Plan(_encoding(special, [view], max_length, 0, multi_label), ())


def plan_pair(tokenizer: Tokenizer, *, prefix: str, max_length: int, multi_label: bool) -> Plan:
    """Rows for the method pair: [CLS] prefix text_a [SEP] [CLS] prefix text_b [SEP], positions counted anew."""
    special = special_ids(tokenizer)
    lead = [special.cls, *_prefix_ids(tokenizer, prefix)]
    view: list[dict] = []
    for number, field in enumerate(("a", "b")):
        view += [
            {"ids": lead, "type": number, "position": 0},
            {"text": field, "type": number, "truncate": True, "drop_space": False},
            {"ids": [special.sep], "type": number},
        ]
    return Plan(_encoding(special, [view], max_length, 0, multi_label), ())


def plan_prompt(
    tokenizer: Tokenizer,
    templates: Sequence[Template],
    *,
    n_masks: int,
    vocab_size: int,
    max_length: int,
    multi_label: bool,
) -> Plan:
    """Rows for the cloze: one view a template. Raises TemplateTooLong when the prompt leaves no room for text."""
    special = special_ids(tokenizer)
    spans: list[SoftSpan] = []
    shared: dict[int, SoftSpan] = {}
    views = []
    for template in templates:
        template.require_mask()
        view: list[dict] = [{"ids": [special.cls], "type": 0}]
        for index, part in enumerate(template.parts):
            at_start = len(view) == 1
            segment: dict = {"type": part.token_type}
            if part.kind == "text":
                segment |= {"text": part.value, "truncate": True, "drop_space": not at_start}
            elif part.kind == "mask":
                segment |= {"ids": [special.mask] * (part.length or n_masks), "mask": True}
            elif part.kind in ("sep", "cls"):
                segment["ids"] = [getattr(special, part.kind)]
            elif part.kind == "hard":
                segment["ids"] = _hard_ids(tokenizer, special, part.value, index, keep_space=at_start)
            else:
                span = shared.get(part.soft_id) if part.soft_id is not None else None
                if span is None:
                    init = (
                        _hard_ids(tokenizer, special, part.value, index, keep_space=False)
                        if part.value
                        else []
                    )
                    span = SoftSpan(
                        sum(known.length for known in spans),
                        part.length or len(init),
                        tuple(init),
                        part.encoder,
                        part.hidden_size,
                    )
                    spans.append(span)
                    if part.soft_id is not None:
                        shared[part.soft_id] = span
                segment["ids"] = list(range(vocab_size + span.first, vocab_size + span.first + span.length))
            if part.position is not None:
                segment["position"] = part.position
            view.append(segment)
        view.append({"ids": [special.sep], "type": template.parts[-1].token_type})
        masks = sum(len(segment["ids"]) for segment in view if segment.get("mask"))
        if masks != n_masks:
            raise TemplateError(
                f"the template has {masks} masks and the longest label word {n_masks} tokens",
                hint="Write {mask} once without a number.",
                fault="mask_count",
                masks=masks,
                needed=n_masks,
            )
        fixed = sum(len(segment.get("ids", ())) for segment in view)
        if fixed > max_length - MIN_TEXT_TOKENS:
            raise TemplateTooLong(
                f"the prompt takes {fixed} of {max_length} tokens and leaves too little for the text",
                prompt_tokens=fixed,
                max_length=max_length,
            )
        views.append(view)
    return Plan(_encoding(special, views, max_length, n_masks, multi_label), tuple(spans))


def plan_mixture(sentence: Plan, prompt: Plan) -> Plan:
    """Rows for the mixture: a view for the sentence, then the views of the cloze."""
    views = [*sentence.encoding["views"], *prompt.encoding["views"]]
    return Plan({**prompt.encoding, "views": views}, prompt.soft_spans)


def sentence_ids(tokenizer: Tokenizer, prefix: str, sentence: str, max_length: int) -> list[int]:
    """Token ids of one sentence with its special tokens, truncated to `max_length`."""
    special = special_ids(tokenizer)
    ids = [*_prefix_ids(tokenizer, prefix), *tokenizer.encode(sentence, add_special_tokens=False).ids]
    return [special.cls, *ids[: max_length - 2], special.sep]


def count_truncated(encoding: dict, tokenizer: Tokenizer, texts: Sequence[str]) -> int:
    """How many of `texts` lose tokens in at least one view."""
    free = TextEncoder({**encoding, "max_length": 1 << 30}, tokenizer)
    n_views = len(free.views)
    lengths = [len(row["input_ids"]) for row in free.rows(texts)]
    return sum(
        max(lengths[i : i + n_views]) > encoding["max_length"] for i in range(0, len(lengths), n_views)
    )


def kept_characters(encoding: dict, tokenizer: Tokenizer, text: str) -> dict[str, int]:
    """{"a": n, "b": m}: how many characters of each field of `text` the first view still reads."""
    view = encoding["views"][0]
    first, _tab, second = (
        text.partition("\t") if any(one.get("text") == "b" for one in view) else (text, "", "")
    )
    ends: dict[str, list[int]] = {}
    for field, value in (("a", first), ("b", second)):
        read = tokenizer.encode(well_formed(value), add_special_tokens=False) if value else None
        ends[field] = [end for _start, end in read.offsets] if read else []
        if read and len(read.ids) > 1 and read.ids[0] == encoding["space_id"]:
            ends[field] = ends[field][1:]  # the bare "▁" is no character of the text
    fields = [one["text"] for one in view if "text" in one]
    fixed = sum(len(one.get("ids", ())) for one in view)
    lengths = shared_lengths([len(ends[field]) for field in fields], max(0, encoding["max_length"] - fixed))
    return {
        field: (
            len(first if field == "a" else second)
            if length == len(ends[field])
            else ([0, *ends[field]])[length]
        )
        for field, length in zip(fields, lengths, strict=True)
    }


def fixed_rows(special: SpecialIds, views: list[list[dict]]) -> dict:
    """An encoding of rows without a text, one a view, each with one place to be read as its mask segment."""
    longest = max(sum(len(segment["ids"]) for segment in view) for view in views)
    return _encoding(special, views, longest, 1, False)


def _encoding(special: SpecialIds, views: list, max_length: int, n_masks: int, multi_label: bool) -> dict:
    return {
        "version": ENCODING_VERSION,
        "max_length": max_length,
        "pad_id": special.pad,
        "unk_id": special.unk,
        "mask_id": special.mask,
        "space_id": special.space,
        "inputs": list(INPUTS if n_masks else INPUTS[:4]),
        "n_masks": n_masks,
        "multi_label": multi_label,
        "views": views,
    }


def _prefix_ids(tokenizer: Tokenizer, prefix: str) -> list[int]:
    return tokenizer.encode(prefix.strip(), add_special_tokens=False).ids if prefix.strip() else []


def _hard_ids(
    tokenizer: Tokenizer, special: SpecialIds, words: str, part: int, *, keep_space: bool
) -> list[int]:
    ids = tokenizer.encode(words, add_special_tokens=False).ids
    if not keep_space and special.space is not None and ids and ids[0] == special.space:
        ids = ids[1:]
    if not ids:
        raise TemplateError(
            f"the words {words!r} of the template have no tokens", fault="no_tokens", part=part
        )
    return ids
