"""Decisions: what is kept on a text equals the fold of its events, whatever the order, and nothing counts twice."""

from __future__ import annotations

import random
import threading
import uuid

import pytest
from django.db import connection
from django.utils import timezone

from labeling.models import Annotation, Example
from labeling.models.annotations import Action, Source
from labeling.models.projects import Role
from labeling.models.texts import Split, Status
from labeling.services import annotate, comments
from labeling.services.fold import State
from labeling.services.labels import delete_label
from labeling.services.states import derive, label_ids_of
from tests import factories as make


@pytest.fixture
def project(db):
    project = make.make_project()
    for name in ("财经", "体育", "汽车"):
        make.make_label(project, name)
    return project


@pytest.fixture
def labels(project):
    return list(project.labels.all())


def kept(example: Example) -> State:
    """The state on the text's row."""
    example.refresh_from_db()
    label_ids = label_ids_of(project=example.project, examples=[example])[example.pk]
    return State(
        tuple(label_ids),
        example.status,
        example.flagged,
        example.decided_at,
        example.decided_by_id,
        example.suggestion,
        example.n_deciders,
    )


def test_a_label_is_appended_and_carried_to_the_text(project, labels):
    example = make.make_example(project)
    decision = annotate.decide(
        project=project,
        user=project.created_by,
        example_id=example.pk,
        action="label",
        label_id=labels[1].pk,
        seconds=2.5,
    )
    example.refresh_from_db()
    assert (example.label, example.status) == (labels[1], Status.LABELLED)
    assert example.decided_at == decision.annotation.created_at
    assert decision.annotation.seconds == 2.5
    assert decision.annotation.previous_label is None


def test_a_resend_changes_nothing_even_after_somebody_elses_decision(project, labels):
    example, other = make.make_example(project), make.make_member(project)
    sent = {
        "project": project,
        "user": project.created_by,
        "example_id": example.pk,
        "action": "label",
        "label_id": labels[0].pk,
        "client_id": uuid.uuid4(),
    }
    first = annotate.decide(**sent)
    annotate.decide(project=project, user=other, example_id=example.pk, action="label", label_id=labels[2].pk)
    again = annotate.decide(**sent)
    assert again.repeated
    assert again.annotation == first.annotation
    assert kept(example).label_id == labels[2].pk
    assert example.annotations.count() == 2


def test_skip_leaves_a_label_in_place_and_marks_an_open_text(project, labels):
    labelled, open_text = make.make_example(project, label=labels[0]), make.make_example(project)
    for example in (labelled, open_text):
        annotate.decide(
            project=project, user=project.created_by, example_id=example.pk, action="skip", reason=" 看不懂 "
        )
    assert kept(labelled).label_id == labels[0].pk
    assert kept(open_text).status == Status.SKIPPED
    assert open_text.annotations.get().reason == "看不懂"


def test_undo_walks_back_step_by_step_and_ends(project, labels):
    user, example = project.created_by, make.make_example(project)
    for action, label in (("label", labels[0]), ("label", labels[1]), ("flag", None), ("clear", None)):
        annotate.decide(
            project=project,
            user=user,
            example_id=example.pk,
            action=action,
            label_id=label.pk if label else None,
        )
    seen = []
    for _ in range(4):
        annotate.undo(project=project, user=user)
        state = kept(example)
        seen.append((state.label_id, state.status, state.flagged))
    assert seen == [
        (labels[1].pk, "labelled", True),
        (labels[1].pk, "labelled", False),
        (labels[0].pk, "labelled", False),
        (None, "open", False),
    ]
    with pytest.raises(annotate.NothingToUndo):
        annotate.undo(project=project, user=user)
    assert example.annotations.count() == 8


def test_undo_sent_twice_takes_back_one_decision(project, labels):
    user = project.created_by
    examples = [make.make_example(project) for _ in range(2)]
    for example in examples:
        annotate.decide(
            project=project, user=user, example_id=example.pk, action="label", label_id=labels[0].pk
        )
    client_id = uuid.uuid4()
    annotate.undo(project=project, user=user, client_id=client_id)
    assert annotate.undo(project=project, user=user, client_id=client_id).repeated
    assert [kept(example).status for example in examples] == [Status.LABELLED, Status.OPEN]


