"""The sample project, and the FewCLUE folders where they are at hand."""

from collections import Counter
from pathlib import Path

import pytest
from django.core.management import call_command

from labeling.models import Project
from labeling.models.projects import Role
from labeling.models.texts import text_hash
from labeling.services.imports import import_now
from labeling.services.projects import SAMPLE_FOLDER, ProjectRefused, create_project, open_sample
from tests.factories import make_project, make_user


def test_the_file_holds_what_is_promised() -> None:
    lines = (SAMPLE_FOLDER / "headlines.tsv").read_text("utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    assert len(rows) >= 360
    assert len({text_hash(row[0]) for row in rows}) == len(rows)
    assert all(7 < len(row[0]) < 33 for row in rows)
    labelled = Counter(row[1] for row in rows if row[1])
    assert len(labelled) == 8
    assert max(labelled.values()) == min(labelled.values())
    assert abs(sum(labelled.values()) - len(rows) / 2) <= 4


@pytest.mark.django_db
@pytest.mark.database
def test_opening_the_sample_makes_a_project_that_can_be_trained() -> None:
    user = make_user()
    project = open_sample(user=user)
    assert project.is_sample
    assert project.role_of(user) == Role.OWNER
    assert project.guidelines
    assert "{mask}" in project.templates.get().text
    assert project.labels.all()[0].word_texts == ["科技"]
    batch = project.imports.get()
    assert (batch.rows_refused, batch.rows_duplicate) == (0, 0)
    per_label = Counter(project.examples.labelled().values_list("label__name", "split"))
    assert all(per_label[(name, split)] >= 3 for name in project.labels.values_list("name", flat=True) for split in ("train", "dev", "test"))  # fmt: skip
    assert open_sample(user=user) == project
    assert open_sample(user=make_user()) != project


@pytest.mark.django_db
def test_the_command_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    make_user()
    call_command("open_sample")
    assert str(Project.objects.get(is_sample=True).pk) in capsys.readouterr().out


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "  ", "长" * 121])
def test_a_project_needs_a_name(name: str) -> None:
    with pytest.raises(ProjectRefused):
        create_project(user=make_user(), name=name)


@pytest.mark.fewclue
@pytest.mark.django_db
@pytest.mark.parametrize(("task", "labels"), [("tnews", 15), ("eprstmt", 2)])
def test_a_published_folder_comes_in_whole(fewclue: Path, task: str, labels: int) -> None:
    """Every line becomes a text of its split, but for texts that stand twice: those stay in test before dev,
    train and data."""
    project = make_project()
    batch = import_now(project=project, user=project.created_by, path=fewclue / task)
    assert batch.rows_refused == 0
    assert project.labels.count() == labels
    wanted: dict[bytes, str] = {}
    for name, split in (("test", "test"), ("dev", "dev"), ("train", "train"), ("data", "pool")):
        for line in (fewclue / task / f"{name}.txt").read_text("utf-8").split("\n"):
            text = line if name == "data" else line.rpartition("\t")[0] or line
            if text.strip():
                wanted.setdefault(text_hash(text), split)
    found = {bytes(digest): split for digest, split in project.examples.values_list("text_hash", "split")}
    assert found == wanted
    assert batch.rows_added == len(wanted)
