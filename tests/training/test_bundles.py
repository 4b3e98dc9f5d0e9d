"""Bundles leave the house only with a report that says ok, about the very file that is there."""

import hashlib
import json

import pytest

from labeling.models import Job
from labeling.models.jobs import JobKind, JobStatus
from tests.training.rows import lines_of, make_finished_run, make_run, make_trainable_project
from training.services import bundles, runs

pytestmark = pytest.mark.django_db


def trained(**made):
    project, _ = make_trainable_project(n_train=2, n_dev=made.get("n_dev", 2), n_test=made.get("n_test", 1))
    run = runs.request_run(project=project, user=project.created_by, form_data={})
    Job.objects.filter(pk=run.job_id).update(status=JobStatus.SUCCEEDED)
    run.refresh_from_db()
    run.model_folder.mkdir()
    return run


def export_of(run, format="onnx"):
    (export,) = bundles.request_export(run=run, user=run.project.created_by, formats=[format])
    return export


def finish(export, *, content=b"zip", **changed):
    name = "wanxing-onnx.zip"
    (export.folder / name).write_bytes(content)
    artifact = {
        "format": export.format,
        "file": name,
        "bytes": len(content),
        "sha256": hashlib.sha256(b"zip").hexdigest(),
        "ok": True,
        "max_abs_difference": 1e-6,
        "same_label_share": 1.0,
        "accuracy": 0.9,
        "reference_accuracy": 0.9,
        "texts_per_second": 120.0,
        "n_replayed": 3,
        "refused_because": None,
        **changed,
    }
    (export.folder / "report.json").write_text(json.dumps({"artifacts": [artifact]}))
    bundles.record_export(export)
    export.refresh_from_db()
    return export


def test_one_job_a_format_and_none_twice():
    run = trained()
    first = bundles.request_export(run=run, user=run.project.created_by, formats=["onnx", "paddle", "onnx"])
    assert [export.format for export in first] == ["onnx", "paddle"]
    again = bundles.request_export(run=run, user=run.project.created_by, formats=["onnx"])
    assert again == first[:1]
    assert Job.objects.filter(kind=JobKind.EXPORT, queue="export").count() == 2


@pytest.mark.parametrize("formats", [[], ["tflite"], ["onnx", "../etc"]])
def test_unknown_formats_are_refused(formats):
    run = trained()
    with pytest.raises(bundles.ExportRefused) as refused:
        bundles.request_export(run=run, user=run.project.created_by, formats=formats)
    assert refused.value.code == "no_format"


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.RUNNING, JobStatus.QUEUED])
def test_only_a_trained_run_is_packed(status):
    project, _ = make_trainable_project(n_train=1, n_dev=0, n_test=0)
    with pytest.raises(bundles.ExportRefused) as refused:
        export_of(make_run(project, status=status))
    assert refused.value.code == "not_trained"


def test_replay_takes_held_out_texts_of_the_snapshot():
    export = export_of(trained())
    folder = bundles.prepare_export(export)
    replay = lines_of(folder / "replay.jsonl")
    assert len(replay) == 9
    assert all("train" not in row["text"] for row in replay)
    spec = json.loads((folder / "spec.json").read_text())
    assert spec["formats"] == ["onnx"]
    assert spec["model_dir"] == str(export.run.model_folder)
    assert spec["replayed_on"] == "held_out"
    assert spec["name"].isascii()


def test_replay_is_capped(monkeypatch):
    monkeypatch.setattr(bundles, "REPLAY_LIMIT", 4)
    assert len(lines_of(bundles.prepare_export(export_of(trained())) / "replay.jsonl")) == 4


def test_without_held_out_texts_the_training_texts_are_replayed_and_it_says_so():
    export = export_of(trained(n_dev=0, n_test=0))
    folder = bundles.prepare_export(export)
    assert len(lines_of(folder / "replay.jsonl")) == 6
    assert finish(export).report["replayed_on"] == "train"


