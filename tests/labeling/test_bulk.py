"""Many at once: given in one go, taken back in one go, never doubled, never over what somebody decided meanwhile."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from labeling.models import Annotation, Example
from labeling.models.annotations import Action, Source
from labeling.models.projects import Task
from labeling.models.texts import Split, Status
from labeling.services import annotate, bulk, bulk_selection, scores
from labeling.services.bulk import BulkRefused, apply_bulk, shown_state, undo_bulk
from labeling.services.filters import Choices, Filters
from labeling.services.states import derive
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Any:
    project = make.make_project()
    for name in ("财经", "体育"):
        make.make_label(project, name)
    return project


@pytest.fixture
def texts(project) -> list[Example]:
    return [make.make_example(project) for _ in range(5)]


def give(project: Any, texts: list[Example], label: Any, **values: Any) -> bulk.Outcome:
    values.setdefault("bulk_id", uuid.uuid4())
    values.setdefault("by_model", False)
    values.setdefault("user", project.created_by)
    values.setdefault("shown", {one.pk: shown_state(one) for one in texts})
    return apply_bulk(project=project, label_id=label.pk, **values)


def labels_of(texts: list[Example]) -> list[Any]:
    return [Example.objects.get(pk=one.pk).label_id for one in texts]


def test_all_get_the_label_and_each_its_own_event(project, texts):
    label = project.labels.first()
    outcome = give(project, texts, label)
    assert outcome.action.done == 5
    assert labels_of(texts) == [label.pk] * 5
    events = Annotation.objects.filter(bulk_id=outcome.action.bulk_id)
    assert {(one.source, one.action, one.user_id) for one in events} == {
        (Source.BULK, Action.LABEL, project.created_by_id)
    }
    for one in Example.objects.filter(pk__in=[text.pk for text in texts]):
        assert derive(project=project, example=one).label_id == one.label_id == label.pk
        assert one.status == Status.LABELLED


def test_sent_twice_it_is_done_once(project, texts):
    label, other = project.labels.all()
    bulk_id = uuid.uuid4()
    give(project, texts, label, bulk_id=bulk_id)
    again = give(project, texts, other, bulk_id=bulk_id)
    assert again.repeated
    assert labels_of(texts) == [label.pk] * 5
    assert Annotation.objects.count() == 5


def test_undo_brings_back_what_was_there(project, texts):
    label, other = project.labels.all()
    annotate.decide(
        project=project, user=project.created_by, example_id=texts[0].pk, action="label", label_id=other.pk
    )
    texts[0].refresh_from_db()
    outcome = give(project, texts, label)
    undone = undo_bulk(project=project, user=project.created_by, bulk_id=outcome.action.bulk_id)
    assert undone.action.kept == 0
    assert labels_of(texts) == [other.pk, None, None, None, None]
    assert undo_bulk(project=project, user=project.created_by, bulk_id=outcome.action.bulk_id).repeated
    assert Annotation.objects.filter(action=Action.UNDO).count() == 5


def test_undo_keeps_what_was_decided_since(project, texts):
    label, other = project.labels.all()
    outcome = give(project, texts, label)
    someone = make.make_member(project)
    annotate.decide(project=project, user=someone, example_id=texts[1].pk, action="label", label_id=other.pk)
    undone = undo_bulk(project=project, user=project.created_by, bulk_id=outcome.action.bulk_id)
    assert undone.action.kept == 1
    assert labels_of(texts) == [None, other.pk, None, None, None]


def test_undoing_the_first_of_two_keeps_the_second(project, texts):
    label, other = project.labels.all()
    first = give(project, texts, label)
    for one in texts:
        one.refresh_from_db()
    second = give(project, texts[:2], other)
    assert undo_bulk(project=project, user=None, bulk_id=first.action.bulk_id).action.kept == 2
    assert labels_of(texts) == [other.pk, other.pk, None, None, None]
    undo_bulk(project=project, user=None, bulk_id=second.action.bulk_id)
    assert labels_of(texts) == [None] * 5


def test_what_somebody_changed_meanwhile_is_left_alone_and_counted(project, texts):
    label, other = project.labels.all()
    shown = {one.pk: shown_state(one) for one in texts}
    annotate.decide(
        project=project, user=make.make_member(project), example_id=texts[2].pk, action="label", label_id=other.pk
    )  # fmt: skip
    outcome = give(project, texts, label, shown=shown)
    assert (outcome.action.done, outcome.action.changed) == (4, 1)
    assert labels_of(texts)[2] == other.pk


def test_what_has_the_label_already_gets_no_event(project, texts):
    label = project.labels.first()
    give(project, texts[:2], label)
    for one in texts:
        one.refresh_from_db()
    outcome = give(project, texts, label)
    assert (outcome.action.done, outcome.action.same) == (3, 2)


@pytest.mark.parametrize(("by_model", "held_back"), [(True, 2), (False, 0)])
def test_a_model_never_chooses_texts_that_measure_it(project, by_model, held_back):
    texts = [make.make_example(project, split=split) for split in Split.values]
    outcome = give(project, texts, project.labels.first(), by_model=by_model)
    assert outcome.action.held_back == held_back
    assert outcome.action.done == 4 - held_back


def test_a_deleted_label_or_a_foreign_one_changes_nothing(project, texts):
    foreign = make.make_label(make.make_project())
    with pytest.raises(BulkRefused):
        give(project, texts, foreign)
    assert not project.bulk_actions.exists()
    assert labels_of(texts) == [None] * 5


def test_none_and_too_many_are_refused(project, texts):
    for shown in ({}, dict.fromkeys(range(1, bulk.MAX_TEXTS + 2), "open.")):
        with pytest.raises(BulkRefused):
            give(project, texts, project.labels.first(), shown=shown)


def test_texts_of_another_project_are_not_touched(project):
    foreign = make.make_example(make.make_project())
    outcome = give(project, [foreign], project.labels.first())
    assert (outcome.action.done, outcome.action.gone) == (0, 1)
    assert labels_of([foreign]) == [None]


def test_an_unknown_action_cannot_be_undone(project):
    other = make.make_project()
    label = make.make_label(other)
    outcome = give(other, [make.make_example(other)], label)
    for bulk_id in (uuid.uuid4(), outcome.action.bulk_id):
        with pytest.raises(BulkRefused):
            undo_bulk(project=project, user=None, bulk_id=bulk_id)


def test_where_several_labels_are_allowed_one_is_added(project, texts):
    project.task = Task.MULTI_LABEL
    project.save()
    label, other = project.labels.all()
    annotate.decide(
        project=project, user=project.created_by, example_id=texts[0].pk, action="label", label_ids=[other.pk]
    )
    texts[0].refresh_from_db()
    outcome = give(project, texts[:2], label)
    assert list(texts[0].label_rows.order_by("label_id").values_list("label_id", flat=True)) == [
        label.pk,
        other.pk,
    ]
    undo_bulk(project=project, user=None, bulk_id=outcome.action.bulk_id)
    assert list(texts[0].label_rows.values_list("label_id", flat=True)) == [other.pk]
    assert not texts[1].label_rows.exists()


def test_a_bulk_decision_is_not_a_step_of_the_labelling_pages_undo(project, texts):
    give(project, texts, project.labels.first())
    with pytest.raises(annotate.NothingToUndo):
        annotate.undo(project=project, user=project.created_by)


def test_selection_by_scores_takes_the_surest_that_may_be_learnt_from(project):
    import numpy as np

    label, other = project.labels.all()
    texts = [make.make_example(project, split=split) for split in ("pool", "train", "dev", "test", "pool")]
    texts.append(make.make_example(project, label=label, split="train"))
    proba = np.array([[0.9, 0.1], [0.95, 0.05], [0.99, 0.01], [0.99, 0.01], [0.2, 0.8], [0.97, 0.03]])
    scores.write(
        project.pk,
        scores.Scores("probe", (label.pk, other.pk), np.array([one.pk for one in texts]), proba),
    )
    found = bulk_selection.by_scores(project, source="probe", label_id=label.pk, percent=80)
    assert [one.pk for one in found.examples] == [texts[1].pk, texts[0].pk]
    assert found.by_model
    assert bulk_selection.by_scores(project, source="probe", label_id=other.pk, percent=90).examples == []
    assert bulk_selection.by_scores(project, source="../probe", label_id=label.pk, percent=1).examples == []


def test_selection_by_filters_leaves_dev_and_test_out_where_a_model_or_rule_chose(project):
    from labeling.models import Prediction

    texts = [make.make_example(project, split=split) for split in Split.values]
    for one in texts:
        Prediction.objects.create(
            project=project, example=one, model_id=1, label=project.labels.first(), confidence=0.9
        )
    choices = Choices.of(project)
    found = bulk_selection.by_filters(project, Filters.of({"sure_from": "50"}, choices))
    assert {one.split for one in found.examples} == {"train", "pool"}
    found = bulk_selection.by_filters(project, Filters.of({}, choices))
    assert len(found.examples) == 4
    assert not found.by_model
