"""Imports: what comes in, what is counted, and that repeating, resuming and stopping do no harm."""

import io
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from labeling.jobs import TooManyJobs
from labeling.models import Annotation, Example, ImportBatch, Job, Prediction, Project
from labeling.models.annotations import Source
from labeling.models.jobs import JobStatus
from labeling.models.texts import Split, Status
from labeling.services import imports, new_labels, uploads
from labeling.services.annotate import decide
from labeling.services.imports import ImportRefused, import_now, request_import, run_import
from labeling.services.projects import delete_project
from labeling.services.uploads import UploadRefused, find_upload, keep_upload, peek_upload, remove_forgotten
from tests.factories import (
    make_annotation,
    make_example,
    make_import_batch,
    make_label,
    make_project,
    make_user,
)
from tests.training.rows import make_run

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def bring(project: Project, tmp_path: Path) -> Callable[..., ImportBatch]:
    """Import a text given as str (a tsv) or bytes."""

    def bring_it(content: str | bytes, *, name: str = "texts.tsv", **options: Any) -> ImportBatch:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_now(project=project, user=project.created_by, path=path, options=options)

    return bring_it


def counts(batch: ImportBatch) -> dict[str, int]:
    batch.refresh_from_db()
    names = ("read", "added", "duplicate", "relabelled", "conflict", "refused")
    return {name: getattr(batch, f"rows_{name}") for name in names if getattr(batch, f"rows_{name}")}


def report_of(batch: ImportBatch) -> list[list[str]]:
    """The report's rows below its heading, as cells."""
    text = (Path(settings.WANXING_HOME) / batch.report_path).read_text("utf-8-sig")
    return [line.split("\t") for line in text.splitlines()[1:]]


def many(n: int, *, labels: str = "一二三") -> str:
    return "text\tlabel\n" + "".join(
        f"第{number}条文本\t{labels[number % len(labels)]}\n" for number in range(n)
    )


def test_an_import_brings_texts_labels_and_their_annotations(project: Project, bring: Callable) -> None:
    batch = bring("text\tlabel\n甲\t一\n乙\t\n丙\t二\n")
    assert counts(batch) == {"read": 3, "added": 3}
    assert batch.job.status == JobStatus.SUCCEEDED
    rows = project.examples.order_by("id").values_list("text", "label__name", "status", "line")
    assert list(rows) == [("甲", "一", "labelled", 2), ("乙", None, "open", 3), ("丙", "二", "labelled", 4)]
    labels = list(project.labels.values_list("name", "key", "position"))
    assert labels == [("一", "1", 0), ("二", "2", 1)]
    annotations = list(
        Annotation.objects.values_list("example__text", "action", "label__name", "source", "user")
    )
    assert annotations == [
        ("甲", "label", "一", Source.IMPORT, None),
        ("丙", "label", "二", Source.IMPORT, None),
    ]


def test_importing_again_adds_nothing(project: Project, bring: Callable) -> None:
    bring(many(4500))
    again = bring(many(4500))
    assert counts(again) == {"read": 4500, "duplicate": 4500}
    assert project.examples.count() == 4500
    assert Annotation.objects.count() == 4500
    assert report_of(again)[0][:4] == ["", "2", "duplicate", ""]


def test_texts_that_differ_in_width_and_blanks_are_one(project: Project, bring: Callable) -> None:
    batch = bring("ＡＢＣ　公司\t一\nABC  公司\t一\n", name="a.txt")
    assert counts(batch) == {"read": 2, "added": 1, "duplicate": 1}


def test_an_unlabelled_text_gets_its_label_from_a_later_file(project: Project, bring: Callable) -> None:
    bring("text\tlabel\n甲\t\n乙\t\n")
    batch = bring("text\tlabel\n甲\t一\n甲\t一\n")
    assert counts(batch) == {"read": 2, "relabelled": 1, "duplicate": 1}
    example = project.examples.get(text="甲")
    assert (example.label.name, example.status) == ("一", Status.LABELLED)
    assert example.decided_at is not None
    assert example.annotations.count() == 1


