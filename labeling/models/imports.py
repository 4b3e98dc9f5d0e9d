"""One file (or folder, or zip) brought in, and its report."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from labeling.models.jobs import Job
from labeling.models.projects import Project


class ImportBatch(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="import_batch")
    filename = models.CharField(max_length=200, help_text="as the user named it; only ever shown")
    path = models.CharField(max_length=300, help_text="below WANXING_HOME, named by us")
    size_bytes = models.BigIntegerField(default=0)
    options = models.JSONField(default=dict, help_text="format, encoding, columns, split, add_labels")
    rows_read = models.BigIntegerField(default=0)
    rows_added = models.BigIntegerField(default=0)
    rows_duplicate = models.BigIntegerField(default=0)
    rows_relabelled = models.BigIntegerField(default=0)
    rows_conflict = models.BigIntegerField(
        default=0,
        help_text="of the duplicates: the file's label differs from what was decided; nothing was changed",
    )
    rows_refused = models.BigIntegerField(default=0)
    refused_by_reason = models.JSONField(default=dict)
    warnings = models.JSONField(
        default=list, help_text='[{"code", "line", "excerpt"}], the first of each kind'
    )
    resume = models.JSONField(
        default=dict, help_text="how far the last committed chunk came; see services.imports"
    )
    report_path = models.CharField(
        max_length=300, blank=True, help_text="every refused and duplicate row, as tsv"
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.filename
