"""Do the label words and the prompt work for the model? Answered from the vocabulary alone: no Paddle, no model.

This is what the page asks while a person types. What the model would *answer* is another question (issue of its
own); it goes beside `check_prompt`, with the same inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from training.fewshot import template as templates
from training.fewshot import verbalizer
from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.errors import TemplateError, TemplateWithoutMask, TemplateWithoutText
from training.fewshot.tokenization import load_tokenizer

PREVIEW_CHARS = 120
MAX_SHOWN_MASKS = 8

PROBLEMS = {
    "empty": gettext_lazy("没有词"),
    "all_unknown": gettext_lazy("模型不认识这个词"),
    "some_unknown": gettext_lazy("有的字模型不认识"),
    "collision": gettext_lazy("和别的标签的词相同"),
    "longer": gettext_lazy("比最短的词长很多"),
}
# Training refuses these; the others only make it harder.
SERIOUS = frozenset({"empty", "all_unknown", "collision"})


@dataclasses.dataclass(frozen=True)
class WordCheck:
    """One label word: its pieces as the model reads them, and what is wrong, in the page's language."""

    word: str
    tokens: tuple[str, ...]
    problems: tuple[tuple[str, Any], ...]

    @property
    def serious(self) -> bool:
        return any(code in SERIOUS for code, _words in self.problems)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a filled-in prompt, for showing: kind is text, hard, soft, mask or sep."""

    kind: str
    value: str


@dataclasses.dataclass(frozen=True)
class PromptCheck:
    """`words` maps what the caller named a label by to its words' checks; `previews` are filled-in prompts."""

    words: dict[str, list[WordCheck]]
    n_masks: int
    shortest: int
    error: str = ""
    error_detail: str = ""
    error_at: int | None = None
    previews: tuple[tuple[Piece, ...], ...] = ()

    @property
    def n_serious(self) -> int:
        return sum(check.serious for checks in self.words.values() for check in checks)

    @property
    def lengths_differ(self) -> bool:
        return self.n_masks != self.shortest


@lru_cache(maxsize=1)
def shipped_tokenizer() -> Any:
    """The vocabulary of the shipped encoder, read once."""
    return load_tokenizer(SHIPPED_FOLDER / SHIPPED_BACKBONE)


def template_problem(text: str) -> str:
    """What is wrong with a template, in the page's language; "" where it can be used."""
    try:
        templates.parse(text).require_mask()
    except TemplateError as error:
        return _template_words(error)
    return ""


def check_prompt(
    *, labels: Sequence[tuple[str, str, Sequence[str]]], template: str, texts: Sequence[str] = ()
) -> PromptCheck:
    """Check label words and template as they stand in the form.

    `labels`: (key, name, words); a label without words stands for itself by its name. `texts` fill the previews."""
    # The key, not the name, tells labels apart: while somebody types, two may have one name.
    engine_labels = [
        verbalizer.Label(key, tuple(words) or ((name,) if name.strip() else ()))
        for key, name, words in labels
    ]
    checks: dict[str, list[WordCheck]] = {key: [] for key, _name, _words in labels}
    lengths: list[int] = []
    for report in verbalizer.inspect(engine_labels, shipped_tokenizer()):
        lengths.append(len(report.tokens))
        checks[report.label].append(
            WordCheck(
                report.word,
                report.tokens,
                tuple((code, PROBLEMS.get(code, code)) for code in report.problems),
            )
        )
    n_masks = max(lengths, default=1) or 1
    result = PromptCheck(words=checks, n_masks=n_masks, shortest=min(lengths, default=1))
    try:
        parsed = templates.parse(template).require_mask()
    except TemplateError as error:
        at = error.detail.get("at")
        return dataclasses.replace(
            result,
            error=_template_words(error),
            error_detail=error.message,
            error_at=at if isinstance(at, int) else None,
        )
    return dataclasses.replace(result, previews=tuple(_filled(parsed, text, n_masks) for text in texts))


def _filled(parsed: templates.Template, text: str, n_masks: int) -> tuple[Piece, ...]:
    shown = text[:PREVIEW_CHARS] + ("…" if len(text) > PREVIEW_CHARS else "")
    pieces = []
    for part in parsed.parts:
        if part.kind == "mask":
            n = min(part.length or n_masks, MAX_SHOWN_MASKS)
            pieces += [Piece("mask", "")] * n
        elif part.kind == "text":
            pieces.append(Piece("text", shown if part.value == "a" else _("（第二段文本）")))
        elif part.kind == "soft":
            pieces.append(Piece("soft", part.value or "·" * min(part.length or 1, MAX_SHOWN_MASKS)))
        elif part.kind == "hard":
            pieces.append(Piece("hard", part.value))
        elif part.kind == "sep":
            pieces.append(Piece("sep", ""))
    return tuple(pieces)


def _template_words(error: TemplateError) -> str:
    if isinstance(error, TemplateWithoutMask):
        return _("模板里没有 {mask}：把它放在标签词该出现的地方。")
    if isinstance(error, TemplateWithoutText):
        return _("模板里没有 {text}：把它放在文本该出现的地方。")
    at = error.detail.get("at")
    if isinstance(at, int):
        return _("模板第 %(at)d 个字符附近写错了。写法例如：以下是一条{mask}新闻。{text}") % {"at": at + 1}
    return _("模板读不懂。写法例如：以下是一条{mask}新闻。{text}")
