"""An import, its embedding and a search by meaning, with real workers and the shipped backbone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import numpy as np
import pytest

from labeling.models import Job, Project
from labeling.models.jobs import JobKind, JobStatus
from labeling.services import embeddings, similar
from tests.factories import make_example, make_project
from workers import embedding
from workers.sweep import sweep_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

StartWorker = Callable[[str], subprocess.Popen[bytes]]
PATIENCE_SECONDS = 240
TEXTS = {
    "ball": "昨晚的足球比赛主队三比一获胜",
    "ball again": "昨晚的足球比赛主队3比1获胜",
    "coach": "俱乐部宣布更换主教练",
    "stock": "央行下调利率，股市应声上涨",
    "soup": "冬天炖一锅萝卜排骨汤",
    "phone": "新款手机的电池可以用两天",
}


def wait_for(job: Job, until: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        job.refresh_from_db()
        if until(job):
            return job
        if job.is_finished:
            break
        time.sleep(0.05)
    raise AssertionError(f"{job} {job.stage} {job.step} {job.error_message}\n{job.error_detail}")


def succeeded(job: Job) -> bool:
    return job.status == JobStatus.SUCCEEDED


@pytest.fixture
def project() -> Project:
    return make_project()


def test_texts_are_found_by_meaning(project: Project, start_worker: StartWorker) -> None:
    rows = {name: make_example(project, text) for name, text in TEXTS.items()}
    embedding.request_after(project)
    start_worker("bulk")
    job = wait_for(Job.objects.get(kind=JobKind.EMBED), succeeded)
    assert [event.data["stage"] for event in job.events.filter(type="stage")] == ["load", "embed", "compare"]
    index = embeddings.index_of(project)
    assert sorted(index.ids.tolist()) == sorted(row.pk for row in rows.values())
    assert np.allclose(np.linalg.norm(index.vectors.astype(np.float32), axis=1), 1, atol=2e-3)

    with pytest.raises(similar.SimilarUnavailable) as refused:
        similar.find(project, similar.Query(q="踢球"))
    assert refused.value.code == "unavailable"
    start_worker("live")
    found = similar.find(project, similar.Query(q="球队换了教练"))
    assert found[0].example == rows["coach"]
    assert len(found) == len(TEXTS)
    near = similar.find(project, similar.Query(like=rows["ball"].pk))
    assert near[0].example == rows["ball again"]
    assert rows["ball"] not in [one.example for one in near]
    assert similar.matching_ids(project, {"like": str(rows["ball"].pk)})[0] == rows["ball again"].pk
    hostile = ["", "\x00", "😀" * 500, "a" * 5000, "\u202e反\u202c", "坏\ud800", "{mask}'; drop table"]
    for text in hostile:
        query = similar.Query.of({"q": text})
        assert len(similar.find(project, query) or []) == (len(TEXTS) if query.q else 0)

    groups = similar.groups(project, strictness=0.96).groups
    assert [{one.pk for one in group.examples} for group in groups] == [
        {rows["ball"].pk, rows["ball again"].pk}
    ]
    late = make_example(project, "教练的合同到期了")
    assert similar.find(project, similar.Query(like=late.pk))[0].example == rows["coach"], "read when asked"


def test_a_killed_worker_loses_no_vector_and_the_job_goes_on(
    project: Project, start_worker: StartWorker
) -> None:
    for number in range(1_500):
        make_example(project, f"第{number}条关于球赛和天气的普通标题")
    embedding.request_after(project)
    worker = start_worker("bulk")
    job = Job.objects.get(kind=JobKind.EMBED)
    wait_for(job, lambda job: job.stage == "embed" and job.step > 0)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    kept = len(embeddings.index_of(project))
    assert 0 < kept < 1_500
    deadline = time.monotonic() + 20
    while not sweep_once().requeued:
        assert time.monotonic() < deadline, "the sweep sees that the process is gone"
        time.sleep(0.1)
    start_worker("bulk")
    job = wait_for(job, succeeded)
    index = embeddings.index_of(project)
    assert (job.attempt, len(index), len(np.unique(index.ids))) == (2, 1_500, 1_500)


def test_it_can_be_stopped_and_keeps_what_is_done(project: Project, start_worker: StartWorker) -> None:
    for number in range(1_500):
        make_example(project, f"第{number}条关于球赛和天气的普通标题")
    embedding.request_after(project)
    start_worker("bulk")
    job = Job.objects.get(kind=JobKind.EMBED)
    wait_for(job, lambda job: job.stage == "embed" and job.step > 0)
    job.request_cancel()
    wait_for(job, lambda job: job.status == JobStatus.CANCELLED)
    assert 0 < len(embeddings.index_of(project)) < 1_500
    assert embeddings.ensure_embedding(project=project) == job
