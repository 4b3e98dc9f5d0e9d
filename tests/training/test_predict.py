"""Files and the pool through a real ONNX model; questions to a live worker that is not there."""

import csv
import io
import json
import uuid

import openpyxl
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile

from labeling import jobs
from labeling.models import Job, Prediction
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.texts import Split
from tests.factories import make_example, make_job
from tests.training.rows import LABELS, make_run, make_trainable_project
from tests.training.word_counter import load_model, write_model
from training.models import FilePrediction
from training.services import live, pool, predict

pytestmark = pytest.mark.django_db
NAMES = [name for name, _ in LABELS]


@pytest.fixture
def run():
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1, n_pool=0)
    found = make_run(project)
    write_model(found.model_folder, NAMES)
    return found


def upload(run, content, filename, **options) -> FilePrediction:
    if isinstance(content, str):
        content = content.encode()
    return predict.request_file_prediction(
        run=run,
        user=run.project.created_by,
        upload=SimpleUploadedFile("whatever", content),
        filename=filename,
        options=options,
    )


def answered(run, content, filename, **options) -> tuple[FilePrediction, bytes]:
    prediction = upload(run, content, filename, **options)
    steps = []
    predict.run_file_prediction(
        prediction, load_model(run.model_folder), lambda *told: steps.append(told), lambda: False
    )
    prediction.refresh_from_db()
    assert all(stage == "predict" for stage, *_ in steps)
    return prediction, (prediction.folder / prediction.result_name).read_bytes()


def workbook(rows) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_txt_keeps_its_lines_and_a_label_behind_a_tab_is_not_read(run):
    _, content = answered(run, "体育新闻\n财经报道\t体育\n\n", "a.txt")
    lines = content.decode().splitlines()
    assert lines[0].split("\t")[:2] == ["体育新闻", "体育"]
    assert lines[1].split("\t")[:3] == ["财经报道", "体育", "财经"]
    assert lines[2] == "\t\t\t\t\t" or lines[2].strip() == ""
    shares = [float(value) for value in lines[0].split("\t")[3:]]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert float(lines[0].split("\t")[2]) == pytest.approx(max(shares))


def test_csv_keeps_its_columns_and_escapes_formulas(run):
    content = "id,text,note\r\n1,体育新闻,=1+1\r\n2,科技,@x\r\n3,,无\r\n"
    prediction, result = answered(run, content, "a.csv")
    assert result.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(result.decode("utf-8-sig"))))
    assert rows[0] == ["id", "text", "note", "label", "confidence", "p(体育)", "p(财经)", "p(科技)"]
    assert rows[1][:4] == ["1", "体育新闻", "'=1+1", "体育"]
    assert rows[2][:4] == ["2", "科技", "'@x", "科技"]
    assert rows[3][:5] == ["3", "", "无", "", ""]
    assert (prediction.rows, prediction.refused) == (3, 1)


def test_csv_with_a_label_column_gets_a_name_of_its_own(run):
    _, result = answered(run, "text,label\n体育新闻,旧\n", "a.csv")
    rows = list(csv.reader(io.StringIO(result.decode("utf-8-sig"))))
    assert rows[0][:3] == ["text", "label", "predicted_label"]
    assert rows[1][:3] == ["体育新闻", "旧", "体育"]


def test_gb18030_csv_with_a_chosen_column(run):
    content = "编号,说了什么,别的\n1,财经报道,甲\n2,科技,乙\n".encode("gb18030")
    with pytest.raises(predict.PredictRefused) as refused:
        upload(run, content, "a.csv")
    assert refused.value.code == "columns_unknown"
    assert refused.value.columns == ("编号", "说了什么", "别的")
    _, result = answered(run, content, "a.csv", text_column="说了什么")
    rows = list(csv.reader(io.StringIO(result.decode("utf-8-sig"))))
    assert [row[3] for row in rows] == ["label", "财经", "科技"]


def test_tsv_without_a_header_gets_one(run):
    _, result = answered(run, "体育新闻\t甲\n财经报道\t乙\n", "a.tsv")
    lines = [line.split("\t") for line in result.decode().splitlines()]
    assert lines[0][:3] == ["text", "2", "label"]
    assert [line[2] for line in lines[1:]] == ["体育", "财经"]


