"""What the readers make of good and bad files. Each case has a name; each bad one its line and reason."""

import codecs
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest

from labeling.files import REASONS, DataFile, FileRefused, Options, Refused, Row, peek
from labeling.files.rows import MAX_LINE_CHARS, MAX_TEXT_CHARS
from labeling.files.rows import FileRefused as _FileRefused

CHINESE = "春天的花开了，我们去看海\t旅游\n新型存储芯片断电十年数据不丢\t科技\n股市收涨\t财经\n"
ENCODED = {
    "utf-8": CHINESE.encode(),
    "utf-8 with BOM": CHINESE.encode("utf-8-sig"),
    "utf-16 le with BOM": codecs.BOM_UTF16_LE + CHINESE.encode("utf-16-le"),
    "utf-16 be with BOM": codecs.BOM_UTF16_BE + CHINESE.encode("utf-16-be"),
    "utf-16 le without BOM": CHINESE.encode("utf-16-le"),
    "utf-16 be without BOM": CHINESE.encode("utf-16-be"),
    "gb18030": CHINESE.encode("gb18030"),
    "gbk with windows line ends": CHINESE.replace("\n", "\r\n").encode("gbk"),
    "gb18030 below a megabyte of ascii": b"plain ascii text\tlabel\n" * 60_000 + CHINESE.encode("gb18030"),
}
WANTED = [
    ("春天的花开了，我们去看海", "旅游"),
    ("新型存储芯片断电十年数据不丢", "科技"),
    ("股市收涨", "财经"),
]


