"""Bringing texts in through the pages: what is clear starts at once, the rest is asked; every refusal says why."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from labeling import jobs
from labeling.models import ImportBatch
from labeling.models.jobs import JobStatus
from labeling.models.projects import Role
from labeling.services.imports import run_import
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make.make_project()


@pytest.fixture
def owner(client, project):
    client.force_login(project.created_by)
    return client


def upload(client, project, *files, **more):
    url = reverse("import_new", args=[project.pk])
    named = [SimpleUploadedFile(name, content) for name, content in files]
    return client.post(url, {"files": named, **more})


def token_of(response) -> str:
    return response.url.split("upload=")[1]


def preview(client, project, token, **query):
    return client.get(reverse("import_preview", args=[project.pk]), {"upload": token, **query})


def recipe() -> dict[str, bytes]:
    return {
        "train.txt": "央行降息\tfinance\n球队夺冠\tsports\n".encode(),
        "dev.txt": "股市大涨\tfinance\n".encode(),
        "test.txt": "国足出线\tsports\n".encode(),
        "data.txt": "没有标签\n".encode(),
        "label.txt": "finance==财经\nsports==体育\n".encode(),
    }


def run(batch: ImportBatch) -> None:
    """What the worker does, in this process."""
    batch.job.claim(worker="test")
    assert run_import(batch)
    batch.job.succeed()


def test_a_recipes_zip_is_imported_at_once(owner, project, django_capture_on_commit_callbacks):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in recipe().items():
            archive.writestr(f"few/{name}", content)
    response = upload(owner, project, ("tnews.zip", data.getvalue()))
    batch = project.imports.get()
    assert response.url == reverse("import_detail", args=[project.pk, batch.pk])
    assert batch.job.status == JobStatus.QUEUED
    run(batch)
    page = owner.get(response.url)
    assert page.context["batch"].rows_added == 5
    assert dict(project.examples.values_list("text", "split"))["国足出线"] == "test"
    assert [label.word_texts for label in project.labels.all()] == [["财经"], ["体育"]]


def test_a_recipes_files_chosen_together_are_its_folder(owner, project):
    response = upload(owner, project, *recipe().items(), ("notes.md", b"x"))
    batch = project.imports.get()
    assert response.url == reverse("import_detail", args=[project.pk, batch.pk])
    run(batch)
    assert project.examples.count() == 5


def test_any_other_file_is_shown_first(owner, project):
    response = upload(
        owner, project, ("texts.csv", "text,label\n央行降息,财经\n球队夺冠,\n".encode("gb18030"))
    )
    page = owner.get(response.url)
    assert page.context["preview"].format == "csv"
    assert page.context["preview"].encoding.lower().replace("-", "") == "gb18030"
    html = page.content.decode()
    assert "央行降息" in html
    assert "财经" in html
    assert not project.imports.exists()


def test_the_confirmed_file_becomes_texts_and_a_report(owner, project):
    make.make_example(project, "已经有了")
    content = "text\tlabel\n新文本\t财经\n\t财经\n已经有了\t\n又一条\t财经\n"
    token = token_of(upload(owner, project, ("a.tsv", content.encode())))
    response = owner.post(
        reverse("import_preview", args=[project.pk]), {"upload": token, "shown": "1", "add_labels": "on"}
    )
    batch = project.imports.get()
    assert response.url == reverse("import_detail", args=[project.pk, batch.pk])
    run(batch)
    page = owner.get(response.url)
    html = page.content.decode()
    assert (batch.rows_read, batch.rows_added, batch.rows_duplicate, batch.rows_refused) == (4, 2, 1, 1)
    assert "文本是空的" in html
    report = owner.get(reverse("import_report", args=[project.pk, batch.pk]))
    assert report["Content-Disposition"].startswith("attachment")
    assert report["X-Content-Type-Options"] == "nosniff"
    assert "empty_text" in b"".join(report.streaming_content).decode("utf-8-sig")


def test_columns_with_other_names_are_asked_for_and_used(owner, project):
    content = "标题,栏目,备注\n甲公司上市,财经,x\n乙队夺冠,体育,y\n"
    token = token_of(upload(owner, project, ("b.csv", content.encode())))
    url = reverse("import_preview", args=[project.pk])
    chosen = {"text_column": "备注", "label_column": "栏目", "has_header": "yes"}
    for page in (
        preview(owner, project, token, **chosen),
        owner.post(url, {"upload": token, "shown": "1", "reread": "1", **chosen}),
    ):
        rows = page.context["rows"]
        assert [(row["text"], row["label"]) for row in rows] == [("x", "财经"), ("y", "体育")]
    assert not project.imports.exists()
    owner.post(url, {"upload": token, "shown": "1", "add_labels": "on", **chosen, "text_column": "标题"})
    run(project.imports.get())
    assert dict(project.examples.values_list("text", "label__name")) == {
        "甲公司上市": "财经",
        "乙队夺冠": "体育",
    }


def test_unknown_labels_are_refused_where_the_box_is_not_ticked(owner, project):
    make.make_label(project, "财经")
    token = token_of(upload(owner, project, ("c.tsv", "text\tlabel\n甲\t财经\n乙\t体育\n".encode())))
    owner.post(reverse("import_preview", args=[project.pk]), {"upload": token, "shown": "1", "split": "test"})
    run(project.imports.get())
    assert list(project.examples.values_list("text", "split")) == [("甲", "test")]
    assert project.labels.count() == 1


def test_a_column_that_does_not_exist_is_said_and_nothing_starts(owner, project):
    token = token_of(upload(owner, project, ("d.csv", "text,label\n甲,财经\n".encode())))
    url = reverse("import_preview", args=[project.pk])
    response = owner.post(url, {"upload": token, "shown": "1", "text_column": "没有这列"})
    assert response.status_code == 422
    assert response.context["error"]
    assert not project.imports.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.txt", b""),
        ("old.xls", b"\xd0\xcf\x11\xe0" + bytes(600)),
        ("half.zip", b"PK\x03\x04" + bytes(100)),
        ("paper.pdf", b"%PDF-1.7 x"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(64)),
        ("fake.xlsx", b"not a workbook"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once_with_a_reason(owner, project, name, content):
    folder = Path(settings.WANXING_HOME) / "imports"
    before = set(folder.glob("*"))
    response = upload(owner, project, (name, content))
    assert response.status_code == 422
    assert response.context["error"]
    assert not project.imports.exists()
    assert set(folder.glob("*")) == before


def test_a_zip_that_leads_out_of_its_folder_is_refused(owner, project):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../../train.txt", "甲\t财经\n")
    assert upload(owner, project, ("evil.zip", data.getvalue())).status_code == 422


def test_a_file_beyond_the_limit_is_refused(owner, project, settings):
    settings.UPLOAD_MAX_BYTES = 1024 * 1024
    response = upload(owner, project, ("big.txt", b"x\n" * (600 * 1024)))
    assert response.status_code == 422
    assert "1 MB" in response.context["error"]


def test_several_files_that_are_no_recipe_are_refused(owner, project):
    assert upload(owner, project, ("a.csv", b"text\nx\n"), ("b.csv", b"text\ny\n")).status_code == 422
    assert upload(owner, project, ("label.txt", b"x\n"), ("b.csv", b"text\ny\n")).status_code == 422
    assert owner.post(reverse("import_new", args=[project.pk])).status_code == 422


def test_a_filename_is_only_ever_shown(owner, project):
    token = token_of(upload(owner, project, ("../../<img src=x onerror=alert(1)>.csv", b"text\nhello\n")))
    html = preview(owner, project, token).content.decode()
    assert "<img src=x" not in html
    owner.post(reverse("import_preview", args=[project.pk]), {"upload": token, "shown": "1"})
    stored = Path(settings.WANXING_HOME) / project.imports.get().path
    assert stored.name == "source.csv"
    assert stored.is_relative_to(Path(settings.WANXING_HOME) / "imports")


def test_an_upload_belongs_to_its_project_and_can_be_forgotten(owner, project):
    token = token_of(upload(owner, project, ("a.txt", "一条\n".encode())))
    elsewhere = make.make_project(project.created_by)
    assert preview(owner, elsewhere, token).url == reverse("import_new", args=[elsewhere.pk])
    url = reverse("import_preview", args=[project.pk])
    owner.post(url, {"upload": token, "forget": "1"})
    assert preview(owner, project, token).status_code == 302
    for broken in ("", "../../etc", "x" * 200):
        assert preview(owner, project, broken).status_code == 302


def test_too_many_imports_an_hour_are_refused(owner, project, monkeypatch):
    monkeypatch.setitem(jobs.HOURLY_LIMITS, "import", 0)
    token = token_of(upload(owner, project, ("a.txt", "一条\n".encode())))
    response = owner.post(reverse("import_preview", args=[project.pk]), {"upload": token, "shown": "1"})
    assert response.status_code == 429
    assert not project.imports.exists()


def test_progress_is_shown_while_it_runs_and_a_stop_is_explained(owner, project):
    batch = make.make_import_batch(project, job=make.make_job(project, status=JobStatus.RUNNING))
    url = reverse("import_detail", args=[project.pk, batch.pk])
    html = owner.get(url).content.decode()
    assert reverse("job_status", args=[project.pk, batch.job_id]) in html
    assert reverse("job_cancel", args=[project.pk, batch.job_id]) in html
    batch.job.cancelled()
    assert "导入停在了半路" in owner.get(url).content.decode()


def test_a_report_outside_the_imports_folder_is_never_sent(owner, project):
    batch = make.make_import_batch(project, report_path="secret_key")
    (Path(settings.WANXING_HOME) / "secret_key").touch()
    assert owner.get(reverse("import_report", args=[project.pk, batch.pk])).status_code == 404


def test_another_projects_import_is_not_there(owner, project):
    foreign = make.make_import_batch(make.make_project())
    for name in ("import_detail", "import_report"):
        assert owner.get(reverse(name, args=[project.pk, foreign.pk])).status_code == 404


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.VIEWER])
def test_importing_is_for_owners_and_reviewers(client, project, role):
    client.force_login(make.make_member(project, role))
    for name in ("import_new", "import_preview"):
        assert client.get(reverse(name, args=[project.pk])).status_code == 403
        assert client.post(reverse(name, args=[project.pk])).status_code == 403