def test_a_label_further_down_in_the_same_file_counts_too(project: Project, bring: Callable) -> None:
    batch = bring("text\tlabel\n甲\t\n甲\t一\n甲\t二\n")
    assert counts(batch) == {"read": 3, "added": 1, "relabelled": 1, "duplicate": 1, "conflict": 1}
    assert project.examples.get().label.name == "一"
    assert project.examples.get().annotations.count() == 1


DECISIONS = {
    "labelled otherwise": lambda p, e, u: make_annotation(e, u, make_label(p, "三")),
    "skipped": lambda p, e, u: make_annotation(e, u),
    "labelled and cleared": lambda p, e, u: (
        make_annotation(e, u, make_label(p, "三")),
        decide(project=p, user=u, example_id=e.pk, action="clear"),
    ),
}


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS.keys())
def test_what_a_person_decided_is_never_overwritten(
    project: Project, bring: Callable, decision: Callable[..., object]
) -> None:
    example = make_example(project, "甲")
    decision(project, example, project.created_by)
    example.refresh_from_db()
    before = (example.label, example.status, example.annotations.count())
    batch = bring("text\tlabel\n甲\t一\n")
    example.refresh_from_db()
    assert (example.label, example.status, example.annotations.count()) == before
    assert counts(batch) == {"read": 1, "duplicate": 1, "conflict": 1}
    assert report_of(batch)[0][2:4] == ["conflict", "label_conflict"]


def test_every_refused_row_is_reported_with_line_and_reason(project: Project, bring: Callable) -> None:
    batch = bring("text\tlabel\n甲\t一\n\t一\n乙\x00\t一\n丙\t多\t一\n=SUM(A1)\x00\t一\n")
    assert counts(batch) == {"read": 5, "added": 1, "refused": 4}
    assert batch.refused_by_reason == {"empty_text": 1, "nul": 2, "too_many_columns": 1}
    assert [row[1:4] for row in report_of(batch)] == [
        ["3", "refused", "empty_text"],
        ["4", "refused", "nul"],
        ["5", "refused", "too_many_columns"],
        ["6", "refused", "nul"],
    ]
    assert all(row[4] for row in report_of(batch))
    assert report_of(batch)[3][5].startswith("'=SUM")


def test_unknown_labels_are_refused_when_labels_are_closed(project: Project, bring: Callable) -> None:
    make_label(project, "一")
    batch = bring("text\tlabel\n甲\t一\n乙\t二\n", add_labels=False)
    assert batch.refused_by_reason == {"unknown_label": 1}
    assert list(project.labels.values_list("name", flat=True)) == ["一"]


def test_an_archived_label_takes_no_texts(project: Project, bring: Callable) -> None:
    label = make_label(project, "一")
    label.archived_at = project.created_at
    label.save()
    assert bring("text\tlabel\n甲\t一\n").refused_by_reason == {"unknown_label": 1}


def test_the_number_of_labels_is_limited(project: Project, bring: Callable) -> None:
    n = new_labels.MAX_LABELS
    batch = bring("text\tlabel\n" + "".join(f"文{number}\t标{number}\n" for number in range(n + 5)))
    assert project.labels.count() == n
    assert batch.refused_by_reason == {"too_many_labels": 5}
    keys = [key for key in project.labels.values_list("key", flat=True) if key]
    assert len(keys) == len(set(keys)) == len(new_labels.KEYS)


def test_integer_labels_are_class_ids_of_the_labels_that_were_there(
    project: Project, bring: Callable
) -> None:
    for name in ("甲类", "乙类"):
        make_label(project, name)
    bring('{"text":"一","label":1}\n{"text":"二","label":0}\n{"text":"三","label":7}\n', name="a.jsonl")
    assert dict(project.examples.values_list("text", "label__name")) == {
        "一": "乙类",
        "二": "甲类",
        "三": "7",
    }


def recipe(folder: Path) -> Path:
    files = {
        "train.txt": "甲一\tb\n甲二\ta\n丙\tb\n坏\tc\n",
        "dev.txt": "乙\ta\n",
        "test.txt": "丙\ta\n丁\n",
        "data.txt": "戊\n己\n",
        "label.txt": "b==贝\na'=='阿\n",
    }
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return folder


