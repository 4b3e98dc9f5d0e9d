"""The state machine of jobs: each move is made once, by the attempt that holds the job."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling import jobs
from labeling.models import Job, JobEvent
from labeling.models.jobs import FORGOTTEN_AFTER, HEART_STOPPED_AFTER, MAX_ATTEMPTS, SHARED_QUEUES, JobStatus
from tests.factories import make_job, make_project, make_user
from workers import sweep
from workers.options import WORKER_GROUPS

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LONG_AGO = HEART_STOPPED_AFTER + timedelta(seconds=1)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What would be handed to the broker. The broker itself is tested with a real one in tests/workers."""
    handed: list[tuple[int, str]] = []
    monkeypatch.setattr(jobs, "_enqueue", lambda job_id, queue: handed.append((job_id, queue)))
    monkeypatch.setattr(sweep, "enqueue", lambda job_id, queue: handed.append((job_id, queue)))
    return handed


def statuses(job: Job) -> list[str]:
    return [event.data["status"] for event in JobEvent.objects.filter(job=job, type="status")]


def test_a_claim_is_won_once() -> None:
    job = make_job(make_project())
    other = Job.objects.get(pk=job.pk)
    assert job.claim(worker="a:1")
    assert not other.claim(worker="b:2")
    assert Job.objects.get(pk=job.pk).worker == "a:1"
    assert statuses(job) == ["running"]


MOVES = [
    # status before, move, whether it is made, status after
    ("queued", "claim", True, "running"),
    ("queued", "succeed", False, "queued"),
    ("queued", "fail", True, "failed"),
    ("queued", "cancelled", False, "queued"),
    ("queued", "request_cancel", True, "cancelled"),
    ("running", "claim", False, "running"),
    ("running", "succeed", True, "succeeded"),
    ("running", "fail", True, "failed"),
    ("running", "cancelled", True, "cancelled"),
    ("running", "request_cancel", True, "running"),
    ("running", "requeue", False, "running"),
    *[
        (ended, move, False, ended)
        for ended in ("succeeded", "failed", "cancelled")
        for move in ("claim", "succeed", "fail", "cancelled", "request_cancel", "requeue")
    ],
]


@pytest.mark.parametrize(("before", "move", "made", "after"), MOVES)
def test_table_of_moves(before: str, move: str, made: bool, after: str) -> None:
    job = make_job(make_project(), status=before)
    arguments = {"claim": {"worker": "w:1"}, "fail": {"code": "x", "message": "y"}}.get(move, {})
    assert getattr(job, move)(**arguments) is made
    assert Job.objects.get(pk=job.pk).status == after


def test_an_old_attempt_can_write_nothing() -> None:
    job = make_job(make_project(), status=JobStatus.RUNNING)
    suspended = Job.objects.get(pk=job.pk)
    Job.objects.filter(pk=job.pk).update(heartbeat_at=timezone.now() - LONG_AGO)
    assert job.requeue()
    assert job.claim(worker="new:1")
    assert job.attempt == 2
    assert not suspended.beat(step=99)
    assert not suspended.succeed()
    assert not suspended.fail(code="late", message="late")
    assert not suspended.still_wanted()
    job.refresh_from_db()
    assert (job.status, job.step) == (JobStatus.RUNNING, 0)


def test_a_cancelled_job_in_the_queue_is_not_claimed() -> None:
    job = make_job(make_project(), cancel_requested_at=timezone.now())
    assert not job.claim(worker="a:1")


def test_a_running_job_without_a_heart_is_refused_by_the_database() -> None:
    job = make_job(make_project())
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(status="running", heartbeat_at=None)


def test_the_broker_hears_of_a_job_after_the_commit_only(
    sent: list[tuple[int, str]], django_capture_on_commit_callbacks: object
) -> None:
    project = make_project()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        job = jobs.create_job(project=project, kind="train", queue="train", user=project.created_by)
        assert sent == []
    assert sent == [(job.pk, "train")]


def test_one_person_cannot_flood_the_queue(sent: list[tuple[int, str]]) -> None:
    project, other = make_project(), make_user()
    for _ in range(jobs.HOURLY_LIMITS["train"]):
        jobs.create_job(project=project, kind="train", queue="train", user=project.created_by)
    with pytest.raises(jobs.TooManyJobs):
        jobs.create_job(project=project, kind="train", queue="train", user=project.created_by)
    jobs.create_job(project=project, kind="train", queue="train", user=other)
    jobs.create_job(project=project, kind="export", queue="export", user=project.created_by)


