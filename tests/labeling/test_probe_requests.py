"""The fast model is asked for after every few decisions, once at a time, and its absence harms nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from redis.exceptions import ConnectionError as CacheGone

from labeling.services import annotate, probe_requests, scores
from labeling.services.scores import Scores
from tests import factories as make


@pytest.fixture
def asked(tmp_path: Path, settings, monkeypatch) -> list[int]:
    """The projects for which a training was asked, in order."""
    settings.WANXING_HOME = tmp_path
    found: list[int] = []
    monkeypatch.setattr(probe_requests, "_send", found.append)
    return found


@pytest.fixture
def project(db):
    project = make.make_project()
    make.make_label(project, "财经")
    return project


def decide(project, n, django_capture_on_commit_callbacks, action="label"):
    for _ in range(n):
        example = make.make_example(project)
        with django_capture_on_commit_callbacks(execute=True):
            annotate.decide(
                project=project, user=project.created_by, example_id=example.pk, action=action,
                label_id=project.labels.first().pk if action == "label" else None,
            )  # fmt: skip


def test_every_third_decision_at_the_start(project, asked, django_capture_on_commit_callbacks):
    decide(project, 2, django_capture_on_commit_callbacks)
    assert asked == []
    decide(project, 1, django_capture_on_commit_callbacks)
    assert asked == [project.pk]


def test_one_waits_at_most_and_the_next_begins_when_the_worker_has_taken_it(
    project, asked, django_capture_on_commit_callbacks
):
    decide(project, 9, django_capture_on_commit_callbacks)
    assert asked == [project.pk]
    probe_requests.begun(project.pk)
    decide(project, 3, django_capture_on_commit_callbacks)
    assert asked == [project.pk] * 2


def test_the_more_was_learnt_the_more_decisions_it_takes(project, asked, django_capture_on_commit_callbacks):
    scores.write(
        project.pk, Scores("probe", (1,), np.array([1]), np.array([[1.0]]), n_labelled=500, held_out=0.5)
    )
    assert [probe_requests.every(n) for n in (0, 149, 200, 500)] == [3, 3, 4, 10]
    decide(project, 9, django_capture_on_commit_callbacks)
    assert asked == []
    decide(project, 1, django_capture_on_commit_callbacks)
    assert asked == [project.pk]


def test_a_skip_or_a_flag_teaches_nothing(project, asked, django_capture_on_commit_callbacks):
    decide(project, 4, django_capture_on_commit_callbacks, action="skip")
    decide(project, 4, django_capture_on_commit_callbacks, action="flag")
    assert asked == []


def test_undoing_counts_too(project, asked, django_capture_on_commit_callbacks):
    decide(project, 2, django_capture_on_commit_callbacks)
    with django_capture_on_commit_callbacks(execute=True):
        annotate.undo(project=project, user=project.created_by)
    assert asked == [project.pk]


def test_a_decision_that_is_rolled_back_is_not_counted(project, asked, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=False):
        probe_requests.note_decisions(project.pk, 50)
    assert asked == []


def test_a_page_wishes_at_most_once_in_a_while(project, asked, django_capture_on_commit_callbacks):
    for _ in range(3):
        with django_capture_on_commit_callbacks(execute=True):
            probe_requests.wish(project.pk)
        probe_requests.begun(project.pk)
    assert asked == [project.pk]


def test_without_cache_or_broker_decisions_are_stored_all_the_same(
    project, asked, django_capture_on_commit_callbacks, monkeypatch
):
    def gone(*_args, **_values):
        raise CacheGone("away")

    monkeypatch.setattr(probe_requests, "_send", gone)
    decide(project, 3, django_capture_on_commit_callbacks)
    for name in ("add", "incr", "delete"):
        monkeypatch.setattr(probe_requests.cache, name, gone, raising=False)
    decide(project, 3, django_capture_on_commit_callbacks)
    assert project.examples.labelled().count() == 6
