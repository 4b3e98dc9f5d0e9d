"""Forms of a project's settings."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeling.models import Project
from labeling.models.projects import Task
from labeling.services import queue


class ProjectForm(forms.ModelForm):
    """Name, the order in which texts come, and whether a model's answers may be in view while people label."""

    queue_order = forms.ChoiceField(
        label=_("先标哪些"),
        choices=lambda: queue.ORDERS.items(),
        required=False,
        help_text=_(
            "自动：先看模型在两个标签之间拿不准的；它要是还不比瞎猜强，就先把各种各样的文本都看到。每个人还可以在标注页上自己换。"
        ),
    )

    class Meta:
        model = Project
        fields = ["name", "queue_order", "show_suggestions"]
        labels = {"name": _("项目名称"), "show_suggestions": _("标注时显示模型的建议")}
        help_texts = {
            "show_suggestions": _(
                "每个人还可以在标注页上自己关掉。验证集和测试集的文本从不显示建议；看没看过建议，每个决定都记着。"
            )
        }

    def clean_queue_order(self) -> str:
        return self.cleaned_data["queue_order"] or self.instance.queue_order


class SplitsForm(forms.Form):
    """How many percent of the texts are kept for dev and for test."""

    dev_percent = forms.IntegerField(
        label=_("验证集（%）"), min_value=0, max_value=45, help_text=_("训练时用来挑选最好的一步。")
    )
    test_percent = forms.IntegerField(
        label=_("测试集（%）"),
        min_value=0,
        max_value=45,
        help_text=_("只用来报告成绩，从不参与训练、建议和挑选。"),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("dev_percent", 0) + values.get("test_percent", 0) > 80:
            raise forms.ValidationError(gettext("两者加起来不能超过 80%，否则剩下的太少，没法训练。"))
        return values


class TaskForm(forms.Form):
    """How many labels a text may have."""

    task = forms.ChoiceField(
        label=_("一条文本可以有几个标签"), choices=Task.choices, widget=forms.RadioSelect
    )


class OverlapForm(forms.Form):
    """How many people decide each text."""

    overlap = forms.IntegerField(
        label=_("每条文本由几个人标注"),
        min_value=1,
        max_value=9,
        help_text=_(
            "大于 1 时，同一条文本会分给这么多人，互相看不到；全部一致才算标好，有分歧的等审核者裁决。"
            "用它来量一致性，或者标难的任务。"
        ),
    )
