"""Runs: asked for, run again, deleted."""

from __future__ import annotations

import json
import math
import shutil
import uuid
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, Q

from labeling import jobs
from labeling.models import Job, Prediction, Project
from labeling.models.jobs import JobKind
from training.fewshot.config import FewShotConfig
from training.models import TrainingRun
from training.services import backbones, devices
from training.services.readiness import Readiness, check_readiness
from training.services.run_form import RunForm, form_data_of
from training.services.snapshot import Snapshot, active_labels, labels_json, write_snapshot

CURVE_EVALUATIONS = 8
CURVE_POINTS = 100


class RunRefused(Exception):
    """The run was not started. `form` holds errors of settings, `readiness` what is missing in the project."""

    def __init__(self, *, form: RunForm, readiness: Readiness | None = None) -> None:
        super().__init__("the run was not started")
        self.form = form
        self.readiness = readiness


class RunBusy(Exception):
    """The run is still going; cancel it first."""


def request_run(*, project: Project, user: Any, form_data: Any) -> TrainingRun:
    """A queued run with its snapshot in place. The same token twice gives the same run.

    Raises RunRefused (bad settings, or a blocking finding), TooManyJobs."""
    form = RunForm(form_data, project=project)
    if not form.is_valid() or form.config is None:
        raise RunRefused(form=form)
    backbone = backbones.choice_of(form.config.backbone)
    token = form.cleaned_data.get("token")
    if (earlier := _with_token(project, token)) is not None:
        return earlier
    readiness = check_readiness(project=project, config=form.config)
    if not readiness.is_ready or backbone is None:
        raise RunRefused(form=form, readiness=readiness)
    jobs.check_rate(user=user, kind=JobKind.TRAIN)
    chosen = form.cleaned_data.get("eval_steps") is not None
    config = with_curve(form.config, n_train=readiness.counts["train"], evaluations=not chosen)
    labels = active_labels(project)
    reads_pool = config.use_pool or config.adapt != "none" or config.calibration == "pool"
    snapshot = write_snapshot(project=project, labels=labels, with_pool=reads_pool)
    try:
        return _create(project, user, form, config, backbone, token, snapshot, labels_json(labels))
    except IntegrityError:
        if (earlier := _with_token(project, token)) is not None:
            return earlier
        raise
    finally:
        snapshot.discard()


def with_curve(config: FewShotConfig, *, n_train: int, evaluations: bool) -> FewShotConfig:
    """`config` that logs often enough for the page's curve and, with `evaluations`, measures dev along the way.

    What is learnt stays the same."""
    per_step = config.train_batch_size * config.gradient_accumulation_steps
    per_epoch = max(1, -(-n_train // per_step))
    steps = config.max_steps if config.max_steps > 0 else math.ceil(config.num_train_epochs * per_epoch)
    changes = {"logging_steps": max(1, steps // CURVE_POINTS)}
    if evaluations:
        changes["eval_steps"] = max(1, steps // CURVE_EVALUATIONS)
    return config.replace(**changes)


def retry_run(*, run: TrainingRun, user: Any, token: str) -> TrainingRun:
    """A new run with the settings of `run` on the texts and labels of now.

    Raises RunRefused, TooManyJobs."""
    data = form_data_of(run.config, template_id=run.template_id) | {"token": token, "note": run.note}
    return request_run(project=run.project, user=user, form_data=data)


def delete_run(*, run: TrainingRun) -> None:
    """Remove a finished run: its rows, predictions, exports, jobs and files. Raises RunBusy."""
    owned = Job.objects.filter(
        Q(training_run=run) | Q(export__run=run) | Q(file_prediction__run=run) | Q(pool_prediction__run=run)
    )
    if owned.active().exists():
        raise RunBusy(str(run))
    folders: list[Path] = [run.folder]
    folders += [export.folder for export in run.exports.all()]
    folders += [prediction.folder for prediction in run.file_predictions.all()]
    with transaction.atomic():
        Prediction.objects.filter(project=run.project, model_id=run.pk).delete()
        # Each of these rows goes with its job; a list, since the query names the rows that vanish.
        Job.objects.filter(pk__in=list(owned.values_list("pk", flat=True))).delete()
        transaction.on_commit(lambda: _remove(folders))


def delete_runs_of(project: Project) -> None:
    """Remove all runs of a project that is about to be deleted. Raises RunBusy."""
    for run in project.runs.all():
        delete_run(run=run)


def _create(
    project: Project,
    user: Any,
    form: RunForm,
    config: FewShotConfig,
    backbone: backbones.Choice,
    token: uuid.UUID | None,
    snapshot: Snapshot,
    labels: list[dict[str, Any]],
) -> TrainingRun:
    placed: Path | None = None
    try:
        with transaction.atomic():
            # One at a time per project, so that the numbers have neither gaps nor twins.
            Project.objects.select_for_update().get(pk=project.pk)
            last = project.runs.aggregate(last=Max("number"))["last"] or 0
            job = jobs.create_job(
                project=project, kind=JobKind.TRAIN, queue=devices.queue_for(config.device), user=user
            )
            run = TrainingRun.objects.create(
                project=project,
                job=job,
                number=last + 1,
                note=form.cleaned_data.get("note", ""),
                method=config.method,
                config=config.to_json(),
                labels=labels,
                template=form.prompt_template,
                template_text=config.template,
                seed=config.seed,
                backbone=config.backbone,
                snapshot_hash=snapshot.hash,
                counts=snapshot.counts,
                request_token=token,
            )
            _write_spec(snapshot.folder, run, backbone)
            # A folder of that number can only be the rest of a run that a power cut took back.
            shutil.rmtree(run.folder, ignore_errors=True)
            snapshot.folder.rename(run.folder)
            placed = run.folder
    except BaseException:
        if placed is not None:
            shutil.rmtree(placed, ignore_errors=True)
        raise
    return run


def _write_spec(folder: Path, run: TrainingRun, backbone: backbones.Choice) -> None:
    spec = {
        "config": run.config,
        "labels": [{"name": label["name"], "words": label["words"]} for label in run.labels],
        "backbone": {"name": backbone.name, "path": backbone.path},
        "cache_dir": str(backbones.cache_dir()),
    }
    (folder / "spec.json").write_text(json.dumps(spec, ensure_ascii=False, indent=1), encoding="utf-8")


def _with_token(project: Project, token: uuid.UUID | None) -> TrainingRun | None:
    return project.runs.filter(request_token=token).first() if token else None


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