def write(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(path: Path, **options: object) -> list[Row | Refused]:
    with DataFile(path, options=Options.of(options)) as file:
        return list(file.rows())


def short(rows: list[Row | Refused]) -> list[tuple[object, ...]]:
    """(text, label) of a row, (line, reason) of a refusal."""
    return [(row.line, row.reason) if isinstance(row, Refused) else (row.text, row.label) for row in rows]


@pytest.mark.parametrize("data", ENCODED.values(), ids=ENCODED.keys())
def test_an_encoding_is_recognised_without_mojibake(tmp_path: Path, data: bytes) -> None:
    assert short(read(write(tmp_path, "texts.txt", data)))[-3:] == WANTED


@pytest.mark.parametrize(
    "text", ["好", "好的", "中文", "一二三四五六七八", "“引号”开头", "ABC公司", "１２３全角", "〇"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_very_short_files_are_recognised_too(tmp_path: Path, text: str, encoding: str) -> None:
    assert short(read(write(tmp_path, "one.txt", text.encode(encoding)))) == [(text.strip(), None)]


def test_a_chosen_encoding_goes_before_the_guess(tmp_path: Path) -> None:
    path = write(tmp_path, "texts.txt", CHINESE.encode("utf-16-be"))
    assert short(read(path, encoding="utf-16")) == WANTED
    with pytest.raises(FileRefused, match="latin-1") as refused:
        read(path, encoding="latin-1")
    assert refused.value.code == "bad_encoding"


LONG = "长" * (MAX_TEXT_CHARS + 1)
# name: (file name, content, options, what comes out)
ROWS: dict[str, tuple[str, str | bytes, dict[str, object], list[tuple[object, ...]]]] = {
    "txt, the last tab divides": ("a.txt", "甲\t乙\t标签\n", {}, [("甲\t乙", "标签")]),
    "txt without labels": ("a.txt", "甲\n乙\n", {}, [("甲", None), ("乙", None)]),
    "txt, tabs are text when there are no labels": ("a.txt", "甲\t乙\n", {"label_column": "-"}, [("甲\t乙", None)]),
    "txt, an empty label is none": ("a.txt", "甲\t\n", {}, [("甲", None)]),
    "txt, no line end at the end": ("a.txt", "甲\t一", {}, [("甲", "一")]),
    "txt, old macintosh line ends": ("a.txt", "甲\r乙\r", {}, [("甲", None), ("乙", None)]),
    "txt, U+2028 and NEL end no line": ("a.txt", "甲\u2028乙\x85丙\n", {}, [("甲\u2028乙\x85丙", None)]),
    "empty text": ("a.txt", "甲\t一\n\n \t二\n　\n", {}, [("甲", "一"), (2, "empty_text"), (3, "empty_text"), (4, "empty_text")]),
    "NUL": ("a.txt", "甲\n乙\x00丙\n丁\n", {}, [("甲", None), (2, "nul"), ("丁", None)]),
    "broken bytes in utf-8": ("a.txt", "好的文本在这里\n".encode() * 20 + b"\xe4\xb8\n" + "后".encode(), {},
                              [*[("好的文本在这里", None)] * 20, (21, "undecodable"), ("后", None)]),
    "text too long": ("a.txt", f"{LONG}\n后\n", {}, [(1, "text_too_long"), ("后", None)]),
    "label too long": ("a.txt", f"甲\t{'标' * 81}\n", {}, [(1, "label_too_long")]),
    "line too long": ("a.txt", "x" * (MAX_LINE_CHARS + 1) + "\n后\n", {}, [(1, "line_too_long"), ("后", None)]),
    "line too long at the end": ("a.txt", "前\n" + "x" * (3 * MAX_LINE_CHARS), {}, [("前", None), (2, "line_too_long")]),
    "tsv with a heading": ("a.tsv", "label\ttext\n一\t甲\n", {}, [("甲", "一")]),
    "tsv without a heading": ("a.tsv", "甲\t一\n乙\t二\n", {}, [("甲", "一"), ("乙", "二")]),
    "tsv, a tab too many": ("a.tsv", "text\tlabel\n甲\t一\n乙\t多\t二\n丙\t三\n", {}, [("甲", "一"), (3, "too_many_columns"), ("丙", "三")]),
    "tsv, a tab too many in the first row, no heading": ("a.tsv", "甲\t多\t一\n乙\t二\n丙\t三\n", {}, [(1, "too_many_columns"), ("乙", "二"), ("丙", "三")]),
    "tsv, an empty tab too many is none": ("a.tsv", "text\tlabel\n甲\t一\t\n", {}, [("甲", "一")]),
    "tsv, a row without label": ("a.tsv", "text\tlabel\n甲\n", {}, [("甲", None)]),
    "tsv, quotes are text": ("a.tsv", 'text\tlabel\n"双十一"来了\t一\n', {}, [('"双十一"来了', "一")]),
    "csv": ("a.csv", "text,label\n甲,一\n", {}, [("甲", "一")]),
    "csv with BOM and semicolons": ("a.csv", "\ufeff文本;标签\r\n甲;一\r\n", {}, [("甲", "一")]),
    "csv, a cell with comma, quotes and a line break": ("a.csv", 'text,label\n"甲,""乙""\n丙",一\n丁,二\n', {}, [('甲,"乙"\n丙', "一"), ("丁", "二")]),
    "csv, a column too many": ("a.csv", "text,label\n甲,乙,一\n丙,二\n", {}, [(2, "too_many_columns"), ("丙", "二")]),
    "csv, a quote that never closes": ("a.csv", 'text,label\n"甲,一\n乙,二\n丙,三\n', {}, [(2, "bad_quotes"), ("乙", "二"), ("丙", "三")]),
    "csv, an inch is no quote": ("a.csv", 'text,label\n5" 屏,一\n乙,二\n', {}, [('5" 屏', "一"), ("乙", "二")]),
    "csv, a formula is just text": ("a.csv", "text,label\n=1+1,一\n", {}, [("=1+1", "一")]),
    "csv, an escaped formula is itself again": ("a.csv", "text,label\n'=1+1,一\n''-x,一\n'引用',一\n", {}, [("=1+1", "一"), ("'-x", "一"), ("'引用'", "一")]),
    "csv, columns by choice": ("a.csv", "编号,问题描述,归类\n1,甲,一\n", {"text_column": "问题描述", "label_column": "归类"}, [("甲", "一")]),
    "csv, the split column": ("a.csv", "text,label,split\n甲,一,validation\n乙,二,nowhere\n", {}, [("甲", "一"), (3, "unknown_split")]),
    "csv, blank lines before the heading": ("a.csv", "\n\ntext,label\n甲,一\n", {}, [("甲", "一")]),
    "jsonl": ("a.jsonl", '{"text": "甲", "label": "一"}\n{"text": "乙"}\n', {}, [("甲", "一"), ("乙", None)]),
    "jsonl, label kinds": ("a.jsonl", '{"text":"甲","label":3}\n{"text":"乙","label":["一"]}\n{"text":"丙","label":["一","二"]}\n{"text":"丁","label":{"a":1}}\n{"text":"戊","label":true}\n{"text":"己","label":null}\n', {},
                           [("甲", 3), ("乙", "一"), ("丙", ("一", "二")), (4, "bad_label"), (5, "bad_label"), ("己", None)]),
    "jsonl, broken lines": ("a.jsonl", '{"text": "甲"}\n{"text": "乙"\n[1]\n{"label": "一"}\n{"text": NaN}\n\n{"text": "丙"}\n', {},
                            [("甲", None), (2, "bad_json"), (3, "bad_json"), (4, "column_missing"), (5, "bad_json"), (6, "empty_text"), ("丙", None)]),
    "jsonl, half a surrogate": ("a.jsonl", '{"text": "甲\\ud83d"}\n{"text": "\\u0000"}\n', {}, [(1, "undecodable"), (2, "nul")]),
    "jsonl, deep nesting": ("a.jsonl", '{"text": "甲"}\n{"text": ' + "[" * 50_000 + "\n", {}, [("甲", None), (2, "bad_json")]),
    "json": ("a.json", '[{"text": "甲", "label": "一"},\n {"text": "乙", "label": null}]', {}, [("甲", "一"), ("乙", None)]),
    "json, other names": ("a.json", '[{"content": "甲", "category": "一"}]', {}, [("甲", "一")]),
    "json, the two texts of a pair": ("a.jsonl", '{"sentence1": "甲\\t子", "sentence2": "乙", "label": "1"}\n{"sentence1": "丙", "label": "0"}\n{"sentence1": "丁", "sentence2": "", "label": "0"}\n', {},
                                      [("甲 子\t乙", "1"), ("丙", "0"), (3, "column_missing")]),
    "csv, the two texts of a pair": ("a.csv", "text_a,text_b,label\n甲,乙,1\n丙,,0\n", {}, [("甲\t乙", "1"), (3, "column_missing")]),
    "csv, a pair's second column as the label": ("a.csv", "text1,text2\n甲,一\n", {"label_column": "text2"}, [("甲", "一")]),
    "json of plain strings": ("a.json", '["甲", "乙"]', {}, [("甲", None), ("乙", None)]),
    "json, empty": ("a.json", "[]", {}, []),
    "json that ends in the middle": ("a.json", '[{"text": "甲"}, {"text": "乙', {}, [("甲", None), (2, "file_broken")]),
    "json without its end": ("a.json", '[{"text": "甲"}', {}, [("甲", None), (2, "file_broken")]),
    "json lines in a .json": ("a.json", '{"text": "甲"}\n{"text": "乙"}\n', {}, [("甲", None), ("乙", None)]),
    "json, an element too large": ("a.json", '[{"text": "甲"}, {"text": "' + "x" * (2 * MAX_LINE_CHARS) + '"}]', {}, [("甲", None), (2, "row_too_long")]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "options", "wanted"), ROWS.values(), ids=ROWS.keys())
def test_rows(
    tmp_path: Path,
    name: str,
    content: str | bytes,
    options: dict[str, object],
    wanted: list[tuple[object, ...]],
) -> None:
    rows = read(write(tmp_path, name, content), **options)
    assert short(rows) == wanted
    assert all(row.reason in REASONS for row in rows if isinstance(row, Refused))


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    rows = read(write(tmp_path, "a.csv", 'text,label\n"甲\n乙",一\n丙,二\n'))
    assert [row.line for row in rows] == [2, 4]


def test_a_large_json_array_is_read_across_its_pieces(tmp_path: Path) -> None:
    values = [
        {"text": f"第{number}条，" + "内容" * (number % 50), "label": number % 7} for number in range(20_000)
    ]
    path = write(tmp_path, "a.json", json.dumps(values, ensure_ascii=False))
    assert short(read(path)) == [(value["text"], value["label"]) for value in values]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit of address space is Linux's")
def test_a_line_of_two_gigabytes_is_refused_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.write("第一行\n".encode())
        file.seek(2 * 1024**3, os.SEEK_CUR)  # a hole: it takes no disk
        file.write("\n最后一行\n".encode())
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400 * 1024**2, 400 * 1024**2))\n"
        "from pathlib import Path\n"
        "from labeling.files import DataFile\n"
        "for row in DataFile(Path(sys.argv[1])).rows():\n"
        "    print(row.line, getattr(row, 'reason', 'ok'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["1 ok", "2 line_too_long", "3 ok"]


# Workbooks


def workbook(folder: Path, rows: list[list[object]], name: str = "a.xlsx") -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cell in book.active["A"]:
        if cell.value == "#N/A":
            cell.data_type = "e"
    book.save(folder / name)
    return folder / name


def test_xlsx_cells(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        [["文本", "标签"], ["甲", "一"], ["=1+1", "一"], ["乙", "=A1"], [12.0, "一"], [None, None], [None, "一"], ["丙"], ["#N/A", "一"], ["'=1+1", "一"]],
    )  # fmt: skip
    assert short(read(path)) == [
        ("甲", "一"),
        (3, "formula"),
        (4, "formula"),
        ("12", "一"),
        (7, "empty_text"),
        ("丙", None),
        (9, "cell_error"),
        ("=1+1", "一"),
    ]


def test_xlsx_that_claims_a_huge_sheet_is_read_as_it_is(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["text", "label"], ["甲", "一"]])
    changed = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry == "xl/worksheets/sheet1.xml":
                data = data.replace(b'ref="A1:B2"', b'ref="A1:XFD1048576"')
                assert b"XFD1048576" in data
            new.writestr(entry, data)
    assert short(read(changed)) == [("甲", "一")]


