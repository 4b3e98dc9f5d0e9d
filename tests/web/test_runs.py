"""A run's page: numbers, the matrix and the texts behind it, corrections, downloads, comparison."""

import csv
import io
import uuid

import pytest
from django.urls import reverse

from labeling.models import Annotation
from labeling.models.annotations import Source
from labeling.models.jobs import JobStatus
from labeling.models.projects import Role
from tests.factories import make_member, make_project
from tests.training.rows import make_finished_run, make_run, make_trainable_project

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def project():
    return make_trainable_project(n_train=2, n_dev=4, n_test=2)[0]


@pytest.fixture
def run(project):
    return make_finished_run(project, wrong=3)


@pytest.fixture
def signed_in(client, project):
    client.force_login(project.created_by)
    return client


def page_of(client, run, **query) -> str:
    response = client.get(reverse("run", args=[run.project_id, run.number]), query)
    assert response.status_code == 200
    return response.content.decode()


def missed(run, split="dev"):
    return run.project.examples.filter(split=split).order_by("pk").first()


def test_numbers_come_with_interval_and_count(signed_in, run):
    page = page_of(signed_in, run)
    assert "75.0%" in page
    assert "95% 区间" in page
    assert "基于 12 条文本" in page


def test_what_the_run_chose_is_told_with_its_reasons(signed_in, run):
    assert "它替你选了什么" not in page_of(signed_in, run)
    run.result["chosen"] = {
        "method": "mixture",
        "auto": {
            "method": "mixture",
            "cannot_be_told_from": "label_sentence",
            "held_out_texts": 240,
            "swapped": True,
            "tried": {"mixture": [0.5417, 0.55], "label_sentence": [0.5375, 0.545]},
            "left_out": [
                {"method": "prompt", "because": "no time left"},
                {"method": "finetune", "because": "a word is <unknown>"},
            ],
            "adapt": {"kept": False, "accuracy": 0.5417, "accuracy_without": 0.5583},
        },
        "pool": {"texts": 3210, "kept": False, "dev_accuracy": 0.52, "dev_accuracy_without": 0.5417},
        "refit": {"texts": 480, "dev_texts": 240},
    }
    run.save()
    page = page_of(signed_in, run)
    assert "在 240 条没学过的文本上比较了几种方法" in page
    assert "54.2% · 55.0%" in page
    assert "再反过来" in page
    assert "差别在误差之内" in page
    assert "时间不够" in page
    assert "a word is &lt;unknown&gt;" in page
    assert "试过学 3210 条未标注的文本：验证集上 52.0%，不学时 54.2%" in page
    assert "同样的方法是 54.2%；没读过的是 55.8%。 用了没读过的。" in page
    assert "要带走的模型最后又学了这 240 条验证文本" in page
    # A method chosen by hand: nothing was compared but the reading of the pool.
    run.result["chosen"]["auto"] |= {"tried": {"mixture": [0.5417]}, "left_out": [], "swapped": False}
    run.save()
    page = page_of(signed_in, run)
    assert "比较了几种方法" not in page
    assert "没读过的是 55.8%" in page
    del run.result["chosen"]["auto"]["adapt"], run.result["chosen"]["pool"]
    run.save()
    assert "它替你选了什么" not in page_of(signed_in, run)


def test_missed_texts_of_dev_are_listed_and_those_of_test_are_not(signed_in, run):
    page = page_of(signed_in, run)
    assert missed(run).text in page
    assert missed(run, "test").text not in page
    shut = page_of(signed_in, run, split="test")
    assert missed(run, "test").text not in shut
    assert "不再诚实" in shut
    opened = page_of(signed_in, run, split="test", errors="1")
    assert missed(run, "test").text in opened
    assert "不再诚实" in opened


def test_cell_of_the_matrix_opens_its_texts(signed_in, run):
    page = page_of(signed_in, run, split="dev", true="科技", predicted="科技")
    assert "科技的dev文本0" in page
    assert missed(run).text not in page
    assert "true=%E4%BD%93%E8%82%B2&amp;predicted=%E8%B4%A2%E7%BB%8F" in page


@pytest.mark.parametrize(
    "query",
    [
        {"split": "train"},
        {"true": "<script>", "predicted": "x"},
        {"page": "0"},
        {"page": "-1"},
        {"page": "9" * 30},
        {"page": "²"},
    ],
)
def test_made_up_queries_are_harmless(signed_in, run, query):
    assert "<script>" not in page_of(signed_in, run, **query).replace("<script src", "")


def test_correction_is_one_click_and_can_be_taken_back(signed_in, run):
    example, labels = missed(run), list(run.project.labels.all())
    url = reverse("run_relabel", args=[run.project_id, run.number])
    client_id = str(uuid.uuid4())
    data = {"split": "dev", "example": example.pk, "label": labels[1].pk, "client_id": client_id}
    for _ in range(2):  # a resend changes nothing
        response = signed_in.post(url, data, headers=HTMX)
    assert response.status_code == 200
    example.refresh_from_db()
    assert example.label == labels[1]
    annotation = Annotation.objects.get(example=example)
    assert annotation.source == Source.REVIEW
    assert "撤销" in response.content.decode()
    undone = signed_in.post(
        url,
        {"split": "dev", "example": example.pk, "undo": client_id, "client_id": str(uuid.uuid4())},
        headers=HTMX,
    )
    assert "撤销" not in undone.content.decode()
    example.refresh_from_db()
    assert example.label == labels[0]


