"""A run is asked for: the snapshot stands before the commit, and a double click starts one."""

import json
import uuid
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from labeling import jobs
from labeling.models import Job, JobEvent, Prediction
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.texts import Split
from tests.factories import make_example, make_job, make_user
from tests.training.rows import lines_of, make_finished_run, make_run, make_trainable_project
from training.models import TrainingRun
from training.services import runs
from training.services.run_form import RunForm

pytestmark = pytest.mark.django_db


def request(project, **form_data):
    return runs.request_run(project=project, user=project.created_by, form_data=form_data)


def folders() -> set[Path]:
    home = Path(settings.WANXING_HOME) / "runs"
    return set(home.iterdir()) if home.is_dir() else set()


def test_snapshot_holds_each_text_where_it_belongs():
    project, labels = make_trainable_project(n_train=2, n_dev=1, n_test=1)
    make_example(project, "标过的池中文本", label=labels[0], split=Split.POOL)
    run = request(project)
    train = lines_of(run.folder / "train.jsonl")
    assert {row["text"] for row in train} >= {"标过的池中文本", "体育的train文本0"}
    assert run.counts["train"] == len(train) == 7
    assert run.counts["per_label"] == {"体育": 3, "财经": 2, "科技": 2}
    trained_on = {row["id"] for row in train}
    for split in ("dev", "test"):
        held_out = lines_of(run.folder / f"{split}.jsonl")
        assert [row["label"] for row in held_out] == ["体育", "财经", "科技"]
        assert not trained_on & {row["id"] for row in held_out}
    assert not (run.folder / "pool.jsonl").exists()


def test_pool_comes_along_when_it_is_used():
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1, n_pool=4)
    make_example(project, "未标注的测试文本", split=Split.TEST)
    run = request(project, use_pool="on")
    pool = lines_of(run.folder / "pool.jsonl")
    assert [row["label"] for row in pool] == [None] * 4
    assert "未标注的测试文本" not in {row["text"] for row in pool}


def test_spec_is_what_the_engine_reads():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    run = request(project, method="prompt", seed="7", num_train_epochs="3", class_weights="balanced")
    spec = json.loads((run.folder / "spec.json").read_text(encoding="utf-8"))
    assert spec["config"] == run.config
    assert spec["config"]["method"] == "prompt"
    assert spec["config"]["seed"] == run.seed == 7
    assert spec["config"]["class_weights"] == "balanced"
    assert spec["config"]["template"] == project.templates.first().text
    assert [label["words"] for label in spec["labels"]] == [["体育"], ["财经"], ["科技"]]
    assert spec["backbone"]["name"] == "wanxing-small-zh"


@pytest.mark.parametrize(
    ("chosen", "preset", "runs"),
    [
        ({}, "best", "auto"),
        ({"method": "label_sentence"}, "best", "auto"),
        ({"method": "finetune"}, "best", "finetune"),
        ({"method": "label_sentence"}, "quick", "label_sentence"),
        ({}, "", "label_sentence"),
    ],
)
def test_preset_best_compares_methods_unless_another_one_is_chosen(chosen, preset, runs):
    project, _ = make_trainable_project(n_train=2, n_dev=1, n_test=1, n_pool=3)
    run = request(project, preset=preset, **chosen)
    assert run.config["method"] == run.method == runs
    assert run.config["refit_on_dev"] == (preset == "best")
    # The pool that is to be read comes along.
    assert (run.folder / "pool.jsonl").exists() == (preset == "best")


@pytest.mark.parametrize(
    ("preset", "minutes", "seconds"),
    [("quick", "", 180.0), ("quick", "10", 600.0), ("best", "5", 300.0), ("", "2.5", 150.0), ("", "", None)],
)
def test_the_time_budget_is_the_presets_or_ones_own(preset, minutes, seconds):
    project, _ = make_trainable_project(n_train=2, n_dev=1, n_test=1, n_pool=3)
    run = request(project, preset=preset, time_budget_minutes=minutes)
    assert run.config["time_budget_seconds"] == seconds
    again = runs.retry_run(run=run, user=project.created_by, token=str(uuid.uuid4()))
    assert again.config["time_budget_seconds"] == seconds


@pytest.mark.parametrize("minutes", ["0", "-1", "100000", "很久"])
def test_a_time_budget_that_is_none_is_refused(minutes):
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1)
    with pytest.raises(runs.RunRefused) as refused:
        request(project, time_budget_minutes=minutes)
    assert "time_budget_minutes" in refused.value.form.errors


