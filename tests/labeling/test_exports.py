"""What goes out comes in again."""

import csv
import io
import zipfile
from pathlib import Path

import openpyxl
import pytest

from labeling.models import Project
from labeling.services.exports import FORMATS, MEDIA_TYPES, ExportRefused, export_filename, iter_export
from labeling.services.filters import Filters
from labeling.services.imports import import_now
from labeling.services.projects import create_project
from labeling.services.words_file import WordsRefused, merge_words, words_file
from tests.factories import make_example, make_label, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HOSTILE = [
    "=1+1", "+86 电话", "-5 度", "@所有人", "'=已有撇号", "''-两个", "'引用'", "＝全角", "＠全角",
    '他说"好"', "逗号,分号;", "一行\n两行", "制\t表", "结尾的引号\"", "\"整个\"", "#N/A", "😀表情", "ÀÉ", "007",
    "null", "[1]", "a==b",
]  # fmt: skip


@pytest.fixture
def project() -> Project:
    project = make_project()
    labels = [make_label(project, "=一", words=("壹", "头")), make_label(project, "二")]
    splits = ["train", "dev", "test", "pool"]
    for number, text in enumerate(HOSTILE):
        make_example(project, text, label=labels[number % 2], split=splits[number % 4])
    make_example(project, "没有标签", split="pool")
    make_example(project, "盲测", split="test")
    return project


def rows_of(project: Project) -> list[tuple[str, str | None, str]]:
    return sorted(project.examples.values_list("text", "label__name", "split"), key=str)


def save(project: Project, format: str, folder: Path) -> Path:
    path = folder / export_filename(project, format=format)
    path.write_bytes(b"".join(iter_export(project, format=format)))
    return path


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "xlsx"])
def test_export_and_import_give_the_same_texts(project: Project, tmp_path: Path, format: str) -> None:
    path = save(project, format, tmp_path)
    copy = create_project(user=project.created_by, name="副本")
    batch = import_now(project=copy, user=project.created_by, path=path)
    assert batch.rows_refused == 0
    assert rows_of(copy) == rows_of(project)
    again = import_now(project=project, user=project.created_by, path=path)
    assert again.rows_added == 0


@pytest.mark.parametrize(("format", "blanks"), [("txt", "\n"), ("tsv", "\t\n")])
def test_in_line_formats_only_breaks_become_blanks_and_in_tsv_tabs(
    project: Project, tmp_path: Path, format: str, blanks: str
) -> None:
    make_example(project, "还没有标签的\t一对", split="test")
    path = save(project, format, tmp_path)
    copy = create_project(user=project.created_by, name="副本")
    import_now(project=copy, user=project.created_by, path=path)
    plain = str.maketrans(dict.fromkeys(blanks, " "))
    wanted = {(text.translate(plain), label) for text, label, _ in rows_of(project)}
    assert {row[:2] for row in rows_of(copy)} == wanted
    assert import_now(project=project, user=project.created_by, path=path).rows_added == 0


@pytest.mark.parametrize("format", ["csv", "tsv", "xlsx", "json", "jsonl", "txt"])
def test_pairs_come_in_again_and_have_a_column_each_in_tables(tmp_path: Path, format: str) -> None:
    project = make_project()
    label = make_label(project, "一样")
    pairs = ["怎么退货？\t如何退货", "=1+1\t@二", "'甲\t“乙”，丙", "只有一边\t-5 度"]
    for number, text in enumerate(pairs):
        make_example(project, text, label=label if number else None, split="train")
    path = save(project, format, tmp_path)
    copy = create_project(user=project.created_by, name="副本")
    batch = import_now(project=copy, user=project.created_by, path=path)
    assert batch.rows_refused == 0
    assert {row[:2] for row in rows_of(copy)} == {row[:2] for row in rows_of(project)}
    assert import_now(project=project, user=project.created_by, path=path).rows_added == 0
    if format in ("csv", "tsv"):
        header = path.read_text("utf-8-sig").splitlines()[0]
        assert header.replace(",", "\t") == "sentence1\tsentence2\tlabel\tsplit"
    narrowed = iter_export(project, format="tsv", filters=Filters(status="open"))
    assert b"".join(narrowed).decode("utf-8-sig").splitlines()[1:] == ["怎么退货？\t如何退货\t\ttrain"]


