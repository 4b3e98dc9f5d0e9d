"""Export bundles: asked for, prepared for the engine, and let out only with a report that says they are right."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.db import transaction

from labeling import jobs
from labeling.models import Job, Project
from labeling.models.jobs import JobKind, JobStatus
from training.models import Export, TrainingRun
from training.models.exports import Format

REPLAY_LIMIT = 500
# What the page shows of a report; a refused artefact may lack some of it.
FIGURES = (
    "max_abs_difference",
    "same_label_share",
    "accuracy",
    "reference_accuracy",
    "texts_per_second",
    "n_replayed",
    "refused_because",
)


class ExportRefused(Exception):
    """`code`: not_trained (the run has no model), no_format (none chosen, or an unknown one)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ExportBusy(Exception):
    """The export is still going; cancel it first."""


class ReportUnreadable(Exception):
    """The engine's report is missing, or does not speak of what was asked for."""


def request_export(*, run: TrainingRun, user: Any, formats: Iterable[str]) -> list[Export]:
    """One export per format, each with its job. One that is still going is returned, not doubled.

    Raises ExportRefused, TooManyJobs."""
    wanted = list(dict.fromkeys(formats))
    if not wanted or not set(wanted) <= set(Format.values):
        raise ExportRefused("no_format")
    if run.job.status != JobStatus.SUCCEEDED or not run.model_folder.is_dir():
        raise ExportRefused("not_trained")
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=run.project_id)
        return [_export(run, user, format) for format in wanted]


def prepare_export(export: Export) -> Path:
    """The folder of `export` with spec.json and replay.jsonl in it; harmless when repeated."""
    folder = export.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    replayed_on = _write_replay(export.run, folder / "replay.jsonl")
    spec = {
        "model_dir": str(export.run.model_folder),
        "formats": [export.format],
        "name": bundle_name(export.run),
        "replayed_on": replayed_on,
    }
    (folder / "spec.json").write_text(json.dumps(spec, ensure_ascii=False, indent=1), encoding="utf-8")
    return folder


def record_export(export: Export) -> None:
    """Report, name, size and checksum of the artefact; `passed` only when the engine says ok and the file is
    the one that it reported. Called in the worker's transaction. Raises ReportUnreadable."""
    artifact = _artifact(export)
    export.report = {**dict.fromkeys(FIGURES), **artifact, "replayed_on": _replayed_on(export)}
    name = str(artifact.get("file") or "")
    path = export.folder / name
    whole = bool(name) and Path(name).name == name and path.is_file() and not path.is_symlink()
    export.filename = name if whole else ""
    export.size_bytes = path.stat().st_size if whole else 0
    export.sha256 = _sha256(path) if whole else ""
    export.passed = bool(artifact.get("ok") is True and whole and export.sha256 == artifact.get("sha256"))
    if artifact.get("ok") is True and not export.passed:
        export.report["refused_because"] = "checksum"
    export.save(update_fields=["report", "filename", "size_bytes", "sha256", "passed"])


def delete_export(*, export: Export) -> None:
    """Remove a finished export with its files. Raises ExportBusy."""
    if not export.job.is_finished:
        raise ExportBusy(str(export))
    folder = export.folder
    with transaction.atomic():
        export.job.delete()
        transaction.on_commit(lambda: shutil.rmtree(folder, ignore_errors=True))


def bundle_name(run: TrainingRun) -> str:
    """The stem of a bundle's file name: ASCII, so that it survives every file system and zip program."""
    return f"wanxing-{run.project_id}-run{run.number}"


def best_run(project: Project) -> TrainingRun | None:
    """The trained run with the best dev accuracy, the newer of equals. Test numbers choose nothing."""
    runs = list(project.runs.succeeded().prefetch_related("evaluations"))
    if not runs:
        return None

    def dev(run: TrainingRun) -> float:
        return next((found.accuracy for found in run.evaluations.all() if found.split == "dev"), -1.0)

    return max(runs, key=lambda run: (dev(run), run.number))


def _export(run: TrainingRun, user: Any, format: str) -> Export:
    active = run.exports.filter(format=format, job__status__in=[JobStatus.QUEUED, JobStatus.RUNNING]).first()
    if active is not None:
        return active
    job: Job = jobs.create_job(project=run.project, kind=JobKind.EXPORT, queue="export", user=user)
    return Export.objects.create(project=run.project, run=run, job=job, format=format)


def held_out_splits(run: TrainingRun) -> tuple[str, ...]:
    """The splits that the run's model has not learnt: test alone where it learnt dev at last."""
    return ("test",) if (run.result or {}).get("chosen", {}).get("refit") else ("test", "dev")


def _write_replay(run: TrainingRun, path: Path) -> str:
    """Up to REPLAY_LIMIT texts of the run's snapshot that it was not trained on; train texts when there are none.

    Returns which: "held_out" or "train"."""
    held_out = held_out_splits(run)
    learnt = tuple(split for split in ("dev", "train") if split not in held_out)
    for replayed_on, splits in (("held_out", held_out), ("train", learnt)):
        written = 0
        with path.open("w", encoding="utf-8") as out:
            for split in splits:
                source = run.folder / f"{split}.jsonl"
                if not source.is_file():
                    continue
                with source.open(encoding="utf-8") as file:
                    for line in file:
                        if written == REPLAY_LIMIT:
                            break
                        out.write(line)
                        written += 1
        if written:
            return replayed_on
    return "train"


def _artifact(export: Export) -> dict[str, Any]:
    path = export.folder / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return next(found for found in report["artifacts"] if found["format"] == export.format)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ReportUnreadable(f"report.json: {error!r}") from error


def _replayed_on(export: Export) -> str:
    return json.loads((export.folder / "spec.json").read_text(encoding="utf-8")).get("replayed_on", "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