FINE = {
    "label_smoothing": ("0.1", 0.1),
    "fgm_epsilon": ("0.5", 0.5),
    "ema_decay": ("0.99", 0.99),
    "layer_decay": ("0.9", 0.9),
    "alpha_rdrop": ("3", 3.0),
    "alpha_rgl": ("0.2", 0.2),
    "ensemble_size": ("3", 3),
    "soft_encoder": ("lstm", "lstm"),
    "verbalizer": ("manual", "manual"),
    "calibration": ("pool", "pool"),
    "zero_shot_by": ("cloze", "cloze"),
    "adapt": ("pcp", "pcp"),
}


def test_every_setting_of_the_methods_can_be_chosen():
    project, _ = make_trainable_project(n_train=2, n_dev=1, n_test=1, n_pool=3)
    run = request(project, method="prompt", **{name: given for name, (given, _kept) in FINE.items()})
    assert {name: run.config[name] for name in FINE} == {name: kept for name, (_given, kept) in FINE.items()}
    again = runs.retry_run(run=run, user=project.created_by, token=str(uuid.uuid4()))
    assert again.config == run.config


def test_what_is_left_as_proposed_changes_nothing():
    project, _ = make_trainable_project(n_train=2, n_dev=1, n_test=1, n_pool=3)
    form = RunForm(project=project)
    proposed = {name: form[name].initial for name in FINE}
    for preset in ("quick", "best"):
        untouched = request(project, preset=preset)
        assert request(project, preset=preset, **proposed).config == untouched.config
    assert untouched.config["adapt"] == "mlm"


def test_calibration_by_the_pool_takes_the_pool_along():
    project, _ = make_trainable_project(n_train=2, n_dev=1, n_test=1, n_pool=3)
    assert (request(project, method="zero_shot", calibration="pool").folder / "pool.jsonl").exists()
    assert not (request(project, method="zero_shot").folder / "pool.jsonl").exists()


@pytest.mark.parametrize(("name", "given"), [("ema_decay", "1"), ("adapt", "all"), ("label_smoothing", "-1")])
def test_a_setting_that_the_engine_does_not_know_is_refused_and_its_fold_open(name, given):
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1)
    with pytest.raises(runs.RunRefused) as refused:
        request(project, **{name: given})
    assert name in refused.value.form.errors
    assert refused.value.form.has_fine_errors


def test_a_run_remembers_the_templates_that_it_is_trained_with():
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1)
    own = project.templates.first().text
    several = ["{text}主题是{mask}。", own, "{text}主题是{mask}。"]
    run = request(project, method="prompt", extra_templates=json.dumps(several))
    assert (run.config["template"], run.config["extra_templates"]) == (own, ["{text}主题是{mask}。"])
    again = runs.retry_run(run=run, user=project.created_by, token=str(uuid.uuid4()))
    assert again.config["extra_templates"] == ["{text}主题是{mask}。"]


@pytest.mark.parametrize("given", ['"text"', "[1]", '["{text}"]', "{", json.dumps(["{text}{mask}"] * 8)])
def test_templates_that_cannot_be_trained_are_refused(given):
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1)
    with pytest.raises(runs.RunRefused) as refused:
        request(project, extra_templates=given)
    assert "extra_templates" in refused.value.form.errors


def test_job_is_queued_with_its_first_event():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    run = request(project)
    assert (run.job.kind, run.job.queue, run.job.status) == (JobKind.TRAIN, "train", JobStatus.QUEUED)
    assert JobEvent.objects.filter(job=run.job, type="status").count() == 1


def test_numbers_count_within_the_project():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    assert [request(project).number, request(project).number] == [1, 2]
    other, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    assert request(other).number == 1


def test_same_token_starts_one_run():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    token = str(uuid.uuid4())
    first, second = request(project, token=token), request(project, token=token)
    assert first == second
    assert Job.objects.filter(project=project).count() == 1


def test_same_snapshot_has_the_same_hash():
    project, labels = make_trainable_project(n_train=1, n_dev=1, n_test=0)
    first, second = request(project), request(project)
    assert first.snapshot_hash == second.snapshot_hash
    make_example(project, "新的文本", label=labels[0], split=Split.TRAIN)
    assert request(project).snapshot_hash != first.snapshot_hash


