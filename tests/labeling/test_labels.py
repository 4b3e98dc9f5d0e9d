"""Labels: added, edited together, moved, and deleted without losing what texts carry. Words and prompt versions."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from labeling.models import Annotation, Label
from labeling.models.annotations import Source
from labeling.services import annotate, labels, words
from labeling.services.states import derive
from tests import factories as make


@pytest.fixture
def project(db):
    return make.make_project()


def names(project):
    return [label.name for label in labels.present_labels(project)]


def edit(label, **changes):
    values = {
        "name": label.name,
        "words": words.join_words([word.text for word in label.words.all()]),
        "color": label.color,
        "key": label.key,
    }
    return labels.LabelEdit(label_id=label.pk, **(values | changes))


def test_lines_become_labels_with_words_colours_and_keys(project):
    added = labels.add_labels(project=project, lines="财经\n\nnews_car==汽车\nnews_car==车\n  体育  \n")
    assert names(project) == ["财经", "news_car", "体育"]
    assert [label.key for label in added.labels] == ["1", "2", "3"]
    assert len({label.color for label in added.labels}) == 3
    assert added.labels[1].word_texts == ["汽车", "车"]
    assert not added.refused


@pytest.mark.parametrize(
    "line",
    [
        "财经",
        "名" * 81,
        "a\tb",
        "==词",
        "标签==" + "长" * 41,
        "标签=={mask}",
        "a==" + " ".join(map(str, range(30))),
    ],
)
def test_a_bad_line_is_named_and_the_good_ones_stand(project, line):
    make.make_label(project, "财经")
    added = labels.add_labels(project=project, lines=f"体育\n{line}\n汽车")
    assert names(project) == ["财经", "体育", "汽车"]
    assert [(number, shown) for number, shown, _reason in added.refused] == [(2, line.strip())]


def test_keys_leave_flag_and_comment_alone(project):
    labels.add_labels(project=project, lines="\n".join(f"第{n}" for n in range(40)))
    keys = [label.key for label in labels.present_labels(project)]
    assert keys[:10] == list("1234567890")
    assert "f" not in keys
    assert "c" not in keys
    assert len([key for key in keys if key]) == 34
    assert labels.free_keys(project) == []


def test_names_keys_and_words_change_together_and_may_be_swapped(project):
    first, second = make.make_label(project, "甲", words=("一",)), make.make_label(project, "乙")
    errors = labels.edit_labels(
        project=project,
        edits=[
            edit(first, name="乙", key="2", words="三，四 五、三"),
            edit(second, name="甲", key="1", color="#332288"),
        ],
    )
    assert errors == {}
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.name, first.key, first.word_texts) == ("乙", "2", ["三", "四", "五"])
    assert (second.name, second.key, second.color) == ("甲", "1", "#332288")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "乙"),
        ("name", "名" * 81),
        ("name", "a==b"),
        ("key", "2"),
        ("key", "f"),
        ("key", "?"),
        ("color", "red"),
        ("color", "#ffffff"),
        ("words", "长" * 41),
        ("words", "a{b"),
    ],
)
def test_one_mistake_stores_nothing_and_stands_at_its_field(project, field, value):
    first, second = make.make_label(project, "甲"), make.make_label(project, "乙")
    errors = labels.edit_labels(
        project=project, edits=[edit(second, words="新词"), edit(first, **{field: value})]
    )
    assert list(errors) == [(first.pk, field)]
    first.refresh_from_db()
    assert (first.name, first.key) == ("甲", "1")
    assert second.word_texts == ["乙"]


def test_a_label_of_another_project_is_not_edited(project):
    foreign = make.make_label(make.make_project(), "别人的")
    labels.edit_labels(project=project, edits=[edit(foreign, name="抢来的")])
    foreign.refresh_from_db()
    assert foreign.name == "别人的"


def test_order_moves_by_one_and_by_list(project):
    made = [make.make_label(project, name) for name in "甲乙丙丁"]
    labels.move_label(project=project, label_id=made[2].pk, by=-1)
    assert names(project) == ["甲", "丙", "乙", "丁"]
    labels.move_label(project=project, label_id=made[0].pk, by=-1)
    labels.move_label(project=project, label_id=made[3].pk, by=1)
    assert names(project) == ["甲", "丙", "乙", "丁"]
    labels.reorder_labels(project=project, order=[made[3].pk, 10**9, made[0].pk])
    assert names(project) == ["丁", "甲", "丙", "乙"]
    assert sorted(project.labels.values_list("position", flat=True)) == [0, 1, 2, 3]


def test_a_label_that_texts_carry_is_not_deleted_without_a_place_for_them(project):
    label = make.make_label(project)
    make.make_example(project, label=label)
    make.make_example(project, label=label)
    with pytest.raises(labels.LabelInUse) as refused:
        labels.delete_label(project=project, user=project.created_by, label_id=label.pk)
    assert refused.value.n_texts == 2
    assert "2" in str(refused.value)
    assert Label.objects.filter(pk=label.pk, archived_at__isnull=True).exists()


def test_texts_move_with_an_event_each_and_the_old_label_is_remembered(project, monkeypatch):
    monkeypatch.setattr(labels, "CHUNK_ROWS", 2)
    user = project.created_by
    old, new = make.make_label(project, "旧"), make.make_label(project, "新")
    examples = [make.make_example(project) for _ in range(5)]
    for example in examples:
        annotate.decide(project=project, user=user, example_id=example.pk, action="label", label_id=old.pk)
    moved = labels.delete_label(project=project, user=user, label_id=old.pk, move_to_id=new.pk)
    assert moved == 5
    assert names(project) == ["新"]
    for example in examples:
        example.refresh_from_db()
        assert example.label == new
        assert derive(project=project, example=example).label_id == new.pk
    events = Annotation.objects.filter(source=Source.BULK)
    assert events.count() == 5
    assert set(events.values_list("previous_label", flat=True)) == {old.pk}
    old.refresh_from_db()
    assert old.archived_at is not None
    # The name and the key are free again.
    assert labels.add_labels(project=project, lines="旧").labels[0].key == "1"


def test_a_label_nobody_used_is_gone(project):
    label = make.make_label(project)
    assert labels.delete_label(project=project, user=project.created_by, label_id=label.pk) == 0
    assert not Label.objects.filter(pk=label.pk).exists()


def test_undo_does_not_bring_back_a_deleted_label(project):
    user = project.created_by
    old, new = make.make_label(project, "旧"), make.make_label(project, "新")
    example = make.make_example(project)
    for label in (old, new):
        annotate.decide(project=project, user=user, example_id=example.pk, action="label", label_id=label.pk)
    labels.delete_label(project=project, user=user, label_id=old.pk)
    annotate.undo(project=project, user=user)
    example.refresh_from_db()
    assert (example.label, example.status) == (None, "open")


@pytest.mark.parametrize("target", ["itself", "foreign", "unknown"])
def test_texts_go_only_to_another_label_of_the_project(project, target):
    label = make.make_label(project)
    make.make_example(project, label=label)
    ids = {"itself": label.pk, "foreign": make.make_label(make.make_project()).pk, "unknown": 10**9}
    with pytest.raises(labels.LabelRefused):
        labels.delete_label(
            project=project, user=project.created_by, label_id=label.pk, move_to_id=ids[target]
        )


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_deciding_while_the_label_is_deleted_leaves_no_text_with_a_deleted_label():
    project = make.make_project()
    user = project.created_by
    old, new = make.make_label(project, "旧"), make.make_label(project, "新")
    examples = [make.make_example(project) for _ in range(40)]
    unexpected = []
    refused = []
    together = threading.Barrier(3)

    def work(part) -> None:
        together.wait(timeout=20)
        for example in part:
            try:
                annotate.decide(
                    project=project, user=user, example_id=example.pk, action="label", label_id=old.pk
                )
            except annotate.LabelGone:
                refused.append(example.pk)
            except BaseException as error:
                unexpected.append(error)
        connection.close()

    def remove() -> None:
        together.wait(timeout=20)
        try:
            labels.delete_label(project=project, user=user, label_id=old.pk, move_to_id=new.pk)
        except BaseException as error:
            unexpected.append(error)
        connection.close()

    threads = [
        threading.Thread(target=work, args=(examples[:20],)),
        threading.Thread(target=work, args=(examples[20:],)),
        threading.Thread(target=remove),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not unexpected
    assert not project.examples.filter(label=old).exists()
    assert project.examples.filter(label=new).count() == 40 - len(refused)


def test_words_part_at_commas_and_blanks_of_either_width(project):
    assert words.parse_words(" 汽车,车，轿车、 suv;汽车　卡车 ") == ["汽车", "车", "轿车", "suv", "卡车"]
    assert words.parse_words("") == []


def test_a_changed_template_is_a_new_version_and_an_equal_one_is_not(project):
    user = project.created_by
    first = words.present_template(project)
    assert words.save_template(project=project, user=user, text=f" {first.text} ") == first
    second = words.save_template(project=project, user=user, text="这是{mask}新闻：{text}")
    assert (second.version, words.present_template(project)) == (2, second)
    third = words.restore_template(project=project, user=user, version=1)
    assert (third.version, third.text) == (3, first.text)
    with pytest.raises(words.TemplateRefused):
        words.restore_template(project=project, user=user, version=99)


@pytest.mark.parametrize(
    "text",
    ["", "   ", "没有空格{text}", "没有文本{mask}", "{text}{mask", "{text}{mask}{mask}", "{text}{mask}{nothing}",
     "长" * 1001 + "{text}{mask}", "{text}\x00{mask}", "{'hard': __import__('os')}{'text':'text_a'}{'mask'}"],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_refused_with_a_reason(project, text):
    with pytest.raises(words.TemplateRefused) as refused:
        words.save_template(project=project, user=project.created_by, text=text)
    assert str(refused.value)
    assert project.templates.count() == 1


@pytest.mark.parametrize(
    "text",
    ["{text}{mask}", "以下是一条{mask}新闻。{text}", "{text}{soft:主题是}{mask}",
     "{'text':'text_a'}{'hard':'主题是'}{'mask'}"],
)  # fmt: skip
def test_both_forms_of_a_template_are_taken(project, text):
    assert words.save_template(project=project, user=project.created_by, text=text).text == text