def test_the_recipe_folder_keeps_its_splits_labels_and_words(project: Project, tmp_path: Path) -> None:
    batch = import_now(project=project, user=project.created_by, path=recipe(tmp_path / "d"))
    splits = dict(project.examples.values_list("text", "split"))
    assert splits == {"甲一": "train", "甲二": "train", "乙": "dev", "丙": "test", "丁": "test", "戊": "pool", "己": "pool"}  # fmt: skip
    # The text that stands in test.txt too stays there, with the label it has there.
    assert project.examples.get(text="丙").label.name == "a"
    assert [(label.name, label.word_texts) for label in project.labels.all()] == [
        ("b", ["贝"]),
        ("a", ["阿"]),
    ]
    assert batch.refused_by_reason == {"unknown_label": 1}
    assert [(warning["code"], warning["line"]) for warning in batch.warnings] == [("misprint", 2)]
    assert counts(batch) == {"read": 9, "added": 7, "duplicate": 1, "conflict": 1, "refused": 1}


class Killed(BaseException):
    """Stands for a process that ends here: nothing after it runs."""


@pytest.mark.parametrize("chunks", [0, 1, 2, 3])
def test_a_killed_import_goes_on_where_it_was(
    project: Project, tmp_path: Path, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a chunk's rows are written and before they are committed, the report already longer."""
    monkeypatch.setattr(imports, "CHUNK_ROWS", 100)
    monkeypatch.setattr(imports, "SLOW_SECONDS", 1000)
    path = tmp_path / "texts.tsv"
    path.write_text(many(330) + "\t一\n第0条文本\t一\n", "utf-8")
    batch = make_import_batch(project, path=str(path))
    advance = imports._Run._advance
    calls = Counter()

    def dying(run: Any, *args: Any) -> None:
        advance(run, *args)
        calls["n"] += 1
        if calls["n"] > chunks:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(imports._Run, "_advance", dying)
        with pytest.raises(Killed):
            run_import(batch)
    batch.refresh_from_db()
    assert project.examples.count() == batch.rows_read == 100 * chunks
    assert run_import(batch)
    assert counts(batch) == {"read": 332, "added": 330, "duplicate": 1, "refused": 1}
    assert [row[1:3] for row in report_of(batch)] == [["332", "refused"], ["333", "duplicate"]]
    assert Annotation.objects.count() == project.examples.count() == 330
    per_split = Counter(project.examples.values_list("split", flat=True))
    assert abs(per_split["test"] - 66) <= 3
    # A delivery after the end changes nothing.
    assert run_import(batch)
    assert counts(batch)["read"] == 332


def test_two_processes_on_one_batch_never_count_twice(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text(many(50), "utf-8")
    batch = make_import_batch(project, path=str(path))

    run = imports._Run(batch)
    ImportBatch.objects.filter(pk=batch.pk).update(rows_read=20)  # the other process, since
    with pytest.raises(ImportRefused) as refused:
        run.go(lambda stage, step, total: None, lambda: False)
    assert refused.value.code == "taken"
    assert project.examples.count() == 0


def test_an_import_stops_when_asked_and_keeps_what_came(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK_ROWS", 100)
    monkeypatch.setattr(imports, "SLOW_SECONDS", 1000)
    path = tmp_path / "texts.tsv"
    path.write_text(many(1000), "utf-8")
    seen: list[tuple[str, int, int]] = []
    batch = import_now(
        project=project,
        user=project.created_by,
        path=path,
        on_progress=lambda *progress: seen.append(progress),
        should_stop=lambda: len(seen) == 3,
    )
    assert batch.job.status == JobStatus.CANCELLED
    assert project.examples.count() == 300
    assert 0 < seen[-1][1] <= seen[-1][2] == path.stat().st_size


@pytest.mark.django_db(transaction=True)
def test_the_connection_is_as_durable_after_an_import_as_before(project: Project, bring: Callable) -> None:
    """Outside of a test's own transaction, where SQLite is told not to wait for the disk while rows come in."""

    def settings_of_connection() -> list[int]:
        if connection.vendor != "sqlite":
            return []
        with connection.cursor() as cursor:
            names = ("synchronous", "wal_autocheckpoint", "cache_size")
            return [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    before = settings_of_connection()
    assert counts(bring(many(5000))) == {"read": 5000, "added": 5000}
    with pytest.raises(ImportRefused):
        bring("a,b,c\n1,2,3\n", name="a.csv")
    assert settings_of_connection() == before
    assert before[:1] in ([], [2])  # FULL


def test_a_file_without_known_columns_fails_with_what_to_do(project: Project, bring: Callable) -> None:
    with pytest.raises(ImportRefused) as refused:
        bring("问题描述,归类\n甲,一\n乙,二\n", name="a.csv")
    assert refused.value.code == "columns_unknown"
    assert "问题描述" in refused.value.message
    job = Job.objects.get()
    assert (job.status, job.error_code) == (JobStatus.FAILED, "columns_unknown")
    batch = bring("问题描述,归类\n甲,一\n", name="a.csv", text_column="问题描述", label_column="归类")
    assert counts(batch) == {"read": 1, "added": 1}


def test_options_that_do_not_exist_are_refused(bring: Callable) -> None:
    for options in ({"splitt": "test"}, {"split": "nowhere"}):
        with pytest.raises(ImportRefused):
            bring("甲\n", name="a.txt", **options)


def test_a_chosen_split_goes_for_rows_that_have_none(project: Project, bring: Callable) -> None:
    bring("text\tlabel\tsplit\n甲\t一\t\n乙\t一\tdev\n", split="test")
    assert dict(project.examples.values_list("text", "split")) == {"甲": Split.TEST, "乙": Split.DEV}


# Uploads


@pytest.fixture
def enqueued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What was handed to the broker, which is another room's."""
    from labeling import jobs

    handed: list[tuple[int, str]] = []
    monkeypatch.setattr(jobs, "_enqueue", lambda job_id, queue: handed.append((job_id, queue)))
    return handed


def test_a_request_stores_the_file_and_queues_the_job(
    project: Project, enqueued: list[tuple[int, str]], django_capture_on_commit_callbacks: Callable
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        batch = request_import(
            project=project,
            user=project.created_by,
            upload=io.BytesIO("text\tlabel\n甲\t一\n".encode()),
            filename="../../etc/我的 数据.TSV",
        )
    assert enqueued == [(batch.job_id, "data")]
    assert batch.filename == "我的 数据.TSV"
    stored = Path(settings.WANXING_HOME) / batch.path
    assert stored.is_relative_to(uploads.imports_folder())
    assert stored.name == "source.tsv"
    assert run_import(batch)
    assert counts(batch) == {"read": 1, "added": 1}
    assert not stored.exists()
    assert (Path(settings.WANXING_HOME) / batch.report_path).exists()


def test_an_upload_is_looked_at_before_it_is_imported(project: Project, enqueued: list) -> None:
    upload = keep_upload(project=project, upload=io.BytesIO("问,答\n甲,一\n".encode("gbk")), filename="a.csv")
    preview = peek_upload(upload=upload)
    assert (preview.encoding, preview.needs_columns) == ("gb18030", True)
    batch = request_import(
        project=project, user=project.created_by, token=upload.token,
        options={"text_column": "问", "label_column": "答", "has_header": True},
    )  # fmt: skip
    run_import(batch)
    assert list(project.examples.values_list("text", "label__name")) == [("甲", "一")]


def test_another_projects_upload_is_not_found(project: Project) -> None:
    upload = keep_upload(project=make_project(), upload=io.BytesIO(b"x"), filename="a.txt")
    for token in (upload.token, "../" + upload.token, "x", ""):
        with pytest.raises(UploadRefused):
            find_upload(project=project, token=token)


def test_a_recipe_may_come_as_single_files(project: Project, tmp_path: Path, enqueued: list) -> None:
    folder = recipe(tmp_path / "d")
    files = [(path.name, io.BytesIO(path.read_bytes())) for path in sorted(folder.iterdir())]
    upload = keep_upload(project=project, upload=files[0][1], filename=files[0][0], more=files[1:])
    assert peek_upload(upload=upload).format == "recipe"
    batch = request_import(project=project, user=project.created_by, token=upload.token)
    run_import(batch)
    assert project.examples.count() == 7


def test_too_large_an_upload_leaves_nothing_behind(project: Project, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 100
    before = set(uploads.imports_folder().glob("*"))
    with pytest.raises(UploadRefused) as refused:
        keep_upload(project=project, upload=io.BytesIO(b"x" * 101), filename="a.txt")
    assert refused.value.code == "too_large"
    assert set(uploads.imports_folder().glob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_said_plainly(project: Project, tmp_path: Path) -> None:
    """The report stands on a device that is always full: a real ENOSPC."""
    path = tmp_path / "texts.tsv"
    path.write_text("text\n甲\n甲\n", "utf-8")
    folder = uploads.imports_folder() / "full"
    folder.mkdir(parents=True)
    (folder / "report.tsv").symlink_to("/dev/full")
    batch = make_import_batch(project, path=str(path), report_path="imports/full/report.tsv")
    try:
        with pytest.raises(ImportRefused) as refused:
            run_import(batch)
    finally:
        shutil.rmtree(folder)
    assert refused.value.code == "disk_full"
    assert project.examples.count() == 0


def test_forgotten_uploads_are_removed_and_used_ones_kept(project: Project, enqueued: list) -> None:
    forgotten = keep_upload(project=project, upload=io.BytesIO(b"x"), filename="a.txt")
    used = keep_upload(project=project, upload=io.BytesIO(b"x"), filename="a.txt")
    request_import(project=project, user=project.created_by, token=used.token)
    time.sleep(0.01)
    assert remove_forgotten(older_than_seconds=0) >= 1
    assert used.path.exists()
    assert not forgotten.path.exists()


def test_too_many_imports_in_an_hour_are_refused(project: Project, enqueued: list) -> None:
    from labeling.jobs import HOURLY_LIMITS

    for _ in range(HOURLY_LIMITS["import"]):
        Job.objects.create(project=project, kind="import", queue="data", created_by=project.created_by)
    with pytest.raises(TooManyJobs):
        request_import(project=project, user=project.created_by, upload=io.BytesIO(b"x"), filename="a.txt")


# The command


def test_the_command_imports_into_a_new_project_and_says_what_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = make_user()
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n甲\t一\n\t二\n", "utf-8")
    call_command("import_dataset", "客服工单", str(path))
    project = Project.objects.get(name="客服工单")
    assert project.role_of(user) == "owner"
    out = capsys.readouterr().out
    assert "新增 1" in out
    assert "文本是空的" in out
    call_command("import_dataset", str(project.pk), str(path), "--user", user.username)
    assert project.examples.count() == 1


COMMANDS = {
    "no such file": ["新项目", "/nowhere.txt"],
    "no such project": ["987654", __file__],
    "no such user": ["新项目", __file__, "--user", "nobody"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_command_says_what_is_wrong(arguments: list[str]) -> None:
    make_user()
    with pytest.raises(CommandError):
        call_command("import_dataset", *arguments)
    assert not Project.objects.exists()


def test_the_command_does_not_write_into_a_strangers_project(project: Project, tmp_path: Path) -> None:
    stranger = make_user()
    path = tmp_path / "a.txt"
    path.write_text("甲\n", "utf-8")
    with pytest.raises(CommandError):
        call_command("import_dataset", str(project.pk), str(path), "--user", stranger.username)


# Deleting


def test_deleting_a_project_removes_its_rows_and_files_and_nobody_elses(
    project: Project, bring: Callable, enqueued: list, django_capture_on_commit_callbacks: Callable
) -> None:
    other = make_project()
    kept = make_example(other, "第1条文本", label=make_label(other, "一"))
    batch = bring(many(2500))
    example = project.examples.first()
    decide(project=project, user=project.created_by, example_id=example.pk, action="clear")
    run = make_run(project)
    Prediction.objects.create(
        project=project, example=example, model_id=run.pk, label=project.labels.first(), confidence=0.5
    )
    report = Path(settings.WANXING_HOME) / batch.report_path
    pending = keep_upload(project=project, upload=io.BytesIO(b"x"), filename="a.txt")
    assert report.exists()
    with django_capture_on_commit_callbacks(execute=True):
        delete_project(project=project)
    assert not Project.objects.filter(pk=project.pk).exists()
    assert list(Example.objects.all()) == [kept]
    assert not report.exists()
    assert not pending.path.exists()
    assert not run.folder.exists()
