"""Do the label words and the prompt work for the model? Answered from the vocabulary alone: no Paddle, no model.

This is what the page asks while a person types; it answers even where no worker lives. What the model says of the
same words and prompt is `workbench`'s question.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from training.fewshot import encoding, verbalizer
from training.fewshot import template as templates
from training.fewshot.config import SHIPPED_BACKBONE, FewShotConfig
from training.fewshot.errors import TemplateError, TemplateTooLong
from training.services.vocabularies import vocabulary_of

# Of what the model does not read, so much is shown.
CUT_CHARS = 60
MAX_SHOWN_MASKS = 8
MAX_LENGTH = FewShotConfig().max_seq_length

PROBLEMS = {
    "empty": gettext_lazy("没有词"),
    "all_unknown": gettext_lazy("模型不认识这个词"),
    "some_unknown": gettext_lazy("有的字模型不认识"),
    "collision": gettext_lazy("和别的标签的词相同"),
    "longer": gettext_lazy("比最短的词长很多"),
    "lookalike": gettext_lazy("和别的标签的词只差大小写或全角半角"),
    "invisible": gettext_lazy("有看不见的字符（例如文字方向标记），请删掉再打一遍"),
    "mask_in_word": gettext_lazy("词里有模型自己的记号（例如 [MASK]），它会被当成空格或分隔"),
}
FAULTS = {
    "no_mask": gettext_lazy("模板里没有 {mask}：把它放在标签词该出现的地方。"),
    "no_text": gettext_lazy("模板里没有 {text}：把它放在文本该出现的地方。"),
    "empty": gettext_lazy("模板是空的。写法例如：以下是一条{mask}新闻。{text}"),
    "too_long": gettext_lazy("模板太长了，最多 2000 个字符。"),
    "not_closed": gettext_lazy("从第 %(at)d 个字符起，这个 { 没有配对的 }。要写花括号本身，请写 {{。"),
    "stray_brace": gettext_lazy("第 %(at)d 个字符的 } 前面没有 {。要写花括号本身，请写 }}。"),
    "unknown_part": gettext_lazy(
        "第 %(at)d 个字符起的积木不认识。可以用 {text}、{text_b}、{mask}、{soft}、{soft:词}、{sep}。"
    ),
    "length": gettext_lazy("第 %(at)d 个字符起的长度不对：空格 1 到 32 个，可学习的词元 1 到 256 个。"),
    "empty_soft": gettext_lazy(
        "第 %(at)d 个字符起的可学习积木要有词，或者一个数目，例如 {soft:主题} 或 {soft:3}。"
    ),
    "two_masks": gettext_lazy("第 %(at)d 个字符起又是一个 {mask}：只写一个，它的长度会跟着最长的标签词。"),
    "attribute": gettext_lazy("第 %(at)d 个字符起的积木有一个属性写错了。"),
    "quoted": gettext_lazy("第 %(at)d 个字符附近的引号、逗号或值写错了。"),
    "no_tokens": gettext_lazy("第 %(at)d 个字符起的文字对模型来说是空的（例如只有空白），请删掉它。"),
}
# Training refuses these; the others only make it harder.
SERIOUS = frozenset({"empty", "all_unknown", "collision", "mask_in_word"})


@dataclasses.dataclass(frozen=True)
class WordCheck:
    """One label word: its pieces as the model reads them, and what is wrong, in the page's language."""

    word: str
    tokens: tuple[str, ...]
    problems: tuple[tuple[str, Any], ...]

    @property
    def serious(self) -> bool:
        return any(code in SERIOUS for code, _words in self.problems)

    @property
    def plain(self) -> bool:
        """The word is one token, itself: there is nothing to say of it."""
        return not self.problems and "".join(self.tokens).lstrip("▁") == self.word and len(self.tokens) == 1


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a filled-in prompt, for showing: kind is text, cut (what the model will not read), hard, soft, mask
    or sep."""

    kind: str
    value: str


@dataclasses.dataclass(frozen=True)
class PromptCheck:
    """`words` maps what the caller named a label by to its words' checks; `previews` are filled-in prompts.

    `error_at` and `error_end` are indices into the template; None where the fault has no place."""

    words: dict[str, list[WordCheck]]
    n_masks: int
    shortest: int
    error: str = ""
    error_detail: str = ""
    error_at: int | None = None
    error_end: int | None = None
    max_length: int = MAX_LENGTH
    prompt_tokens: int = 0
    previews: tuple[tuple[Piece, ...], ...] = ()

    @property
    def n_serious(self) -> int:
        return sum(check.serious for checks in self.words.values() for check in checks)

    @property
    def lengths_differ(self) -> bool:
        return self.n_masks != self.shortest


def template_problem(text: str) -> str:
    """What is wrong with a template, in the page's language; "" where it can be used."""
    try:
        templates.parse(text).require_mask()
    except TemplateError as error:
        return _template_words(error, _place(error, text)[0])
    return ""


