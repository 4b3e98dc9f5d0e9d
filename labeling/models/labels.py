"""Labels, the words that stand for them, and the prompt that asks for those words."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeling.models.projects import Project

# Okabe and Ito's colour-blind-safe set first, then Paul Tol's muted set; twenty in all.
PALETTE = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a7a00", "#332288", "#117733", "#882255",
    "#44aa99", "#aa4499", "#999933", "#6699cc", "#661100", "#888888", "#004488", "#bb5566", "#997700", "#225555",
]  # fmt: skip

NAME_LENGTH, WORD_LENGTH, TEMPLATE_LENGTH = 80, 40, 1000
DEFAULT_TEMPLATE = "{text}这段话的主题是{mask}。"


class Label(models.Model):
    """One class. `position` is the class id's order everywhere, exports included."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(max_length=NAME_LENGTH)
    color = models.CharField(max_length=7, validators=[RegexValidator(r"^#[0-9a-f]{6}$")])
    key = models.CharField(
        max_length=1,
        blank=True,
        validators=[RegexValidator(r"^[0-9a-z]?$", _("快捷键只能是一个数字或小写字母"))],
    )
    position = models.PositiveIntegerField()
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="label_name_unique"),
            models.UniqueConstraint(
                fields=["project", "key"], condition=~models.Q(key=""), name="label_key_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def word_texts(self) -> list[str]:
        """The label words in order; the label's own name where none was given."""
        return [word.text for word in self.words.all()] or [self.name]


class LabelWord(models.Model):
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="words")
    text = models.CharField(max_length=WORD_LENGTH)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["label", "text"], name="label_word_unique")]

    def __str__(self) -> str:
        return self.text


class PromptTemplate(models.Model):
    """One version of a project's prompt. Versions are only ever added; the newest is the present one."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="templates")
    version = models.PositiveIntegerField()
    text = models.CharField(max_length=TEMPLATE_LENGTH)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="template_version_unique")]

    def __str__(self) -> str:
        return f"v{self.version} {self.text}"
