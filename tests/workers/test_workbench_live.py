"""The workbench asked through the real broker and answered by a real live worker; its jobs done by a real bulk worker."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labeling.models import Job, Project
from labeling.models.jobs import JobStatus
from labeling.services import scores as score_files
from labeling.services import words as label_words
from tests.factories import make_example, make_label, make_project
from tests.unit import fewshot_tiny
from training.models import RegisteredBackbone
from training.services import live, prelabelling, prompt_comparison, workbench, workbench_choice
from training.services.live import LiveFailed, LiveUnavailable, Superseded

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

StartWorker = Callable[[str], subprocess.Popen[bytes]]
PATIENCE_SECONDS = 120


@pytest.fixture
def project(tmp_path: Path) -> Project:
    fewshot_tiny.backbone(tmp_path / "tiny")
    RegisteredBackbone.objects.create(name="tiny", path=str(tmp_path / "tiny"))
    project = make_project(template="{text}主题是{mask}。")
    score_files.remove(project.pk, "zero_shot")
    labels = {one.name: make_label(project, one.name, words=one.words) for one in fewshot_tiny.LABELS}
    seen: set[str] = set()
    for split, n, seed in (("train", 30, 1), ("dev", 12, 2), ("test", 12, 3), ("pool", 40, 4)):
        for text, name in zip(*fewshot_tiny.texts(n, seed), strict=True):
            if text not in seen:
                seen.add(text)
                make_example(project, text, label=labels[name] if split != "pool" else None, split=split)
    workbench_choice.choose(project=project, backbone="tiny", method="")
    return project


def wait_for(job: Job) -> Job:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not job.is_finished and time.monotonic() < deadline:
        time.sleep(0.1)
        job.refresh_from_db()
    return job


def test_a_live_worker_answers_and_the_newest_wins(project: Project, start_worker: StartWorker) -> None:
    start_worker("live")
    draft = prelabelling.stored_draft(project)
    ids = workbench.shown_texts(project)
    found = workbench.ask_answers(draft, example_ids=ids, editor="1:tab", number=5, timeout_seconds=60)
    assert [one.example_id for one in found.texts] == ids
    assert len(workbench.ask_words(draft, editor="1:tab", number=5)) == 4
    measured = workbench.ask_accuracy(draft, editor="1:tab", number=5)
    assert measured.n == project.examples.filter(split="train").count()
    label = project.labels.get(name="car")
    proposed = workbench.ask_proposals(draft, label_id=label.pk, editor="1:words", number=1)
    assert proposed.proposals
    with pytest.raises(Superseded):
        workbench.ask_answers(draft, example_ids=ids, editor="1:tab", number=4)
    # What no check of the page catches comes back with the engine's code, not as a crash.
    broken = {**draft.to_json(), "template": "{text}" + "字" * 900 + "{mask}"}
    with pytest.raises(LiveFailed) as failed:
        live.ask("workbench_accuracy", {"draft": broken}, timeout_seconds=30)
    assert failed.value.code == "template_too_long"


def test_without_a_worker_the_page_hears_it_at_once(project: Project, embedded_broker: object) -> None:
    began = time.monotonic()
    with pytest.raises(LiveUnavailable):
        workbench.ask_accuracy(prelabelling.stored_draft(project), editor="2:tab", number=1)
    assert time.monotonic() - began < workbench.MEASURE_SECONDS / 2


def test_bulk_worker_compares_prompts_and_labels_the_pool(
    project: Project, start_worker: StartWorker
) -> None:
    start_worker("bulk")
    draft = prelabelling.stored_draft(project)
    other = workbench.draft_of(project, template="这是一条关于{mask}的新闻。{text}", backbone="tiny")
    asked = prompt_comparison.request_comparison(
        project=project, user=project.created_by, candidates=[("甲", draft), ("乙", other)]
    )
    job = prelabelling.request_prelabelling(project=project, user=project.created_by)
    assert wait_for(asked.job).status == JobStatus.SUCCEEDED, asked.job.error_message
    asked.refresh_from_db()
    assert asked.result["n"] > 0
    assert wait_for(job).status == JobStatus.SUCCEEDED, job.error_message
    scores = score_files.read(project.pk, "zero_shot")
    assert scores is not None
    assert len(scores) == project.examples.pool().count()
    # Words that change are scored again without being asked.
    first = scores.about["signature"]
    label_words.save_template(project=project, user=project.created_by, text="关于{mask}：{text}")
    again = project.jobs.filter(kind="zero_shot").exclude(pk=job.pk).get()
    assert wait_for(again).status == JobStatus.SUCCEEDED, again.error_message
    fresh = score_files.read(project.pk, "zero_shot")
    assert fresh is not None
    assert fresh.about["signature"] != first
    assert not prelabelling.state_of(project).stale
