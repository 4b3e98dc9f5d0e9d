"""Several people about one text: open until all have decided, labelled if they agree, disputed if not."""

from __future__ import annotations

import pytest

from labeling.models import Example, Lease
from labeling.models.annotations import Source
from labeling.models.texts import Split, Status
from labeling.services import annotate, leases, overlap, queue, states
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PEOPLE = {"a": "annotator", "b": "annotator", "c": "annotator", "r": "reviewer"}


class Table:
    """A project, its people, and one text; `said` is a script such as "a:财经 b:skip a:undo"."""

    def __init__(self, overlap: int, **values) -> None:
        self.project = make.make_project(overlap=overlap, **values)
        self.people = {name: make.make_member(self.project, role) for name, role in PEOPLE.items()}
        self.labels = {name: make.make_label(self.project, name) for name in ("财经", "体育")}
        self.example = make.make_example(self.project)

    def say(self, script: str) -> Example:
        for word in script.split():
            who, what = word.split(":")
            user = self.people[who]
            source = Source.REVIEW if who == "r" else Source.BLIND
            if what == "undo":
                annotate.undo(project=self.project, user=user)
                continue
            label = self.labels.get(what)
            annotate.decide(
                project=self.project,
                user=user,
                example_id=self.example.pk,
                action="label" if label else what,
                label_id=label.pk if label else None,
                source=source,
            )
        self.example.refresh_from_db()
        return self.example

    @property
    def used(self) -> set[str]:
        names = {user.pk: name for name, user in self.people.items()}
        rows = Lease.objects.filter(example=self.example, expires_at__isnull=True)
        return {names[row.user_id] + ("" if row.slot is not None else "-") for row in rows}


@pytest.mark.parametrize(
    "overlap, script, status, label, n_deciders",
    [
        (1, "a:财经 b:体育", Status.LABELLED, "体育", 2),
        (2, "a:财经", Status.OPEN, None, 1),
        (2, "a:财经 b:财经", Status.LABELLED, "财经", 2),
        (2, "a:财经 b:体育", Status.DISPUTED, None, 2),
        (2, "a:财经 a:体育", Status.OPEN, None, 1),
        (2, "a:财经 b:体育 b:财经", Status.LABELLED, "财经", 2),
        (2, "a:财经 b:体育 b:undo", Status.OPEN, None, 1),
        (2, "a:财经 b:体育 b:undo b:财经", Status.LABELLED, "财经", 2),
        (2, "a:skip", Status.SKIPPED, None, 0),
        (2, "a:财经 b:skip", Status.OPEN, None, 1),
        (2, "a:skip a:财经 b:财经", Status.LABELLED, "财经", 2),
        (2, "a:财经 a:skip b:财经", Status.LABELLED, "财经", 2),
        (2, "a:skip a:undo", Status.OPEN, None, 0),
        (2, "a:财经 a:clear", Status.OPEN, None, 0),
        (2, "a:财经 b:财经 c:体育", Status.DISPUTED, None, 3),
        (3, "a:财经 b:财经", Status.OPEN, None, 2),
        (3, "a:财经 b:财经 c:财经", Status.LABELLED, "财经", 3),
        (3, "a:财经 b:财经 c:体育", Status.DISPUTED, None, 3),
        (2, "a:财经 b:体育 r:体育", Status.LABELLED, "体育", 3),
        (2, "a:财经 b:体育 r:体育 a:财经", Status.LABELLED, "体育", 3),
        (2, "a:财经 b:体育 r:体育 r:undo", Status.DISPUTED, None, 2),
        (2, "a:财经 b:体育 r:体育 r:clear", Status.OPEN, None, 0),
        (2, "a:财经 b:财经 r:clear a:财经 b:体育", Status.DISPUTED, None, 2),
        (2, "r:财经", Status.LABELLED, "财经", 1),
        (2, "a:财经 b:体育 a:flag", Status.DISPUTED, None, 2),
    ],
)
def test_what_people_say_makes_the_state(overlap, script, status, label, n_deciders):
    table = Table(overlap)
    example = table.say(script)
    found = (example.status, example.label.name if example.label else None, example.n_deciders)
    assert found == (status, label, n_deciders)
    derived = states.derive(project=table.project, example=example)
    assert (derived.status, derived.label_id) == (example.status, example.label_id)
    assert example.flagged == ("flag" in script)


@pytest.mark.parametrize(
    "script, used",
    [
        ("a:财经", {"a"}),
        ("a:财经 b:体育", {"a", "b"}),
        ("a:skip", {"a-"}),
        ("a:skip a:财经", {"a"}),
        ("a:财经 a:undo", set()),
        ("a:财经 b:体育 c:体育", {"a", "b", "c-"}),
        ("a:财经 b:体育 r:clear", set()),
    ],
)
def test_a_decision_uses_up_the_place(script, used):
    table = Table(2)
    table.say(script)
    assert table.used == used


def served(table, who) -> list[int]:
    return [example.pk for example in queue.next_texts(project=table.project, user=table.people[who]).texts]


