"""What a model said of a text. Written by `training`, read by the queue, the lists and the search."""

from __future__ import annotations

from django.db import models

from labeling.models.labels import Label
from labeling.models.projects import Project
from labeling.models.texts import Example


class Prediction(models.Model):
    """One model's answer for one text. `model_id` is the number of the run that made the model.

    Where a project allows several labels, `label` is the likeliest, whether it is given or not."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="predictions", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="predictions")
    model_id = models.BigIntegerField(help_text="id of the training run")
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="+")
    label_ids = models.JSONField(
        default=list, blank=True, help_text="ids of all labels given, where a project allows several"
    )
    confidence = models.FloatField()
    margin = models.FloatField(default=0.0, help_text="first minus second probability")
    probabilities = models.JSONField(default=list, help_text="in the order of the run's labels")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model_id", "example"], name="one_prediction_per_model"),
        ]
        indexes = [
            models.Index(fields=["project", "model_id"], name="prediction_newest"),
            models.Index(fields=["model_id", "label", "-confidence", "id"], name="prediction_by_label"),
            models.Index(fields=["model_id", "confidence", "id"], name="prediction_by_confidence"),
        ]

    def __str__(self) -> str:
        return f"{self.label_id} {self.confidence:.2f}"