# Whole files that are refused


def bytes_of_zip(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def encrypted_zip() -> bytes:
    data = bytearray(bytes_of_zip(("train.txt", b"x\ty\n")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + offset] |= 1
    return bytes(data)


FOLDER_ZIP = bytes_of_zip(("d/train.txt", "甲\t一\n".encode()), ("d/label.txt", "一\n".encode()))
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "nothing at all": ("a.txt", b"", "empty_file"),
    "half a zip": ("a.zip", FOLDER_ZIP[: len(FOLDER_ZIP) // 2], "broken_zip"),
    "a zip that is none": ("a.zip", b"hello, hello", "broken_zip"),
    "a zip with a password": ("a.zip", encrypted_zip(), "encrypted"),
    "zip slip": ("a.zip", bytes_of_zip(("../../train.txt", b"x\ty\n")), "unsafe_zip"),
    "zip slip on windows": ("a.zip", bytes_of_zip(("..\\train.txt", b"x\ty\n")), "unsafe_zip"),
    "a zip with an absolute path": ("a.zip", bytes_of_zip(("/etc/train.txt", b"x\ty\n")), "unsafe_zip"),
    "a zip of too many files": ("a.zip", bytes_of_zip(*[(f"{n}.txt", b"") for n in range(1001)]), "too_many_entries"),
    "a zip bomb": ("a.zip", bytes_of_zip(("train.txt", b"\0" * (80 * 1024**2))), "zip_bomb"),
    "a zip of other things": ("a.zip", bytes_of_zip(("a.png", b"x"), ("b.doc", b"y")), "nothing_in_zip"),
    "a word document": ("a.docx", bytes_of_zip(("[Content_Types].xml", b""), ("word/document.xml", b"")), "unsupported"),
    "half a workbook": ("a.xlsx", bytes_of_zip(("[Content_Types].xml", b"<"), ("xl/workbook.xml", b"<")), "broken_workbook"),
    "a workbook that is none": ("a.xlsx", b"text,label", "broken_workbook"),
    "old excel": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "old_excel"),
    "a pdf": ("a.txt", b"%PDF-1.7 " + b"\x80" * 100, "unsupported"),
    "bytes without sense": ("a.txt", random.Random(5).randbytes(8000), "not_text"),
    "a json object without lines": ("a.json", b'3', "unsupported"),
    "csv with two unknown columns": ("a.csv", "问题描述,归类\n甲,一\n乙,二\n".encode(), "columns_unknown"),
    "csv with three unknown columns": ("a.csv", b"a,b,c\n1,2,3\n", "columns_unknown"),
    "json with unknown names": ("a.json", '[{"问": "甲"}]'.encode(), "columns_unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_whole_file_is_refused(tmp_path: Path, name: str, data: bytes, code: str) -> None:
    with pytest.raises(FileRefused) as refused:
        read(write(tmp_path, name, data))
    assert refused.value.code == code
    assert code in _FileRefused.MESSAGES


def test_a_refusal_over_columns_says_which_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "编号,问题描述,归类\n1,甲,一\n")
    with pytest.raises(FileRefused) as refused:
        read(path, text_column="没有")
    assert (refused.value.code, refused.value.columns) == ("no_such_column", ("1", "2", "3"))
    with pytest.raises(FileRefused) as refused:
        read(path, text_column="没有", has_header=True)
    assert refused.value.columns == ("编号", "问题描述", "归类")


def test_a_zip_that_breaks_in_a_member_keeps_what_came_before(tmp_path: Path) -> None:
    lines = "".join(f"第{number}条文本\t一\n" for number in range(40_000)).encode()
    data = bytearray(bytes_of_zip(("train.txt", lines)))
    middle = len(data) // 2
    data[middle : middle + 64] = b"\xff" * 64
    rows = read(write(tmp_path, "a.zip", bytes(data)))
    assert isinstance(rows[-1], Refused)
    assert rows[-1].reason == "file_broken"
    assert short(rows)[:2] == [("第0条文本", "一"), ("第1条文本", "一")]


# The recipe's folder


def test_the_recipe_folder_and_its_zip_read_alike(tmp_path: Path) -> None:
    files = {
        "train.txt": "甲\t一\n缺标签\n",
        "dev.txt": "乙\t二\n",
        "test.txt": "丙\t一\n丁\n",
        "data.txt": "戊\t有制表符\n",
        "label.txt": "一==壹\n二==贰\n一==头\n",
        "readme.txt": "不读\n",
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    zipped = write(
        tmp_path,
        "b.zip",
        bytes_of_zip(*[(f"my data/{name}", text.encode("gb18030")) for name, text in files.items()], ("__MACOSX/._train.txt", b"x")),
    )  # fmt: skip
    for path in (folder, zipped):
        with DataFile(path) as file:
            assert file.format == "recipe"
            rows = list(file.rows())
            specs, _ = file.labels()
        assert [(row.source, row.split, row.text, row.label) for row in rows if isinstance(row, Row)] == [
            ("test.txt", "test", "丙", "一"),
            ("test.txt", "test", "丁", None),
            ("dev.txt", "dev", "乙", "二"),
            ("train.txt", "train", "甲", "一"),
            ("data.txt", "pool", "戊\t有制表符", None),
        ]
        assert [(row.source, row.line, row.reason) for row in rows if isinstance(row, Refused)] == [
            ("train.txt", 2, "label_missing")
        ]
        assert [(spec.name, spec.words) for spec in specs] == [("一", ("壹", "头")), ("二", ("贰",))]


def test_a_zip_with_one_table_is_read_as_that_table(tmp_path: Path) -> None:
    path = write(tmp_path, "a.zip", bytes_of_zip(("texts.csv", "text,label\n甲,一\n".encode())))
    assert short(read(path)) == [("甲", "一")]


LABEL_LINES: dict[str, tuple[str, tuple[str, tuple[str, ...]], list[str]]] = {
    "a label alone": ("news_car\n", ("news_car", ()), []),
    "label and word": ("news_car==汽车\n", ("news_car", ("汽车",)), []),
    "a misprint with quotes": ("news_car'=='汽车\n", ("news_car", ("汽车",)), ["misprint"]),
    "a misprint in full width": ("news_car＝＝汽车\n", ("news_car", ("汽车",)), ["misprint"]),
    "quotes around both": ('"news_car"=="汽车"\n', ("news_car", ("汽车",)), ["misprint"]),
    "blanks around the sign": ("news_car == 汽车\n", ("news_car", ("汽车",)), []),
    "two words": ("car==汽车\ncar==车\n", ("car", ("汽车", "车")), []),
    "the same word twice": ("car==汽车\ncar==汽车\n", ("car", ("汽车",)), ["repeated"]),
    "a level in the name": ("体育##足球==足球\n", ("体育##足球", ("足球",)), []),
    "an equals sign in the name": ("a=b==词\n", ("a=b", ("词",)), []),
}


@pytest.mark.parametrize(("text", "wanted", "warned"), LABEL_LINES.values(), ids=LABEL_LINES.keys())
def test_label_file(
    tmp_path: Path, text: str, wanted: tuple[str, tuple[str, ...]], warned: list[str]
) -> None:
    (tmp_path / "train.txt").write_text("甲\t一\n", "utf-8")
    (tmp_path / "label.txt").write_text(text, "utf-8")
    specs, warnings = DataFile(tmp_path).labels()
    assert [(spec.name, spec.words) for spec in specs] == [wanted]
    assert [warning.code for warning in warnings] == warned


@pytest.mark.parametrize("text", ["==汽车\n", f"{'标' * 81}==车\n", f"车=={'词' * 41}\n", "a\x00b==车\n"])
def test_a_label_file_that_makes_no_sense_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.txt").write_text("甲\t一\n", "utf-8")
    (tmp_path / "label.txt").write_text(f"好==好\n{text}", "utf-8")
    with pytest.raises(FileRefused, match="line 2") as refused:
        DataFile(tmp_path).labels()
    assert refused.value.code == "bad_label_file"


# The preview

PEEKED: dict[str, tuple[str, str, dict[str, object]]] = {
    "txt": ("a.txt", "甲\t一\n", {"format": "txt", "text_column": "1", "label_column": "2", "needs_columns": False}),
    "txt without labels": ("a.txt", "甲\n", {"label_column": "-"}),
    "csv": ("a.csv", "id,标题,类别\n1,甲,一\n", {"columns": ("id", "标题", "类别"), "text_column": "标题", "label_column": "类别", "has_header": True}),
    "csv that has to be asked about": ("a.csv", "x,y,z\n1,甲,一\n", {"columns": ("1", "2", "3"), "needs_columns": True, "cells": (("x", "y", "z"), ("1", "甲", "一"))}),
    "jsonl": ("a.jsonl", '{"sentence": "甲", "label": 1}\n', {"format": "jsonl", "text_column": "sentence", "label_column": "label"}),
    "json that has to be asked about": ("a.json", '[{"q": "甲", "n": 2}]', {"format": "json", "columns": ("q", "n"), "needs_columns": True}),
    "no known ending": ("a.dat", '[{"text": "甲"}]', {"format": "json"}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "wanted"), PEEKED.values(), ids=PEEKED.keys())
def test_peek(tmp_path: Path, name: str, content: str, wanted: dict[str, object]) -> None:
    preview = peek(write(tmp_path, name, content))
    assert {key: getattr(preview, key) for key in wanted} == wanted


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    with DataFile(write(tmp_path, "a.tsv", "text\tlabel\n" + "甲\t一\n" * 1000)) as file:
        list(file.rows())
        assert file.progress.done == file.progress.total > 0