def test_undo_of_a_named_decision_leaves_later_ones(project, labels):
    user = project.created_by
    examples = [make.make_example(project) for _ in range(2)]
    ids = [uuid.uuid4(), uuid.uuid4()]
    for example, client_id in zip(examples, ids, strict=True):
        annotate.decide(
            project=project,
            user=user,
            example_id=example.pk,
            action="label",
            label_id=labels[0].pk,
            client_id=client_id,
        )
    annotate.undo(project=project, user=user, target_client_id=ids[0])
    assert [kept(example).status for example in examples] == [Status.OPEN, Status.LABELLED]
    with pytest.raises(annotate.NothingToUndo):
        annotate.undo(project=project, user=user, target_client_id=ids[0])


def test_undo_reaches_fifty_decisions_and_no_further(project, labels):
    user = project.created_by
    examples = [make.make_example(project) for _ in range(annotate.UNDO_DEPTH + 3)]
    for example in examples:
        annotate.decide(
            project=project, user=user, example_id=example.pk, action="label", label_id=labels[0].pk
        )
    for _ in range(annotate.UNDO_DEPTH):
        annotate.undo(project=project, user=user)
    with pytest.raises(annotate.NothingToUndo):
        annotate.undo(project=project, user=user)
    assert project.examples.labelled().count() == 3


def test_undo_does_not_revert_what_somebody_else_decided_since(project, labels):
    user, other, example = project.created_by, make.make_member(project), make.make_example(project)
    annotate.decide(project=project, user=user, example_id=example.pk, action="label", label_id=labels[0].pk)
    annotate.decide(project=project, user=other, example_id=example.pk, action="label", label_id=labels[1].pk)
    decision = annotate.undo(project=project, user=user)
    assert decision.overruled
    assert kept(example).label_id == labels[1].pk
    # The other one's undo does not bring back what was withdrawn.
    assert not annotate.undo(project=project, user=other).overruled
    assert kept(example).status == Status.OPEN


def test_undo_touches_neither_others_decisions_nor_imported_ones(project, labels):
    user, other, example = project.created_by, make.make_member(project), make.make_example(project)
    annotate.decide(project=project, user=other, example_id=example.pk, action="label", label_id=labels[1].pk)
    make.make_annotation(make.make_example(project), user, labels[0], source=Source.IMPORT)
    with pytest.raises(annotate.NothingToUndo):
        annotate.undo(project=project, user=user)


def test_a_label_that_came_with_the_file_comes_back_by_undo(project, labels):
    example = make.make_example(project, label=labels[2])
    annotate.decide(
        project=project,
        user=project.created_by,
        example_id=example.pk,
        action="label",
        label_id=labels[0].pk,
        source="review",
    )
    annotate.undo(project=project, user=project.created_by)
    assert kept(example).label_id == labels[2].pk


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"example_id": 10**9}, annotate.UnknownText),
        ({"label_id": 10**9}, annotate.LabelGone),
        ({"label_id": None}, annotate.LabelGone),
        ({"action": "undo"}, annotate.AnnotateError),
        ({"action": "drop table"}, annotate.AnnotateError),
        ({"source": "import"}, annotate.AnnotateError),
        ({"source": "bulk"}, annotate.AnnotateError),
        ({"source": "suggestion"}, annotate.AnnotateError),
        ({"action": "none"}, annotate.AnnotateError),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_no_trace(project, labels, change, error):
    example = make.make_example(project)
    values = {"example_id": example.pk, "action": "label", "label_id": labels[0].pk} | change
    with pytest.raises(error):
        annotate.decide(project=project, user=project.created_by, **values)
    assert not Annotation.objects.exists()
    assert kept(example) == State()


