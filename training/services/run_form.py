"""The settings of a run as a form. Its fields are those of FewShotConfig that a person may want to change."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any, cast

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling.models import Project, PromptTemplate
from labeling.models.projects import Task
from training.fewshot.config import PRESETS as ENGINE_PRESETS
from training.fewshot.config import RANGES, FewShotConfig
from training.fewshot.errors import ConfigError
from training.services import backbones, devices
from training.services.prompt_check import template_problem
from training.services.readiness_words import method_for

DEFAULTS = FewShotConfig()
MAX_EXTRA_TEMPLATES = 7
# A day: whoever wants more leaves the budget to the preset or sets passes.
MAX_BUDGET_MINUTES = 24 * 60
METHODS = [
    ("auto", gettext_lazy("自动（比较几种方法，取最好的）")),
    ("label_sentence", gettext_lazy("标签句（与每个标签的句子比较，标得少时最稳）")),
    ("prompt", gettext_lazy("提示填空（由标签词回答）")),
    ("mixture", gettext_lazy("标签句和填空两者混合")),
    ("pair", gettext_lazy("句对比较（每条是中间有制表符的两句话）")),
    ("finetune", gettext_lazy("普通微调（不用提示，标得多时可选）")),
    ("probe", gettext_lazy("只训练最后一层（最快）")),
    ("zero_shot", gettext_lazy("零样本（不训练，只凭标签词）")),
]
PRESETS = [
    ("", gettext_lazy("按下面的轮数")),
    ("quick", gettext_lazy("快速（约 3 分钟）")),
    ("best", gettext_lazy("尽力（最多约 30 分钟，也学未标注和验证的文本）")),
]

# Form field → setting of the same name; those left empty keep the engine's default.
NUMBERS: dict[str, tuple[Any, Any, Any]] = {
    "num_train_epochs": (forms.FloatField, gettext_lazy("训练轮数"), ""),
    "max_steps": (forms.IntegerField, gettext_lazy("最多步数"), gettext_lazy("-1 表示按轮数")),
    "learning_rate": (forms.FloatField, gettext_lazy("编码器学习率"), ""),
    "ppt_learning_rate": (forms.FloatField, gettext_lazy("提示与分类层学习率"), ""),
    "weight_decay": (forms.FloatField, gettext_lazy("权重衰减"), ""),
    "warmup_ratio": (forms.FloatField, gettext_lazy("预热比例"), gettext_lazy("0 到 1")),
    "train_batch_size": (forms.IntegerField, gettext_lazy("每批文本数"), ""),
    "gradient_accumulation_steps": (
        forms.IntegerField,
        gettext_lazy("梯度累积步数"),
        gettext_lazy("内存不够时调大它，调小每批文本数"),
    ),
    "max_seq_length": (forms.IntegerField, gettext_lazy("最大长度（词元）"), ""),
    "eval_steps": (
        forms.IntegerField,
        gettext_lazy("每多少步评估一次"),
        gettext_lazy("留空：全程大约八次；0：只在最后"),
    ),
    "freeze_layers": (
        forms.IntegerField,
        gettext_lazy("冻结前几层"),
        gettext_lazy("-1：标签句和句对比较冻结下面三分之二，其他方法不冻结"),
    ),
    "early_stopping_patience": (
        forms.IntegerField,
        gettext_lazy("早停：几次评估没有进步就停"),
        gettext_lazy("留空表示不早停；需要先设评估步数"),
    ),
    "seed": (forms.IntegerField, gettext_lazy("随机种子"), ""),
}
# The same, of single methods and regularisers: in a fold of their own.
FINE_NUMBERS: dict[str, tuple[Any, Any, Any]] = {
    "label_smoothing": (forms.FloatField, gettext_lazy("标签平滑"), gettext_lazy("0 表示不用")),
    "alpha_rdrop": (forms.FloatField, gettext_lazy("R-Drop 强度"), gettext_lazy("勾选 R-Drop 才有用")),
    "alpha_rgl": (forms.FloatField, gettext_lazy("RGL 强度"), gettext_lazy("勾选 RGL 才有用")),
    "fgm_epsilon": (
        forms.FloatField,
        gettext_lazy("FGM 扰动大小"),
        gettext_lazy("0 表示不用；词向量冻结时没有作用"),
    ),
    "ema_decay": (
        forms.FloatField,
        gettext_lazy("权重滑动平均（EMA）"),
        gettext_lazy("0 表示不用，例如 0.99"),
    ),
    "layer_decay": (
        forms.FloatField,
        gettext_lazy("逐层学习率"),
        gettext_lazy("每往下一层乘以它；1 表示各层一样"),
    ),
    "ensemble_size": (
        forms.IntegerField,
        gettext_lazy("老师模型的个数"),
        gettext_lazy("“也用上未标注的文本”时：几个模型一起教一个"),
    ),
}
FLAGS = {
    "recompute": gettext_lazy("重计算（更省内存，更慢）"),
    "freeze_plm": gettext_lazy("冻结整个编码器"),
    "use_rdrop": gettext_lazy("R-Drop"),
    "use_rgl": gettext_lazy("RGL"),
    "load_best_model_at_end": gettext_lazy("最后取验证集上最好的一步"),
    "use_pool": gettext_lazy("也用上未标注的文本"),
    "refit_on_dev": gettext_lazy("最后连同验证集再学一遍"),
}
SELECTS: dict[str, tuple[Any, list[tuple[str, Any]]]] = {
    "preset": (gettext_lazy("预设"), PRESETS),
    "lr_scheduler_type": (
        gettext_lazy("学习率变化"),
        [
            ("linear", gettext_lazy("线性下降")),
            ("cosine", gettext_lazy("余弦下降")),
            ("constant", gettext_lazy("不变")),
        ],
    ),
    "precision": (
        gettext_lazy("计算精度"),
        [
            ("fp32", "fp32"),
            ("fp16", gettext_lazy("fp16（需要显卡）")),
            ("bf16", gettext_lazy("bf16（需要显卡）")),
        ],
    ),
    "class_weights": (
        gettext_lazy("类别权重"),
        [("", gettext_lazy("不加权")), ("balanced", gettext_lazy("按标签数量平衡"))],
    ),
}
FINE_SELECTS: dict[str, tuple[Any, list[tuple[str, Any]]]] = {
    "soft_encoder": (
        gettext_lazy("软提示的编码器"),
        [("", gettext_lazy("不用")), ("lstm", "LSTM"), ("mlp", "MLP")],
    ),
    "verbalizer": (
        gettext_lazy("标签词怎么用"),
        [("soft", gettext_lazy("从标签词开始，跟着学")), ("manual", gettext_lazy("固定不变"))],
    ),
    "calibration": (
        gettext_lazy("填空前的校准"),
        [
            ("auto", gettext_lazy("自动")),
            ("pool", gettext_lazy("按未标注的文本")),
            ("empty", gettext_lazy("按空文本")),
            ("raw", gettext_lazy("不校准")),
        ],
    ),
    "zero_shot_by": (
        gettext_lazy("零样本凭什么答"),
        [
            ("label_sentence", gettext_lazy("标签句")),
            ("cloze", gettext_lazy("填空")),
            ("mixture", gettext_lazy("两者混合")),
        ],
    ),
    # Open, so that it is the preset's.
    "adapt": (
        gettext_lazy("底座先读未标注的文本"),
        [
            ("", gettext_lazy("按预设")),
            ("none", gettext_lazy("不读")),
            ("mlm", gettext_lazy("读原文（掩码语言模型）")),
            ("pcp", gettext_lazy("读写入伪标签的原文")),
        ],
    ),
}


OTHER_SELECTS = [name for name in SELECTS if name != "preset"]
ALL_SELECTS, ALL_NUMBERS = {**SELECTS, **FINE_SELECTS}, {**NUMBERS, **FINE_NUMBERS}
# Left empty at first, so that the preset's value or the engine's own stands.
OPEN = ("eval_steps", "adapt")


class RunForm(forms.Form):
    """What `request_run` reads. After `is_valid`, `config` is the engine's configuration."""

    token = forms.UUIDField(widget=forms.HiddenInput, required=False)
    note = forms.CharField(
        label=gettext_lazy("备注"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("给自己看的，例如「补标了 50 条财经」"),
    )
    time_budget_minutes = forms.FloatField(
        label=gettext_lazy("时间预算（分钟）"),
        help_text=gettext_lazy("留空按预设：快速 3 分钟，尽力 30 分钟"),
        min_value=0.5,
        max_value=MAX_BUDGET_MINUTES,
        required=False,
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    method = forms.ChoiceField(label=gettext_lazy("方法"), choices=METHODS, required=False)
    backbone = forms.ChoiceField(label=gettext_lazy("底座模型"), required=False)
    template = forms.ChoiceField(label=gettext_lazy("提示模板"), required=False)
    extra_templates = forms.JSONField(widget=forms.HiddenInput, required=False)
    device = forms.ChoiceField(label=gettext_lazy("设备"), required=False)

    def __init__(self, data: Any = None, *, project: Project, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.project = project
        self.config: FewShotConfig | None = None
        self.templates = {str(template.pk): template for template in project.templates.all()}
        if not self.is_bound:
            self.initial.setdefault("token", uuid.uuid4())
        self._choose("method", METHODS, method_for(project))
        self._choose(
            "backbone", [(choice.name, choice.title) for choice in backbones.choices()], DEFAULTS.backbone
        )
        newest = next(iter(self.templates), "")
        self._choose("template", [(key, str(value)) for key, value in self.templates.items()], newest)
        self._choose("device", self._devices(), "auto")
        for name, (label, choices) in ALL_SELECTS.items():
            self.fields[name] = forms.ChoiceField(label=label, choices=choices, required=False)
            usual = None if name in OPEN else getattr(DEFAULTS, name)
            self.fields[name].initial = usual or ("quick" if name == "preset" else "")
        for name, (kind, label, hint) in ALL_NUMBERS.items():
            low, high = RANGES[name]
            self.fields[name] = kind(
                label=label, help_text=hint, min_value=low, max_value=high, required=False
            )
            self.fields[name].widget.attrs["step"] = "any" if kind is forms.FloatField else "1"
            self.fields[name].initial = None if name in OPEN else getattr(DEFAULTS, name)
        for name, label in FLAGS.items():
            self.fields[name] = forms.BooleanField(label=label, required=False)
            self.fields[name].initial = getattr(DEFAULTS, name)

    def _choose(self, name: str, choices: list[tuple[str, Any]], initial: str) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices
        self.fields[name].initial = initial

    @staticmethod
    def _devices() -> list[tuple[str, str]]:
        found = [("auto", _("自动")), ("cpu", _("处理器"))]
        if "gpu" in devices.devices():
            found.append(("gpu", _("显卡")))
        return found

    @property
    def flag_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in FLAGS]

    @property
    def choice_fields(self) -> list[forms.BoundField]:
        """What decides most: method, backbone, template, preset."""
        return [self[name] for name in ("method", "backbone", "template", "preset")]

    @property
    def setting_fields(self) -> list[forms.BoundField]:
        """The other selects and the numbers of the advanced fold, in order."""
        return [self[name] for name in ("time_budget_minutes", "device", *OTHER_SELECTS, *NUMBERS)]

    @property
    def fine_fields(self) -> list[forms.BoundField]:
        """Settings of single methods and regularisers."""
        return [self[name] for name in (*FINE_SELECTS, *FINE_NUMBERS)]

    @property
    def has_fine_errors(self) -> bool:
        """Whether the fold of `fine_fields` has to be open."""
        return any(field.errors for field in self.fine_fields)

    @property
    def prompt_template(self) -> PromptTemplate | None:
        """The version of the prompt that was chosen; the newest when none was."""
        chosen = self.cleaned_data.get("template") if hasattr(self, "cleaned_data") else None
        return self.templates.get(chosen or "") or next(iter(self.templates.values()), None)

    @property
    def together(self) -> list[str]:
        """The templates that are trained beside the chosen one, as the form holds them; none where they are no list."""
        held = self["extra_templates"].value()
        if isinstance(held, str):
            try:
                held = json.loads(held)
            except ValueError:
                return []
        return [str(one) for one in held] if isinstance(held, list | tuple) else []

    def clean_extra_templates(self) -> tuple[str, ...]:
        """Templates that are trained together with the chosen one, from a comparison of prompts."""
        given = self.cleaned_data.get("extra_templates") or []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise forms.ValidationError(_("一起训练的模板要是一列文字。"))
        if len(given) > MAX_EXTRA_TEMPLATES:
            raise forms.ValidationError(_("最多一起训练 %(n)d 个模板。") % {"n": MAX_EXTRA_TEMPLATES + 1})
        for text in given:
            if problem := template_problem(text):
                raise forms.ValidationError(problem)
        return tuple(dict.fromkeys(given))

    def clean(self) -> dict[str, Any]:
        """Makes `config`; a setting that the engine refuses is an error of its field."""
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            self.config = FewShotConfig.from_json(self._settings(cleaned))
        except ConfigError as error:
            field = str(error.detail.get("setting", ""))
            self.add_error(
                field if field in self.fields else None,
                _("引擎不接受这个设置：%(problem)s") % {"problem": error.message},
            )
        return cleaned

    def _method(self, cleaned: dict[str, Any]) -> str:
        """The chosen method; the one that the form proposes leaves a preset that compares methods to do so."""
        proposed = method_for(self.project)
        chosen = cleaned.get("method") or proposed
        by_preset = ENGINE_PRESETS.get(cleaned.get("preset") or None, {}).get("method")
        return by_preset if by_preset and chosen == proposed else chosen

    def _settings(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        template = self.prompt_template
        values: dict[str, Any] = {
            "method": self._method(cleaned),
            "backbone": cleaned.get("backbone") or DEFAULTS.backbone,
            "template": template.text if template else "",
            "device": cleaned.get("device") or "auto",
        }
        if self.project.task == Task.MULTI_LABEL:
            values["task"] = "multi_label"
        own = values["template"]
        values["extra_templates"] = [one for one in cleaned.get("extra_templates") or () if one != own]
        for name in (*ALL_SELECTS, *ALL_NUMBERS):
            value = cleaned.get(name)
            if value not in (None, ""):
                values[name] = value
        if cleaned.get("time_budget_minutes"):
            values["time_budget_seconds"] = 60.0 * cleaned["time_budget_minutes"]
        for name in FLAGS:
            if cleaned.get(name):
                values[name] = True
        return values


def form_data_of(config: dict[str, Any], *, template_id: int | None) -> dict[str, Any]:
    """What the form would have sent for `config`: for running it again."""
    known = {field.name for field in dataclasses.fields(FewShotConfig)}
    names = ["method", "backbone", "device", *ALL_SELECTS, *ALL_NUMBERS, *FLAGS]
    data = {name: config[name] for name in names if name in known and config.get(name) is not None}
    if config.get("extra_templates"):
        data["extra_templates"] = json.dumps(config["extra_templates"], ensure_ascii=False)
    seconds = config.get("time_budget_seconds")
    if seconds and seconds != ENGINE_PRESETS.get(config.get("preset"), {}).get("time_budget_seconds"):
        data["time_budget_minutes"] = seconds / 60
    if template_id is not None:
        data["template"] = str(template_id)
    return data
