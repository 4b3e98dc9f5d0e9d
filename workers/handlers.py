"""One function a kind of job: do the work, then move the job and record the result in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db import transaction

from labeling.files import FileRefused
from labeling.models import Job
from labeling.models.jobs import JobKind
from labeling.services import imports, probe_requests, rules
from training.fewshot.errors import EngineError
from training.services import bundles, predict, prelabelling, prompt_comparison, quality, results
from workers import embedding
from workers.context import AttemptLost, JobFailed, RunningJob
from workers.engine import run_engine
from workers.probe import sentence_vectors
from workers.readers import prompt_reader_for
from workers.sessions import classifier_for


def run_import(running: RunningJob) -> None:
    batch = running.job.import_batch
    try:
        imports.run_import(batch, on_progress=partial(_report, running), should_stop=running.should_stop)
    except imports.ImportRefused as error:
        if error.code == "taken":
            raise AttemptLost from error
        raise JobFailed(code=error.code, message=error.message, hint=error.hint) from error
    _finish(running)
    embedding.request_after(running.job.project)


def run_training(running: RunningJob) -> None:
    run = running.job.training_run
    run_engine(running, "train", run.folder)
    _finish(running, partial(results.record_result, run))


def run_export(running: RunningJob) -> None:
    export = running.job.export
    folder = bundles.prepare_export(export)
    run_engine(running, "export", folder)
    _finish(running, partial(bundles.record_export, export))


def run_file_prediction(running: RunningJob) -> None:
    prediction = running.job.file_prediction
    running.report(stage="load")
    try:
        predict.run_file_prediction(
            prediction,
            classifier_for(prediction.run.model_folder),
            on_progress=partial(_report, running),
            should_stop=running.should_stop,
        )
    except FileRefused as error:
        raise JobFailed(code=error.code, message=str(error)) from error
    _finish(running)


def run_pool_prediction(running: RunningJob) -> None:
    job = running.job
    running.report(stage="load")
    predict.run_pool_prediction(
        job,
        classifier_for(job.pool_prediction.run.model_folder),
        on_progress=partial(_report, running),
        should_stop=running.should_stop,
    )
    _finish(running)


def run_comparison(running: RunningJob) -> None:
    comparison = running.job.prompt_comparison
    running.report(stage="load")
    with _engine_errors(running):
        result = prompt_comparison.run_comparison(
            comparison,
            prompt_reader_for(comparison.backbone),
            on_progress=partial(_report, running),
            should_stop=running.should_stop,
        )
    _finish(running, partial(prompt_comparison.record_comparison, comparison, result))


def run_prelabelling(running: RunningJob) -> None:
    running.report(stage="load")
    with _engine_errors(running):
        prelabelling.run_prelabelling(
            running.job.project,
            prompt_reader_for,
            on_progress=partial(_report, running),
            should_stop=running.should_stop,
        )
    _finish(running)


@contextlib.contextmanager
def _engine_errors(running: RunningJob) -> Iterator[None]:
    """Refusals of the engine, and a stop between batches, in the words of jobs."""
    try:
        yield
    except prompt_comparison.Stopped as stopped:
        raise running.stopped() from stopped
    except EngineError as error:
        raise JobFailed(code=error.code, message=error.message, hint=error.hint) from error


def run_embedding(running: RunningJob) -> None:
    with _engine_errors(running):
        whole = embedding.embed(running)
    _finish(running)
    if not whole:
        # It gave way to others: what is left goes to the end of the queue.
        embedding.request_after(running.job.project)
    else:
        prelabelling.refresh_if_stale(running.job.project_id)
        probe_requests.request(running.job.project_id)


def run_quality(running: RunningJob) -> None:
    with _engine_errors(running):
        embedding.embed(running)  # texts that came in since; what it left to others is compared by its words
        record = quality.run_check(
            running.job.quality_check,
            sentence_vectors,
            on_progress=partial(_report, running),
            should_stop=running.should_stop,
        )
    _finish(running, record)


def run_rules(running: RunningJob) -> None:
    try:
        rules.run_change(running.job, on_progress=partial(_report, running), should_stop=running.should_stop)
    except rules.RuleRefused as error:
        raise JobFailed(code="bad_rule", message=str(error)) from error
    _finish(running)


HANDLERS: dict[str, Callable[[RunningJob], None]] = {
    JobKind.IMPORT: run_import,
    JobKind.TRAIN: run_training,
    JobKind.EXPORT: run_export,
    JobKind.PREDICT_FILE: run_file_prediction,
    JobKind.PREDICT_POOL: run_pool_prediction,
    JobKind.COMPARE: run_comparison,
    JobKind.ZERO_SHOT: run_prelabelling,
    JobKind.EMBED: run_embedding,
    JobKind.APPLY_RULES: run_rules,
    JobKind.QUALITY: run_quality,
}


def _report(running: RunningJob, stage: str, step: int, total: int, eta_seconds: float | None = None) -> None:
    running.report(stage=stage, step=step, total=total, eta_seconds=eta_seconds)


def _finish(running: RunningJob, record: Callable[[], Any] | None = None) -> None:
    """RUNNING → SUCCEEDED together with what the work found, or neither.

    Work that stopped early because it was told to is told apart here."""
    if running.should_stop():
        raise running.stopped()
    job: Job = running.job
    with transaction.atomic():
        if record is not None:
            record()
        if not job.succeed():
            raise AttemptLost(f"job {job.pk} attempt {job.attempt}")
