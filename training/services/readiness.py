"""What stands in the way of a training, said before it starts: counts, and where to mend each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeling.models import Example, ExampleLabel, Label, Project
from labeling.models.projects import Task
from labeling.models.texts import Split
from training.fewshot.config import FewShotConfig
from training.fewshot.data import MIN_DEV_TEXTS_A_CLASS
from training.services import backbones
from training.services.findings import Finding, names_of
from training.services.readiness_words import about_pairs, about_words, method_for
from training.services.snapshot import active_labels

FEW_PER_LABEL = 8
SMALL_TEST = 100


@dataclass(frozen=True, slots=True)
class Readiness:
    """All findings, the blocking ones first, and what there is to train on."""

    findings: tuple[Finding, ...]
    counts: dict[str, int]
    n_labels: int

    @property
    def blocking(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.blocking]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.blocking]

    @property
    def is_ready(self) -> bool:
        return not self.blocking

    def of_code(self, code: str) -> Finding | None:
        return next((finding for finding in self.findings if finding.code == code), None)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Labelled texts by split (pool texts that are labelled count as train) and label; `texts` by split alone.

    Where a text may have several labels it counts for each of them."""

    train: dict[int, int]
    dev: dict[int, int]
    test: dict[int, int]
    texts: dict[str, int]
    unlabelled: int
    archived: int
    several: bool = False

    @classmethod
    def of(cls, project: Project, labels: list[Label]) -> _Counts:
        known = {label.pk for label in labels}
        by_split: dict[str, dict[int, int]] = {Split.TRAIN: {}, Split.DEV: {}, Split.TEST: {}}
        unlabelled = archived = 0
        if project.task == Task.MULTI_LABEL:
            return cls._of_several(project, known, by_split)
        rows = Example.objects.filter(project=project).order_by().values("split", "label_id")
        for row in rows.annotate(n=Count("pk")):
            split = Split.TRAIN if row["split"] == Split.POOL else row["split"]
            label_id, n = row["label_id"], row["n"]
            if label_id is None:
                unlabelled += n
            elif label_id not in known:
                archived += n
            else:
                by_split[split][label_id] = by_split[split].get(label_id, 0) + n
        texts = {split: sum(counts.values()) for split, counts in by_split.items()}
        train, dev, test = by_split.values()
        return cls(train, dev, test, texts, unlabelled, archived)

    @classmethod
    def _of_several(cls, project: Project, known: set[int], by_split: dict[str, dict[int, int]]) -> _Counts:
        texts = dict.fromkeys(by_split, 0)
        labelled = Example.objects.filter(project=project).labelled().order_by()
        for split, n in labelled.values_list("split").annotate(Count("pk")):
            texts[Split.TRAIN if split == Split.POOL else split] += n
        rows = ExampleLabel.objects.filter(example__project=project, label__in=known).order_by()
        for split, label_id, n in rows.values_list("example__split", "label").annotate(Count("pk")):
            of_split = by_split[Split.TRAIN if split == Split.POOL else split]
            of_split[label_id] = of_split.get(label_id, 0) + n
        unlabelled = Example.objects.filter(project=project).unlabelled().count()
        train, dev, test = by_split.values()
        return cls(train, dev, test, texts, unlabelled, archived=0, several=True)


def check_readiness(*, project: Project, config: FewShotConfig | None = None) -> Readiness:
    """What would stop or weaken a run of `config` (by default the one button's) on this project now."""
    newest = project.templates.first()
    config = config or FewShotConfig(method=method_for(project), template=newest.text if newest else "")
    labels = active_labels(project)
    counts = _Counts.of(project, labels)
    findings = [
        *_about_labels(labels),
        *_about_training_texts(labels, counts),
        *_about_held_out_texts(labels, counts),
        *about_words(labels, config),
        *about_pairs(project, config),
        *_about_machine(config),
    ]
    findings.sort(key=lambda finding: not finding.blocking)
    return Readiness(
        findings=tuple(findings),
        counts={
            "train": counts.texts[Split.TRAIN],
            "dev": counts.texts[Split.DEV],
            "test": counts.texts[Split.TEST],
            "unlabelled": counts.unlabelled,
        },
        n_labels=len(labels),
    )


def _about_labels(labels: list[Label]) -> Iterator[Finding]:
    if len(labels) >= 2:
        return
    message = _("还没有标签。") if not labels else _("只有一个标签，分类至少要两个。")
    yield Finding(
        "too_few_labels",
        message,
        blocking=True,
        count=len(labels),
        fix="labels",
        fix_title=_("添加标签"),
    )


