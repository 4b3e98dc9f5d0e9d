"""The Predict page: pasted texts, files, the pool."""

import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from labeling.models import Annotation, Prediction
from labeling.models.annotations import Source
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from tests.factories import make_example, make_job, make_member, make_project
from tests.training.rows import LABELS, make_finished_run, make_trainable_project
from tests.training.word_counter import load_model, write_model
from training.models import FilePrediction, PoolPrediction
from training.services import live, predict

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def run():
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1, n_pool=0)
    found = make_finished_run(project)
    write_model(found.model_folder, [name for name, _ in LABELS])
    return found


@pytest.fixture
def signed_in(client, run):
    client.force_login(run.project.created_by)
    return client


def url(name, run, *args):
    return reverse(name, args=[run.project_id, *args])


@pytest.fixture
def live_model(run, monkeypatch):
    """The live worker's part, played by the same classifier in this process."""
    model = load_model(run.model_folder)

    def ask(question, payload, *, timeout_seconds, newest):
        return model.predict_proba(payload["texts"]).tolist()

    monkeypatch.setattr(live, "_ask", ask)


def test_without_a_model_the_page_teaches(client):
    project = make_project()
    client.force_login(project.created_by)
    assert "还没有模型" in client.get(reverse("predict", args=[project.pk])).content.decode()


def test_pasted_lines_are_answered_with_bars(signed_in, run, live_model):
    data = {"text": "财经报道\n体育新闻", "run": run.number}
    page = signed_in.post(url("predict_text", run), data, headers=HTMX).content.decode()
    assert page.strip().startswith('<div id="answers"')
    assert page.count("<svg") >= 6
    assert page.index("财经报道") < page.index("体育新闻")
    whole = signed_in.post(url("predict_text", run), data).content.decode()
    assert "财经报道\n体育新闻</textarea>" in whole


@pytest.mark.parametrize("error", [live.LiveTimeout, live.LiveUnavailable, live.LiveFailed])
def test_worker_that_does_not_answer_is_said_and_the_text_stays(signed_in, run, monkeypatch, error):
    def ask(question, payload, *, timeout_seconds, newest):
        raise error("x")

    monkeypatch.setattr(live, "_ask", ask)
    response = signed_in.post(url("predict_text", run), {"text": "一条文本"})
    assert response.status_code == 503
    assert 'role="alert"' in response.content.decode()
    assert "一条文本</textarea>" in response.content.decode()
    assert signed_in.post(url("predict_text", run), {"text": "一"}, headers=HTMX).status_code == 200


def test_pasted_markup_is_text(signed_in, run, live_model):
    page = signed_in.post(url("predict_text", run), {"text": "<img src=x>"}, headers=HTMX).content.decode()
    assert "<img" not in page


def test_empty_paste_is_refused_kindly(signed_in, run):
    response = signed_in.post(url("predict_text", run), {"text": " "})
    assert response.status_code == 422
    assert "先写一条文本" in response.content.decode()


def test_uploaded_file_becomes_a_job_and_comes_back(signed_in, run):
    token = str(uuid.uuid4())
    for _ in range(2):
        upload = SimpleUploadedFile("标题.csv", "text\n体育新闻\n".encode())
        response = signed_in.post(
            url("predict_file", run), {"file": upload, "run": run.number, "token": token}
        )
    assert response.status_code == 303
    prediction = FilePrediction.objects.get()
    assert prediction.job.queue == "data"
    download = url("file_prediction_download", run, prediction.pk)
    assert signed_in.get(download).status_code == 404
    predict.run_file_prediction(prediction, load_model(run.model_folder), lambda *told: None, lambda: False)
    response = signed_in.get(download)
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert b"".join(response.streaming_content).startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "先选一个文件"),
        ({"file": SimpleUploadedFile("a.pdf", b"%PDF-1.7 ....")}, "不认识这种文件"),
        ({"file": SimpleUploadedFile("a.csv", "编号,说了,别\n1,二,三\n".encode())}, "编号、说了、别"),
    ],
)
def test_file_that_cannot_be_read_says_what_to_do(signed_in, run, data, words):
    response = signed_in.post(url("predict_file", run), {**data, "text_column": ""})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not FilePrediction.objects.exists()


def test_pool_job_is_started_once(signed_in, run):
    make_example(run.project, "体育池")
    for _ in range(2):
        assert signed_in.post(url("predict_pool", run), {"run": run.number}).status_code == 303
    assert PoolPrediction.objects.count() == 1
    assert PoolPrediction.objects.get().job.queue == "bulk"


@pytest.fixture
def pooled(run):
    for number in range(4):
        make_example(run.project, f"{LABELS[number % 2][0]}池{number}")
    job = make_job(run.project, JobKind.PREDICT_POOL, status=JobStatus.SUCCEEDED)
    PoolPrediction.objects.create(run=run, job=job)
    predict.run_pool_prediction(job, load_model(run.model_folder), lambda *told: None, lambda: False)
    return run


def test_pool_is_browsed_by_label(signed_in, pooled):
    label = pooled.project.labels.get(name="体育")
    page = signed_in.get(url("pool_browse", pooled), {"label": label.pk, "order": "high"}).content.decode()
    assert "体育池0" in page
    assert "财经池1" not in page


def test_accepting_a_prediction_labels_the_text_and_undo_takes_it_back(signed_in, pooled):
    prediction = Prediction.objects.get(example__text="体育池0")
    data = {
        "run": pooled.number,
        "example": prediction.example_id,
        "label": prediction.label_id,
        "client_id": str(uuid.uuid4()),
    }
    page = signed_in.post(url("pool_decide", pooled), data, headers=HTMX).content.decode()
    assert "撤销" in page
    prediction.example.refresh_from_db()
    assert prediction.example.label == prediction.label
    assert Annotation.objects.get().source == Source.SUGGESTION
    undo = {**data, "undo": data["client_id"], "client_id": str(uuid.uuid4())}
    signed_in.post(url("pool_decide", pooled), undo, headers=HTMX)
    prediction.example.refresh_from_db()
    assert prediction.example.label is None


def test_held_out_texts_are_never_labelled_from_a_suggestion(signed_in, run):
    example = run.project.examples.filter(split="test").first()
    before = example.label_id
    data = {"run": run.number, "example": example.pk, "label": 1, "client_id": str(uuid.uuid4())}
    page = signed_in.post(url("pool_decide", run), data, headers=HTMX).content.decode()
    assert "看不到模型答案" in page
    example.refresh_from_db()
    assert example.label_id == before


@pytest.mark.parametrize(
    ("role", "page", "ask"),
    [(Role.REVIEWER, 200, 422), (Role.VIEWER, 200, 403), (Role.ANNOTATOR, 403, 403)],
)
def test_roles(client, run, role, page, ask):
    client.force_login(make_member(run.project, role))
    assert client.get(url("predict", run)).status_code == page
    assert client.post(url("predict_text", run), {}).status_code == ask


def test_deleting_a_file_prediction(signed_in, run, django_capture_on_commit_callbacks):
    upload = SimpleUploadedFile("a.txt", "体育\n".encode())
    signed_in.post(url("predict_file", run), {"file": upload, "run": run.number})
    prediction = FilePrediction.objects.select_related("job").get()
    signed_in.post(url("file_prediction_delete", run, prediction.pk))
    assert FilePrediction.objects.exists()
    prediction.job.fail(code="x", message="x")
    with django_capture_on_commit_callbacks(execute=True):
        signed_in.post(url("file_prediction_delete", run, prediction.pk))
    assert not FilePrediction.objects.exists()
    assert not prediction.folder.exists()
