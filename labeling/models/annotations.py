"""Decisions about texts: appended, never changed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.labels import Label
from labeling.models.projects import Project
from labeling.models.texts import Example


class Action(models.TextChoices):
    LABEL = "label"
    NONE = "none"  # none of the labels fits, where a project allows several
    SKIP = "skip"
    CLEAR = "clear"
    UNDO = "undo"
    FLAG = "flag"
    UNFLAG = "unflag"


class SkipReason(models.TextChoices):
    """Why a text is often skipped; a person may also say it in words of their own."""

    UNCLEAR = "unclear", _("看不懂")
    NO_LABEL = "no_label", _("没有合适的标签")
    AMBIGUOUS = "ambiguous", _("几个标签都说得通")
    BROKEN = "broken", _("文字残缺或乱码")
    DUPLICATE = "duplicate", _("和别的文本重复")


class Source(models.TextChoices):
    BLIND = "blind"  # decided without seeing a model's answer
    SUGGESTION = "suggestion"  # decided with a model's answer in view
    REVIEW = "review"  # changed from a list of results
    IMPORT = "import"  # came with the file
    BULK = "bulk"
    ADJUDICATION = "adjudication"  # decided between people who differ


class Annotation(models.Model):
    """One decision. `client_id` is made by the page, so that sending it again changes nothing."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="annotations")
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="annotations")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="annotations"
    )
    action = models.CharField(max_length=6, choices=Action.choices)
    label = models.ForeignKey(Label, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    previous_label = models.ForeignKey(
        Label, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    labels = models.JSONField(
        default=list,
        blank=True,
        help_text="ids of all labels given, in the labels' order, where a project allows several",
    )
    source = models.CharField(max_length=12, choices=Source.choices, default=Source.BLIND)
    client_id = models.UUIDField(null=True, blank=True)
    undoes = models.OneToOneField(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="undone_by"
    )
    reason = models.CharField(max_length=200, blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="time on the page before deciding")
    suggested_label = models.ForeignKey(
        Label,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="what a model suggested in view",
    )
    suggested_labels = models.JSONField(
        default=list, blank=True, help_text="ids of all labels suggested, where a project allows several"
    )
    suggestion_probability = models.FloatField(null=True, blank=True)
    suggestion_source = models.CharField(max_length=20, blank=True, help_text="zero_shot, probe or run:ID")
    guideline_version = models.PositiveIntegerField(null=True, blank=True)
    bulk_id = models.UUIDField(null=True, blank=True, help_text="shared by what was decided in one go")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "client_id"], name="annotation_client_id_unique"),
            models.CheckConstraint(
                condition=~models.Q(action="label") | models.Q(label__isnull=False),
                name="label_action_has_label",
            ),
        ]
        indexes = [
            models.Index(fields=["example", "id"], name="annotation_example"),
            models.Index(fields=["project", "user", "-id"], name="annotation_user_recent"),
            models.Index(
                fields=["bulk_id"], condition=models.Q(bulk_id__isnull=False), name="annotation_bulk"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.label_id or ''} #{self.example_id}"


class Comment(models.Model):
    """A remark about a text, for the people of the project. Appended; its author may take it back."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comments")
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="comments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.TextField(max_length=2000)
    client_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "client_id"], name="comment_client_id_unique"),
        ]
        indexes = [models.Index(fields=["example", "id"], name="comment_example")]

    def __str__(self) -> str:
        return self.text[:40]
