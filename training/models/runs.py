"""A training run and its evaluations. A run keeps all that made it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models

from labeling.models import Job, Project, PromptTemplate


class RunQuerySet(models.QuerySet["TrainingRun"]):
    def succeeded(self) -> RunQuerySet:
        return self.filter(job__status="succeeded")


class TrainingRun(models.Model):
    """One training. Two runs with the same snapshot, configuration, seed and backbone give the same numbers."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="training_run")
    number = models.PositiveIntegerField(help_text="1, 2, 3 … within the project: what people call it")
    note = models.CharField(max_length=200, blank=True)
    method = models.CharField(max_length=32)
    config = models.JSONField(help_text="FewShotConfig, as the engine reads it")
    labels = models.JSONField(help_text='[{"id", "name", "words"}] in class-id order')
    template = models.ForeignKey(PromptTemplate, on_delete=models.PROTECT, null=True, related_name="runs")
    template_text = models.CharField(max_length=1000)
    seed = models.PositiveIntegerField(default=42)
    backbone = models.CharField(max_length=80)
    backbone_hash = models.CharField(max_length=64, blank=True)
    snapshot_hash = models.CharField(max_length=64)
    counts = models.JSONField(default=dict, help_text="texts per split, and per label in train")
    result = models.JSONField(default=dict, help_text="result.json of the engine")
    request_token = models.UUIDField(
        null=True, blank=True, unique=True, help_text="made by the form: sent twice, it starts one run"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="run_number_unique")]

    def __str__(self) -> str:
        return f"#{self.number}"

    @property
    def folder(self) -> Path:
        """Where its snapshot, checkpoints, model and log are."""
        return Path(settings.WANXING_HOME) / "runs" / str(self.pk)

    @property
    def model_folder(self) -> Path:
        return self.folder / "model"


class Evaluation(models.Model):
    """Numbers of one run on one split. `data` is the engine's evaluation as decision 0001 gives it."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="evaluations")
    split = models.CharField(max_length=5)
    n = models.PositiveIntegerField()
    accuracy = models.FloatField()
    accuracy_low = models.FloatField(null=True)
    accuracy_high = models.FloatField(null=True)
    macro_f1 = models.FloatField()
    data = models.JSONField()

    class Meta:
        ordering = ["split"]
        constraints = [models.UniqueConstraint(fields=["run", "split"], name="one_evaluation_per_split")]

    def __str__(self) -> str:
        return f"{self.split} {self.accuracy:.3f}"
