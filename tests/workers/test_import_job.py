"""An import as a worker runs it: claimed, reported, recorded."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from labeling import jobs
from labeling.models import ImportBatch
from labeling.models.jobs import JobStatus
from labeling.services.imports import request_import
from tests.factories import make_project
from workers.runner import run_job

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def request_file(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Queue the import of some bytes; the broker is not asked."""
    monkeypatch.setattr(jobs, "_enqueue", lambda job_id, queue: None)
    project = make_project()

    def request_it(data: bytes, filename: str) -> ImportBatch:
        return request_import(
            project=project, user=project.created_by, upload=io.BytesIO(data), filename=filename
        )

    return request_it


def test_it_succeeds_with_its_report_and_progress(request_file: Any) -> None:
    batch = request_file("text\tlabel\n甲\t一\n\t一\n".encode(), "a.tsv")
    assert run_job(batch.job_id) == "succeeded"
    batch.refresh_from_db()
    batch.job.refresh_from_db()
    assert (batch.rows_added, batch.rows_refused) == (1, 1)
    assert batch.job.stage == "import"
    assert batch.job.step == batch.job.total > 0
    assert (Path(settings.WANXING_HOME) / batch.report_path).is_file()
    assert run_job(batch.job_id).startswith("not claimed")


@pytest.mark.parametrize(
    ("data", "filename", "code"), [(b"PK\x03\x04half", "a.zip", "broken_zip"), (b"a,b,c\n1,2,3\n", "a.csv", "columns_unknown")]
)  # fmt: skip
def test_a_file_that_cannot_be_read_fails_with_its_own_words(
    request_file: Any, data: bytes, filename: str, code: str
) -> None:
    batch = request_file(data, filename)
    assert run_job(batch.job_id) == f"failed: {code}"
    batch.job.refresh_from_db()
    assert batch.job.status == JobStatus.FAILED
    assert batch.job.error_code == code
    assert batch.job.error_message
