"""The fast model in a project: what it learns from, what it writes, and what never reaches it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labeling.models import ExampleLabel
from labeling.models.projects import Task
from labeling.models.texts import Split, SuggestionUse
from labeling.services import embeddings, learning, queue, queue_orders, scores
from labeling.services.suggestions import suggestions_for
from tests import factories as make
from tests.training.character_vectors import embed, sentence_vectors
from training.services import probe

WORDS = {"财经": "股票基金银行利率上涨下跌市场投资", "体育": "球队比赛冠军教练进球联赛门将球员", "美食": "火锅面条厨师味道辣椒甜点米饭烤鱼"}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings) -> Path:
    settings.WANXING_HOME = tmp_path
    probe._members.clear()
    return tmp_path


def text_of(name: str, random: np.random.Generator) -> str:
    own = "".join(random.choice(list(WORDS[name]), 7))
    other = "".join(random.choice(list("".join(WORDS.values())), 4))
    return f"{own}{other}{chr(0x4E00 + random.integers(20_000))}"


@pytest.fixture
def project(db):
    """Three labels, 30 labelled texts to learn from, 120 in the pool, and some of dev and test."""
    random = np.random.default_rng(1)
    project = make.make_project(template="{text}{mask}")
    labels = [make.make_label(project, name, words=(name,)) for name in WORDS]
    for number in range(30):
        label = labels[number % 3]
        make.make_example(project, text_of(label.name, random), label=label, split=Split.TRAIN)
    for number in range(120):
        make.make_example(project, text_of(labels[number % 3].name, random))
    for split in (Split.DEV, Split.TEST):
        for number in range(6):
            label = labels[number % 3]
            make.make_example(project, text_of(label.name, random), label=label, split=split)
    make.make_example(project, text_of("财经", random), split=Split.DEV)
    make.make_example(project, text_of("财经", random), split=Split.TEST)
    embed(project)
    return project


def ids_of(project, **values) -> set[int]:
    return set(project.examples.filter(**values).values_list("pk", flat=True))


def test_it_scores_the_pool_and_nothing_else(project):
    trained = probe.train(project, sentence_vectors)
    found = scores.read(project.pk, "probe")
    assert trained.n_scored == 120
    assert set(found.example_ids) == ids_of(project, split=Split.POOL, label=None)
    assert found.label_ids == tuple(project.labels.values_list("pk", flat=True))
    np.testing.assert_allclose(found.proba.sum(axis=1), 1, atol=1e-2)
    assert found.disagreement.shape == (120,)


def test_what_it_is_worth_is_measured_on_held_out_train_and_dev_but_never_on_test(project):
    probe.train(project, sentence_vectors)
    found = scores.read(project.pk, "probe")
    assert (found.n_labelled, found.n_held_out) == (30, 36)
    assert found.worth_hearing
    test = project.examples.filter(split=Split.TEST, label__isnull=False)
    wrong = project.labels.last()
    test.update(label=wrong)
    probe.train(project, sentence_vectors)
    np.testing.assert_array_equal(scores.read(project.pk, "probe").proba, found.proba)
    assert scores.read(project.pk, "probe").held_out == found.held_out


def test_accepted_suggestions_are_learnt_and_do_not_measure(project):
    project.examples.filter(split=Split.TRAIN).update(suggestion=SuggestionUse.ACCEPTED)
    probe.train(project, sentence_vectors)
    found = scores.read(project.pk, "probe")
    assert (found.n_labelled, found.n_held_out) == (30, 6)
    assert not found.worth_hearing  # six texts say too little


def test_before_the_first_label_it_ranks_by_words_alone(project):
    project.examples.filter(split__in=[Split.TRAIN, Split.DEV]).update(label=None, status="open")
    trained = probe.train(project, sentence_vectors)
    found = scores.read(project.pk, "probe")
    assert (trained.reason, found.n_labelled, found.held_out) == ("", 0, None)
    assert found.disagreement.max() > 0  # the prompts differ
    assert suggestions_for(project, project.created_by, project.examples.all()) == {}
    assert queue_orders.read(project.pk, "auto") is not None


def test_every_order_is_ranked_and_served(project):
    probe.train(project, sentence_vectors)
    pool = ids_of(project, split=Split.POOL)
    for name in queue_orders.ORDERS:
        ranking = queue_orders.read(project.pk, name)
        assert 0 < len(ranking.example_ids) <= 120
        assert set(ranking.example_ids) <= pool
        assert len(set(ranking.example_ids)) == len(ranking.example_ids)
        texts = queue.next_texts(project=project, user=make.make_member(project), order=name, n=8).texts
        assert len(texts) == 8
    served = [int(one) for one in queue_orders.read(project.pk, "margin").example_ids[:5]]
    assert len(queue_orders.reasons(project, "margin", served)) == 5


def test_auto_follows_the_probes_doubt_and_variety_where_it_knows_nothing(project):
    def why() -> str:
        probe.train(project, sentence_vectors)
        return queue_orders.WHY[queue_orders.read(project.pk, "auto").why[0]]

    assert why() == "margin"
    labels = list(project.labels.all())
    for number, example in enumerate(project.examples.labelled().order_by("pk")):
        # Labels that have nothing to do with the texts: held out, the probe guesses.
        project.examples.filter(pk=example.pk).update(label=labels[(number // 5) % 3])
    assert why() == "diverse"
    project.examples.update(label=None, status="open")
    assert why() == "margin"


def test_suggestions_follow(project):
    probe.train(project, sentence_vectors)
    pool = list(project.examples.filter(split=Split.POOL)[:60])
    found = suggestions_for(project, project.created_by, pool)
    truth = {
        example.pk: max(WORDS, key=lambda name: sum(one in WORDS[name] for one in example.text))
        for example in pool
    }
    names = dict(project.labels.values_list("pk", "name"))
    right = sum(names[found[pk].label_id] == name for pk, name in truth.items())
    assert right > 32  # chance would be 20


def test_label_sentences_are_read_once_until_words_or_prompt_change(project):
    asked = []

    def counting(sentences):
        asked.append(len(sentences))
        return sentence_vectors(sentences)

    probe.train(project, counting)
    probe.train(project, counting)
    assert asked == [3 * 4]  # three labels by four templates
    make_word = project.labels.first().words.create(text="理财", position=1)
    probe.train(project, counting)
    assert asked == [12, 16]
    make_word.delete()
    project.templates.create(version=2, text="关于{mask}：{text}", created_by=project.created_by)
    probe.train(project, counting)
    assert asked == [12, 16, 12]


@pytest.mark.parametrize("reason", ["no_vectors", "few_labels"])
def test_what_cannot_be_trained_says_so_and_writes_nothing(project, reason):
    if reason == "no_vectors":
        embeddings.remove(project.pk)
    else:
        project.examples.update(label=None, status="open")
        for label in project.labels.all()[1:]:
            label.delete()
    assert probe.train(project, sentence_vectors).reason == reason
    assert scores.read(project.pk, "probe") is None


def test_a_prompt_that_cannot_be_read_is_done_without(project):
    project.templates.create(version=2, text="{没有这种}", created_by=project.created_by)
    assert probe.train(project, sentence_vectors).reason == ""


def test_several_labels(project):
    project.task = Task.MULTI_LABEL
    project.save()
    labels = list(project.labels.all())
    for number, example in enumerate(project.examples.labelled()):
        ExampleLabel.objects.create(example=example, label=example.label)
        other = labels[(labels.index(example.label) + 1) % 3]
        if number % 2:
            ExampleLabel.objects.create(example=example, label=other)
    probe.train(project, sentence_vectors)
    found = scores.read(project.pk, "probe")
    assert found.multi_label
    assert found.worth_hearing
    assert set(queue_orders.ORDERS) == {
        name for name in queue_orders.ORDERS if queue_orders.read(project.pk, name)
    }


def test_notes_of_the_learning_grow_with_the_labels(project):
    train = list(project.examples.filter(split=Split.TRAIN).values_list("pk", "label_id"))
    project.examples.filter(split=Split.TRAIN).update(label=None, status="open")
    for n in (0, 6, 12, 13, 24, 30):
        for pk, label_id in train[:n]:
            project.examples.filter(pk=pk).update(label=label_id, status="labelled")
        probe.train(project, sentence_vectors)
    note = learning.read(project.pk)
    assert [one.n_labelled for one in note.rounds] == [6, 12, 24, 30]
    assert note.rounds[0].agreement is None
    assert all(0 <= one.agreement <= 1 for one in note.rounds[1:])
    assert len(note.watched_ids) >= 100
    assert not note.enough
    # Labels that are taken away begin the notes anew.
    project.examples.filter(pk__in=[pk for pk, _ in train[10:]]).update(label=None, status="open")
    probe.train(project, sentence_vectors)
    assert [one.n_labelled for one in learning.read(project.pk).rounds] == [10]


def test_the_curve_comes_with_enough_labels(project):
    pool = list(project.examples.filter(split=Split.POOL))
    names = {label.name: label.pk for label in project.labels.all()}
    for example in pool[:60]:
        name = max(WORDS, key=lambda one: sum(character in WORDS[one] for character in example.text))
        project.examples.filter(pk=example.pk).update(label=names[name], status="labelled")
    probe.train(project, sentence_vectors)
    note = learning.read(project.pk)
    assert note.curve_at == 90
    assert note.low <= note.gain <= note.high
    assert [size for size, _ in note.curve][-1] == 72
