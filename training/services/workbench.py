"""The workbench: label words and a template as they stand in the editor, and what the model answers to them.

A `Draft` is what a person has typed, saved or not. Questions about it go to the live worker
(`training.services.workbench_answers` is the other end) and come back as the dataclasses below. Nothing here stores
anything, and no question looks at a text of the test split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from labeling.models import Project
from labeling.models.labels import DEFAULT_TEMPLATE
from labeling.services import words as label_words
from training.fewshot.config import SHIPPED_BACKBONE
from training.services import live
from training.services.live import Superseded
from training.services.prompt_check import PromptCheck, check_prompt
from training.services.workbench_choice import METHODS
from training.services.workbench_texts import shown_texts

__all__ = ["Superseded", "shown_texts"]

ANSWER_SECONDS = 8.0
MEASURE_SECONDS = 30.0


class DraftRefused(Exception):
    """The draft cannot be put to the model; `check` says what is wrong with which word or where in the template."""

    def __init__(self, check: PromptCheck) -> None:
        super().__init__("the draft was not asked about")
        self.check = check


@dataclasses.dataclass(frozen=True, slots=True)
class DraftLabel:
    """A label with the words that stand for it in the editor."""

    id: int
    name: str
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """What is asked about. `method` is one of METHODS or "" (the better one by the labelled texts).

    `backbone` is a name of `training.services.backbones`.
    """

    project_id: int
    labels: tuple[DraftLabel, ...]
    template: str
    method: str = ""
    backbone: str = SHIPPED_BACKBONE

    def to_json(self) -> dict[str, Any]:
        """The draft as a question carries it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Draft:
        labels = tuple(
            DraftLabel(int(one["id"]), str(one["name"]), tuple(map(str, one["words"])))
            for one in values["labels"]
        )
        return cls(
            project_id=int(values["project_id"]),
            labels=labels,
            template=str(values["template"]),
            method=str(values["method"]),
            backbone=str(values["backbone"]),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Fill:
    """A token that the model would put at a mask, with its probability."""

    token: str
    probability: float


@dataclasses.dataclass(frozen=True, slots=True)
class TextAnswer:
    """One text: `fills[mask]` are the most probable tokens there; `raw` and `calibrated` are probabilities in the
    order of `Answers.label_ids`. `label_id` is the label that people gave it, if any; `truncated`: it lost tokens."""

    example_id: int
    text: str
    label_id: int | None
    truncated: bool
    fills: tuple[tuple[Fill, ...], ...]
    raw: tuple[float, ...]
    calibrated: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Near:
    """A word of another label that the model takes for nearly the same."""

    label_id: int
    word: str
    similarity: float


@dataclasses.dataclass(frozen=True, slots=True)
class WordReading:
    """How the model reads one label word inside the template.

    `fluency`: how well the word lets the model guess the tokens beside it, in nats from the median of all words
    (`training.fewshot.word_quality`); `reads` is "natural", "stiff" or "odd" by it, a weak hint. `near`:
    near-collisions, the nearest first.
    """

    label_id: int
    word: str
    tokens: tuple[str, ...]
    fluency: float | None
    reads: str
    near: tuple[Near, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Answers:
    """What the model says to the texts shown. `method` is the one used; `n_reference`: texts that calibrate it.

    `methods`: all that the backbone and the template allow, the usual one first."""

    method: str
    methods: tuple[str, ...]
    n_masks: int
    n_reference: int
    label_ids: tuple[int, ...]
    texts: tuple[TextAnswer, ...]
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """`right` of `n`, with Wilson's 95 % interval."""

    right: int
    n: int
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True)
class LabelShare:
    """The texts of one label that are answered right (calibrated)."""

    label_id: int
    share: Share


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """Zero-shot accuracy of one method, raw and calibrated, and per label calibrated."""

    method: str
    raw: Share
    calibrated: Share
    per_label: tuple[LabelShare, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Accuracy:
    """On `n` labelled training texts whose label no suggestion led to; `chosen` is the method shown, `best` the best.

    `measured` has one entry a method, the chosen one first; others may be missing until a later question has the time
    for them. With n = 0 it is empty: nothing to measure on yet."""

    n: int
    chosen: str
    best: str
    measured: tuple[Measured, ...]
    seconds: float

    def of(self, method: str) -> Measured | None:
        """The figures of `method`."""
        return next((one for one in self.measured if one.method == method), None)


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """Accuracy with the proposed word in place of the label's words, on the same `n` texts, paired.

    These texts had no part in finding the word. `low`, `high`: 95 % interval of the difference. `expected`: the
    difference to expect on other texts, drawn to what all the words tried have in common, since the best of many is
    the best by luck too. `tell_apart`: better even after correction for the number of words tried."""

    n: int
    before: float
    after: float
    low: float
    high: float
    expected: float
    tell_apart: bool

    @property
    def difference(self) -> float:
        return self.after - self.before


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """A word for a label. `sources`: "name", "texts", "neighbour"; `effect` is None with no text to measure on."""

    word: str
    sources: tuple[str, ...]
    tokens: tuple[str, ...]
    effect: Effect | None


@dataclasses.dataclass(frozen=True, slots=True)
class Proposals:
    """For one label, the best first. `n_texts`: labelled training texts that they rest on; never dev, never test."""

    label_id: int
    n_texts: int
    proposals: tuple[Proposal, ...]
    seconds: float


def draft_of(
    project: Project,
    *,
    names: Mapping[int, str] | None = None,
    words: Mapping[int, str] | None = None,
    template: str | None = None,
    method: str = "",
    backbone: str = "",
) -> Draft:
    """The draft in the editor: what was typed (by label id, words as one string), the stored value elsewhere.

    Raises `labeling.services.words.WordsRefusedInForm` for words that could not be stored."""
    names, words = names or {}, words or {}
    labels = []
    for label in project.labels.filter(archived_at__isnull=True).prefetch_related("words"):
        name = names.get(label.pk, label.name)[:80]
        typed = words.get(label.pk)
        chosen = [one.text for one in label.words.all()] if typed is None else label_words.parse_words(typed)
        labels.append(DraftLabel(label.pk, name, tuple(chosen) or ((name,) if name.strip() else ())))
    if template is None:
        present = label_words.present_template(project)
        template = present.text if present else DEFAULT_TEMPLATE
    return Draft(
        project_id=project.pk,
        labels=tuple(labels),
        template=template.strip(),
        method=method if method in METHODS else "",
        backbone=backbone or SHIPPED_BACKBONE,
    )


def check_draft(draft: Draft, *, texts: Sequence[str] = ()) -> PromptCheck:
    """Words by label id (as a string) and template, from the vocabulary alone: no worker is asked."""
    return check_prompt(
        labels=[(str(label.id), label.name, label.words) for label in draft.labels],
        template=draft.template,
        texts=texts,
        backbone=draft.backbone,
    )


def ask_answers(
    draft: Draft,
    *,
    example_ids: Sequence[int],
    editor: str,
    number: int,
    timeout_seconds: float = ANSWER_SECONDS,
) -> Answers:
    """What the model says to ten texts. Ask this first, then `ask_words` and `ask_accuracy` with the same number.

    `editor` names the user and the tab, `number` grows by one with each change there: the newest wins.
    Raises DraftRefused, Superseded (show nothing: a newer answer is on its way) and live.LiveError; LiveFailed has
    a `code` of `labeling.job_words.ERRORS`."""
    payload = {"draft": _checked(draft), "example_ids": list(example_ids)}
    answer = _ask("workbench_answers", payload, timeout_seconds, editor, number)
    return Answers(
        method=answer["method"],
        methods=tuple(answer["methods"]),
        n_masks=answer["n_masks"],
        n_reference=answer["n_reference"],
        label_ids=tuple(answer["label_ids"]),
        texts=tuple(_text_answer(one) for one in answer["texts"]),
        seconds=answer["seconds"],
    )


def ask_words(
    draft: Draft, *, editor: str, number: int, timeout_seconds: float = ANSWER_SECONDS
) -> tuple[WordReading, ...]:
    """How the model takes each label word in the template. Raises as `ask_answers`."""
    answer = _ask("workbench_words", {"draft": _checked(draft)}, timeout_seconds, editor, number)
    return tuple(_word_reading(one) for one in answer["words"])


def ask_accuracy(
    draft: Draft, *, editor: str, number: int, timeout_seconds: float = MEASURE_SECONDS
) -> Accuracy:
    """Zero-shot accuracy on up to 240 labelled training texts. Raises as `ask_answers`."""
    answer = _ask("workbench_accuracy", {"draft": _checked(draft)}, timeout_seconds, editor, number)
    measured = tuple(
        Measured(
            method=one["method"],
            raw=Share(**one["raw"]),
            calibrated=Share(**one["calibrated"]),
            per_label=tuple(
                LabelShare(part["label_id"], Share(**part["share"])) for part in one["per_label"]
            ),
        )
        for one in answer["measured"]
    )
    return Accuracy(answer["n"], answer["chosen"], answer["best"], measured, answer["seconds"])


def ask_proposals(
    draft: Draft, *, label_id: int, editor: str, number: int, timeout_seconds: float = MEASURE_SECONDS
) -> Proposals:
    """Words for one label, each with its expected effect. Raises as `ask_answers`."""
    payload = {"draft": _checked(draft), "label_id": label_id}
    answer = _ask("workbench_proposals", payload, timeout_seconds, editor, number)
    return Proposals(
        label_id=answer["label_id"],
        n_texts=answer["n_texts"],
        proposals=tuple(
            Proposal(
                word=one["word"],
                sources=tuple(one["sources"]),
                tokens=tuple(one["tokens"]),
                effect=Effect(**one["effect"]) if one["effect"] else None,
            )
            for one in answer["proposals"]
        ),
        seconds=answer["seconds"],
    )


def _checked(draft: Draft) -> dict[str, Any]:
    check = check_draft(draft)
    if check.error or check.n_serious:
        raise DraftRefused(check)
    return draft.to_json()


def _ask(
    question: str, payload: dict[str, Any], timeout_seconds: float, editor: str, number: int
) -> dict[str, Any]:
    answer = live.ask(question, payload, timeout_seconds=timeout_seconds, newest=(editor, number))
    if answer == live.SUPERSEDED:
        raise Superseded
    return answer


def _text_answer(values: dict[str, Any]) -> TextAnswer:
    return TextAnswer(
        example_id=values["example_id"],
        text=values["text"],
        label_id=values["label_id"],
        truncated=values["truncated"],
        fills=tuple(tuple(Fill(*fill) for fill in mask) for mask in values["fills"]),
        raw=tuple(values["raw"]),
        calibrated=tuple(values["calibrated"]),
    )


def _word_reading(values: dict[str, Any]) -> WordReading:
    return WordReading(
        label_id=values["label_id"],
        word=values["word"],
        tokens=tuple(values["tokens"]),
        fluency=values["fluency"],
        reads=values["reads"],
        near=tuple(Near(**near) for near in values["near"]),
    )
