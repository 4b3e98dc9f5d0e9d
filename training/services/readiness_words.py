"""What stands in the way of a training in words, templates and the shape of the texts."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeling.models import Example, Label, Project
from training.fewshot import template as templates
from training.fewshot import verbalizer
from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE, FewShotConfig
from training.fewshot.data import PAIR_SEPARATOR, is_pair
from training.fewshot.errors import EngineError
from training.fewshot.tokenization import load_tokenizer
from training.services import backbones
from training.services.findings import Finding, names_of

ASKS_WITH_WORDS = ("prompt", "label_sentence", "mixture", "auto", "zero_shot")
# Methods that read both texts of a pair as one.
READS_AS_ONE = ("label_sentence", "probe", "mixture", "finetune", "prompt")
TEXTS_LOOKED_AT = 50


def holds_pairs(project: Project) -> bool:
    """Whether the project's labelled texts are pairs: two texts with a tab between them."""
    labelled = Example.objects.filter(project=project).labelled().order_by("pk")
    seen = list(labelled.values_list("text", flat=True)[:TEXTS_LOOKED_AT])
    return bool(seen) and all(map(is_pair, seen))


def method_for(project: Project) -> str:
    """The method that a run of this project begins with where nobody chose one."""
    return "pair" if holds_pairs(project) else FewShotConfig().method


def about_pairs(project: Project, config: FewShotConfig) -> Iterator[Finding]:
    """Whether texts and method agree on what a text is: one text, or two to compare."""
    if config.method == "pair":
        labelled = Example.objects.filter(project=project).labelled()
        alone = labelled.exclude(text__contains=PAIR_SEPARATOR).count()
        if alone:
            yield Finding(
                "not_pairs",
                ngettext(
                    "「句对比较」要求每条文本是两句话，中间用制表符隔开；有 %(n)d 条不是。换一种方法，或者改这条文本。",
                    "「句对比较」要求每条文本是两句话，中间用制表符隔开；有 %(n)d 条不是。换一种方法，或者改这些文本。",
                    alone,
                )
                % {"n": alone},
                blocking=True,
                count=alone,
                fix="texts",
                fix_title=_("看文本"),
            )
    elif config.method in READS_AS_ONE and holds_pairs(project):
        yield Finding(
            "pairs_read_as_one",
            _("这些文本是句对。「句对比较」把两句分开读再比较，判断两句关系时通常准得多。"),
        )


def about_words(labels: list[Label], config: FewShotConfig) -> Iterator[Finding]:
    asks = config.method in ASKS_WITH_WORDS
    without = [label.name for label in labels if not label.words.all()]
    if without and asks:
        yield Finding(
            "label_without_word",
            _("这些标签没有标签词，会直接用标签名：%(names)s。") % {"names": names_of(without)},
            count=len(without),
            fix="labels",
            fix_title=_("填写标签词"),
        )
    tokenizer = tokenizer_of(config.backbone)
    if tokenizer is not None and asks and labels:
        yield from _about_tokens(labels, tokenizer)
    yield from _about_template(config, asks=asks)


def _about_tokens(labels: list[Label], tokenizer: Any) -> Iterator[Finding]:
    reports = verbalizer.inspect(
        [verbalizer.Label(label.name, tuple(label.word_texts)) for label in labels], tokenizer
    )
    colliding = sorted({report.word for report in reports if "collision" in report.problems})
    unknown = sorted({report.word for report in reports if {"all_unknown", "empty"} & set(report.problems)})
    if colliding:
        yield Finding(
            "word_collision",
            _("不同标签用了同样的标签词：%(words)s。模型分不开它们。") % {"words": names_of(colliding)},
            blocking=True,
            count=len(colliding),
            fix="labels",
            fix_title=_("改标签词"),
        )
    if unknown:
        yield Finding(
            "unknown_word",
            _("模型的词表里没有这些标签词：%(words)s。换一个意思相近的词。") % {"words": names_of(unknown)},
            blocking=True,
            count=len(unknown),
            fix="labels",
            fix_title=_("改标签词"),
        )


def _about_template(config: FewShotConfig, *, asks: bool) -> Iterator[Finding]:
    if not asks and not config.template:
        return
    if not config.template:
        yield Finding(
            "no_template", _("还没有提示模板。"), blocking=True, fix="labels", fix_title=_("写提示模板")
        )
        return
    try:
        parsed = templates.parse(config.template, soft_encoder=config.soft_encoder)
    except EngineError as error:
        yield Finding(
            error.code,
            _("提示模板读不懂：%(problem)s") % {"problem": error.message},
            blocking=True,
            fix="labels",
            fix_title=_("改提示模板"),
        )
        return
    if asks and not parsed.has_mask:
        yield Finding(
            "template_without_mask",
            _("提示模板里没有 {mask}，模型不知道该在哪里回答。"),
            blocking=True,
            fix="labels",
            fix_title=_("改提示模板"),
        )


@functools.lru_cache(maxsize=4)
def _tokenizer_in(folder: Path) -> Any:
    return load_tokenizer(folder)


def tokenizer_of(backbone: str) -> Any | None:
    """The tokenizer of an encoder that is on this machine, or None: its words are then checked by the run."""
    folders = [SHIPPED_FOLDER / SHIPPED_BACKBONE] if backbone == SHIPPED_BACKBONE else []
    folders += sorted(backbones.cache_dir().glob(f"{backbone}-*")) if backbone != SHIPPED_BACKBONE else []
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return _tokenizer_in(folder)
    return None