def test_one_person_cannot_flood_the_disk_with_uploads() -> None:
    busy, other = make_user(), make_user()
    for _ in range(jobs.UPLOADS_AN_HOUR):
        jobs.check_upload_rate(user=busy)
    with pytest.raises(jobs.TooManyJobs):
        jobs.check_upload_rate(user=busy)
    jobs.check_upload_rate(user=other)


class TestSweep:
    def test_brings_back_a_job_whose_heart_stopped(self, sent: list[tuple[int, str]]) -> None:
        job = make_job(
            make_project(),
            "train",
            status=JobStatus.RUNNING,
            worker="elsewhere:1",
            heartbeat_at=timezone.now() - LONG_AGO,
        )
        assert sweep.sweep_once().requeued == 1
        job.refresh_from_db()
        assert (job.status, job.attempt, job.worker) == (JobStatus.QUEUED, 2, "")
        assert sent == [(job.pk, "train")]

    def test_leaves_a_beating_heart_alone(self, sent: list[tuple[int, str]]) -> None:
        job = make_job(make_project(), status=JobStatus.RUNNING, worker="elsewhere:1")
        sweep.sweep_once()
        job.refresh_from_db()
        assert (job.status, job.attempt) == (JobStatus.RUNNING, 1)

    def test_does_not_wait_for_the_heart_of_a_dead_process_of_this_host(
        self, sent: list[tuple[int, str]]
    ) -> None:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        job = make_job(make_project(), status=JobStatus.RUNNING, worker=f"{socket.gethostname()}:{dead.pid}")
        mine = make_job(
            make_project(), status=JobStatus.RUNNING, worker=f"{socket.gethostname()}:{os.getpid()}"
        )
        assert sweep.sweep_once().requeued == 1
        job.refresh_from_db()
        mine.refresh_from_db()
        assert (job.status, mine.status) == (JobStatus.QUEUED, JobStatus.RUNNING)

    def test_fails_a_job_that_keeps_killing_its_worker(self, sent: list[tuple[int, str]]) -> None:
        job = make_job(
            make_project(),
            status=JobStatus.RUNNING,
            attempt=MAX_ATTEMPTS,
            worker="elsewhere:1",
            heartbeat_at=timezone.now() - LONG_AGO,
        )
        assert sweep.sweep_once().failed == 1
        job.refresh_from_db()
        assert (job.status, job.error_code) == (JobStatus.FAILED, "worker_lost")

    def test_a_cancel_that_nobody_carried_out_is_carried_out(self, sent: list[tuple[int, str]]) -> None:
        job = make_job(
            make_project(),
            status=JobStatus.RUNNING,
            worker="elsewhere:1",
            heartbeat_at=timezone.now() - LONG_AGO,
            cancel_requested_at=timezone.now() - LONG_AGO,
        )
        assert sweep.sweep_once().cancelled == 1
        job.refresh_from_db()
        assert job.status == JobStatus.CANCELLED

    def test_sends_a_forgotten_job_again_but_not_at_every_look(self, sent: list[tuple[int, str]]) -> None:
        job = make_job(make_project(), enqueued_at=timezone.now() - FORGOTTEN_AFTER - timedelta(seconds=1))
        make_job(make_project())
        assert sweep.sweep_once().sent_again == 1
        assert sweep.sweep_once().sent_again == 0
        assert sent == [(job.pk, "data")]


def queued_long_ago(**more: object) -> Job:
    job = make_job(make_project(), status=JobStatus.QUEUED, **more)
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(seconds=60))
    job.refresh_from_db()
    return job


def test_a_job_behind_another_one_says_so_and_blames_no_worker() -> None:
    waiting = queued_long_ago(queue="train")
    assert (waiting.n_ahead, waiting.waits_long) == (0, True)
    busy = make_job(make_project(), status=JobStatus.RUNNING, queue="train", heartbeat_at=timezone.now())
    assert (waiting.n_ahead, waiting.waits_long) == (1, False)
    last = queued_long_ago(queue="train")
    assert last.n_ahead == 2
    assert busy.n_ahead == 0
    Job.objects.filter(pk=busy.pk).update(heartbeat_at=timezone.now() - 2 * HEART_STOPPED_AFTER)
    assert waiting.waits_long


def test_only_jobs_of_the_same_worker_are_ahead() -> None:
    make_job(make_project(), status=JobStatus.RUNNING, queue="train", heartbeat_at=timezone.now())
    make_job(make_project(), status=JobStatus.RUNNING, queue="data", heartbeat_at=timezone.now())
    bundle = queued_long_ago(queue="export")
    assert (bundle.n_ahead, bundle.waits_long) == (1, False)
    assert queued_long_ago(queue="bulk").waits_long
    assert [group.queues for group in WORKER_GROUPS if len(group.queues) > 1] == [SHARED_QUEUES]