def test_a_text_or_label_of_another_project_is_unknown(project, labels):
    elsewhere = make.make_project()
    foreign_text, foreign_label = make.make_example(elsewhere), make.make_label(elsewhere)
    with pytest.raises(annotate.UnknownText):
        annotate.decide(
            project=project,
            user=project.created_by,
            example_id=foreign_text.pk,
            action="label",
            label_id=labels[0].pk,
        )
    with pytest.raises(annotate.LabelGone):
        annotate.decide(
            project=project,
            user=project.created_by,
            example_id=make.make_example(project).pk,
            action="label",
            label_id=foreign_label.pk,
        )


def test_an_archived_label_can_no_longer_be_given(project, labels):
    labels[0].archived_at = timezone.now()
    labels[0].save()
    with pytest.raises(annotate.LabelGone):
        annotate.decide(
            project=project,
            user=project.created_by,
            example_id=make.make_example(project).pk,
            action="label",
            label_id=labels[0].pk,
        )


@pytest.mark.parametrize("split", [Split.DEV, Split.TEST])
def test_texts_that_measure_are_decided_blind(project, labels, split):
    example = make.make_example(project, split=split)
    values = {
        "project": project,
        "user": project.created_by,
        "example_id": example.pk,
        "action": "label",
        "label_id": labels[0].pk,
    }
    with pytest.raises(annotate.BlindOnly):
        annotate.decide(**values, suggested=annotate.Suggested((labels[0].pk,), 0.9, "probe"))
    assert annotate.decide(**values).example.label == labels[0]


@pytest.mark.parametrize(
    ("seconds", "stored"),
    [(-3.0, None), (float("nan"), None), (float("inf"), None), (1e9, 3600.0), (None, None), (0, 0.0)],
)
def test_a_clock_that_jumps_does_no_harm(project, labels, seconds, stored):
    decision = annotate.decide(
        project=project,
        user=project.created_by,
        example_id=make.make_example(project).pk,
        action="skip",
        seconds=seconds,
    )
    assert decision.annotation.seconds == stored


@pytest.mark.database
@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_equals_the_fold_of_random_events(project, labels, seed):
    """Three people, four texts (one came labelled), eighty random steps; the row equals `derive` after each."""
    choose = random.Random(seed)
    people = [project.created_by, make.make_member(project), make.make_member(project, Role.REVIEWER)]
    examples = [make.make_example(project) for _ in range(3)] + [make.make_example(project, label=labels[0])]
    sent = []
    for _ in range(80):
        user, example = choose.choice(people), choose.choice(examples)
        action = choose.choice(
            ["label", "label", "label", "undo", "undo", "skip", "clear", "flag", "unflag", "resend"]
        )
        if action == "undo":
            try:
                example = annotate.undo(project=project, user=user).example
            except annotate.NothingToUndo:
                continue
        elif action == "resend":
            if not sent:
                continue
            before = Annotation.objects.count()
            assert annotate.decide(**choose.choice(sent)).repeated
            assert Annotation.objects.count() == before
            continue
        else:
            sent.append(
                {
                    "project": project,
                    "user": user,
                    "example_id": example.pk,
                    "action": action,
                    "label_id": choose.choice(labels).pk if action == "label" else None,
                    "client_id": uuid.uuid4(),
                }
            )
            annotate.decide(**sent[-1])
        state = kept(Example.objects.get(pk=example.pk))
        assert state == derive(project=project, example=Example.objects.get(pk=example.pk))
    standing = Annotation.objects.exclude(action=Action.UNDO).filter(undone_by__isnull=True)
    assert standing.exists()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_the_same_decision_from_eight_threads_is_stored_once():
    project = make.make_project()
    label, example = make.make_label(project), make.make_example(project)
    client_id, repeated, failures = uuid.uuid4(), [], []
    together = threading.Barrier(8)

    def send() -> None:
        try:
            together.wait(timeout=20)
            decision = annotate.decide(
                project=project,
                user=project.created_by,
                example_id=example.pk,
                action="label",
                label_id=label.pk,
                client_id=client_id,
            )
            repeated.append(decision.repeated)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(repeated) == [False] + [True] * 7
    assert Annotation.objects.count() == 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_undo_from_four_tabs_takes_back_four_different_decisions():
    project = make.make_project()
    label = make.make_label(project)
    examples = [make.make_example(project) for _ in range(6)]
    for example in examples:
        annotate.decide(
            project=project,
            user=project.created_by,
            example_id=example.pk,
            action="label",
            label_id=label.pk,
        )
    done, failures = [], []
    together = threading.Barrier(4)

    def take_back() -> None:
        try:
            together.wait(timeout=20)
            done.append(annotate.undo(project=project, user=project.created_by).annotation.undoes_id)
        except annotate.NothingToUndo:
            done.append(None)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=take_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    taken = [pk for pk in done if pk]
    assert len(taken) == len(set(taken))
    assert project.examples.labelled().count() == 6 - len(taken)
    for example in examples:
        example.refresh_from_db()
        assert derive(project=project, example=example).label_id == example.label_id


