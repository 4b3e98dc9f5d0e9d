"""Search by meaning and near-duplicates, as pages: results, states, who may look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from labeling.models import Example, Job
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from labeling.services import embeddings, similar
from tests.factories import make_example, make_label, make_member, make_project
from tests.labeling.test_embeddings import embed

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true", "HX-Target": "similar-found"}


@pytest.fixture
def project(tmp_path: Any, settings: Any) -> Any:
    settings.WANXING_HOME = tmp_path
    return make_project()


@pytest.fixture
def signed_in(client: Client, project: Any) -> Client:
    client.force_login(project.created_by)
    return client


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the live worker says, one for each question."""
    said: list[Any] = []

    def nearest(project_id: int, *, text: str, example_id: int | None, k: int) -> Any:
        answer = said[-1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(similar, "_nearest", nearest)
    return said


def url(project: Any, name: str = "similar", **query: Any) -> str:
    from urllib.parse import urlencode

    return reverse(name, args=[project.pk]) + (f"?{urlencode(query)}" if query else "")


def test_results_show_similarity_label_and_split(signed_in: Client, project: Any, answers: list) -> None:
    label = make_label(project, "体育")
    near = make_example(project, "挨着的<b>", label=label, split="train")
    far, foreign = make_example(project, "远的"), make_example(make_project(), "别人的")
    answers.append([(near.pk, 0.93), (foreign.pk, 0.9), (far.pk, 0.81), (10**12, 0.8)])
    page = signed_in.get(url(project, q="一句")).content.decode()
    assert page.index("挨着的&lt;b&gt;") < page.index("远的")
    assert "0.930" in page
    assert "体育" in page
    assert "训练集" in page
    assert "别人的" not in page
    only = signed_in.get(url(project, q="一句", undecided="1")).content.decode()
    assert "挨着的" not in only
    assert "远的" in only
    fragment = signed_in.get(url(project, q="一句"), headers=HTMX).content.decode()
    assert fragment.strip().startswith('<section id="similar-found"')
    assert similar.matching_ids(project, {"q": "一句", "undecided": "1"}) == [far.pk]


def test_like_a_text_leaves_it_out_and_shows_it_above(signed_in: Client, project: Any, answers: list) -> None:
    one, other = make_example(project, "这一条"), make_example(project, "另一条")
    answers.append([(one.pk, 1.0), (other.pk, 0.9)])
    page = signed_in.get(url(project, like=one.pk)).content.decode()
    assert page.count("这一条") >= 1
    assert similar.matching_ids(project, {"like": str(one.pk)}) == [other.pk]
    stranger = make_example(make_project(), "别人的")
    assert signed_in.get(url(project, like=stranger.pk)).status_code == 404
    assert similar.matching_ids(project, {"like": str(stranger.pk)}) == []


@pytest.mark.parametrize(
    "query",
    [{"like": "9" * 30}, {"like": "-1"}, {"n": "x", "q": "\x00"}, {"q": "\ud800".encode("utf-8", "replace")}],
)
def test_addresses_that_mean_nothing_are_harmless(
    signed_in: Client, project: Any, answers: list, query: dict
) -> None:
    make_example(project, "一条")
    answers.append([])
    assert signed_in.get(url(project, **query)).status_code == 200


@pytest.mark.parametrize(
    ("code", "words"),
    [("timeout", "没有及时得到回答"), ("unavailable", "manage.py doctor"), ("failed", "没有找成")],
)
def test_a_worker_that_does_not_answer_is_said_and_what_was_typed_stays(
    signed_in: Client, project: Any, answers: list, code: str, words: str
) -> None:
    make_example(project, "一条")
    answers.append(similar.SimilarUnavailable(code, "detail"))
    response = signed_in.get(url(project, q="写好的一句话"))
    assert response.status_code == 503
    page = response.content.decode()
    assert words in page
    assert 'value="写好的一句话"' in page
    fragment = signed_in.get(url(project, q="写好的一句话"), headers=HTMX)
    assert fragment.status_code == 200
    assert 'role="alert"' in fragment.content.decode()


def test_states_of_the_vectors(signed_in: Client, project: Any, answers: list) -> None:
    answers.append(None)
    assert "还没有文本" in signed_in.get(url(project)).content.decode()
    assert not Job.objects.exists()
    make_example(project, "一条")
    page = signed_in.get(url(project, q="一句")).content.decode()
    job = Job.objects.get(kind=JobKind.EMBED)
    assert f'id="job-{job.pk}"' in page, "the page starts what it needs and shows how far it is"
    assert "还不能按意思找" in page
    Job.objects.update(status=JobStatus.CANCELLED)
    assert "被停止了" in signed_in.get(url(project)).content.decode()
    assert Job.objects.count() == 1
    assert signed_in.post(url(project, "embed")).status_code == 302
    assert Job.objects.filter(status=JobStatus.QUEUED).count() == 1
    embed(project)
    Job.objects.update(status=JobStatus.SUCCEEDED)
    page = signed_in.get(url(project)).content.decode()
    assert "vectors-going" not in page
    assert "写一句话" in page


def test_groups_of_nearly_equal_texts(signed_in: Client, project: Any) -> None:
    assert "还没有文本" in signed_in.get(url(project, "duplicates")).content.decode()
    rows = [make_example(project, f"几乎相同{n}") for n in range(4)]
    assert "还没有比较过" in signed_in.get(url(project, "duplicates")).content.decode()
    embed(project)
    index = embeddings.index_of(project)
    similar.write_pairs(index, np.array([0]), np.array([1]), np.array([0.975], np.float32))
    page = signed_in.get(url(project, "duplicates")).content.decode()
    assert rows[0].text in page
    assert rows[2].text not in page
    assert "0.975" in page
    assert "没有几乎相同" in signed_in.get(url(project, "duplicates", at="0.98")).content.decode()
    for strange in ("1e9", "-1", "x", "9" * 20):
        assert signed_in.get(url(project, "duplicates", at=strange, page=strange)).status_code == 200


def test_who_reads_only_cannot_start_it(client: Client, project: Any, answers: list) -> None:
    answers.append([])
    make_example(project, "一条")
    client.force_login(make_member(project, Role.VIEWER))
    page = client.get(url(project, q="一句")).content.decode()
    assert "接着算" not in page
    assert client.post(url(project, "embed")).status_code == 403
    client.force_login(make_member(project, Role.ANNOTATOR))
    assert client.get(url(project)).status_code == 403
    assert Example.objects.count() == 1
