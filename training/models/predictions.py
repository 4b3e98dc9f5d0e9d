"""Texts sent through a model: a file given back with labels and probabilities, or the unlabelled pool."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models

from labeling.models import Job, Project
from training.models.runs import TrainingRun


class FilePrediction(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="file_predictions")
    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="file_predictions")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="file_prediction")
    filename = models.CharField(max_length=200, help_text="as the user named it; only ever shown")
    options = models.JSONField(default=dict)
    rows = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    result_name = models.CharField(max_length=60, blank=True, help_text="file in `folder`, named by us")
    request_token = models.UUIDField(
        null=True, blank=True, unique=True, help_text="made by the form: sent twice, it starts one job"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.filename

    @property
    def folder(self) -> Path:
        return Path(settings.WANXING_HOME) / "predictions" / str(self.pk)


class PoolPrediction(models.Model):
    """One pass of a run's model over the unlabelled pool; its answers are `labeling.Prediction` rows."""

    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="pool_predictions")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="pool_prediction")
    texts = models.BigIntegerField(default=0, help_text="texts predicted so far")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.run} pool"