def _about_training_texts(labels: list[Label], counts: _Counts) -> Iterator[Finding]:
    if not any(counts.texts.values()) and not counts.unlabelled:
        yield Finding(
            "no_texts",
            _("项目里还没有文本。"),
            blocking=True,
            fix="import_new",
            fix_title=_("导入文本"),
        )
        return
    missing = [label.name for label in labels if not counts.train.get(label.pk)]
    if missing and len(labels) >= 2:
        yield Finding(
            "label_without_text",
            ngettext(
                "%(n)d 个标签在训练集里没有文本：%(names)s。给它标几条，或者归档它。",
                "%(n)d 个标签在训练集里没有文本：%(names)s。给它们各标几条，或者归档它们。",
                len(missing),
            )
            % {"n": len(missing), "names": names_of(missing)},
            blocking=True,
            count=len(missing),
            fix="label",
            fix_title=_("去标注"),
        )
    few = [label.name for label in labels if 0 < counts.train.get(label.pk, 0) < FEW_PER_LABEL]
    if few:
        yield Finding(
            "few_per_label",
            ngettext(
                "%(n)d 个标签的训练文本不到 %(few)d 条：%(names)s。可以训练，但多标一些会明显更好。",
                "%(n)d 个标签的训练文本不到 %(few)d 条：%(names)s。可以训练，但多标一些会明显更好。",
                len(few),
            )
            % {"n": len(few), "few": FEW_PER_LABEL, "names": names_of(few)},
            count=len(few),
            fix="label",
            fix_title=_("去标注"),
        )
    if counts.archived:
        yield Finding(
            "archived_labels",
            ngettext(
                "%(n)d 条文本的标签已归档，这次训练不用它们。",
                "%(n)d 条文本的标签已归档，这次训练不用它们。",
                counts.archived,
            )
            % {"n": counts.archived},
            count=counts.archived,
            fix="labels",
            fix_title=_("看标签"),
        )


def _about_held_out_texts(labels: list[Label], counts: _Counts) -> Iterator[Finding]:
    if len(labels) < 2:
        return
    thin = [label.name for label in labels if counts.dev.get(label.pk, 0) < MIN_DEV_TEXTS_A_CLASS]
    absent = [label.name for label in labels if not counts.dev.get(label.pk)]
    if absent:
        if counts.several and counts.texts[Split.DEV]:
            message = _("验证集里没有这些标签的文本：%(names)s。它们的成绩和门槛只能凭训练文本。")
        else:
            message = _("验证集里没有这些标签的文本：%(names)s。验证成绩改由训练和验证文本上的交叉验证得出。")
        yield Finding(
            "class_missing_from_dev",
            message % {"names": names_of(absent)},
            count=len(absent),
            fix="texts",
            fix_title=_("看验证集"),
        )
    elif thin and not counts.several:
        yield Finding(
            "dev_thin",
            _(
                "验证集里每个标签不足 %(few)d 条（%(names)s）。时间够时，验证成绩改由训练和验证文本上的交叉验证得出。"
            )
            % {"few": MIN_DEV_TEXTS_A_CLASS, "names": names_of(thin)},
            count=len(thin),
            fix="texts",
            fix_title=_("看验证集"),
        )
    n_test = counts.texts[Split.TEST]
    if not n_test:
        yield Finding(
            "no_test",
            _("没有已标注的测试集文本，所以最后不会有测试成绩。"),
            fix="label",
            fix_title=_("去标注"),
        )
    elif n_test < SMALL_TEST:
        yield Finding(
            "small_test",
            ngettext(
                "测试集只有 %(n)d 条，成绩的误差大约是正负 %(points)d 个百分点。",
                "测试集只有 %(n)d 条，成绩的误差大约是正负 %(points)d 个百分点。",
                n_test,
            )
            % {"n": n_test, "points": round(100 * 1.96 * (0.25 / n_test) ** 0.5)},
            count=n_test,
            fix="label",
            fix_title=_("去标注"),
        )


def _about_machine(config: FewShotConfig) -> Iterator[Finding]:
    backbone = backbones.choice_of(config.backbone)
    if backbone is None or (not backbone.present and (backbone.path or not backbone.download_megabytes)):
        yield Finding(
            "backbone_missing",
            _("底座模型 %(name)s 不在这台机器上，请联系管理员恢复它，或者换一个。")
            % {"name": config.backbone},
            blocking=True,
        )
        return
    if not backbone.present:
        yield Finding(
            "backbone_download",
            _(
                "底座模型 %(name)s 还没有下载（%(megabytes)d MB）。没有网络时，请把它的目录放到 %(folder)s 下再训练。"
            )
            % {
                "name": backbone.name,
                "megabytes": round(backbone.download_megabytes),
                "folder": Path(settings.WANXING_HOME) / "paddlenlp" / "models" / backbone.name,
            },
        )
    free = shutil.disk_usage(settings.WANXING_HOME).free
    if free < backbone.disk_bytes:
        yield Finding(
            "low_disk",
            _("磁盘只剩 %(free)d MB，一次训练大约需要 %(need)d MB。请先清理磁盘。")
            % {"free": free >> 20, "need": backbone.disk_bytes >> 20},
            blocking=True,
        )
    memory = available_memory_bytes()
    if memory is not None and memory < backbone.training_bytes and config.device != "gpu":
        yield Finding(
            "low_memory",
            _(
                "可用内存 %(free)d MB，训练大约需要 %(need)d MB，可能会中途失败。关掉别的程序，或选小一些的底座模型。"
            )
            % {"free": memory >> 20, "need": backbone.training_bytes >> 20},
        )


def available_memory_bytes() -> int | None:
    """Memory that a new process could take, or None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
