"""Whether more labels still help, on the labelling page and the project's home: shown where known, never nagging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from django.urls import reverse

from labeling.models.projects import Role
from labeling.services import learning
from labeling.services.learning import Learning, Round
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings) -> Path:
    settings.WANXING_HOME = tmp_path
    return tmp_path


@pytest.fixture
def project():
    project = make.make_project()
    make.make_label(project, "财经")
    make.make_example(project)
    return project


def write(project, **values) -> None:
    values.setdefault("rounds", (Round(40, 0.51, 38), Round(60, 0.54, 58, 0.9)))
    learning.write(
        project.pk,
        Learning(more=50, watched_ids=np.array([1, 2]), answers=np.array([5, 6]), **values),
    )


def pages(client, project, role=Role.OWNER):
    client.force_login(project.created_by if role == Role.OWNER else make.make_member(project, role))
    return {
        name: client.get(reverse(name, args=[project.pk])).content.decode()
        for name in ("project_home", "label")
    }


def test_nothing_is_said_before_anything_is_known(client, project):
    for page in pages(client, project).values():
        assert 'class="learning' not in page


def test_how_good_it_is_and_what_fifty_more_would_bring(client, project):
    write(project, gain=0.021, low=0.004, high=0.038)
    for page in pages(client, project).values():
        assert "学了 60 条，在没学过的 58 条上准确率 54.0%" in page
        assert "再标 50 条，预计准确率变化 +2.1 个百分点（95% 区间 +0.4 到 +3.8）" in page
        assert "帮助可能不大" not in page


def test_the_stop_signal_says_why(client, project):
    write(project, gain=0.002, low=-0.003, high=0.0068, agreement=0.981, enough=True)
    for page in pages(client, project).values():
        assert "再标下去，帮助可能不大了。" in page
        assert "+0.2 个百分点（95% 区间 -0.3 到 +0.7）" in page
        assert "κ = 0.98" in page
    assert learning.stop_signal(project) is not None


def test_an_annotator_reads_the_verdict_but_no_accuracy(client, project):
    write(project, gain=0.021, low=0.004, high=0.038)
    page = pages(client, project, Role.ANNOTATOR)["label"]
    assert "准确率 54.0%" not in page
    assert "再标 50 条" in page


def test_a_damaged_note_counts_as_none(client, project, caplog):
    write(project, gain=0.021, low=0.004, high=0.038)
    path = next(Path(learning._path(project.pk).parent).glob("learning.npz"))
    path.write_bytes(path.read_bytes()[:100])
    assert learning.read(project.pk) is None
    assert "counts as absent" in caplog.text
    for page in pages(client, project).values():
        assert 'class="learning' not in page


def test_what_is_written_is_read_back(project):
    note = Learning(
        rounds=(Round(10, None, 0), Round(20, 0.5, 18, 0.75)), enough=True, more=50, gain=0.1, low=0.0, high=0.2,
        agreement=0.97, curve_at=20, curve=((8, 0.4), (16, 0.45)),
        watched_ids=np.array([3, 1]), answers=np.array([7, 9]),
    )  # fmt: skip
    learning.write(project.pk, note)
    found = learning.read(project.pk)
    assert (found.rounds, found.curve, found.enough, found.curve_at) == (note.rounds, note.curve, True, 20)
    assert found.watched_ids.tolist() == [3, 1]
    assert found.accuracies == [0.5]
