"""Runs as they really go: a Celery worker, the embedded broker, the engine in a subprocess, a tiny encoder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labeling.models import Example, Job, JobEvent, Project
from labeling.models.jobs import JobStatus
from tests.factories import make_example, make_label, make_project
from tests.unit import fewshot_tiny
from training.models import RegisteredBackbone, TrainingRun
from training.services.bundles import request_export
from training.services.runs import request_run
from workers.sweep import sweep_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

StartWorker = Callable[[str], subprocess.Popen[bytes]]
PATIENCE_SECONDS = 240


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three labels that a two-layer encoder tells apart, and that encoder, registered by the operator."""
    fewshot_tiny.backbone(tmp_path / "tiny")
    RegisteredBackbone.objects.create(name="tiny", path=str(tmp_path / "tiny"))
    project = make_project(template="{text}主题是{mask}。")
    labels = {one.name: make_label(project, one.name, words=one.words) for one in fewshot_tiny.LABELS}
    seen: set[str] = set()
    for split, n, seed in (("train", 48, 1), ("dev", 36, 2), ("test", 36, 3)):
        for text, name in zip(*fewshot_tiny.texts(n, seed), strict=True):
            if text not in seen:
                seen.add(text)
                make_example(project, text, label=labels[name], split=split)
    return project


def start_run(project: Project, **settings: Any) -> TrainingRun:
    data = {
        "method": "label_sentence",
        "backbone": "tiny",
        "template": str(project.templates.get().pk),
        "device": "cpu",
        "num_train_epochs": 4,
        "max_steps": -1,
        "train_batch_size": 8,
        "learning_rate": 1e-3,
        "ppt_learning_rate": 1e-2,
        "gradient_accumulation_steps": 1,
        "max_seq_length": 32,
        "seed": 7,
        "lr_scheduler_type": "linear",
        "precision": "fp32",
    }
    return request_run(project=project, user=project.created_by, form_data=data | settings)


def wait_for(job: Job, until: Callable[[Job], bool], *, seconds: float = PATIENCE_SECONDS) -> Job:
    """The job as soon as `until` holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job.refresh_from_db()
        if until(job):
            return job
        if job.is_finished:
            break
        time.sleep(0.1)
    raise AssertionError(f"{job} {job.stage} {job.error_code} {job.error_message}\n{job.error_detail}")


def events(job: Job, kind: str) -> list[JobEvent]:
    return list(job.events.filter(type=kind))


def process_of_engine(run: TrainingRun) -> int | None:
    """The process id of the run's subprocess, found by its command line."""
    mark = os.fsencode(str(run.folder))
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
        except OSError:
            continue
        if b"training.fewshot.job" in line and mark in line:
            return int(entry.name)
    return None


def test_a_run_goes_from_the_button_to_numbers_and_a_bundle(
    project: Project, start_worker: StartWorker
) -> None:
    start_worker("train")
    run = start_run(project)
    job = wait_for(run.job, lambda job: job.status == JobStatus.SUCCEEDED)
    run.refresh_from_db()
    test = run.evaluations.get(split="test")
    assert test.n == project.examples.filter(split="test").count()
    assert test.accuracy > 0.6, "the tiny encoder tells three classes apart far better than chance"
    assert sum(map(sum, test.data["confusion"])) == test.n
    assert [event.data["stage"] for event in events(job, "stage")][:2] == ["load", "prepare"]
    assert any("loss" in event.data for event in events(job, "metric"))
    assert (run.model_folder / "onnx" / "model.onnx").is_file()

    start_worker("data")
    exports = request_export(run=run, user=project.created_by, formats=["onnx", "int8", "paddle"])
    for export in exports:
        wait_for(export.job, lambda job: job.status == JobStatus.SUCCEEDED)
        export.refresh_from_db()
        assert export.passed, export.report
        assert export.report["same_label_share"] >= (0.9 if export.format == "int8" else 1.0)
        assert export.path.stat().st_size == export.size_bytes


def test_the_same_seed_gives_the_same_numbers(project: Project, start_worker: StartWorker) -> None:
    start_worker("train")
    losses = []
    for _ in range(2):
        run = start_run(project)
        wait_for(run.job, lambda job: job.status == JobStatus.SUCCEEDED)
        rows = (run.folder / "predictions.test.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append([json.loads(row)["proba"] for row in rows])
    assert losses[0] == losses[1]


def test_cancel_stops_a_running_job_within_two_seconds(project: Project, start_worker: StartWorker) -> None:
    start_worker("train")
    run = start_run(project, num_train_epochs=2000)
    wait_for(run.job, lambda job: job.stage == "train" and job.step > 0)
    assert run.job.request_cancel()
    wait_for(run.job, lambda job: job.status == JobStatus.CANCELLED, seconds=30)
    taken = (run.job.finished_at - run.job.cancel_requested_at).total_seconds()
    print(f"cancelled after {taken:.2f} s")
    assert process_of_engine(run) is None


def test_a_killed_worker_leaves_nothing_running_and_the_run_resumes_from_its_checkpoint(
    project: Project, start_worker: StartWorker
) -> None:
    worker = start_worker("train")
    run = start_run(project, num_train_epochs=60)
    wait_for(run.job, lambda job: bool(events(job, "checkpoint")))
    assert process_of_engine(run) is not None
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    deadline = time.monotonic() + 10
    while process_of_engine(run) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process_of_engine(run) is None, "the subprocess dies with its worker"

    saved = events(run.job, "checkpoint")[-1].data["step"]
    assert sweep_once().requeued == 1
    start_worker("train")
    job = wait_for(run.job, lambda job: job.status == JobStatus.SUCCEEDED)
    assert job.attempt == 2
    first_after = job.events.filter(type="checkpoint", attempt=2).order_by("id").first()
    assert first_after is None or first_after.data["step"] > saved
    steps = [event.data["step"] for event in events(job, "metric") if event.attempt == 2]
    assert min(steps) > saved - 1, "it did not begin again at the first step"


def test_a_job_delivered_twice_runs_once(project: Project, start_worker: StartWorker) -> None:
    from workers.enqueue import enqueue

    start_worker("train")
    run = start_run(project)
    for _ in range(3):
        enqueue(run.job_id, "train")
    job = wait_for(run.job, lambda job: job.status == JobStatus.SUCCEEDED)
    assert job.attempt == 1
    assert [event.data["status"] for event in events(job, "status")] == ["queued", "running", "succeeded"]


def test_an_error_of_the_engine_reaches_the_row_by_name(project: Project, start_worker: StartWorker) -> None:
    start_worker("train")
    run = start_run(project)
    spec = json.loads((run.folder / "spec.json").read_text(encoding="utf-8"))
    spec["labels"][0]["words"] = spec["labels"][1]["words"]
    broken = run.folder / "spec.json"
    # The worker may be quicker than this line; then the run succeeds and the test asks again.
    broken.write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not run.job.is_finished and time.monotonic() < deadline:
        time.sleep(0.1)
        run.job.refresh_from_db()
    assert (run.job.status, run.job.error_code) == (JobStatus.FAILED, "word_collision")
    assert run.job.error_message
    assert Example.objects.filter(project=project).exists()
