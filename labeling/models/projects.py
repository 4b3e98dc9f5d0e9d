"""Projects, who belongs to them, and the single-use links by which people join."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """What a member may do; the table stands in `labeling.permissions`."""

    OWNER = "owner", _("负责人")
    REVIEWER = "reviewer", _("审核者")
    ANNOTATOR = "annotator", _("标注者")
    VIEWER = "viewer", _("查看者")


class Task(models.TextChoices):
    """How many labels a text may have."""

    SINGLE = "single", _("每条文本一个标签")
    MULTI_LABEL = "multi_label", _("每条文本可以有几个标签")


class Project(models.Model):
    """A question asked of many texts: one set of texts, labels, prompt and runs."""

    name = models.CharField(max_length=120)
    guidelines = models.TextField(blank=True, max_length=20_000)
    dev_percent = models.PositiveSmallIntegerField(
        default=20, validators=[MinValueValidator(0), MaxValueValidator(45)]
    )
    test_percent = models.PositiveSmallIntegerField(
        default=20, validators=[MinValueValidator(0), MaxValueValidator(45)]
    )
    task = models.CharField(max_length=12, choices=Task.choices, default=Task.SINGLE)
    queue_order = models.CharField(max_length=20, default="auto")
    overlap = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(9)],
        help_text="how many people decide each text",
    )
    show_suggestions = models.BooleanField(default=True)
    is_sample = models.BooleanField(default=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name

    def role_of(self, user: Any) -> str | None:
        """The role of `user` here, or None for a stranger."""
        if not user.is_authenticated:
            return None
        return self.memberships.filter(user=user).values_list("role", flat=True).first()


class Membership(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices)
    keys = models.JSONField(default=dict, blank=True, help_text="own keys: {label id: key}")
    hide_suggestions = models.BooleanField(default=False)
    seen_guidelines = models.PositiveIntegerField(
        default=0, help_text="the newest version of the guidelines that this person has had in view"
    )
    goal = models.PositiveIntegerField(
        null=True, blank=True, help_text="labelled texts that this person aims at; all of them where empty"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_person"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"


class Invitation(models.Model):
    """A link that lets one person join once. Only the hash of its secret is kept."""

    LIFETIME = timedelta(days=7)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=12, choices=Role.choices)
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.project} · {self.role}"

    @staticmethod
    def hash_of(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(cls, *, project: Project, role: str, created_by: Any) -> tuple[Invitation, str]:
        """Store a new invitation; return it with the secret, which is never shown again."""
        token = secrets.token_urlsafe(24)
        invitation = cls.objects.create(
            project=project,
            role=role,
            token_hash=cls.hash_of(token),
            created_by=created_by,
            expires_at=timezone.now() + cls.LIFETIME,
        )
        return invitation, token


class GuidelineVersion(models.Model):
    """One version of a project's guidelines. Versions are only ever added; `Project.guidelines` is the newest."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_versions")
    version = models.PositiveIntegerField()
    text = models.TextField(max_length=20_000, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(fields=["project", "version"], name="guideline_version_unique"),
        ]

    def __str__(self) -> str:
        return f"v{self.version}"
