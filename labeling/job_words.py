"""Words for the stages and errors of jobs. The engine speaks in codes and English; people read these."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

STAGES: dict[str, Any] = {
    "read": _("读取文件"),
    "import": _("导入文本"),
    "load": _("载入模型"),
    "prepare": _("准备数据"),
    "search": _("比较几种方法"),
    "auto": _("比较几种方法"),
    "pool": _("利用未标注文本"),
    "teach": _("训练教师模型"),
    "adapt": _("先读一遍未标注文本"),
    "refit": _("连同验证集再训练一遍"),
    "train": pgettext_lazy("stage", "训练"),
    "evaluate": pgettext_lazy("stage", "评估"),
    "calibrate": _("校准"),
    "cross_validate": _("交叉验证"),
    "resume": _("从检查点继续"),
    "export": _("写出模型"),
    "replay": _("在留出文本上核对"),
    "pack": _("打包"),
    "predict": pgettext_lazy("stage", "预测"),
    "download": _("下载底座模型"),
    "rules": _("应用规则"),
    "finish": _("收尾"),
    "embed": _("计算语义向量"),
    "compare": _("找几乎相同的文本"),
    "neighbours": _("找离群的文本"),
}

_OTHER_BATCH = _("关掉其他程序，或换小一点的批大小或底座模型，再试一次。")
_REPORT = _("请再试一次；若仍然如此，请保留下面的技术细节用于报告问题。")
_ADMIN = _("请把下面的技术细节告诉管理员。")
_WORD = _("在“标签与提示”页换一个意思相近的常用词，再训练。")
_TEMPLATE = _("在“标签与提示”页改模板。写法例如：以下是一条{mask}新闻。{text}")
_SAVE_AGAIN = _("在原来的程序里打开并另存一份，再上传。")

ERRORS: dict[str, tuple[Any, Any]] = {
    # Of the house: workers and the machine.
    "killed": (_("系统终止了这个任务，多半是内存不够。"), _OTHER_BATCH),
    "engine_crashed": (_("任务没有给出结果就结束了。"), _REPORT),
    "worker_lost": (
        _("执行这个任务的工作进程多次中断。"),
        _("可能是内存不足：换小一点的批大小或底座模型，再试一次。"),
    ),
    "disk_full": (_("磁盘已满。"), _("请在“磁盘用量”页释放空间，再重新开始。")),
    "unexpected": (_("出现了意料之外的错误。"), _("请再试一次；若仍然如此，请把下面的技术细节告诉管理员。")),
    "bad_rule": (_("有一条规则用不了，没有应用。"), _("是哪一处见下面的技术细节；删掉它，换个写法。")),
    # Of the engine: training/fewshot/errors.py.
    "engine_error": (_("训练程序出了意料之外的错误。"), _REPORT),
    "bad_config": (
        _("有一项设置不能用。"),
        _("打开“高级设置”改回默认值，再训练；是哪一项见下面的技术细节。"),
    ),
    "bad_data": (_("训练用的文本或标签有一处读不懂。"), _("是哪一处见下面的技术细节；改好后再训练。")),
    "missing_data": (_("训练要用的文件不在了。"), _("请再训练一次，文件会重新写出。")),
    "unknown_label": (_("有的文本带着标签表里没有的标签。"), _("在“文本”页给它们换一个标签，再训练。")),
    "too_few_labels": (_("有文本的标签不到两个，没法分类。"), _("至少给两个标签各标几条文本，再训练。")),
    "too_few_texts": (_("训练文本太少。"), _("先多标一些文本，再训练。")),
    "label_without_text": (
        _("有的标签在训练集里一条文本也没有。"),
        _("给它至少标一条，或者删除这个标签，再训练。"),
    ),
    "bad_template": (_("提示模板读不懂。"), _TEMPLATE),
    "template_without_mask": (_("提示模板里没有 {mask}，模型不知道在哪里填词。"), _TEMPLATE),
    "template_without_text": (_("提示模板里没有 {text}，模型看不到文本。"), _TEMPLATE),
    "template_too_long": (
        _("提示模板太长，放不下文本了。"),
        _("在“标签与提示”页缩短模板，或者在“高级设置”里加大最大长度。"),
    ),
    "bad_label_word": (_("有的标签词不能用。"), _WORD),
    "unknown_word": (_("有的标签词底座模型不认识。"), _WORD),
    "word_collision": (
        _("不同的标签用了同样的标签词，模型分不开它们。"),
        _("在“标签与提示”页给每个标签一个自己的词，再训练。"),
    ),
    "missing_word": (_("有的标签没有标签词。"), _("在“标签与提示”页给每个标签写一个词，再训练。")),
    "loss_not_finite": (
        _("训练发散了：损失变成了无穷大或不是数。"),
        _("在“高级设置”里把学习率调小，计算精度选 fp32，再训练。"),
    ),
    "not_enough_memory": (
        _("内存不够。"),
        _("在“高级设置”里把每批文本数调小、梯度累积步数调大，或打开重计算，或换小一些的底座模型。"),
    ),
    "bad_checkpoint": (_("训练中途存下的检查点坏了。"), _("请重新训练一次，从头开始。")),
    "vocabulary_mismatch": (
        _("底座模型的词表和权重对不上。"),
        _("换一个底座模型；或者请管理员把属于这份权重的词表放回去。"),
    ),
    "bad_backbone": (_("底座模型用不了。"), _("换一个底座模型，或者请管理员检查它的目录。")),
    "backbone_damaged": (
        _("底座模型的文件坏了：内容与校验和不一致。"),
        _("请管理员恢复这个文件，或者换一个底座模型。"),
    ),
    "backbone_offline": (
        _("底座模型不在这台机器上，也下载不到。"),
        _("换成随程序附带的底座模型，或者请管理员把它的目录放进来。"),
    ),
    "backbone_untrusted": (
        _("底座模型的权重是 pickle 文件，载入时会运行其中的代码，所以没有载入。"),
        _("请管理员在服务器上登记这个目录，或者把权重转成 safetensors。"),
    ),
    "backbone_incomplete": (
        _("底座模型的目录里缺文件，或者缺权重。"),
        _("请管理员补全它的目录，或者换一个底座模型。"),
    ),
    "backbone_unsupported": (_("这种结构的底座模型不能用。"), _("可以用 ERNIE 和 BERT 这两种编码器。")),
    "device_unavailable": (
        _("这台机器上没有选中的设备。"),
        _("在“高级设置”里把设备改成自动或处理器，再训练。"),
    ),
    "unsupported_method": (_("这种方法不能用于这次训练。"), _("在“高级设置”里换一种方法，再训练。")),
    "cancelled": (_("任务被停止了。"), _("需要的话，重新开始就行。")),
    # Of exports: training/fewshot/export_errors.py.
    "export_failed": (_("模型没能写成这种格式；训练好的模型没有受影响。"), _("换一种格式，或者再打包一次。")),
    "bad_bundle": (_("模型的文件坏了或不完整。"), _("请重新打包；若仍然如此，请重新训练。")),
    "replay_failed": (
        _("导出包自己的运行程序没有跑通，所以没有放行。"),
        _("请重新打包；若仍然如此，请保留下面的技术细节用于报告问题。"),
    ),
    # Of files that are imported or predicted: labeling/files and labeling/services/imports.py.
    "empty_file": (_("文件是空的。"), _("换一个有文本的文件。")),
    "not_text": (_("这不是文本文件，或者编码不是 UTF-8、UTF-16、GB18030。"), _SAVE_AGAIN),
    "old_excel": (_("这是旧版 Excel（.xls）文件。"), _("在 Excel 里另存为 .xlsx 或 CSV，再上传。")),
    "unsupported": (
        _("不支持这种文件。"),
        _("可以用 txt、tsv、csv、xlsx、json、jsonl，导入时还可以用五个 txt 的文件夹或 zip。"),
    ),
    "broken_zip": (_("zip 不完整或已损坏，可能没有传完。"), _("重新压缩，再上传。")),
    "encrypted": (_("文件有密码。"), _("去掉密码，再上传。")),
    "unsafe_zip": (_("zip 里有指向文件夹之外的路径，没有读取。"), _("解压后重新压缩里面的文件，再上传。")),
    "too_many_entries": (_("文件里的内容太多。"), _("分成几个文件，再上传。")),
    "zip_bomb": (_("zip 解开后过大，没有读取。"), _("解压后直接上传里面的文件。")),
    "nothing_in_zip": (
        _("zip 里没有 train、dev、test、data .txt。"),
        _("文件名要是 train.txt、dev.txt、test.txt、data.txt、label.txt。"),
    ),
    "nothing_in_folder": (
        _("文件夹里没有 train、dev、test、data .txt。"),
        _("文件名要是 train.txt、dev.txt、test.txt、data.txt、label.txt。"),
    ),
    "columns_unknown": (_("看不出哪一列是文本。"), _("重新上传，并选好文本在哪一列。")),
    "no_such_column": (_("文件里没有选中的那一列。"), _("重新上传，并选好文本在哪一列。")),
    "no_such_sheet": (_("工作簿里没有可以读的工作表。"), _SAVE_AGAIN),
    "broken_workbook": (_("xlsx 不完整或已损坏。"), _("在 Excel 里打开并另存，再上传。")),
    "bad_encoding": (_("不认识这种编码。"), _("另存为 UTF-8，再上传。")),
    "missing": (_("文件已经不在服务器上了。"), _("请重新上传。")),
    "bad_label_file": (
        _("label.txt 读不懂。"),
        _("每行应是「标签」或「标签==词」；是哪一行见下面的技术细节。"),
    ),
    "bad_option": (_("有一个导入选项不认识。"), _ADMIN),
    "changed": (
        _("文件在导入过程中变了。"),
        _("已导入的文本都在；再导入一次同一个文件，只会补上余下的。"),
    ),
}


# What the engine put right by itself, by code; the values stand in the warning's `detail`.
WARNINGS: dict[str, Any] = {
    "label_misprint": _("label.txt 第 %(line)s 行写法不标准，已按 == 读取。"),
    "no_label_file": _("没有 label.txt，标签取自 train.txt。"),
    "class_missing_in_dev": _("验证集里没有这些标签的文本：%(labels)s。"),
    "several_paths": _(
        "%(of)s 条文本里有 %(n)s 条没有标签路径或有好几条（如“%(text)s”）；每条文本只有一条路径时，整条路径会准得多。"
    ),
    "train_text_in_test": _("有 %(n)s 条文本同时在训练集和测试集里，测试成绩会偏高。"),
    "shorter_rows": _("底座模型读不了设置的那么长，已改用它的最大长度。"),
    "smaller_batch": _(
        "内存放不下一批 %(asked)s 条文本：每次算 %(batch_size)s 条，攒够 %(accumulation)s 批再更新，结果相当。"
    ),
    "checkpoint_damaged": _("有一个检查点坏了，已改用更早的。"),
    "pool_too_small": _("可用的未标注文本只有 %(n)s 条，太少，这次没有用上。"),
    "shortened": _(
        "时间预算 %(seconds)s 秒只够把训练文本读 %(epochs)g 遍（原定 %(asked)g 遍），这次就读这么多。"
    ),
    "dev_alone": _(
        "时间预算不够做交叉验证，所以只按 %(n)s 条验证文本评估；有的标签条数少，看单个标签的成绩时要留意。把时间预算调大，就会做交叉验证。"
    ),
    "no_masked_head": _("这个底座模型没有填空的头，读不了未标注的文本，这次没有用上。"),
    "no_time_for_pool": _("时间预算不够用上未标注的文本，这次没有用。"),
    "pool_did_not_help": _("用上未标注的文本后，验证集上的成绩更差，所以没有用。"),
    "no_pool_to_calibrate": _("没有未标注文本可以用来校准，改用训练文本校准。"),
    "precision_ignored": _("%(asked)s 只在 GPU 上有用；在处理器上没有好处，已按 fp32 训练。"),
    "fgm_idle": _("词向量冻结时 FGM 没有东西可扰动：多算一遍，结果不变。把冻结的层数设为 0 才有用。"),
    "artifact_refused": _("有一个导出包核对没有通过，没有放行。"),
}


def stage_words(stage: str) -> Any:
    """The stage for people; the bare code where there is no word for it.

    A stage inside a part of a run stands behind it, `refit/train`; a part may be counted, `auto:2:5/train`."""
    part, _slash, inner = stage.rpartition("/")
    words = STAGES.get(inner, inner)
    if not part:
        return words
    name, *counted = part.split(":")
    around = STAGES.get(name, name)
    if len(counted) == 2:
        number, total = counted
        around = gettext("%(part)s（%(number)s / %(total)s）") % {
            "part": around,
            "number": number,
            "total": total,
        }
    return f"{around} · {words}"


def inner_stage(stage: str) -> str:
    """The stage itself, without the part of the run that it is in."""
    return stage.rpartition("/")[2]


def error_words(code: str, message: str, hint: str) -> tuple[Any, Any]:
    """(message, hint) for people by `code`; what the job itself said where the code is not known."""
    return ERRORS.get(code, (message, hint))


def warning_words(warning: Any) -> str:
    """A warning event for people, by its code; its own message where the code is not known."""
    if not isinstance(warning, dict):
        return str(warning)
    words = WARNINGS.get(warning.get("code", ""))
    message = str(warning.get("message") or warning.get("code") or "")
    if words is None:
        return message
    values = {
        name: gettext("、").join(map(str, value)) if isinstance(value, list | tuple) else value
        for name, value in (warning.get("detail") or {}).items()
    }
    try:
        return str(words) % values
    except KeyError:
        return message
