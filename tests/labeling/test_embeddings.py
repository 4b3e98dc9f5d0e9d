"""Vectors of texts: what a kill leaves, deleted texts, nearest rows, the job's turns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings

from labeling.files.arrays import BadArrays
from labeling.files.vectors import BeingWritten, read_vectors, writing
from labeling.models import Example, Job
from labeling.models.jobs import JobKind, JobStatus
from labeling.services import embeddings, projects, similar
from tests.factories import make_example, make_job, make_label, make_project

H = 8
ABOUT = {"backbone": "made", "hash": "a" * 64, "hidden_size": H}


def vectors_of(ids) -> np.ndarray:
    """Unit vectors that tell their id."""
    made = np.stack([np.random.default_rng(int(one)).standard_normal(H) for one in ids])
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def read(texts: list[str]) -> np.ndarray:
    return vectors_of([zlib.crc32(text.encode()) for text in texts])


ENCODER = embeddings.Encoder("made", "a" * 64, H, read)


def embed(project, **changes) -> embeddings.Embedded:
    options = {"encoder": ENCODER, "on_progress": lambda *told: None, "should_stop": lambda: False}
    return embeddings.embed_texts(project=project, **{**options, **changes})


# The files -----------------------------------------------------------------------------------------------


def test_rows_come_back_and_grow(tmp_path: Path) -> None:
    for ids in ([3, 1], [], [7]):
        with writing(tmp_path, ABOUT) as writer:
            writer.append(np.array(ids, np.int64), vectors_of(ids) if ids else np.zeros((0, H)))
    ids, vectors, about = read_vectors(tmp_path)
    assert ids.tolist() == [3, 1, 7]
    np.testing.assert_allclose(vectors, vectors_of([3, 1, 7]), atol=1e-3)
    assert (vectors.dtype, about["backbone"]) == (np.float16, "made")


@pytest.mark.parametrize(("name", "left"), [("vectors", 5), ("vectors", H * 2 + 3), ("ids", 3)])
def test_a_half_written_row_is_not_read_and_the_next_writer_cuts_it_off(
    tmp_path: Path, name: str, left: int
) -> None:
    with writing(tmp_path, ABOUT) as writer:
        writer.append(np.array([1, 2]), vectors_of([1, 2]))
    with open(tmp_path / "000001" / name, "ab") as file:
        file.write(b"\x01" * left)
    assert read_vectors(tmp_path)[0].tolist() == [1, 2]
    with writing(tmp_path, ABOUT) as writer:
        writer.append(np.array([9]), vectors_of([9]))
    ids, vectors, _ = read_vectors(tmp_path)
    assert ids.tolist() == [1, 2, 9]
    np.testing.assert_allclose(vectors, vectors_of([1, 2, 9]), atol=1e-3)


def test_ids_without_their_vectors_are_not_read(tmp_path: Path) -> None:
    with writing(tmp_path, ABOUT) as writer:
        writer.append(np.array([1, 2]), vectors_of([1, 2]))
    os.truncate(tmp_path / "000001" / "vectors", H * 2 + 1)
    assert read_vectors(tmp_path)[0].tolist() == [1]


WRITE_FOREVER = """
import sys, numpy as np
from pathlib import Path
from labeling.files.vectors import writing
with writing(Path(sys.argv[1]), {"backbone": "made", "hash": "a" * 64, "hidden_size": 8}) as writer:
    n = 0
    while True:
        ids = np.arange(n, n + 50)
        writer.append(ids, np.repeat(ids[:, None] % 1000, 8, axis=1).astype(np.float32))
        n += 50
