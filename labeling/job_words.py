"""Words for the stages and errors of jobs. The engine speaks in codes and English; people read these."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

STAGES: dict[str, Any] = {
    "read": _("读取文件"),
    "import": _("导入文本"),
    "load": _("载入模型"),
    "prepare": _("准备数据"),
    "search": _("比较几种方法"),
    "pool": _("利用未标注文本"),
    "train": _("训练"),
    "evaluate": _("评估"),
    "calibrate": _("校准"),
    "cross_validate": _("交叉验证"),
    "resume": _("从检查点继续"),
    "export": _("写出模型"),
    "replay": _("在留出文本上核对"),
    "pack": _("打包"),
    "predict": _("预测"),
    "download": _("下载底座模型"),
    "finish": _("收尾"),
}

ERRORS: dict[str, tuple[Any, Any]] = {
    "killed": (
        _("系统终止了这个任务，多半是内存不够。"),
        _("关掉其他程序，或换小一点的批大小或底座模型，再试一次。"),
    ),
    "engine_crashed": (
        _("任务没有给出结果就结束了。"),
        _("请再试一次；若仍然如此，请保留下面的技术细节用于报告问题。"),
    ),
    "worker_lost": (
        _("执行这个任务的工作进程多次中断。"),
        _("可能是内存不足：换小一点的批大小或底座模型，再试一次。"),
    ),
    "disk_full": (_("磁盘已满。"), _("请在“磁盘用量”页释放空间，再重新开始。")),
    "unexpected": (_("出现了意料之外的错误。"), _("请再试一次；若仍然如此，请把下面的技术细节告诉管理员。")),
}


def stage_words(stage: str) -> Any:
    """The stage for people; the bare code where there is no word for it."""
    return STAGES.get(stage, stage)


def error_words(code: str, message: str, hint: str) -> tuple[Any, Any]:
    """(message, hint) for people by `code`; what the job itself said where the code is not known."""
    return ERRORS.get(code, (message, hint))
