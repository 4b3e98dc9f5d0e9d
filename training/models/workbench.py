"""What the workbench keeps of a project: the backbone it asks, and comparisons of prompts."""

from __future__ import annotations

from django.db import models

from labeling.models import Job, Project


class WorkbenchChoice(models.Model):
    """The backbone that answers in a project's workbench, and the method; "" means the usual one."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="workbench")
    backbone = models.CharField(max_length=80, blank=True)
    method = models.CharField(max_length=32, blank=True)

    def __str__(self) -> str:
        return f"{self.backbone} {self.method}"


class PromptComparison(models.Model):
    """Several templates and word sets judged on the same labelled texts of train and dev."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompt_comparisons")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="prompt_comparison")
    backbone = models.CharField(max_length=80)
    method = models.CharField(max_length=32, blank=True)
    candidates = models.JSONField(
        help_text='[{"name", "template", "template_id", "labels": [{"id", "name", "words"}]}]'
    )
    result = models.JSONField(default=dict, help_text="what `training.services.prompt_comparison` wrote")
    request_token = models.UUIDField(
        null=True, blank=True, unique=True, help_text="made by the form: sent twice, it starts one job"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{len(self.candidates)} prompts"