def test_xlsx_comes_back_as_xlsx_with_numbers_and_escaped_text(run):
    content = workbook([["text", "备注"], ["体育新闻", "+86"], ["科技", 5]])
    _, result = answered(run, content, "表.xlsx")
    sheet = openpyxl.load_workbook(io.BytesIO(result)).active
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][:4] == ("text", "备注", "label", "confidence")
    assert rows[1][:3] == ("体育新闻", "'+86", "体育")
    assert rows[2][:3] == ("科技", "5", "科技")
    assert isinstance(rows[1][3], float)
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)


def test_json_and_jsonl_keep_their_keys(run):
    objects = [{"text": "体育新闻", "id": 7, "label": "旧"}, {"text": "科技"}, {"text": ""}]
    _, result = answered(run, json.dumps(objects, ensure_ascii=False), "a.json")
    found = json.loads(result)
    assert found[0]["id"] == 7
    assert found[0]["label"] == "体育"
    assert set(found[0]["probabilities"]) == set(NAMES)
    assert found[2]["label"] is None
    lines = "\n".join(json.dumps(value, ensure_ascii=False) for value in objects)
    _, result = answered(run, lines, "a.jsonl")
    assert [json.loads(line)["label"] for line in result.decode().splitlines()] == ["体育", "科技", None]


def test_more_rows_than_a_batch_keep_their_order(run):
    texts = [f"{NAMES[number % 3]}第{number}条" for number in range(600)]
    prediction, result = answered(run, "\n".join(texts), "a.txt")
    lines = [line.split("\t") for line in result.decode().splitlines()]
    assert [line[0] for line in lines] == texts
    assert [line[1] for line in lines] == [NAMES[number % 3] for number in range(600)]
    assert prediction.rows == 600


def test_stopped_prediction_leaves_no_result(run):
    prediction = upload(run, "体育\n", "a.txt")
    predict.run_file_prediction(prediction, load_model(run.model_folder), lambda *told: None, lambda: True)
    prediction.refresh_from_db()
    assert prediction.result_name == ""
    assert not (prediction.folder / "result.txt").exists()


@pytest.mark.parametrize(
    ("content", "filename", "code"),
    [
        (b"", "a.txt", "empty_file"),
        (b"PK\x03\x04 broken", "a.xlsx", "broken_zip"),
        (b"\xd0\xcf\x11\xe0rest", "a.xls", "old_excel"),
        (b"%PDF-1.7", "a.pdf", "unsupported"),
    ],
)
def test_files_that_are_not_read(run, content, filename, code):
    before = set((settings.WANXING_HOME / "predictions").glob("*"))
    with pytest.raises(predict.PredictRefused) as refused:
        upload(run, content, filename)
    assert refused.value.code == code
    assert set((settings.WANXING_HOME / "predictions").glob("*")) == before
    assert not FilePrediction.objects.exists()


def test_too_large_a_file_is_refused(run, settings):
    settings.UPLOAD_MAX_BYTES = 10
    with pytest.raises(predict.PredictRefused) as refused:
        upload(run, "体育新闻和别的", "a.txt")
    assert refused.value.code == "too_large"


def test_path_in_a_filename_is_cut_off(run):
    assert upload(run, "体育\n", "..\\..\\etc/passwd.txt").filename == "passwd.txt"


def test_same_token_is_one_prediction(run):
    token = str(uuid.uuid4())
    assert upload(run, "体育\n", "a.txt", token=token) == upload(run, "体育\n", "a.txt", token=token)
    assert Job.objects.filter(kind=JobKind.PREDICT_FILE).count() == 1


def test_run_without_a_model_predicts_nothing(run):
    failed = make_run(run.project, status=JobStatus.FAILED)
    for ask in (
        lambda: upload(failed, "体育\n", "a.txt"),
        lambda: predict.request_pool_prediction(run=failed, user=run.project.created_by),
        lambda: predict.ask_live(failed, ["体育"]),
    ):
        with pytest.raises(predict.PredictRefused) as refused:
            ask()
        assert refused.value.code == "not_trained"