def test_a_model_that_learnt_dev_is_replayed_on_test_alone():
    run = trained()
    run.result = {**(run.result or {}), "chosen": {"refit": {"texts": 9, "dev_texts": 3}}}
    run.save()
    export = export_of(run)
    replay = lines_of(bundles.prepare_export(export) / "replay.jsonl")
    assert replay == lines_of(run.folder / "test.jsonl")
    assert json.loads((export.folder / "spec.json").read_text())["replayed_on"] == "held_out"
    (run.folder / "test.jsonl").write_text("")
    learnt = lines_of(bundles.prepare_export(export_of(run)) / "replay.jsonl")
    assert learnt == lines_of(run.folder / "dev.jsonl") + lines_of(run.folder / "train.jsonl")


def test_preparing_again_starts_from_nothing():
    export = export_of(trained())
    (bundles.prepare_export(export) / "half-written.zip").write_bytes(b"x")
    assert sorted(path.name for path in bundles.prepare_export(export).iterdir()) == [
        "replay.jsonl",
        "spec.json",
    ]


def test_a_bundle_that_is_ok_passes():
    export = export_of(trained())
    bundles.prepare_export(export)
    export = finish(export)
    assert export.passed
    assert (export.filename, export.size_bytes) == ("wanxing-onnx.zip", 3)
    assert export.sha256 == hashlib.sha256(b"zip").hexdigest()
    assert export.report["texts_per_second"] == 120.0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ok": False, "refused_because": "labels_differ"}, "labels_differ"),
        ({"content": b"other"}, "checksum"),
        ({"sha256": None}, "checksum"),
        ({"file": "../spec.json"}, "checksum"),
        ({"file": "gone.zip"}, "checksum"),
        ({"ok": "yes"}, None),
    ],
)
def test_a_bundle_that_is_not_ok_stays(changed, reason):
    export = export_of(trained())
    bundles.prepare_export(export)
    export = finish(export, **changed)
    assert not export.passed
    assert export.report["refused_because"] == reason


@pytest.mark.parametrize("report", [None, "{", '{"artifacts": []}', '{"artifacts": [{"format": "paddle"}]}'])
def test_report_that_says_nothing_is_an_error(report):
    export = export_of(trained())
    folder = bundles.prepare_export(export)
    if report is not None:
        (folder / "report.json").write_text(report)
    with pytest.raises(bundles.ReportUnreadable):
        bundles.record_export(export)


def test_best_run_is_the_best_by_dev_and_never_by_test():
    project, _ = make_trainable_project(n_train=1, n_dev=4, n_test=4)
    assert bundles.best_run(project) is None
    good = make_finished_run(project, wrong=1)
    make_finished_run(project, wrong=5)
    lucky = make_finished_run(project, wrong=2)
    lucky.evaluations.filter(split="test").update(accuracy=1.0)
    make_run(project, status=JobStatus.FAILED)
    assert bundles.best_run(project) == good
    newer = make_finished_run(project, wrong=1)
    assert bundles.best_run(project) == newer


def test_deleting_a_bundle_removes_its_files(django_capture_on_commit_callbacks):
    export = export_of(trained())
    folder = bundles.prepare_export(export)
    with pytest.raises(bundles.ExportBusy):
        bundles.delete_export(export=export)
    Job.objects.filter(pk=export.job_id).update(status=JobStatus.SUCCEEDED)
    export.job.refresh_from_db()
    with django_capture_on_commit_callbacks(execute=True):
        bundles.delete_export(export=export)
    assert not folder.exists()
    assert not Job.objects.filter(pk=export.job_id).exists()


def test_a_refused_artefact_may_lack_figures():
    export = export_of(trained())
    folder = bundles.prepare_export(export)
    report = {"artifacts": [{"format": "onnx", "ok": False, "refused_because": "replay_failed"}]}
    (folder / "report.json").write_text(json.dumps(report))
    bundles.record_export(export)
    assert export.report["accuracy"] is None
    assert not export.passed
