"""What an import says to a person: why a file or a row was refused, in the page's language."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling.files import FileRefused
from labeling.files.rows import MAX_LABEL_CHARS, MAX_LINE_CHARS, MAX_TEXT_CHARS
from labeling.services.new_labels import MAX_LABELS

REASON_TEXTS = {
    "empty_text": gettext_lazy("文本是空的"),
    "nul": gettext_lazy("含有 NUL 字符"),
    "undecodable": gettext_lazy("有些字节在这种编码里不是字符"),
    "line_too_long": gettext_lazy("一行超过 %(line_chars)d 个字符"),
    "text_too_long": gettext_lazy("文本超过 %(text_chars)d 个字符"),
    "label_too_long": gettext_lazy("标签超过 %(label_chars)d 个字符"),
    "bad_label": gettext_lazy("标签里有换行等控制字符，或者不是文字"),
    "label_missing": gettext_lazy("train.txt 和 dev.txt 的每一行都要有标签"),
    "unknown_label": gettext_lazy("标签不在项目的标签表里"),
    "several_labels": gettext_lazy("一条文本有多个标签"),
    "too_many_labels": gettext_lazy("标签已达上限（%(labels)d 个）"),
    "too_many_columns": gettext_lazy("制表符或列比其他行多"),
    "column_missing": gettext_lazy("这一行没有文本列"),
    "bad_quotes": gettext_lazy("引号没有成对"),
    "bad_json": gettext_lazy("不是带文本的 JSON 对象"),
    "formula": gettext_lazy("单元格是公式；只读取值，请先把公式粘贴为值"),
    "cell_error": gettext_lazy("单元格是错误值，如 #N/A"),
    "unknown_split": gettext_lazy("划分不是 train、dev、test、pool 之一"),
    "project_full": gettext_lazy("项目的文本数已达上限"),
    "file_broken": gettext_lazy("文件从这里起损坏，后面的没有读"),
    "row_too_long": gettext_lazy("这一条太大，后面的没有读"),
    "label_conflict": gettext_lazy("文本已有别的标签或决定，保持不变"),
    "duplicate": gettext_lazy("项目里已有这条文本"),
    "relabelled": gettext_lazy("已有的文本从文件得到了标签"),
    "misprint": gettext_lazy("按 == 读取"),
    "repeated": gettext_lazy("重复的标签词"),
}

FILE_TEXTS = {
    "empty_file": gettext_lazy("文件是空的。"),
    "not_text": gettext_lazy("这不是文本文件，或者编码不是 UTF-8、UTF-16、GB18030。"),
    "old_excel": gettext_lazy("这是旧版 Excel（.xls）文件。请在 Excel 里另存为 .xlsx 或 CSV 再导入。"),
    "unsupported": gettext_lazy(
        "不支持这种文件。可以导入 txt、tsv、csv、xlsx、json、jsonl，或者五个 txt 的文件夹或 zip。"
    ),
    "broken_zip": gettext_lazy("zip 不完整或已损坏，可能没有传完。请重新压缩或上传。"),
    "encrypted": gettext_lazy("文件有密码。请去掉密码再导入。"),
    "unsafe_zip": gettext_lazy("zip 里有指向文件夹之外的路径，没有读取：%(detail)s"),
    "too_many_entries": gettext_lazy("zip 里的文件太多：%(detail)s 个。"),
    "zip_bomb": gettext_lazy("zip 解开后过大，没有读取。请解压后直接导入里面的文件。"),
    "nothing_in_zip": gettext_lazy("zip 里没有 train、dev、test、data .txt。里面有：%(detail)s"),
    "nothing_in_folder": gettext_lazy("文件夹里没有 train、dev、test、data .txt。"),
    "columns_unknown": gettext_lazy("看不出哪一列是文本，请选择。文件里有：%(detail)s"),
    "no_such_column": gettext_lazy("文件里没有这一列：%(detail)s"),
    "no_such_sheet": gettext_lazy("工作簿里没有可以读的工作表。"),
    "broken_workbook": gettext_lazy("xlsx 不完整或已损坏。请在 Excel 里打开并另存，再导入。"),
    "bad_encoding": gettext_lazy("不认识的编码：%(detail)s。可以用 UTF-8、UTF-16、GB18030。"),
    "missing": gettext_lazy("找不到文件：%(detail)s"),
    "bad_label_file": gettext_lazy("label.txt 读不懂（%(detail)s）。每行应是「标签」或「标签==词」。"),
}


def reason_text(code: str) -> str:
    """Why a row was refused or left as it was, for a person; an unknown code is its own text."""
    if code not in REASON_TEXTS:
        return code
    return str(REASON_TEXTS[code]) % {
        "line_chars": MAX_LINE_CHARS,
        "text_chars": MAX_TEXT_CHARS,
        "label_chars": MAX_LABEL_CHARS,
        "labels": MAX_LABELS,
    }


def file_text(error: FileRefused) -> str:
    """Why a whole file was refused, and what to do, for a person."""
    detail = error.detail.replace("、", _("、"))  # a list of names, parted as the page's language does
    return str(FILE_TEXTS[error.code]) % {"detail": detail or _("无")}
