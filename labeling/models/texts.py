"""Texts. A text is unique in its project by the hash of its normalised form."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from django.conf import settings
from django.db import models
from django.db.models.functions import Length
from django.utils.translation import gettext_lazy as _

from labeling.models.labels import Label
from labeling.models.projects import Project

_SPACES = re.compile(r"\s+")


class Split(models.TextChoices):
    """Where a text may be used. Nothing chooses by `test`; `pool` texts become training texts when labelled."""

    TRAIN = "train", _("训练集")
    DEV = "dev", _("验证集")
    TEST = "test", _("测试集")
    POOL = "pool", _("未标注池")


class Status(models.TextChoices):
    OPEN = "open", _("待标注")
    LABELLED = "labelled", _("已标注")
    SKIPPED = "skipped", _("已跳过")
    DISPUTED = "disputed", _("待裁决")


class SuggestionUse(models.TextChoices):
    """What the last decision about a text made of the model's answer that was in view."""

    NONE = "", _("没有看建议")
    ACCEPTED = "accepted", _("采纳了建议")
    OVERRULED = "overruled", _("没有采纳建议")


def text_hash(text: str) -> bytes:
    """16 bytes that are equal for texts that differ only in width, spacing or Unicode composition."""
    normalised = _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip()
    return hashlib.sha256(normalised.encode()).digest()[:16]


class ExampleQuerySet(models.QuerySet["Example"]):
    def labelled(self) -> ExampleQuerySet:
        """Texts that are decided; in projects with several labels, also those that none of them fits."""
        return self.filter(status=Status.LABELLED)

    def unlabelled(self) -> ExampleQuerySet:
        return self.filter(status__in=[Status.OPEN, Status.SKIPPED, Status.DISPUTED])

    def for_training(self) -> ExampleQuerySet:
        """Labelled texts that a model may learn from: never dev, never test."""
        return self.labelled().filter(split__in=[Split.TRAIN, Split.POOL])

    def pool(self) -> ExampleQuerySet:
        """Unlabelled texts that a model may see: never dev, never test."""
        return self.unlabelled().filter(split__in=[Split.TRAIN, Split.POOL])


class Example(models.Model):
    """A text. `label` and `status` are derived from its annotations and kept here for the lists.

    In projects with several labels, `label` is the first of them (ExampleLabel has all), and a labelled text
    without one is a text that none of them fits."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="examples")
    text = models.TextField()
    text_hash = models.BinaryField(max_length=16)
    split = models.CharField(max_length=5, choices=Split.choices, default=Split.POOL)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.OPEN)
    label = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, related_name="examples")
    flagged = models.BooleanField(default=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    suggestion = models.CharField(
        max_length=9, choices=SuggestionUse.choices, default=SuggestionUse.NONE, blank=True
    )
    n_comments = models.PositiveIntegerField(default=0)
    n_deciders = models.PositiveSmallIntegerField(
        default=0, help_text="people whose decision of a label stands"
    )
    order = models.BigIntegerField(
        default=0, help_text="random, fixed at import: the default order of the queue"
    )
    batch = models.ForeignKey(
        "labeling.ImportBatch", on_delete=models.SET_NULL, null=True, blank=True, related_name="examples"
    )
    line = models.PositiveIntegerField(null=True, blank=True)
    length = models.GeneratedField(
        expression=Length("text"), output_field=models.PositiveIntegerField(), db_persist=True
    )
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = ExampleQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "text_hash"], name="text_unique_in_project"),
            models.CheckConstraint(condition=models.Q(split__in=Split.values), name="example_split_known"),
            models.CheckConstraint(
                condition=models.Q(status="labelled") | models.Q(label__isnull=True),
                name="a_label_means_labelled",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "status", "order", "id"], name="example_queue"),
            models.Index(fields=["project", "split", "status", "id"], name="example_split_status"),
            models.Index(fields=["project", "label", "id"], name="example_label"),
            # All that the list filters by, so that a filter which hardly anything passes is decided in the index
            # alone: 1,000,000 texts in about 0.1 s (docs/research/2026-11-find.md).
            models.Index(
                fields=[
                    "project",
                    "id",
                    "status",
                    "split",
                    "label",
                    "decided_by",
                    "flagged",
                    "suggestion",
                    "n_comments",
                    "length",
                    "decided_at",
                    "created_at",
                ],
                name="example_find",
            ),
            models.Index(fields=["project", "length", "id"], name="example_length"),
            models.Index(
                fields=["project", "decided_at", "id"],
                condition=models.Q(decided_at__isnull=False),
                name="example_decided",
            ),
        ]

    def __str__(self) -> str:
        return self.text[:40]


class ExampleLabel(models.Model):
    """One of the labels of a text, where a project allows several. `Example.label` is the first of them."""

    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="label_rows")
    label = models.ForeignKey(Label, on_delete=models.PROTECT, related_name="example_rows")

    class Meta:
        ordering = ["label__position", "label_id"]
        constraints = [
            models.UniqueConstraint(fields=["example", "label"], name="label_once_per_text"),
        ]
        indexes = [models.Index(fields=["label", "example"], name="example_label_rows")]

    def __str__(self) -> str:
        return f"{self.example_id} {self.label_id}"