def check_prompt(
    *,
    labels: Sequence[tuple[str, str, Sequence[str]]],
    template: str,
    texts: Sequence[str] = (),
    backbone: str = SHIPPED_BACKBONE,
) -> PromptCheck:
    """Check label words and template as they stand in the form.

    `labels`: (key, name, words); a label without words stands for itself by its name. `texts` fill the previews.
    Words are read with the vocabulary of `backbone`. Raises BackboneError for one that is not here."""
    # The key, not the name, tells labels apart: while somebody types, two may have one name.
    engine_labels = [
        verbalizer.Label(key, tuple(words) or ((name,) if name.strip() else ()))
        for key, name, words in labels
    ]
    checks: dict[str, list[WordCheck]] = {key: [] for key, _name, _words in labels}
    lengths: list[int] = []
    vocabulary = vocabulary_of(backbone)
    for report in verbalizer.inspect(engine_labels, vocabulary):
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
        plan = encoding.plan_prompt(
            vocabulary,
            [parsed],
            n_masks=n_masks,
            vocab_size=vocabulary.get_vocab_size(),
            max_length=MAX_LENGTH,
            multi_label=False,
        )
    except TemplateError as error:
        at, end = _place(error, template)
        return dataclasses.replace(
            result,
            error=_template_words(error, at),
            error_detail=error.message,
            error_at=at,
            error_end=end,
        )
    fixed = sum(len(segment.get("ids", ())) for segment in plan.encoding["views"][0])
    return dataclasses.replace(
        result,
        prompt_tokens=fixed,
        previews=tuple(_filled(parsed, plan.encoding, text, vocabulary) for text in texts),
    )


def _filled(
    parsed: templates.Template, plan: dict[str, Any], text: str, vocabulary: Any
) -> tuple[Piece, ...]:
    first, _tab, second = text.partition("\t") if "b" in parsed.fields else (text, "", "")
    kept = encoding.kept_characters(plan, vocabulary, text)
    pieces: list[Piece] = []
    for part in parsed.parts:
        if part.kind == "mask":
            pieces += [Piece("mask", "")] * min(part.length or plan["n_masks"], MAX_SHOWN_MASKS)
        elif part.kind == "text":
            value = first if part.value == "a" else second or _("（没有第二段文本）")
            pieces += _read_and_cut(value, kept[part.value] if value in (first, second) else len(value))
        elif part.kind == "soft":
            pieces.append(Piece("soft", part.value or "·" * min(part.length or 1, MAX_SHOWN_MASKS)))
        elif part.kind == "hard":
            pieces.append(Piece("hard", part.value))
        elif part.kind == "sep":
            pieces.append(Piece("sep", ""))
    return tuple(pieces)


def _read_and_cut(text: str, n_kept: int) -> list[Piece]:
    pieces = [Piece("text", text[:n_kept])]
    if n_kept < len(text):
        rest = text[n_kept : n_kept + CUT_CHARS]
        pieces.append(Piece("cut", rest + ("…" if n_kept + CUT_CHARS < len(text) else "")))
    return pieces


def _place(error: TemplateError, template: str) -> tuple[int | None, int | None]:
    """Where the fault stands in the template: the index of its first character, and the one after its last."""
    part = error.detail.get("part")
    if isinstance(part, int):
        places = templates.places(template)
        return places[part] if part < len(places) else (None, None)
    at, end = error.detail.get("at"), error.detail.get("end")
    return (at if isinstance(at, int) else None), (end if isinstance(end, int) else None)


def _template_words(error: TemplateError, at: int | None) -> str:
    if isinstance(error, TemplateTooLong):
        return _("提示占了 %(prompt)s 个词元，模型一次只读 %(limit)s 个，留给文本的太少。") % {
            "prompt": error.detail["prompt_tokens"],
            "limit": error.detail["max_length"],
        }
    fault = error.detail.get("fault")
    if fault == "mask_count":
        return (
            _("模板有 %(masks)s 个空格，最长的标签词占 %(needed)s 个词元；写 {mask}，个数会自己对上。")
            % error.detail
        )
    words = FAULTS.get(str(fault))
    if words is None:
        return _("模板读不懂。写法例如：以下是一条{mask}新闻。{text}")
    return str(words) % {"at": (at or 0) + 1} if "%(at)d" in str(words) else str(words)