def test_the_queue_asks_each_person_once_and_as_many_as_wanted():
    table = Table(2)
    assert served(table, "a") == served(table, "b") == [table.example.pk]
    assert served(table, "c") == []
    table.say("a:财经")
    assert served(table, "a") == []
    assert served(table, "c") == []
    table.say("b:skip")
    assert served(table, "b") == []
    assert list(queue.skipped_by(table.project, table.people["b"])) == [table.example]
    assert not queue.undecided(table.project, table.people["a"]).exists()
    assert served(table, "c") == [table.example.pk]
    table.say("c:体育")
    for who in PEOPLE:
        assert served(table, who) == []
        assert not queue.undecided(table.project, table.people[who]).exists()


def test_an_undone_decision_is_before_its_person_again():
    table = Table(2)
    table.say("a:财经 b:体育 a:undo")
    assert served(table, "a") == [table.example.pk]
    assert served(table, "c") == []


def test_a_decision_without_a_place_counts_and_leaves_nothing_held():
    table = Table(2)
    for who in "ab":
        served(table, who)
    table.say("c:财经 a:财经")
    assert table.example.status == Status.LABELLED
    assert not Lease.objects.filter(expires_at__isnull=False).exists()
    assert leases.renew(
        project=table.project, user=table.people["b"], example_ids=[table.example.pk]
    ).lost == [table.example.pk]


def test_an_annotator_cannot_rule_over_others():
    table = Table(2)
    annotate.decide(
        project=table.project,
        user=table.people["a"],
        example_id=table.example.pk,
        action="label",
        label_id=table.labels["财经"].pk,
        source=Source.REVIEW,
    )
    assert table.say("b:体育").status == Status.DISPUTED
    assert set(table.example.annotations.values_list("source", flat=True)) == {Source.BLIND}


@pytest.mark.parametrize("split", [Split.DEV, Split.TEST])
def test_texts_that_measure_a_model_are_asked_of_as_many(split):
    table = Table(2)
    Example.objects.update(split=split)
    assert table.say("a:财经").status == Status.OPEN
    assert table.say("b:体育").status == Status.DISPUTED


def test_a_disputed_text_teaches_and_measures_nothing():
    table = Table(2)
    table.say("a:财经 b:体育")
    assert not table.project.examples.labelled().exists()
    assert not table.project.examples.for_training().exists()


def test_labels_in_sets_agree_as_sets():
    table = Table(2, task="multi_label")
    both = [label.pk for label in table.labels.values()]
    for who, ids in (("a", both), ("b", both[::-1])):
        annotate.decide(
            project=table.project,
            user=table.people[who],
            example_id=table.example.pk,
            action="label",
            label_ids=ids,
        )
    table.example.refresh_from_db()
    assert table.example.status == Status.LABELLED
    assert set(table.example.label_rows.values_list("label", flat=True)) == set(both)
    other = make.make_example(table.project)
    for who, values in (("a", {"action": "none"}), ("b", {"action": "label", "label_ids": both[:1]})):
        annotate.decide(project=table.project, user=table.people[who], example_id=other.pk, **values)
    other.refresh_from_db()
    assert other.status == Status.DISPUTED


@pytest.mark.parametrize(
    "script, change, status, label, used",
    [
        ("a:财经", (1, 2), Status.OPEN, None, {"a"}),
        ("a:财经 b:财经", (2, 1), Status.LABELLED, "财经", set()),
        ("a:财经 b:体育", (2, 1), Status.LABELLED, "体育", set()),
        ("a:财经 b:体育", (1, 2), Status.DISPUTED, None, {"a", "b"}),
        ("a:财经 b:财经", (2, 3), Status.OPEN, None, {"a", "b"}),
        ("a:财经 b:财经 c:财经", (3, 2), Status.LABELLED, "财经", {"a", "b", "c-"}),
        ("a:财经 r:体育", (1, 2), Status.LABELLED, "体育", {"a"}),
        ("a:skip", (1, 2), Status.SKIPPED, None, {"a-"}),
    ],
)
def test_another_number_of_people_folds_everything_anew(script, change, status, label, used):
    table = Table(change[0])
    table.say(script)
    table.project.overlap = change[1]
    table.project.save()
    result = overlap.rederive(project=table.project)
    table.example.refresh_from_db()
    assert result.texts == 1
    assert (table.example.status, table.example.label and table.example.label.name) == (status, label)
    assert table.used == used


def test_texts_that_came_with_a_label_keep_it_whatever_the_number():
    table = Table(1)
    came = make.make_example(table.project, label=table.labels["财经"])
    table.project.overlap = 2
    table.project.save()
    assert overlap.rederive(project=table.project).texts == 0
    came.refresh_from_db()
    assert came.status == Status.LABELLED
    table.example = came
    assert table.say("a:体育").label == table.labels["财经"]
    assert table.say("r:clear").status == Status.OPEN


def test_an_opinion_for_a_deleted_label_is_none():
    from labeling.services import labels as label_service

    table = Table(2)
    table.say("a:财经")
    label_service.delete_label(
        project=table.project, user=table.project.created_by, label_id=table.labels["财经"].pk
    )
    assert table.used == set()
    assert table.say("b:体育").status == Status.OPEN
    assert table.say("a:体育").status == Status.LABELLED


def test_decisions_of_people_whose_account_is_gone_still_count():
    table = Table(2)
    table.say("a:财经")
    table.project.annotations.update(user=None)
    assert table.say("b:体育").status == Status.DISPUTED
