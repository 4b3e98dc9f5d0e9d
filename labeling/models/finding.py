"""Views that people come back to, and rules that say what a text probably is."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.jobs import Job
from labeling.models.labels import Label
from labeling.models.projects import Project
from labeling.models.texts import Example

PATTERN_LENGTH = 200


class SavedView(models.Model):
    """A search with its filters and order under a name. `query` is an address that our own form made."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="saved_views")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=1000, blank=True)
    shared = models.BooleanField(default=False, help_text="shown to everybody who reads the project's texts")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "user", "name"], name="view_name_unique"),
        ]

    def __str__(self) -> str:
        return self.name


class BulkAction(models.Model):
    """A label given to many texts in one go. Its decisions are annotations with the same `bulk_id`."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="bulk_actions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    bulk_id = models.UUIDField(help_text="made by the page: sent twice, it changes nothing")
    label = models.ForeignKey(Label, on_delete=models.SET_NULL, null=True, related_name="+")
    done = models.PositiveIntegerField(default=0, help_text="texts that were given the label")
    same = models.PositiveIntegerField(default=0, help_text="had it already")
    changed = models.PositiveIntegerField(
        default=0, help_text="left alone: decided otherwise since they were shown"
    )
    held_back = models.PositiveIntegerField(
        default=0, help_text="left alone: dev and test, chosen by a model"
    )
    gone = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    kept = models.PositiveIntegerField(
        default=0, help_text="decided again after it, and so kept when it was undone"
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "bulk_id"], name="bulk_once"),
        ]

    def __str__(self) -> str:
        return f"{self.done} → {self.label_id}"


class RuleKind(models.TextChoices):
    CONTAINS = "contains", _("含有")
    REGEX = "regex", _("正则表达式")
    WORD = "word", _("标签词")


class Rule(models.Model):
    """A text like this is probably of that label. `pattern` is empty for label words: the label's words are asked."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rules")
    kind = models.CharField(max_length=8, choices=RuleKind.choices)
    pattern = models.CharField(max_length=PATTERN_LENGTH, blank=True)
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="rules")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="rules")
    wanted = models.BooleanField(default=False, help_text="its weak labels are to be there")
    applied_at = models.DateTimeField(null=True, blank=True)
    matched = models.PositiveIntegerField(default=0, help_text="texts with a weak label by this rule")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "pattern", "label"], name="rule_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pattern} → {self.label_id}"


class WeakLabel(models.Model):
    """What a rule says of a text that may be trained on. Never a decision, never of dev or test."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+", db_index=False)
    rule = models.ForeignKey(Rule, on_delete=models.CASCADE, related_name="weak_labels", db_index=False)
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="weak_labels")
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="+", db_index=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rule", "example"], name="weak_label_once"),
        ]
        indexes = [models.Index(fields=["project", "label", "example"], name="weak_label_by_label")]

    def __str__(self) -> str:
        return f"{self.rule_id} #{self.example_id}"