# Suggestions, several labels, comments


def suggest(*labels) -> annotate.Suggested:
    return annotate.Suggested(tuple(label.pk for label in labels), 0.8, "probe")


def test_a_suggestion_in_view_is_carried_and_what_became_of_it_is_kept(project, labels):
    user, texts = project.created_by, [make.make_example(project) for _ in range(3)]
    given = [labels[0], labels[1], labels[0]]
    shown = [suggest(labels[0]), suggest(labels[0]), None]
    for text, label, suggested in zip(texts, given, shown, strict=True):
        annotate.decide(
            project=project,
            user=user,
            example_id=text.pk,
            action="label",
            label_id=label.pk,
            suggested=suggested,
        )
    assert [kept(text).suggestion for text in texts] == ["accepted", "overruled", ""]
    events = [text.annotations.get() for text in texts]
    assert [event.source for event in events] == ["suggestion", "suggestion", "blind"]
    assert (events[1].suggested_label, events[1].suggestion_probability) == (labels[0], 0.8)
    assert events[1].suggestion_source == "probe"
    annotate.undo(project=project, user=user, target_client_id=None)
    assert kept(texts[2]) == State()


def test_a_suggested_label_that_is_gone_leaves_its_probability(project, labels):
    text = make.make_example(project)
    elsewhere = make.make_label(make.make_project())
    decision = annotate.decide(
        project=project,
        user=project.created_by,
        example_id=text.pk,
        action="label",
        label_id=labels[0].pk,
        suggested=suggest(elsewhere),
    )
    assert decision.annotation.suggested_label is None
    assert (decision.annotation.suggestion_probability, decision.annotation.source) == (0.8, "suggestion")


def test_who_decided_and_how_many_stand_on_the_text(project, labels):
    user, other, text = project.created_by, make.make_member(project), make.make_example(project)
    for who, label in ((user, labels[0]), (other, labels[1]), (other, labels[2])):
        annotate.decide(project=project, user=who, example_id=text.pk, action="label", label_id=label.pk)
    assert (kept(text).decided_by_id, kept(text).n_deciders) == (other.pk, 2)
    for _ in range(2):
        annotate.undo(project=project, user=other)
    assert (kept(text).label_id, kept(text).decided_by_id, kept(text).n_deciders) == (
        labels[0].pk,
        user.pk,
        1,
    )


def test_the_guidelines_in_view_are_stored_as_far_as_there_are_any(project, labels):
    project.guideline_versions.create(version=1, text="看标题", created_by=project.created_by)
    stored = [
        annotate.decide(
            project=project,
            user=project.created_by,
            example_id=make.make_example(project).pk,
            action="label",
            label_id=labels[0].pk,
            guideline_version=version,
        ).annotation.guideline_version
        for version in (1, 2, None, -1, 10**12)
    ]
    assert stored == [1, None, None, None, None]


@pytest.fixture
def several(project, labels):
    project.task = "multi_label"
    project.save()
    return project


