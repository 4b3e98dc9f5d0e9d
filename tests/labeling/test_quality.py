"""Lists of texts to look at once more: who is on them, and what takes a text off."""

from __future__ import annotations

import pytest

from labeling import jobs
from labeling.jobs import TooManyJobs
from labeling.models import QualityCheck, Suspect
from labeling.models.annotations import Action, Source
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Task
from labeling.models.quality import SuspectKind
from labeling.services import annotate, quality
from tests import factories as make

ERRORS, DUPLICATES, OUTLIERS = SuspectKind.ERRORS, SuspectKind.DUPLICATES, SuspectKind.OUTLIERS


@pytest.fixture
def project(db):
    project = make.make_project()
    for name in ("财经", "体育", "娱乐"):
        make.make_label(project, name)
    return project


@pytest.fixture
def labels(project):
    return list(project.labels.all())


def make_check(project, status=JobStatus.SUCCEEDED) -> QualityCheck:
    return QualityCheck.objects.create(
        project=project, job=make.make_job(project, JobKind.QUALITY, status=status)
    )


def suspect(check, example, kind=ERRORS, **values) -> Suspect:
    values.setdefault("rank", check.suspects.filter(kind=kind).count())
    values.setdefault("score", -0.5)
    values.setdefault("after_annotation", quality.newest_annotation_id(check.project))
    return Suspect.objects.create(
        check_run=check, project=check.project, kind=kind, example=example, **values
    )


def on_list(project, kind=ERRORS) -> list[int]:
    return [one.example_id for one in quality.standing(project, kind)]


def decide(project, example, action=Action.LABEL, label=None, source=Source.REVIEW, user=None):
    return annotate.decide(
        project=project, user=user or project.created_by, example_id=example.pk, action=action,
        label_id=label.pk if label else None, source=source,
    )  # fmt: skip


def test_the_list_of_the_newest_look_that_ended_well_stands(project, labels):
    old, new = make_check(project), make_check(project)
    first, second = (make.make_example(project, label=labels[0]) for _ in range(2))
    suspect(old, first)
    suspect(new, second)
    make_check(project, JobStatus.FAILED)
    make_check(project, JobStatus.RUNNING)
    assert on_list(project) == [second.pk]
    assert quality.counts(project) == {ERRORS: 1, DUPLICATES: 0, OUTLIERS: 0}


def test_nothing_stands_before_the_first_look(project):
    assert on_list(project) == []
    assert quality.counts(project) == dict.fromkeys(SuspectKind.values, 0)


@pytest.mark.parametrize(
    "action, label, leaves",
    [
        (Action.LABEL, 0, True),  # the present one: confirmed
        (Action.LABEL, 1, True),
        (Action.SKIP, None, True),
        (Action.CLEAR, None, True),
        (Action.FLAG, None, True),
    ],
)
def test_a_decision_takes_the_text_off_and_undoing_brings_it_back(project, labels, action, label, leaves):
    check = make_check(project)
    example = make.make_example(project, label=labels[0])
    suspect(check, example, suggested_label=labels[1])
    decide(project, example, action, labels[label] if label is not None else None)
    assert on_list(project) == ([] if leaves else [example.pk])
    annotate.undo(project=project, user=project.created_by)
    assert on_list(project) == [example.pk]


def test_decisions_from_before_the_look_count_for_nothing(project, labels):
    example = make.make_example(project)
    decide(project, example, label=labels[0], source=Source.BLIND)
    suspect(make_check(project), example)
    assert on_list(project) == [example.pk]


def test_an_error_without_a_label_any_more_is_none(project, labels):
    example = make.make_example(project, label=labels[0])
    suspect(make_check(project), example)
    example.label, example.status = None, "open"
    example.save()
    assert on_list(project) == []


def test_a_double_is_settled_when_the_other_one_is_corrected(project, labels):
    check = make_check(project)
    first, second = make.make_example(project, label=labels[0]), make.make_example(project, label=labels[1])
    suspect(check, first, DUPLICATES, other=second)
    suspect(check, second, DUPLICATES, other=first)
    decide(project, first, label=labels[0])
    assert on_list(project, DUPLICATES) == [second.pk]
    decide(project, second, label=labels[0])
    assert on_list(project, DUPLICATES) == []


