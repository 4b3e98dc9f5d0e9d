"""Suggestions: for whom, for which texts, and what they say after labels changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone

from labeling.models.texts import Split
from labeling.services import projects, scores
from labeling.services.scores import Scores
from labeling.services.suggestions import Suggestion, suggestions_for
from tests import factories as make


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings) -> Path:
    settings.WANXING_HOME = tmp_path
    return tmp_path


@pytest.fixture
def project(db):
    project = make.make_project()
    for name in ("财经", "体育", "娱乐"):
        make.make_label(project, name)
    return project


def score(project, rows: dict, *, source="probe", held_out=0.8, n_held_out=60, **values) -> None:
    labels = tuple(project.labels.values_list("pk", flat=True))
    scores.write(
        project.pk,
        Scores(source, labels, np.array([example.pk for example in rows], dtype=np.int64),
               np.array(list(rows.values())), held_out=held_out, n_held_out=n_held_out, baseline=0.4, **values),
    )  # fmt: skip


def test_the_likeliest_label_with_its_probability(project):
    first, second, unscored = (make.make_example(project) for _ in range(3))
    labels = list(project.labels.all())
    score(project, {first: [0.1, 0.7, 0.2], second: [0.5, 0.3, 0.2]})
    found = suggestions_for(project, project.created_by, [first, second, unscored])
    assert set(found) == {first.pk, second.pk}
    assert found[first.pk].label_id == labels[1].pk
    assert found[first.pk].probability == pytest.approx(0.7, abs=1e-3)
    assert found[first.pk].source == "probe"
    assert found[second.pk] == Suggestion(
        labels[0].pk, found[second.pk].probability, "probe", (labels[0].pk,)
    )


@pytest.mark.parametrize("split", [Split.DEV, Split.TEST])
def test_texts_that_measure_get_none_even_if_scored(project, split):
    example = make.make_example(project, split=split)
    score(project, {example: [0.1, 0.7, 0.2]})
    assert suggestions_for(project, project.created_by, [example]) == {}


def test_none_where_the_person_or_the_project_hides_them(project):
    example = make.make_example(project)
    score(project, {example: [0.1, 0.7, 0.2]})
    other = make.make_member(project)
    other.memberships.update(hide_suggestions=True)
    assert suggestions_for(project, other, [example]) == {}
    assert suggestions_for(project, project.created_by, [example])
    project.show_suggestions = False
    assert suggestions_for(project, project.created_by, [example]) == {}


def test_none_before_the_model_is_worth_hearing(project):
    example = make.make_example(project)
    score(project, {example: [0.1, 0.7, 0.2]}, held_out=0.45, n_held_out=60)
    assert suggestions_for(project, project.created_by, [example]) == {}
    score(project, {example: [0.1, 0.7, 0.2]}, held_out=None, n_held_out=0)
    assert suggestions_for(project, project.created_by, [example]) == {}


def test_a_label_deleted_since_is_not_suggested_and_its_part_is_shared(project):
    example = make.make_example(project)
    score(project, {example: [0.2, 0.6, 0.2]})
    labels = list(project.labels.all())
    labels[1].archived_at = timezone.now()
    labels[1].save()
    found = suggestions_for(project, project.created_by, [example])[example.pk]
    assert found.label_id in (labels[0].pk, labels[2].pk)
    assert found.probability == pytest.approx(0.5, abs=1e-3)
    project.labels.update(archived_at=timezone.now())
    assert suggestions_for(project, project.created_by, [example]) == {}


def test_numbers_that_are_none_suggest_nothing(project):
    example = make.make_example(project)
    score(project, {example: [np.nan, np.nan, np.nan]})
    assert suggestions_for(project, project.created_by, [example]) == {}


def test_several_labels_are_those_over_a_half_or_the_likeliest(project):
    both, none = make.make_example(project), make.make_example(project)
    labels = [label.pk for label in project.labels.all()]
    score(project, {both: [0.6, 0.2, 0.9], none: [0.3, 0.2, 0.1]}, multi_label=True)
    found = suggestions_for(project, project.created_by, [both, none])
    assert found[both.pk].label_ids == (labels[2], labels[0])
    assert found[both.pk].probability == pytest.approx(0.9, abs=1e-3)
    assert found[none.pk].label_ids == (labels[0],)


def test_the_files_go_with_the_project(project):
    score(project, {make.make_example(project): [0.1, 0.7, 0.2]})
    folder = scores.folder_of(project.pk)
    assert folder.exists()
    projects.delete_project(project=project)
    assert not folder.exists()
