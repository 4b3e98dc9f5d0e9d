"""What a look at the labels found: texts whose label is probably wrong, doubles, and texts unlike all others."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.jobs import Job
from labeling.models.labels import Label
from labeling.models.projects import Project
from labeling.models.texts import Example


class SuspectKind(models.TextChoices):
    ERRORS = "errors", _("可疑标签")
    DUPLICATES = "duplicates", _("重复文本")
    OUTLIERS = "outliers", _("离群文本")


class QualityCheck(models.Model):
    """One look at a project's labels. The suspects of the newest that succeeded stand; older ones are removed."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quality_checks")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="quality_check")
    n_labelled = models.PositiveIntegerField(default=0, help_text="labelled texts that were looked at")
    n_texts = models.PositiveIntegerField(default=0, help_text="texts that were compared with the others")
    accuracy = models.FloatField(null=True, blank=True, help_text="of the model that looked, held out")
    skipped = models.CharField(max_length=20, blank=True, help_text="why label errors were not looked for")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.project} #{self.pk}"


class Suspect(models.Model):
    """A text to look at once more. It leaves the list with the next decision about the text."""

    check_run = models.ForeignKey(QualityCheck, on_delete=models.CASCADE, related_name="suspects")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="suspects")
    kind = models.CharField(max_length=10, choices=SuspectKind.choices)
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="suspects")
    other = models.ForeignKey(
        Example, on_delete=models.CASCADE, null=True, blank=True, related_name="+", help_text="its double"
    )
    suggested_label = models.ForeignKey(
        Label, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    score = models.FloatField(
        help_text="errors: the label's probability; doubles: likeness; outliers: distance"
    )
    rank = models.PositiveIntegerField(help_text="0 first")
    after_annotation = models.BigIntegerField(
        help_text="the newest decision when the list was made: a later one takes the text off"
    )

    class Meta:
        ordering = ["kind", "rank"]
        constraints = [
            models.UniqueConstraint(fields=["check_run", "kind", "example"], name="suspect_once_per_text"),
            models.CheckConstraint(
                condition=models.Q(kind__in=SuspectKind.values), name="suspect_kind_known"
            ),
        ]
        indexes = [models.Index(fields=["project", "kind", "rank"], name="suspect_list")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.example_id}"