def test_pool_is_answered_once_and_held_out_texts_never(run):
    project = run.project
    texts = [make_example(project, f"{NAMES[number % 3]}池{number}") for number in range(5)]
    make_example(project, "测试里未标注的体育", split=Split.TEST)
    job = predict.request_pool_prediction(run=run, user=project.created_by)
    assert job == predict.request_pool_prediction(run=run, user=project.created_by)
    model = load_model(run.model_folder)
    predict.run_pool_prediction(job, model, lambda *told: None, lambda: False)
    rows = Prediction.objects.filter(model_id=run.pk)
    assert {row.example_id: row.label.name for row in rows} == {
        text.pk: NAMES[number % 3] for number, text in enumerate(texts)
    }
    late = make_example(project, "后来的财经")
    told = []
    predict.run_pool_prediction(job, model, lambda *step: told.append(step), lambda: False)
    assert told[-1][1:3] == (1, 1)
    assert rows.get(example=late).label.name == "财经"


def test_stopped_pool_prediction_goes_on_later(run, monkeypatch):
    monkeypatch.setattr(predict, "BATCH", 2)
    for number in range(5):
        make_example(run.project, f"体育池{number}")
    job = predict.request_pool_prediction(run=run, user=run.project.created_by)
    model = load_model(run.model_folder)
    stops = iter([False, True])
    predict.run_pool_prediction(job, model, lambda *told: None, lambda: next(stops))
    assert Prediction.objects.filter(model_id=run.pk).count() == 2
    predict.run_pool_prediction(job, model, lambda *told: None, lambda: False)
    assert Prediction.objects.filter(model_id=run.pk).count() == 5


def test_pool_pages_by_confidence_meet_each_text_once(run, monkeypatch):
    monkeypatch.setattr(pool, "PER_PAGE", 3)
    for number in range(8):
        example = make_example(run.project, f"体育池{number}")
        label = run.project.labels.first()
        Prediction.objects.create(
            project=run.project,
            example=example,
            model_id=run.pk,
            label=label,
            confidence=0.5 if number < 4 else 0.9 - number / 100,
        )
    for order in pool.ORDERS:
        seen, after = [], ""
        while True:
            page = pool.pool_page(run, label_id=None, order=order, after=after)
            seen += [row.confidence for row in page.predictions]
            after = page.next_key
            if not after:
                break
        assert len(seen) == 8
        assert seen == sorted(seen, reverse=order == "high")
    done = run.project.examples.get(text="体育池0")
    done.label, done.status = label, "labelled"
    done.save()
    assert pool.pool_summary(run) == {"total": 7, "per_label": {label.pk: 7}}


@pytest.mark.parametrize(
    "after", ["x", "0.5", "0.5:", "nan:1", ":", "1e999:5", "0.5:99999999999999999999999"]
)
def test_made_up_page_keys_are_harmless(run, after):
    assert isinstance(pool.pool_page(run, label_id=None, order="low", after=after).predictions, list)


def test_live_answers_are_ranked(run, monkeypatch):
    model = load_model(run.model_folder)
    asked = []

    def ask(question, payload, *, timeout_seconds, newest):
        asked.append((question, payload["model_folder"], timeout_seconds, newest))
        return model.predict_proba(payload["texts"]).tolist()

    monkeypatch.setattr(live, "_ask", ask)
    answers = predict.ask_live(run, ["财经财经报道", "体育"])
    assert [answer.given for answer in answers] == [{"财经"}, {"体育"}]
    assert answers[0].ranked[0][1] == max(share for _, share in answers[0].ranked)
    assert asked == [("predict", str(run.model_folder), predict.LIVE_TIMEOUT_SECONDS, None)]


def test_live_without_workers_says_so(run, monkeypatch):
    monkeypatch.setattr(live, "_ask", None)
    with pytest.raises(live.LiveUnavailable):
        predict.ask_live(run, ["体育"])


@pytest.mark.parametrize(
    ("value", "code"), [(" \n ", "no_text"), ("一\n" * 51, "too_many_texts"), ("字" * 20_001, "too_long")]
)
def test_what_cannot_be_pasted(value, code):
    with pytest.raises(predict.PredictRefused) as refused:
        predict.pasted_texts(value)
    assert refused.value.code == code


def test_pasted_lines_are_texts():
    assert predict.pasted_texts(" 一条 \n\n另一条\r\n") == ["一条", "另一条"]


def test_too_many_files_an_hour(run):
    for _ in range(jobs.HOURLY_LIMITS[JobKind.PREDICT_FILE]):
        make_job(run.project, JobKind.PREDICT_FILE, status=JobStatus.SUCCEEDED)
    with pytest.raises(jobs.TooManyJobs):
        upload(run, "体育\n", "a.txt")