def test_one_text_that_is_no_pair_keeps_them_in_one_column(tmp_path: Path) -> None:
    project = make_project()
    for text in ("甲\t乙", "只有一段"):
        make_example(project, text, split="train")
    assert save(project, "csv", tmp_path).read_text("utf-8-sig").startswith("text,label,split")


def test_the_recipe_zip_comes_in_again(project: Project, tmp_path: Path) -> None:
    path = save(project, "recipe", tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["data.txt", "dev.txt", "label.txt", "test.txt", "train.txt"]
        assert archive.read("label.txt").decode() == "=一==壹\n=一==头\n二\n"
        assert archive.read("data.txt").decode() == "没有标签\n"
        assert "盲测\n" in archive.read("test.txt").decode()
    copy = create_project(user=project.created_by, name="副本")
    batch = import_now(project=copy, user=project.created_by, path=path)
    assert batch.rows_refused == 0
    labelled = {(text, label) for text, label, _ in rows_of(project)}
    plain = {(text.replace("\n", " "), label) for text, label in labelled}
    assert {row[:2] for row in rows_of(copy)} == plain
    assert [label.word_texts for label in copy.labels.all()] == [["壹", "头"], ["二"]]


def test_no_cell_of_a_spreadsheet_begins_like_a_formula(project: Project, tmp_path: Path) -> None:
    starts = tuple("=+-@\t\r＝＋－＠")
    rows = list(csv.reader(io.StringIO(save(project, "csv", tmp_path).read_text("utf-8-sig"))))
    rows += [line.split("\t") for line in save(project, "tsv", tmp_path).read_text("utf-8-sig").splitlines()]
    sheet = openpyxl.load_workbook(save(project, "xlsx", tmp_path)).active
    rows += [[str(cell.value or "") for cell in row] for row in sheet.iter_rows()]
    assert not [cell for row in rows for cell in row if cell.startswith(starts)]
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)
    assert len(rows) > 3 * len(HOSTILE)


def test_excel_gets_a_bom(project: Project) -> None:
    assert b"".join(iter_export(project, format="csv")).startswith(b"\xef\xbb\xbf")


def test_filters(project: Project) -> None:
    label = project.labels.get(name="二")
    for filters, wanted in (
        ({"status": "open"}, {"没有标签", "盲测"}),
        ({"split": "test", "status": "open"}, {"盲测"}),
        ({"label": str(label.pk)}, set(project.examples.filter(label=label).values_list("text", flat=True))),
        ({}, set(project.examples.values_list("text", flat=True))),
    ):
        content = b"".join(iter_export(project, format="json", filters=Filters(**filters)))
        import json

        assert {row["text"] for row in json.loads(content)} == wanted


def test_what_does_not_exist_is_refused_at_once(project: Project) -> None:
    with pytest.raises(ExportRefused):
        iter_export(project, format="pickle")


def test_an_empty_project_exports_in_every_format() -> None:
    project = make_project()
    for format in FORMATS:
        b"".join(iter_export(project, format=format))
        assert format in MEDIA_TYPES


def test_a_large_export_goes_page_by_page(project: Project, django_assert_max_num_queries: object) -> None:
    pieces = iter_export(project, format="jsonl")
    assert next(pieces).count(b"\n") == len(HOSTILE) + 2


# label==word


def test_words_are_merged_and_nothing_is_deleted() -> None:
    project = make_project()
    make_label(project, "car", words=("车",))
    make_label(project, "old", words=("旧",))
    report = merge_words(
        project=project, file=io.BytesIO("car==汽车\ncar==轿车\nnew=='新\nold\n".encode("gbk"))
    )
    assert (report.added, report.changed, report.same, report.untouched) == (["new"], ["car"], ["old"], [])
    assert [warning.code for warning in report.warnings] == ["misprint"]
    assert words_file(project=project).decode() == "car==汽车\ncar==轿车\nold==旧\nnew==新\n"
    again = merge_words(project=project, file=io.BytesIO(words_file(project=project)))
    assert again.same == ["car", "old", "new"]
    rest = merge_words(project=project, file=io.BytesIO(b"car\n"))
    assert rest.untouched == ["old", "new"]
    assert project.labels.count() == 3


@pytest.mark.parametrize("data", [b"", b"ok\n==x\n", b"x" * (1024 * 1024 + 1)])
def test_a_bad_words_file_changes_nothing(data: bytes) -> None:
    project = make_project()
    with pytest.raises(WordsRefused):
        merge_words(project=project, file=io.BytesIO(data))
    assert not project.labels.exists()
