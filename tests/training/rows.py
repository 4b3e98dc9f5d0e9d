"""Projects, runs and engine results of these tests: real rows and real files, without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from labeling.models import Label, Project
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.texts import Split
from tests.factories import make_example, make_job, make_label, make_project
from training.fewshot import evaluation
from training.models import TrainingRun
from training.services import results
from training.services.snapshot import labels_json

LABELS = (("体育", "体育"), ("财经", "财经"), ("科技", "科技"))


def make_trainable_project(
    *, n_train: int = 8, n_dev: int = 10, n_test: int = 4, n_pool: int = 3, **values: Any
) -> tuple[Project, list[Label]]:
    """A project of three labels with so many texts per label in train, dev and test, and a pool."""
    project = make_project(**values)
    labels = [make_label(project, name, words=(word,)) for name, word in LABELS]
    for split, count in ((Split.TRAIN, n_train), (Split.DEV, n_dev), (Split.TEST, n_test)):
        for label in labels:
            for number in range(count):
                make_example(project, f"{label.name}的{split}文本{number}", label=label, split=split)
    for number in range(n_pool):
        make_example(project, f"未标注文本{number}", split=Split.POOL)
    return project, labels


def make_run(
    project: Project, *, status: str = JobStatus.SUCCEEDED, number: int | None = None, **values: Any
) -> TrainingRun:
    """A run of the project's present labels; its job in `status`, an empty model folder where it succeeded."""
    job = make_job(project, JobKind.TRAIN, status=status)
    template = project.templates.first()
    values.setdefault("config", {"method": "label_sentence", "backbone": "wanxing-small-zh", "seed": 42})
    run = TrainingRun.objects.create(
        project=project,
        job=job,
        number=number or project.runs.count() + 1,
        method=values["config"].get("method", "label_sentence"),
        labels=labels_json(project.labels.prefetch_related("words")),
        template=template,
        template_text=template.text,
        backbone="wanxing-small-zh",
        snapshot_hash="0" * 64,
        **values,
    )
    run.folder.mkdir(parents=True, exist_ok=True)
    if status == JobStatus.SUCCEEDED:
        run.model_folder.mkdir(exist_ok=True)
    return run


def write_results(run: TrainingRun, *, wrong: int = 2, splits: tuple[str, ...] = ("dev", "test")) -> None:
    """result.json and predictions as the engine writes them: the first `wrong` texts of each split are missed."""
    names = [label["name"] for label in run.labels]
    found = {}
    for split in splits:
        probabilities, targets = [], []
        with (run.folder / f"predictions.{split}.jsonl").open("w", encoding="utf-8") as file:
            examples = run.project.examples.filter(split=split, label__isnull=False).order_by("pk")
            for number, example in enumerate(examples.select_related("label")):
                true = names.index(example.label.name)
                said = (true + 1) % len(names) if number < wrong else true
                confidence = 0.9 - 0.01 * number
                proba = [(1 - confidence) / (len(names) - 1)] * len(names)
                proba[said] = confidence
                probabilities.append(proba)
                targets.append(true)
                row = {
                    "id": example.pk,
                    "label": names[true],
                    "predicted": names[said],
                    "confidence": confidence,
                    "proba": proba,
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if targets:
            found[split] = evaluation.evaluate(np.array(probabilities), np.array(targets), names)
    result = {
        "evaluations": found,
        "chosen": {},
        "seconds": {"load": 1.5, "train": 20.0, "evaluate": 2.0},
        "versions": {"python": "3.11", "paddle": "3.0"},
        "machine": {"cpu": "test", "cores": 2},
        "backbone": {"name": run.backbone, "hash": "ab" * 32},
        "warnings": [],
        "truncated": 0,
        "peak_memory_bytes": 900 << 20,
    }
    (run.folder / "result.json").write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


def make_finished_run(project: Project, *, wrong: int = 2, **values: Any) -> TrainingRun:
    """A run whose results have been recorded."""
    run = make_run(project, **values)
    write_results(run, wrong=wrong)
    results.record_result(run)
    return run


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a jsonl file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