def test_confirming_one_of_two_doubles_leaves_the_other(project, labels):
    check = make_check(project)
    first, second = make.make_example(project, label=labels[0]), make.make_example(project, label=labels[1])
    suspect(check, first, DUPLICATES, other=second)
    suspect(check, second, DUPLICATES, other=first)
    decide(project, second, label=labels[0])
    assert on_list(project, DUPLICATES) == []


def test_where_several_labels_are_allowed_the_first_does_not_settle_doubles(project, labels):
    project.task = Task.MULTI_LABEL
    project.save()
    check = make_check(project)
    first, second = make.make_example(project, label=labels[0]), make.make_example(project, label=labels[0])
    suspect(check, first, DUPLICATES, other=second)
    assert on_list(project, DUPLICATES) == [first.pk]


def test_the_queue_serves_the_surest_first_without_what_the_page_has(project, labels):
    check = make_check(project)
    examples = [make.make_example(project, label=labels[0]) for _ in range(3)]
    for rank, example in enumerate(examples):
        suspect(check, example, rank=2 - rank)
    assert quality.queue_texts(project, ERRORS, n=2) == [examples[2], examples[1]]
    assert quality.queue_texts(project, ERRORS, n=5, have=[examples[2].pk]) == [examples[1], examples[0]]


def test_confirmed_means_the_present_label_was_given_from_a_list(project, labels):
    right, changed, blind, undone = (make.make_example(project, label=labels[0]) for _ in range(4))
    decide(project, right, label=labels[0])
    decide(project, changed, label=labels[0])
    decide(project, changed, label=labels[1], source=Source.BLIND)
    decide(project, blind, label=labels[0], source=Source.BLIND)
    decide(project, undone, label=labels[0])
    annotate.undo(project=project, user=project.created_by)
    assert quality.confirmed(project) == {right.pk}
    assert quality.confirmed(project, [blind.pk]) == set()
    assert quality.looked_at(project) == {right.pk, changed.pk}


def test_reasons_name_labels_and_the_double(project, labels):
    check = make_check(project)
    example = make.make_example(project, label=labels[0])
    other = make.make_example(project, "另一条文本", label=labels[1])
    suspect(check, example, suggested_label=labels[1])
    suspect(check, example, DUPLICATES, other=other)
    suspect(check, example, OUTLIERS)
    assert quality.why(project, ERRORS, [example.pk]) == {
        example.pk: "现在是“财经”；没学过这一条的模型更倾向“体育”。"
    }
    assert (
        "几乎一样的一条标成了“体育”：另一条文本" in quality.why(project, DUPLICATES, [example.pk])[example.pk]
    )
    assert "都不像" in quality.why(project, OUTLIERS, [example.pk])[example.pk]
    assert quality.why(project, OUTLIERS, [other.pk]) == {}


@pytest.mark.database
def test_asking_twice_starts_one_look(project):
    make.make_example(project)
    first = quality.request_check(project=project, user=project.created_by)
    assert quality.request_check(project=project, user=project.created_by) == first
    assert (first.job.queue, first.job.kind) == ("bulk", JobKind.QUALITY)
    assert quality.active_check(project) == first
    first.job.request_cancel()
    assert quality.request_check(project=project, user=project.created_by) != first


def test_without_texts_there_is_nothing_to_look_at(project):
    with pytest.raises(quality.QualityRefused):
        quality.request_check(project=project, user=project.created_by)


def test_looks_are_limited_in_rate(project, monkeypatch):
    monkeypatch.setitem(jobs.HOURLY_LIMITS, "quality", 1)
    make.make_example(project)
    quality.request_check(project=project, user=project.created_by).job.request_cancel()
    with pytest.raises(TooManyJobs):
        quality.request_check(project=project, user=project.created_by)


def test_recording_replaces_the_lists_of_before(project, labels):
    example = make.make_example(project, label=labels[0])
    old = make_check(project)
    suspect(old, example)
    new = make_check(project, JobStatus.RUNNING)
    quality.record(
        new,
        [
            Suspect(
                check_run=new,
                project=project,
                kind=OUTLIERS,
                example=example,
                score=1,
                rank=0,
                after_annotation=0,
            )
        ],
        n_labelled=7,
    )
    new.job.succeed()
    assert list(QualityCheck.objects.all()) == [new]
    assert QualityCheck.objects.get().n_labelled == 7
    assert on_list(project, OUTLIERS) == [example.pk]
    assert on_list(project) == []
