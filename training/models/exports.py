"""A model packed to run elsewhere, with the report that lets it out of the house."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models

from labeling.models import Job, Project
from training.models.runs import TrainingRun


class Format(models.TextChoices):
    ONNX = "onnx", "ONNX"
    INT8 = "int8", "ONNX int8"
    PADDLE = "paddle", "Paddle"


class Export(models.Model):
    """One bundle. It may be downloaded only when `passed`."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="exports")
    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="exports")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="export")
    format = models.CharField(max_length=8, choices=Format.choices)
    filename = models.CharField(max_length=120, blank=True)
    size_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    passed = models.BooleanField(default=False)
    report = models.JSONField(default=dict, help_text="one artefact of the engine's report.json")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.run} {self.format}"

    @property
    def folder(self) -> Path:
        return Path(settings.WANXING_HOME) / "exports" / str(self.pk)

    @property
    def stem(self) -> str:
        """The folder that the bundle unpacks into."""
        return self.filename.removesuffix(".zip")

    @property
    def path(self) -> Path:
        return self.folder / self.filename
