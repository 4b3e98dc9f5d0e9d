"""What the engine wrote becomes rows, once or again."""

import json

import pytest

from labeling.models import Label, Prediction
from tests.training.rows import make_finished_run, make_run, make_trainable_project, write_results
from training.models import Evaluation
from training.services import comparison, curves, results, review

pytestmark = pytest.mark.django_db


def test_evaluations_and_predictions_are_recorded():
    project, labels = make_trainable_project(n_dev=4, n_test=2)
    run = make_run(project)
    write_results(run, wrong=3)
    results.record_result(run)
    dev = run.evaluations.get(split="dev")
    assert (dev.n, dev.accuracy) == (12, 0.75)
    assert dev.accuracy_low < 0.75 < dev.accuracy_high
    assert dev.data["confusion"] == [[1, 3, 0], [0, 4, 0], [0, 0, 4]]
    assert run.evaluations.get(split="test").n == 6
    rows = Prediction.objects.filter(model_id=run.pk)
    assert rows.count() == 18
    first = rows.get(example=project.examples.filter(split="dev").order_by("pk").first())
    assert first.label == labels[1]
    assert first.confidence == pytest.approx(0.9)
    assert first.margin == pytest.approx(0.9 - 0.05)
    assert sum(first.probabilities) == pytest.approx(1, abs=1e-4)
    run.refresh_from_db()
    assert run.backbone_hash == "ab" * 32
    assert run.result["seconds"]["train"] == 20.0


def test_recording_twice_gives_the_same_rows():
    project, _ = make_trainable_project(n_dev=2, n_test=2)
    run = make_finished_run(project)
    results.record_result(run)
    assert Evaluation.objects.filter(run=run).count() == 2
    assert Prediction.objects.filter(model_id=run.pk).count() == 12


def test_texts_and_labels_deleted_meanwhile_are_left_out():
    project, labels = make_trainable_project(n_train=1, n_dev=2, n_test=0)
    run = make_run(project)
    write_results(run, wrong=0, splits=("dev",))
    project.examples.filter(split="dev", label=labels[0]).first().delete()
    project.examples.filter(label=labels[2]).delete()
    Label.objects.filter(pk=labels[2].pk).delete()
    results.record_result(run)
    assert Prediction.objects.filter(model_id=run.pk).count() == 3


def test_dev_by_cross_validation_alone():
    project, _ = make_trainable_project(n_train=4, n_dev=0, n_test=0)
    run = make_run(project)
    write_results(run, wrong=1, splits=("train",))
    (run.folder / "predictions.train.jsonl").rename(run.folder / "predictions.dev.jsonl")
    written = json.loads((run.folder / "result.json").read_text())
    found = written["evaluations"].pop("train") | {"by": "cross_validation", "folds": 4}
    written["evaluations"] = {"dev": found}
    (run.folder / "result.json").write_text(json.dumps(written))
    results.record_result(run)
    assert run.evaluations.get().data["folds"] == 4
    assert review.judged_texts(run, split="dev").total == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"evaluations": {"dev": {"n": 3}}}', '{"evaluations": {"dev": 5}}']
)
def test_unreadable_result_is_named(content):
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    run = make_run(project)
    (run.folder / "result.json").write_text(content)
    with pytest.raises(results.ResultUnreadable):
        results.record_result(run)


def test_missing_result_is_named():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    with pytest.raises(results.ResultUnreadable, match=r"result\.json"):
        results.record_result(make_run(project))


def test_missed_texts_come_most_confident_first_and_cells_open():
    project, _ = make_trainable_project(n_dev=4, n_test=0)
    run = make_finished_run(project, wrong=5)
    page = review.judged_texts(run, split="dev")
    assert page.total == 5
    assert [text.confidence for text in page.texts] == sorted(
        (text.confidence for text in page.texts), reverse=True
    )
    assert all(not text.is_right and text.example.text for text in page.texts)
    cell = review.judged_texts(run, split="dev", true="体育", predicted="财经")
    assert {(text.true, text.predicted) for text in cell.texts} == {("体育", "财经")}
    assert cell.total == 4
    right = review.judged_texts(run, split="dev", true="科技", predicted="科技")
    assert right.total == 4


def test_pages_of_missed_texts_are_clamped(monkeypatch):
    monkeypatch.setattr(review, "PER_PAGE", 2)
    project, _ = make_trainable_project(n_dev=4, n_test=0)
    run = make_finished_run(project, wrong=5)
    last = review.judged_texts(run, split="dev", page=99)
    assert (last.page, last.pages, len(last.texts)) == (3, 3, 1)