def test_several_labels_are_kept_in_the_labels_order(several, labels):
    text = make.make_example(several)
    annotate.decide(
        project=several,
        user=several.created_by,
        example_id=text.pk,
        action="label",
        label_ids=[labels[2].pk, labels[0].pk, labels[2].pk],
    )
    assert kept(text).label_ids == (labels[0].pk, labels[2].pk)
    assert text.annotations.get().labels == [labels[0].pk, labels[2].pk]
    annotate.decide(
        project=several,
        user=several.created_by,
        example_id=text.pk,
        action="label",
        label_ids=[labels[1].pk],
    )
    assert kept(text).label_ids == (labels[1].pk,)
    annotate.undo(project=several, user=several.created_by)
    assert kept(text).label_ids == (labels[0].pk, labels[2].pk)


def test_none_of_the_labels_is_a_decision(several, labels):
    text = make.make_example(several)
    annotate.decide(
        project=several,
        user=several.created_by,
        example_id=text.pk,
        action="none",
        suggested=suggest(labels[0]),
    )
    assert (kept(text).label_ids, kept(text).status, kept(text).suggestion) == ((), "labelled", "overruled")
    assert text in several.examples.labelled()
    annotate.undo(project=several, user=several.created_by)
    assert kept(text) == State()


def test_a_set_of_suggested_labels_is_accepted_as_a_whole(several, labels):
    texts = [make.make_example(several) for _ in range(2)]
    for text, given in zip(texts, (labels[:2], labels[:1]), strict=True):
        annotate.decide(
            project=several,
            user=several.created_by,
            example_id=text.pk,
            action="label",
            label_ids=[label.pk for label in given],
            suggested=suggest(labels[1], labels[0]),
        )
    assert [kept(text).suggestion for text in texts] == ["accepted", "overruled"]


def test_one_of_several_labels_gone_refuses_the_whole_decision(several, labels):
    text = make.make_example(several)
    labels[1].archived_at = timezone.now()
    labels[1].save()
    with pytest.raises(annotate.LabelGone):
        annotate.decide(
            project=several,
            user=several.created_by,
            example_id=text.pk,
            action="label",
            label_ids=[labels[0].pk, labels[1].pk],
        )
    assert kept(text) == State()


def test_deleting_one_of_several_labels_leaves_the_others(several, labels):
    user = several.created_by
    both, alone = make.make_example(several), make.make_example(several)
    for text, given in ((both, labels[:2]), (alone, labels[1:2])):
        annotate.decide(
            project=several,
            user=user,
            example_id=text.pk,
            action="label",
            label_ids=[one.pk for one in given],
        )
    assert delete_label(project=several, user=user, label_id=labels[1].pk, move_to_id=labels[0].pk) == 2
    assert [kept(text).label_ids for text in (both, alone)] == [(labels[0].pk,), (labels[0].pk,)]


def test_comments_are_counted_once_and_taken_back_by_their_author(project):
    text, other, client_id = make.make_example(project), make.make_member(project), uuid.uuid4()
    for _ in range(2):
        comment = comments.add_comment(
            project=project, user=other, example_id=text.pk, text=" 两可 ", client_id=client_id
        )
    text.refresh_from_db()
    assert (comment.text, text.n_comments) == ("两可", 1)
    with pytest.raises(annotate.AnnotateError):
        comments.remove_comment(project=project, user=project.created_by, comment_id=comment.pk)
    for _ in range(2):
        comments.remove_comment(project=project, user=other, comment_id=comment.pk)
    text.refresh_from_db()
    assert text.n_comments == 0
    assert comments.comments_on(project=project, example_id=text.pk) == []


@pytest.mark.parametrize("text", ["", "  \n", "\x00", "长" * 2001])
def test_a_comment_that_says_nothing_or_too_much_is_refused(project, text):
    with pytest.raises(annotate.AnnotateError):
        comments.add_comment(
            project=project, user=project.created_by, example_id=make.make_example(project).pk, text=text
        )