def test_correction_without_javascript_comes_back_to_the_page(signed_in, run):
    example, label = missed(run), run.project.labels.last()
    response = signed_in.post(
        reverse("run_relabel", args=[run.project_id, run.number]),
        {"split": "dev", "example": example.pk, "label": label.pk, "client_id": str(uuid.uuid4())},
    )
    assert response.status_code == 303
    example.refresh_from_db()
    assert example.label == label


@pytest.mark.parametrize(
    "changed", [{"label": "0"}, {"label": "x"}, {"client_id": "x"}, {"undo": "x"}, {"label": "9" * 40}]
)
def test_correction_that_cannot_be_made_says_so_and_changes_nothing(signed_in, run, changed):
    example = missed(run)
    data = {"split": "dev", "example": example.pk, "label": 1, "client_id": str(uuid.uuid4()), **changed}
    url = reverse("run_relabel", args=[run.project_id, run.number])
    response = signed_in.post(url, data, headers=HTMX)
    assert 'role="alert"' in response.content.decode()
    assert not Annotation.objects.exists()


def test_foreign_text_cannot_be_corrected_through_ones_own_run(signed_in, run):
    other, labels = make_trainable_project(n_train=0, n_dev=1, n_test=0)
    theirs = other.examples.first()
    response = signed_in.post(
        reverse("run_relabel", args=[run.project_id, run.number]),
        {"split": "dev", "example": theirs.pk, "label": labels[1].pk, "client_id": str(uuid.uuid4())},
        headers=HTMX,
    )
    assert response.status_code == 404
    assert not Annotation.objects.exists()


def test_annotators_and_viewers_do_not_correct(client, run):
    url = reverse("run_relabel", args=[run.project_id, run.number])
    for role in (Role.ANNOTATOR, Role.VIEWER):
        client.force_login(make_member(run.project, role))
        assert client.post(url, {"split": "dev"}).status_code == 403


def test_live_curve_is_json_and_says_when_it_is_over(signed_in, project):
    run = make_run(project, status=JobStatus.RUNNING)
    run.job.record("metric", step=1, loss=2.0)
    run.job.record("metric", step=2, loss=1.0, dev_accuracy=0.5)
    url = reverse("run_live", args=[project.pk, run.number])
    answer = signed_in.get(url).json()
    assert answer["finished"] is False
    assert answer["series"]["loss"] == [2.0, 1.0]
    assert answer["series"]["dev_accuracy"] == [None, 0.5]
    run.job.fail(code="killed", message="x")
    assert signed_in.get(url).json()["finished"] is True


def test_a_run_that_compares_methods_says_which_one_and_how_long_all_of_it_may_take(signed_in, project):
    config = {"method": "auto", "preset": "best", "time_budget_seconds": 1800.0}
    run = make_run(project, status=JobStatus.RUNNING, config=config)
    run.job.stage = "auto:2:5/train"
    run.job.save(update_fields=["stage"])
    page = signed_in.get(reverse("run", args=[project.pk, run.number])).content.decode()
    assert "比较几种方法（2 / 5） · 训练" in page
    assert "时间预算 30 分钟；" in page
    plain = make_run(project, status=JobStatus.RUNNING, config={**config, "method": "label_sentence"})
    page = signed_in.get(reverse("run", args=[project.pk, plain.number])).content.decode()
    assert "比较几种方法" not in page
    assert "时间预算 30 分钟；" in page


def test_failed_run_says_what_to_do(signed_in, project):
    run = make_run(project, status=JobStatus.RUNNING)
    run.job.fail(code="killed", message="killed", hint="", detail="Traceback <b>")
    page = page_of(signed_in, run)
    assert "多半是内存不够" in page
    assert "再试一次" in page
    assert "Traceback &lt;b&gt;" in page


def test_predictions_download_as_csv_with_formulas_escaped(signed_in, run):
    example = missed(run)
    example.text = "=HYPERLINK(1)"
    example.save()
    response = signed_in.get(reverse("run_predictions", args=[run.project_id, run.number, "dev"]))
    assert response["Content-Disposition"].startswith("attachment")
    assert response["X-Content-Type-Options"] == "nosniff"
    content = b"".join(response.streaming_content)
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    assert rows[0][:5] == ["id", "text", "label", "predicted", "confidence"]
    assert rows[1][1:4] == ["'=HYPERLINK(1)", "体育", "财经"]
    assert len(rows) == 13


@pytest.mark.parametrize("split", ["train", "pool", "nothing"])
def test_other_splits_have_no_download(signed_in, run, split):
    url = reverse("run_predictions", args=[run.project_id, run.number, split])
    assert signed_in.get(url).status_code == 404


def test_two_runs_side_by_side(signed_in, run):
    second = make_finished_run(run.project, wrong=2)
    url = reverse("runs_compare", args=[run.project_id])
    page = signed_in.get(url, {"a": run.number, "b": second.number}).content.decode()
    assert "分不出高下" in page
    assert "改对了" in page
    same = signed_in.get(url, {"a": run.number, "b": run.number}).content.decode()
    assert "选的是同一次训练" in same


@pytest.mark.parametrize("query", [{}, {"a": "x", "b": "-1"}, {"a": "99"}])
def test_comparison_without_two_runs_teaches(client, query):
    project = make_project()
    client.force_login(project.created_by)
    response = client.get(reverse("runs_compare", args=[project.pk]), query)
    assert "还没有两个可以比较的模型" in response.content.decode()


def test_run_of_another_project_is_not_found(client, run):
    other = make_project()
    client.force_login(other.created_by)
    assert client.get(reverse("run", args=[other.pk, run.number])).status_code == 404
    assert client.get(reverse("run", args=[run.project_id, run.number])).status_code == 404
