"""What the data folder holds, and that freeing takes only what can go."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling.models import ImportBatch
from labeling.models.jobs import JobKind, JobStatus
from tests.factories import make_import_batch, make_job, make_project
from tests.web.test_access import make_run
from training.models import Export
from webapp import disk

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    """A data folder of its own."""
    settings.WANXING_HOME = tmp_path
    return tmp_path


def put(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def of_kind(kind: str) -> disk.Use:
    return next(use for use in disk.usage() if use.kind == kind)


def test_kinds_add_up_to_the_folder(home: Path) -> None:
    put(home / "runs/1/model/weights", 100)
    put(home / "runs/1/checkpoints/5/weights", 40)
    put(home / "exports/1/a.zip", 7)
    put(home / "backbones/b/w", 11)
    put(home / "paddlenlp/w", 13)
    put(home / "queue/dump", 17)
    (home / "runs/link").symlink_to("/usr")
    sizes = {use.kind: use.size_bytes for use in disk.usage()}
    assert sizes["runs"] == 100
    assert (sizes["checkpoints"], sizes["exports"], sizes["backbones"], sizes["other"]) == (40, 7, 24, 17)


def test_checkpoints_go_when_the_run_has_ended(home: Path) -> None:
    project = make_project()
    ended, running = make_run(project, 1), make_run(project, 2)
    running.job.delete()
    running = make_run(project, 3)
    type(running.job).objects.filter(pk=running.job_id).update(
        status=JobStatus.RUNNING, heartbeat_at=timezone.now()
    )
    gone = put(ended.folder / "checkpoints/5/weights", 40)
    model = put(ended.folder / "model/weights", 100)
    needed = put(running.folder / "checkpoints/5/weights", 40)
    assert of_kind("checkpoints") == disk.Use("checkpoints", 80, 40)
    assert disk.free(kind="checkpoints") == 40
    assert (gone.exists(), model.exists(), needed.exists()) == (False, True, True)
    assert disk.free(kind="checkpoints") == 0


def test_bundles_stay_for_a_week(home: Path) -> None:
    project = make_project()
    run = make_run(project, 1)
    paths = {}
    for days in (1, 8):
        job = make_job(
            project,
            JobKind.EXPORT,
            status=JobStatus.SUCCEEDED,
            finished_at=timezone.now() - timedelta(days=days),
        )
        export = Export.objects.create(project=project, run=run, job=job, filename="a.zip", passed=True)
        paths[days] = put(export.path, 10)
    assert disk.free(kind="exports") == 10
    assert (paths[1].exists(), paths[8].exists()) == (True, False)


def test_originals_go_and_reports_stay_and_no_row_leads_out_of_the_house(
    home: Path, tmp_path_factory: Any
) -> None:
    project = make_project()
    outside = put(tmp_path_factory.mktemp("outside") / "keep.txt", 5)
    original = put(home / "imports/abc/source.txt", 30)
    report = put(home / "imports/abc/report.tsv", 3)
    waiting = put(home / "imports/def/source.txt", 30)
    done = make_job(project, status=JobStatus.SUCCEEDED)
    make_import_batch(project, path="imports/abc/source.txt", job=done)
    make_import_batch(project, path="imports/def/source.txt", job=make_job(project))
    for bad in (str(outside), f"../{outside.parent.name}/keep.txt", "."):
        make_import_batch(project, path=bad, job=make_job(project, status=JobStatus.SUCCEEDED))
    assert disk.free(kind="imports") == 30
    assert [path.exists() for path in (original, report, waiting, outside)] == [False, True, True, True]
    assert ImportBatch.objects.count() == 5


def test_rotated_logs_and_older_backups(home: Path) -> None:
    now, old = put(home / "logs/web.log", 5), put(home / "logs/web.log.1", 6)
    first, last = put(home / "backups/wanxing-1.sqlite3", 7), put(home / "backups/wanxing-2.sqlite3", 8)
    assert disk.free(kind="logs") == 6
    assert disk.free(kind="backups") == 7
    assert [path.exists() for path in (now, old, first, last)] == [True, False, False, True]


def test_a_project_is_charged_for_its_own_files(home: Path) -> None:
    mine, other = make_project(), make_project()
    put(make_run(mine, 1).folder / "model/weights", 100)
    put(make_run(other, 1).folder / "model/weights", 900)
    put(home / "imports/abc/source.txt", 30)
    put(home / "imports/abc/report.tsv", 3)
    make_import_batch(mine, path="imports/abc/source.txt")
    assert disk.project_bytes(mine) == 133
    assert [(use.project, use.size_bytes) for use in disk.usage_by_project()] == [(other, 900), (mine, 133)]


@pytest.mark.parametrize("kind", ["database", "runs", "backbones", "other"])
def test_what_cannot_be_made_again_is_never_freed(home: Path, admin_client: Client, kind: str) -> None:
    kept = put(home / "runs/1/model/weights", 100)
    assert admin_client.post(reverse("disk_free"), {"kind": kind}).status_code == 400
    assert kept.exists()


def test_the_page_frees_and_says_how_much(home: Path, admin_client: Client) -> None:
    put(home / "logs/web.log.1", 2048)
    assert reverse("disk_free") in admin_client.get(reverse("disk")).content.decode()
    answer = admin_client.post(reverse("disk_free"), {"kind": "logs"}, follow=True)
    assert "2.0" in answer.content.decode()
    assert not (home / "logs/web.log.1").exists()
