"""Forms for making and deleting a project."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeling.models import Project


class NewProjectForm(forms.Form):
    """A name, or a file that brings one along."""

    name = forms.CharField(
        label=_("项目名称"),
        required=False,
        max_length=120,
        error_messages={"max_length": _("最多 %(limit_value)d 个字，现在有 %(show_value)d 个。")},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    file = forms.FileField(
        label=_("文本文件"),
        required=False,
        allow_empty_file=True,
        help_text=_(
            "txt、tsv、csv、xlsx、json、jsonl，或者装着 train、dev、test、data、label 几个 txt 的 zip。也可以以后再导入。"
        ),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not values.get("name") and not values.get("file") and "name" not in self.errors:
            self.add_error("name", gettext("给项目起个名字，或者选一个文件。"))
        return values


class DeleteProjectForm(forms.Form):
    """The project's name, typed by whoever means to delete it."""

    name = forms.CharField(
        label=_("输入项目名称来确认"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.project.name.strip():
            raise ValidationError(gettext("和项目名称不一样，没有删除任何东西。"))
        return name
