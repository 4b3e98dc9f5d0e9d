"""A file prediction as a worker runs it: answered, or failed by the name of what is wrong with the file."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from labeling import jobs
from labeling.job_words import ERRORS
from labeling.models.jobs import JobStatus
from tests.training.rows import LABELS, make_run, make_trainable_project
from tests.training.word_counter import write_model
from training.models import FilePrediction
from training.services import predict
from workers.runner import run_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def prediction(monkeypatch: pytest.MonkeyPatch) -> FilePrediction:
    """A text file that waits for its answers; the broker is not asked."""
    monkeypatch.setattr(jobs, "_enqueue", lambda job_id, queue: None)
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1, n_pool=0)
    run = make_run(project)
    write_model(run.model_folder, [name for name, _ in LABELS])
    return predict.request_file_prediction(
        run=run,
        user=project.created_by,
        upload=SimpleUploadedFile("whatever", "体育新闻\n".encode()),
        filename="a.txt",
        options={},
    )


def test_it_succeeds(prediction: FilePrediction) -> None:
    assert run_job(prediction.job_id) == "succeeded"
    prediction.refresh_from_db()
    assert (prediction.rows, prediction.result_name) == (1, "result.txt")


def test_a_file_that_broke_meanwhile_is_named_and_not_unexpected(prediction: FilePrediction) -> None:
    stored = next(path for path in prediction.folder.iterdir() if path.is_file())
    stored.write_bytes(b"")
    assert run_job(prediction.job_id) == "failed: empty_file"
    prediction.job.refresh_from_db()
    assert prediction.job.status == JobStatus.FAILED
    assert prediction.job.error_code == "empty_file"
    assert prediction.job.error_code in ERRORS
    assert "empty" in prediction.job.error_message