def test_the_curve_is_the_latest_training_of_the_run():
    job = make_run(make_trainable_project(n_train=1, n_dev=1, n_test=0)[0]).job
    for stage, loss in (("adapt", 9.0), ("auto", 2.0), ("refit", 1.0)):
        job.record("stage", stage=stage)
        for step in (1, 2):
            job.record("metric", step=step, loss=loss / step)
            job.record("stage", stage="calibrate")
        assert curves.metric_series(job)["loss"] == [loss, loss / 2]
    job.record("stage", stage="adapt")
    job.record("metric", step=5, loss=9.0)
    job.record("stage", stage="train")
    job.record("metric", step=1, loss=1.0)
    job.record("metric", step=2, loss=0.5)
    assert curves.metric_series(job)["step"] == [1, 2]
    # The same inside a part of the run.
    for stage, value in (("auto:1:2/adapt", 8.0), ("auto:1:2/train", 4.0), ("auto:1:2/calibrate", 3.0)):
        job.record("stage", stage=stage)
        job.record("metric", step=1, loss=value)
    assert curves.metric_series(job)["loss"] == [3.0]
    for step, loss in ((1, 1.0), (2, 0.5)):
        job.record("metric", step=step, loss=loss)
    # A new training begins with its first figure, not before.
    job.record("stage", stage="auto")
    assert curves.metric_series(job)["loss"] == [1.0, 0.5]


def test_metric_series_merges_steps_and_keeps_evaluations():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    job = make_run(project, status="running").job
    for step in range(1, 2001):
        job.record("metric", step=step, epoch=0.1, loss=1 / step)
    job.record("metric", step=1001, dev_accuracy=0.8, dev_macro_f1=0.7)
    job.record("metric", step="3", loss="boo")
    series = curves.metric_series(job)
    assert len(series["step"]) <= curves.MAX_POINTS * 2
    assert series["step"] == sorted(series["step"])
    assert series["dev_accuracy"][series["step"].index(1001)] == 0.8
    assert series["loss"][0] == 1.0
    assert {len(values) for values in series.values()} == {len(series["step"])}


def test_small_curve_prefers_accuracy():
    series = {"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "dev_accuracy": [None, 0.5, 0.6]}
    assert curves.small_curve(series) == {"of": "dev_accuracy", "values": [0.5, 0.6]}
    series["dev_accuracy"] = [None, None, 0.6]
    assert curves.small_curve(series)["of"] == "loss"
    assert curves.small_curve({"step": [], "loss": [], "dev_accuracy": []}) == {"of": "", "values": []}


def test_runs_that_differ_by_little_cannot_be_told_apart():
    project, _ = make_trainable_project(n_dev=10, n_test=0)
    first, second = make_finished_run(project, wrong=6), make_finished_run(project, wrong=5)
    found = comparison.compare_split(first, second, "dev")
    assert (found.n, found.n_fixed, found.n_broken) == (30, 1, 0)
    assert found.difference == pytest.approx(1 / 30)
    assert not found.tell_apart
    assert [flip.kind for flip in found.flips] == ["fixed"]
    assert found.p_value == 1.0


def test_runs_that_differ_by_much_are_told_apart():
    project, _ = make_trainable_project(n_dev=10, n_test=0)
    first, second = make_finished_run(project, wrong=20), make_finished_run(project, wrong=2)
    found = comparison.compare_split(first, second, "dev")
    assert found.tell_apart
    assert found.low > 0
    assert found.p_value < 0.001
    assert {row["name"]: row["difference"] > 0 for row in found.classes}["体育"]


def test_only_texts_under_the_same_label_are_compared():
    project, labels = make_trainable_project(n_dev=3, n_test=0)
    first = make_finished_run(project, wrong=0)
    project.examples.filter(split="dev", label=labels[0]).update(label=labels[1])
    second = make_finished_run(project, wrong=0)
    assert comparison.compare_split(first, second, "dev").n == 6
    assert comparison.compare_split(first, second, "test") is None


def test_settings_that_differ_are_listed():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    first = make_run(project, config={"method": "prompt", "seed": 1, "device": "cpu"})
    second = make_run(project, config={"method": "prompt", "seed": 2, "device": "gpu"})
    rows = comparison.setting_differences(first, second)
    assert rows == [{"name": "seed", "first": 1, "second": 2}]
