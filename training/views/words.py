"""Codes of the engine and the services in words."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

METHODS: dict[str, Any] = {
    "auto": _("自动"),
    "prompt": _("提示填空"),
    "label_sentence": _("标签句"),
    "pair": _("句对比较"),
    "finetune": _("普通微调"),
    "probe": _("只训练最后一层"),
    "zero_shot": _("零样本"),
    "cloze": _("提示填空"),
    "mixed": _("两者混合"),
    "mixture": _("两者混合"),
}

SETTINGS: dict[str, Any] = {
    "method": _("方法"),
    "backbone": _("底座模型"),
    "backbone_hash": _("底座模型的哈希"),
    "template": _("提示模板"),
    "words": _("标签词"),
    "train": _("训练文本数"),
    "dev": _("验证文本数"),
    "test": _("测试文本数"),
    "seed": _("随机种子"),
    "preset": _("预设"),
    "num_train_epochs": _("训练轮数"),
    "max_steps": _("最多步数"),
    "learning_rate": _("编码器学习率"),
    "ppt_learning_rate": _("提示与分类层学习率"),
    "weight_decay": _("权重衰减"),
    "warmup_ratio": _("预热比例"),
    "train_batch_size": _("每批文本数"),
    "gradient_accumulation_steps": _("梯度累积步数"),
    "max_seq_length": _("最大长度（词元）"),
    "eval_steps": _("每多少步评估一次"),
    "freeze_layers": _("冻结前几层"),
    "freeze_plm": _("冻结整个编码器"),
    "early_stopping_patience": _("早停"),
    "recompute": _("重计算"),
    "precision": _("计算精度"),
    "class_weights": _("类别权重"),
    "lr_scheduler_type": _("学习率变化"),
    "use_rdrop": "R-Drop",
    "use_rgl": "RGL",
    "load_best_model_at_end": _("取最好的一步"),
    "use_pool": _("使用未标注文本"),
    "refit_on_dev": _("最后连同验证集再学一遍"),
}

REFUSALS: dict[str, Any] = {
    "no_texts": _("没有可以核对的文本。先给验证集或测试集标一些，再打包。"),
    "labels_differ": _("导出的模型与训练好的模型给出了不同的标签。请重新打包；若仍然如此，请报告这个问题。"),
    "int8_labels_differ": _("压缩成 int8 以后，每十条里有一条以上的标签变了。请改用 ONNX 格式。"),
    "probabilities_differ": _(
        "导出的模型给出的概率与训练好的模型相差太大。请重新打包；若仍然如此，请报告这个问题。"
    ),
    "int8_less_accurate": _("压缩成 int8 以后，准确率低了 2 个百分点以上。请改用 ONNX 格式。"),
    "replay_failed": _("导出包自己的运行程序没有跑通。请看任务日志，或重新打包。"),
    "checksum": _("文件与报告里的校验和不一致，可能写到一半被打断。请重新打包。"),
}

PREDICT_PROBLEMS: dict[str, Any] = {
    "not_trained": _("这次训练没有可用的模型。请选另一次，或重新训练。"),
    "no_text": _("先写一条文本。"),
    "too_many_texts": _("一次最多贴 50 条。更多的文本请放进文件里上传。"),
    "too_long": _("有一条文本超过 20,000 字，太长了。"),
    "no_file": _("先选一个文件。"),
}

FILE_PROBLEMS: dict[str, Any] = {
    "empty_file": _("文件是空的。"),
    "not_text": _("这不是文本文件。可以上传 txt、tsv、csv、xlsx、json、jsonl。"),
    "old_excel": _("这是旧版 Excel（.xls）。请在 Excel 里另存为 .xlsx 再上传。"),
    "unsupported": _("不认识这种文件。可以上传 txt、tsv、csv、xlsx、json、jsonl。"),
    "broken_zip": _("压缩包不完整或已损坏。"),
    "encrypted": _("文件有密码保护，请去掉密码再上传。"),
    "zip_bomb": _("文件展开后太大，没有读取。"),
    "too_many_entries": _("文件的行数太多。请分成几个文件。"),
    "columns_unknown": _("看不出哪一列是文本，请在下面写明列名。"),
    "no_such_column": _("文件里没有这一列，请换一个列名。"),
    "no_such_sheet": _("工作簿里没有可读的工作表。"),
    "broken_workbook": _("工作簿不完整或已损坏。"),
    "bad_encoding": _("不认识这个文件的编码。请另存为 UTF-8 再上传。"),
}


def predict_problem(code: str, detail: str = "") -> Any:
    """Why a prediction was not started, in words."""
    if code == "too_large":
        return _("文件超过 %(megabytes)s MB 的上限。请分成几个文件。") % {"megabytes": detail}
    return (
        PREDICT_PROBLEMS.get(code)
        or FILE_PROBLEMS.get(code)
        or _("这个文件读不了：%(code)s") % {"code": code}
    )
