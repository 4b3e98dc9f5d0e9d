"""What a trained model says: of a pasted text, of a file, of the unlabelled pool."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from labeling import jobs
from labeling.files import FileRefused, Options, Refused
from labeling.models import Example, Job, Prediction, Project
from labeling.models.jobs import JobKind, JobStatus
from training.fewshot.runner import decide
from training.models import FilePrediction, PoolPrediction, TrainingRun
from training.services import live
from training.services.prediction_files import MAX_ROWS, Answer, Record, TextFile, Writer
from training.services.results import record_predictions

LIVE_TIMEOUT_SECONDS = 10.0
MAX_PASTED_TEXTS = 50
MAX_PASTED_CHARS = 20_000
BATCH = 256
RESULT_STEM = "result"

OnProgress = Callable[[str, int, int, float | None], None]


class Classifier(Protocol):
    """A loaded model. `labels` are names in class-id order; with `multi_label` a text may have several."""

    labels: list[str]
    multi_label: bool

    def predict_proba(self, texts: list[str]) -> np.ndarray:
        """(n_texts, n_labels) float32."""

    def decide(self, proba: np.ndarray) -> list[list[int]]:
        """Class ids given to each row of `proba`."""


class PredictRefused(Exception):
    """`code`: not_trained, no_text, too_many_texts, too_long, too_large, or a code of FileRefused.

    `columns` names the columns of a file among which the user has to choose."""

    def __init__(self, code: str, detail: str = "", columns: tuple[str, ...] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.columns = columns


class PredictBusy(Exception):
    """The prediction is still going; cancel it first."""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """A pasted text and its labels with probabilities, the likeliest first.

    `given`: the names of the labels that the model gives; it may be none where a text can have several."""

    text: str
    ranked: list[tuple[dict[str, Any], float]]
    given: frozenset[str]


def pasted_texts(value: str) -> list[str]:
    """The texts in what was pasted: one a line, blank lines left out. Raises PredictRefused."""
    texts = [line.strip() for line in value.splitlines() if line.strip()]
    if not texts:
        raise PredictRefused("no_text")
    if len(texts) > MAX_PASTED_TEXTS:
        raise PredictRefused("too_many_texts", str(len(texts)))
    if any(len(text) > MAX_PASTED_CHARS for text in texts):
        raise PredictRefused("too_long")
    return texts


def ask_live(run: TrainingRun, texts: list[str]) -> list[TextAnswer]:
    """What the model of `run` says of each text, from the live worker.

    Raises PredictRefused("not_trained"), LiveTimeout, LiveUnavailable."""
    require_model(run)
    rows = live.ask(
        "predict",
        {"model_folder": str(run.model_folder), "texts": texts},
        timeout_seconds=LIVE_TIMEOUT_SECONDS,
    )
    given = decided(run, np.asarray(rows, dtype=np.float32).reshape(len(texts), len(run.labels)))
    answers = []
    for text, row, places in zip(texts, rows, given, strict=True):
        ranked = sorted(zip(run.labels, map(float, row), strict=True), key=lambda pair: -pair[1])
        answers.append(TextAnswer(text, ranked, frozenset(run.labels[place]["name"] for place in places)))
    return answers


def decided(run: TrainingRun, proba: np.ndarray) -> list[list[int]]:
    """The class ids that the model of `run` gives texts of these probabilities, (n_texts, n_labels)."""
    try:
        calibration = json.loads((run.model_folder / "calibration.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        calibration = {}
    return decide(proba, calibration, run.config.get("task", "single") != "single")


def require_model(run: TrainingRun) -> None:
    """Raise PredictRefused("not_trained") unless `run` ended well and its model is still on disk."""
    if run.job.status != JobStatus.SUCCEEDED or not run.model_folder.is_dir():
        raise PredictRefused("not_trained")


def request_file_prediction(
    *, run: TrainingRun, user: Any, upload: Any, filename: str, options: dict[str, Any] | None = None
) -> FilePrediction:
    """A queued prediction of the uploaded file (`upload.chunks()`, `upload.size`), which is looked at first.

    `options`: text_column, and `token`, which sent twice gives the same prediction.
    Raises PredictRefused, TooManyJobs."""
    require_model(run)
    options = dict(options or {})
    token = _uuid(options.pop("token", None))
    if (earlier := _with_token(run, token)) is not None:
        return earlier
    if upload.size > settings.UPLOAD_MAX_BYTES:
        raise PredictRefused("too_large", str(settings.UPLOAD_MAX_BYTES >> 20))
    jobs.check_rate(user=user, kind=JobKind.PREDICT_FILE)
    home = Path(settings.WANXING_HOME) / "predictions"
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
    try:
        _store(upload, folder)
        try:
            source = TextFile(_stored(folder), filename=filename, options=Options.of(options))
        except FileRefused as error:
            raise PredictRefused(error.code, error.detail, error.columns) from error
        return _file_prediction(run, user, filename, {**options, "format": source.format}, token, folder)
    except IntegrityError:
        if (earlier := _with_token(run, token)) is not None:
            return earlier
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def request_pool_prediction(*, run: TrainingRun, user: Any) -> Job:
    """The job that predicts the pool with `run`'s model; the one that is going, if there is one.

    Raises PredictRefused, TooManyJobs."""
    require_model(run)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=run.project_id)
        active = run.pool_predictions.filter(job__status__in=[JobStatus.QUEUED, JobStatus.RUNNING]).first()
        if active is not None:
            return active.job
        job = jobs.create_job(project=run.project, kind=JobKind.PREDICT_POOL, queue="bulk", user=user)
        PoolPrediction.objects.create(run=run, job=job)
        return job


def delete_file_prediction(*, prediction: FilePrediction) -> None:
    """Remove a finished file prediction with its files. Raises PredictBusy."""
    if not prediction.job.is_finished:
        raise PredictBusy(str(prediction))
    folder = prediction.folder
    with transaction.atomic():
        prediction.job.delete()
        transaction.on_commit(lambda: shutil.rmtree(folder, ignore_errors=True))


def run_file_prediction(
    prediction: FilePrediction,
    classifier: Classifier,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> None:
    """Write the answered file beside the upload and rename it into place; counts go to the row.

    Returns early, with nothing in place, when `should_stop()`. Raises FileRefused."""
    options = Options.of(prediction.options)
    source = TextFile(_stored(prediction.folder), filename=prediction.filename, options=options)
    name = f"{RESULT_STEM}.{source.format}"
    beside = prediction.folder / f".{name}"
    started = time.monotonic()
    done = refused = 0
    with Writer(beside, source, list(classifier.labels)) as writer:
        for batch in _batches(source.records()):
            if should_stop():
                return
            readable = [record for record in batch if isinstance(record, Record)]
            answers = _answers(classifier, readable)
            for record, answer in zip(readable, answers, strict=True):
                writer.write(record, answer)
            done += len(batch)
            refused += len(batch) - sum(answer is not None for answer in answers)
            if done > MAX_ROWS:
                raise FileRefused("too_many_entries", str(MAX_ROWS))
            progress = source.progress
            step, total = (progress.done, progress.total) if progress.total else (done, 0)
            on_progress("predict", step, total, _seconds_left(started, step, total))
    beside.replace(prediction.folder / name)
    prediction.rows = done
    prediction.refused = refused
    prediction.result_name = name
    prediction.save(update_fields=["rows", "refused", "result_name"])


def run_pool_prediction(
    job: Job, classifier: Classifier, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> None:
    """Prediction rows for the pool texts that this run's model has not answered yet, a batch at a time.

    A model never changes, so a job that was interrupted goes on where it stopped."""
    pool = job.pool_prediction
    run = pool.run
    texts = _unanswered(run)
    total = texts.count()
    started = time.monotonic()
    done, last = 0, 0
    while not should_stop():
        batch = list(texts.filter(pk__gt=last).order_by("pk").values_list("pk", "text")[:BATCH])
        if not batch:
            return
        last = batch[-1][0]
        proba = classifier.predict_proba([text for _, text in batch])
        said = (_said(classifier, row) for row in proba)
        rows = (
            {"id": pk, "predicted": predicted, "confidence": confidence, "proba": row}
            for (pk, _), row, (predicted, confidence) in zip(batch, proba.astype(float), said, strict=True)
        )
        with transaction.atomic():
            record_predictions(run, rows)
        done += len(batch)
        PoolPrediction.objects.filter(pk=pool.pk).update(texts=done)
        on_progress("predict", done, max(total, done), _seconds_left(started, done, total))


def _said(classifier: Classifier, row: Any) -> tuple[str | list[str], float]:
    """The label with its probability; of several, a list with the least sure of them (or how sure it is of none)."""
    if not classifier.multi_label:
        best = int(row.argmax())
        return classifier.labels[best], float(row[best])
    places = classifier.decide(row[None])[0]
    confidence = min((float(row[place]) for place in places), default=1 - float(row.max()))
    return [classifier.labels[place] for place in places], confidence


def _unanswered(run: TrainingRun) -> Any:
    answered = Prediction.objects.filter(model_id=run.pk, example_id=OuterRef("pk"))
    return Example.objects.filter(project_id=run.project_id).pool().filter(~Exists(answered))


def _file_prediction(
    run: TrainingRun,
    user: Any,
    filename: str,
    options: dict[str, Any],
    token: uuid.UUID | None,
    folder: Path,
) -> FilePrediction:
    placed: Path | None = None
    try:
        with transaction.atomic():
            job = jobs.create_job(project=run.project, kind=JobKind.PREDICT_FILE, queue="data", user=user)
            prediction = FilePrediction.objects.create(
                project=run.project,
                run=run,
                job=job,
                filename=PurePosixPath(filename.replace("\\", "/")).name[:200] or "texts",
                options=options,
                request_token=token,
            )
            shutil.rmtree(prediction.folder, ignore_errors=True)
            folder.rename(prediction.folder)
            placed = prediction.folder
    except BaseException:
        if placed is not None:
            shutil.rmtree(placed, ignore_errors=True)
        raise
    return prediction


def _store(upload: Any, folder: Path) -> None:
    path = folder / "upload"
    with path.open("wb") as out:
        for chunk in upload.chunks():
            out.write(chunk)
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            # openpyxl goes by the name's ending.
            path.rename(folder / "upload.xlsx")


def _stored(folder: Path) -> Path:
    workbook = folder / "upload.xlsx"
    return workbook if workbook.exists() else folder / "upload"


def _answers(classifier: Classifier, records: list[Record]) -> list[Answer | None]:
    texts = [record.text for record in records if record.text is not None]
    proba = iter(classifier.predict_proba(texts)) if texts else iter(())
    answers: list[Answer | None] = []
    for record in records:
        if record.text is None:
            answers.append(None)
            continue
        row = next(proba)
        predicted, confidence = _said(classifier, row)
        label = predicted if isinstance(predicted, str) else ",".join(predicted)
        answers.append(Answer(label, confidence, tuple(map(float, row))))
    return answers


def _batches(records: Iterable[Record | Refused]) -> Iterator[list[Record | Refused]]:
    records = iter(records)
    while batch := list(itertools.islice(records, BATCH)):
        yield batch


def _seconds_left(started: float, step: int, total: int) -> float | None:
    """At the pace so far; unknown in the first second, when the pace says nothing yet."""
    elapsed = time.monotonic() - started
    if not total or not step or elapsed < 1:
        return None
    return max(0.0, elapsed / step * (total - step))


def _with_token(run: TrainingRun, token: uuid.UUID | None) -> FilePrediction | None:
    return run.file_predictions.filter(request_token=token).first() if token else None


def _uuid(value: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(value)) if value else None
    except ValueError:
        return None