"""


def test_a_kill_in_the_middle_leaves_a_readable_beginning(tmp_path: Path) -> None:
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)], cwd=settings.BASE_DIR
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if len(read_vectors(tmp_path)[0]) > 200:
                    break
            except FileNotFoundError:
                pass
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        ids, vectors, _ = read_vectors(tmp_path)
        assert len(ids) > 200
        np.testing.assert_array_equal(vectors[:, 0], (ids % 1000).astype(np.float16))
        with writing(tmp_path, ABOUT) as writer:
            writer.keep(np.zeros(0))


def test_written_anew_while_somebody_reads(tmp_path: Path) -> None:
    with writing(tmp_path, ABOUT) as writer:
        writer.append(np.arange(20_000), np.zeros((20_000, H)))
    ids, vectors, _ = read_vectors(tmp_path)
    with writing(tmp_path, ABOUT) as writer:
        writer.keep(np.arange(0, 20_000, 2))
        writer.append(np.array([50_000]), vectors_of([1]))
    assert (len(ids), float(vectors[-1].sum())) == (20_000, 0.0), "the old map stays readable"
    assert read_vectors(tmp_path)[0].tolist() == [*range(0, 20_000, 2), 50_000]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "000002", "about.json"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with writing(tmp_path, ABOUT), pytest.raises(BeingWritten), writing(tmp_path, ABOUT):
        pass


@pytest.mark.parametrize(
    "about", ["", "[]", "{}", '{"form": 2, "hidden_size": 8}', '{"form": 1, "hidden_size": -1}']
)
def test_what_is_none_of_ours_is_named(tmp_path: Path, about: str) -> None:
    with writing(tmp_path, ABOUT):
        pass
    (tmp_path / "about.json").write_text(about)
    with pytest.raises(BadArrays):
        read_vectors(tmp_path)


def test_another_width_is_refused(tmp_path: Path) -> None:
    with writing(tmp_path, ABOUT):
        pass
    with pytest.raises(BadArrays), writing(tmp_path, {**ABOUT, "hidden_size": 16}):
        pass


# The service ---------------------------------------------------------------------------------------------


@pytest.fixture
def project(db, tmp_path, settings):
    settings.WANXING_HOME = tmp_path
    return make_project()


def test_each_text_gets_its_vector_once(project) -> None:
    first = [make_example(project, f"文本{n}") for n in range(5)]
    assert embeddings.index_of(project) is None
    assert embed(project) == embeddings.Embedded(5, whole=True)
    later = make_example(project, "新来的")
    index = embeddings.index_of(project)
    assert (len(index), index.n_texts) == (5, 6)
    assert index.coverage == pytest.approx(5 / 6)
    asked: list[str] = []
    watched = embeddings.Encoder("made", "a" * 64, H, lambda texts: asked.extend(texts) or read(texts))
    assert embed(project, encoder=watched).added == 1
    assert asked == ["新来的"]
    index = embeddings.index_of(project)
    assert index.rows_of([later.pk, first[0].pk, 10**9]) == {later.pk: 5, first[0].pk: 0}
    np.testing.assert_allclose(index.vector_of(later.pk), read(["新来的"])[0], atol=1e-3)
    assert index.vector_of(10**9) is None


@pytest.mark.parametrize("held", [False, True])
def test_nearest_is_what_a_full_sort_gives(project, held, monkeypatch) -> None:
    monkeypatch.setattr(embeddings, "NEAREST_ROWS", 16)
    rows = [make_example(project, f"第{n}条") for n in range(60)]
    embed(project)
    index = embeddings.index_of(project)
    if held:
        index.hold()
    query = read(["问"])[0]
    cosines = np.asarray(index.vectors, np.float32) @ query
    order = np.argsort(-cosines)
    ids, similarity = index.nearest(query, 7)
    assert ids.tolist() == index.ids[order[:7]].tolist()
    np.testing.assert_allclose(similarity, cosines[order[:7]], rtol=1e-5)
    among = np.array([rows[3].pk, rows[40].pk, 10**9])
    assert set(index.nearest(query, 7, among)[0].tolist()) == {rows[3].pk, rows[40].pk}
    assert len(index.nearest(query, 0)[0]) == 0
    make_example(project, "又一条")
    embed(project)
    grown = embeddings.index_of(project)
    assert len(grown.nearest(query, 100)[0]) == 61, "held blocks do not hide what came later"


def test_deleted_texts_are_left_out_and_written_off(project) -> None:
    rows = [make_example(project, f"文本{n}") for n in range(20)]
    embed(project)
    Example.objects.filter(pk__in=[row.pk for row in rows[:5]]).delete()
    embed(project)
    index = embeddings.index_of(project)
    assert index.ids.tolist() == [row.pk for row in rows[5:]]


def test_stopped_work_is_kept_and_gone_on_with(project, monkeypatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK_TEXTS", 4)
    for n in range(10):
        make_example(project, f"文本{n}")
    looks = iter([False, False, True])
    told: list[tuple] = []
    done = embed(project, should_stop=lambda: next(looks), on_progress=lambda *said: told.append(said))
    assert done == embeddings.Embedded(8, whole=False)
    assert [(step, total) for _stage, step, total, _eta in told] == [(0, 10), (4, 10), (8, 10)]
    assert len(embeddings.index_of(project)) == 8
    assert embed(project) == embeddings.Embedded(2, whole=True)
    assert len(np.unique(embeddings.index_of(project).ids)) == 10


def test_a_long_embedding_gives_way_after_its_turn(project, monkeypatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK_TEXTS", 2)
    for n in range(6):
        make_example(project, f"文本{n}")
    assert embed(project, give_way=lambda: True).whole, "not before its turn is over"
    embeddings.remove(project.pk)
    monkeypatch.setattr(embeddings, "TURN_SECONDS", -1)
    assert embed(project, give_way=lambda: True) == embeddings.Embedded(0, whole=False)


def test_others_wait_only_for_the_same_queue(project) -> None:
    job = make_job(project, kind=JobKind.EMBED, queue="bulk", status=JobStatus.RUNNING)
    make_job(project, kind=JobKind.TRAIN, queue="train")
    assert not embeddings.others_wait(job)
    make_job(project, kind=JobKind.PREDICT_POOL, queue="bulk")
    assert embeddings.others_wait(job)


def test_one_job_a_project_and_none_when_nothing_lacks(project) -> None:
    assert embeddings.request_embedding(project=project) is None, "no texts"
    make_example(project, "一条")
    job = embeddings.request_embedding(project=project)
    assert embeddings.request_embedding(project=project) == job
    embed(project)
    Job.objects.filter(pk=job.pk).update(status=JobStatus.SUCCEEDED)
    assert embeddings.request_embedding(project=project) is None
    make_example(project, "两条")
    assert embeddings.ensure_embedding(project=project) not in (None, job)


@pytest.mark.parametrize("status", [JobStatus.CANCELLED, JobStatus.FAILED])
def test_a_page_does_not_start_again_what_was_stopped_or_failed(project, status) -> None:
    make_example(project, "一条")
    job = embeddings.request_embedding(project=project)
    Job.objects.filter(pk=job.pk).update(status=status)
    job.refresh_from_db()
    assert embeddings.ensure_embedding(project=project) == job
    assert Job.objects.count() == 1
    assert embeddings.request_embedding(project=project) != job, "a person may"


def test_the_projects_deletion_takes_the_files(project) -> None:
    make_example(project, "一条")
    embed(project)
    folder = embeddings.folder_of(project.pk)
    assert folder.is_dir()
    projects.delete_project(project=project)
    assert not folder.exists()


def test_damaged_files_are_no_index_and_are_said_in_the_log(project, caplog) -> None:
    make_example(project, "一条")
    embed(project)
    (embeddings.folder_of(project.pk) / ("a" * 16) / "about.json").write_text("{")
    assert embeddings.index_of(project) is None
    assert "cannot be read" in caplog.text
    assert embed(project).added == 1, "they are made anew"
    assert len(embeddings.index_of(project)) == 1


# Groups of pairs -----------------------------------------------------------------------------------------


def test_groups_chain_pairs_and_leave_out_what_is_gone(project) -> None:
    label, other = make_label(project, "甲"), make_label(project, "乙")
    a, b, c, d, e = [make_example(project, f"文本{n}") for n in range(5)]
    Example.objects.filter(pk=a.pk).update(label=label, status="labelled", split="test")
    Example.objects.filter(pk=b.pk).update(label=other, status="labelled", split="train")
    embed(project)
    assert similar.groups(project, strictness=0.97) is None, "not compared yet"
    index = embeddings.index_of(project)
    similar.write_pairs(
        index, np.array([0, 1, 3]), np.array([1, 2, 4]), np.array([0.99, 0.975, 0.95], np.float32)
    )
    found = similar.groups(project, strictness=0.97)
    assert [[one.pk for one in group.examples] for group in found.groups] == [[a.pk, b.pk, c.pk]]
    group = found.groups[0]
    assert (group.similarity, group.labels_differ, group.splits_differ) == (pytest.approx(0.975), True, True)
    assert found.n_texts == 5
    assert len(similar.groups(project, strictness=0.94, page=9).groups) == 2
    b.delete()
    assert [
        [one.pk for one in group.examples] for group in similar.groups(project, strictness=0.94).groups
    ] == [[d.pk, e.pk]]