def test_blocking_finding_refuses_the_run_and_leaves_nothing():
    project, labels = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    project.examples.filter(label=labels[1]).delete()
    before = folders()
    with pytest.raises(runs.RunRefused) as refused:
        request(project)
    assert [finding.code for finding in refused.value.readiness.blocking] == ["label_without_text"]
    assert not TrainingRun.objects.filter(project=project).exists()
    assert folders() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "voodoo"),
        ("backbone", "/etc"),
        ("template", "999999"),
        ("learning_rate", "2"),
        ("learning_rate", "nan"),
        ("train_batch_size", "0"),
        ("seed", "-1"),
        ("device", "tpu"),
        ("preset", "forever"),
    ],
)
def test_bad_setting_is_an_error_of_its_field(name, value):
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    with pytest.raises(runs.RunRefused) as refused:
        request(project, **{name: value})
    assert name in refused.value.form.errors


def test_settings_that_exclude_each_other_are_an_error_of_the_form():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    with pytest.raises(runs.RunRefused) as refused:
        request(project, use_rdrop="on", use_rgl="on")
    assert "use_rgl" in refused.value.form.errors


def test_failure_inside_the_transaction_takes_the_files_back(monkeypatch):
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    before = folders()

    def no_broker(job):
        raise RuntimeError("no enqueue function is registered")

    monkeypatch.setattr(jobs, "enqueue_after_commit", no_broker)
    with pytest.raises(RuntimeError):
        request(project)
    assert folders() == before
    assert not Job.objects.filter(project=project).exists()


def test_rest_of_a_run_that_was_rolled_back_is_replaced():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    sid = transaction.savepoint()
    lost = request(project)
    transaction.savepoint_rollback(sid)
    (lost.folder / "checkpoints").mkdir()
    run = request(project)
    if run.folder == lost.folder:  # SQLite gives the id again, PostgreSQL does not
        assert not (run.folder / "checkpoints").exists()
    assert lines_of(run.folder / "train.jsonl")


def test_too_many_runs_an_hour_are_refused():
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    for _ in range(jobs.HOURLY_LIMITS[JobKind.TRAIN]):
        make_job(project, JobKind.TRAIN, status=JobStatus.SUCCEEDED)
    before = folders()
    with pytest.raises(jobs.TooManyJobs):
        request(project)
    assert folders() == before
    runs.request_run(project=project, user=make_user(), form_data={})


@pytest.mark.parametrize(
    ("settings", "eval_steps", "logging_steps"),
    [
        ({}, 1, 1),
        ({"num_train_epochs": "200", "train_batch_size": "1"}, 75, 6),
        ({"max_steps": "400"}, 50, 4),
        ({"eval_steps": "0"}, 0, 1),
        ({"eval_steps": "7"}, 7, 1),
    ],
)
def test_curve_gets_points_unless_the_user_chose(settings, eval_steps, logging_steps):
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    config = request(project, **settings).config
    assert (config["eval_steps"], config["logging_steps"]) == (eval_steps, logging_steps)


def test_archived_labels_are_left_out():
    project, labels = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    labels[2].archived_at = timezone.now()
    labels[2].save()
    run = request(project)
    assert [label["name"] for label in run.labels] == ["体育", "财经"]
    assert {row["label"] for row in lines_of(run.folder / "train.jsonl")} == {"体育", "财经"}


def test_retry_has_the_same_settings_and_the_texts_of_now():
    project, labels = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    first = request(project, seed="3", method="finetune", note="试一下")
    make_example(project, "新的文本", label=labels[0], split=Split.TRAIN)
    second = runs.retry_run(run=first, user=project.created_by, token=str(uuid.uuid4()))
    assert second.config == first.config
    assert second.note == "试一下"
    assert second.counts["train"] == first.counts["train"] + 1


def test_delete_removes_rows_predictions_and_files(django_capture_on_commit_callbacks):
    project, _ = make_trainable_project(n_train=1, n_dev=1, n_test=1)
    run, kept = make_finished_run(project), make_finished_run(project)
    with django_capture_on_commit_callbacks(execute=True):
        runs.delete_run(run=run)
    assert not TrainingRun.objects.filter(pk=run.pk).exists()
    assert not Job.objects.filter(pk=run.job_id).exists()
    assert not run.folder.exists()
    assert not Prediction.objects.filter(model_id=run.pk).exists()
    assert Prediction.objects.filter(model_id=kept.pk).count() == 6
    assert kept.folder.is_dir()


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_a_run_that_is_going_is_not_deleted(status):
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    run = make_run(project, status=status)
    with pytest.raises(runs.RunBusy):
        runs.delete_run(run=run)
    assert run.folder.is_dir()
