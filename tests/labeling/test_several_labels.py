"""Projects in which a text may have several labels: in by import, out by export, there and back by the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labeling.models import Annotation, Example, Project
from labeling.models.projects import Task
from labeling.services import annotate, tasks
from labeling.services.exports import export_filename, iter_export
from labeling.services.imports import import_now
from labeling.services.projects import create_project
from labeling.services.states import derive, label_ids_of
from tests import factories as make
from training.services.snapshot import active_labels, write_snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ROWS = [
    {"text": "服务好，价格贵", "label": ["价格", "服务"]},
    {"text": "只说了服务", "label": "服务"},
    {"text": "什么也没说", "label": []},
    {"text": "还没有标", "label": None},
]


@pytest.fixture
def project() -> Project:
    project = make.make_project(task=Task.MULTI_LABEL)
    for name in ("服务", "价格"):
        make.make_label(project, name)
    return project


def bring(project: Project, folder: Path, content: object, name: str = "texts.jsonl") -> object:
    path = folder / name
    if isinstance(content, list):
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
    path.write_text(str(content), encoding="utf-8")
    return import_now(project=project, user=project.created_by, path=path)


def kept(project: Project) -> dict[str, tuple[str, list[str]]]:
    """{text: (status, names of its labels)}"""
    examples = list(project.examples.all())
    names = dict(project.labels.values_list("pk", "name"))
    held = label_ids_of(project=project, examples=examples)
    return {one.text: (one.status, [names[pk] for pk in held[one.pk]]) for one in examples}


def test_lists_of_labels_come_in_and_equal_the_fold(project, tmp_path):
    batch = bring(project, tmp_path, ROWS)
    assert batch.rows_refused == 0
    assert kept(project) == {
        "服务好，价格贵": ("labelled", ["服务", "价格"]),
        "只说了服务": ("labelled", ["服务"]),
        "什么也没说": ("labelled", []),
        "还没有标": ("open", []),
    }
    for example in project.examples.all():
        state = derive(project=project, example=example)
        assert (state.label_id, state.status) == (example.label_id, example.status)


def test_names_joined_by_commas_and_new_ones_make_labels(project, tmp_path):
    bring(project, tmp_path, "甲文\t服务,价格\n乙文\t环境，服务\n丙文\n", "texts.txt")
    assert [names for _status, names in kept(project).values()] == [["服务", "价格"], ["服务", "环境"], []]


def test_a_second_import_labels_what_is_open_and_reports_other_sets(project, tmp_path):
    bring(project, tmp_path, ROWS)
    again = bring(
        project,
        tmp_path,
        [
            {"text": "服务好，价格贵", "label": ["服务", "价格"]},
            {"text": "只说了服务", "label": ["服务", "价格"]},
            {"text": "还没有标", "label": ["价格"]},
        ],
        "again.jsonl",
    )
    assert (again.rows_added, again.rows_relabelled, again.rows_conflict) == (0, 1, 1)
    assert kept(project)["还没有标"] == ("labelled", ["价格"])
    assert kept(project)["只说了服务"] == ("labelled", ["服务"])


def test_where_a_text_has_one_label_a_list_of_two_is_refused_by_name(tmp_path):
    project = make.make_project()
    batch = bring(project, tmp_path, ROWS)
    assert batch.refused_by_reason == {"several_labels": 1}
    assert kept(project)["什么也没说"] == ("open", [])


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "tsv", "xlsx", "txt"])
def test_what_goes_out_comes_in_again(project, tmp_path, format):
    bring(project, tmp_path, ROWS)
    path = tmp_path / export_filename(project, format=format)
    path.write_bytes(b"".join(iter_export(project, format=format)))
    copy = create_project(user=project.created_by, name="副本", task=Task.MULTI_LABEL)
    import_now(project=copy, user=project.created_by, path=path)
    wanted = kept(project)
    if format not in ("json", "jsonl"):
        # A cell cannot tell "none of them" from "not looked at".
        wanted["什么也没说"] = ("open", [])
    assert kept(copy) == wanted


def test_the_snapshot_of_a_run_holds_sets_of_names(project, tmp_path, settings):
    settings.WANXING_HOME = tmp_path
    bring(project, tmp_path, ROWS)
    Example.objects.filter(project=project).update(split="train")
    snapshot = write_snapshot(project=project, labels=active_labels(project), with_pool=False)
    rows = [json.loads(line) for line in (snapshot.folder / "train.jsonl").read_text("utf-8").splitlines()]
    assert [row["label"] for row in rows] == [["服务", "价格"], ["服务"], []]
    assert snapshot.counts["per_label"] == {"服务": 2, "价格": 1}


def test_one_label_becomes_a_set_of_one_and_comes_back(tmp_path):
    project = make.make_project()
    label, example = make.make_label(project, "服务"), make.make_example(project, "一条")
    values = {"project": project, "user": project.created_by, "example_id": example.pk}
    annotate.decide(**values, action="label", label_id=label.pk)
    assert tasks.change_task(project=project, task=Task.MULTI_LABEL) == 1
    assert kept(project) == {"一条": ("labelled", ["服务"])}
    other = make.make_label(project, "价格")
    annotate.decide(**values, action="label", label_ids=[label.pk, other.pk])
    with pytest.raises(tasks.TaskRefused, match="1 条"):
        tasks.change_task(project=project, task=Task.SINGLE)
    annotate.undo(project=project, user=project.created_by)
    tasks.change_task(project=project, task=Task.SINGLE)
    assert kept(project) == {"一条": ("labelled", ["服务"])}
    assert Annotation.objects.count() == 3


def test_none_of_them_stands_in_the_way_of_one_label_a_text(project):
    example = make.make_example(project)
    annotate.decide(project=project, user=project.created_by, example_id=example.pk, action="none")
    assert tasks.in_the_way(project) == 1
    with pytest.raises(tasks.TaskRefused):
        tasks.change_task(project=project, task=Task.SINGLE)
