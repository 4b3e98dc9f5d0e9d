"""Score files: what is written is read back, replacing is whole, and damage counts as absence."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest

from labeling.files.arrays import BadArrays, read_arrays, write_arrays
from labeling.services import scores
from labeling.services.scores import Scores


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings) -> Path:
    settings.WANXING_HOME = tmp_path
    return tmp_path


def some(source: str = "probe", ids=(7, 3, 5), **values) -> Scores:
    n = len(ids)
    proba = np.tile(np.array([0.25, 0.75]), (n, 1)) if n else np.empty((0, 2))
    proba[:, 0] += np.arange(n) / 100
    proba[:, 1] -= np.arange(n) / 100
    return Scores(source, (11, 12), np.array(ids, dtype=np.int64), proba, **values)


def test_what_is_written_is_read_back_by_ascending_id() -> None:
    scores.write(
        1,
        some(disagreement=np.array([0.7, 0.3, 0.5]), n_labelled=9, held_out=0.5, n_held_out=8, baseline=0.25),
    )
    found = scores.read(1, "probe")
    assert found.example_ids.tolist() == [3, 5, 7]
    assert found.proba.dtype == np.float16
    np.testing.assert_allclose(found.proba[:, 0], [0.26, 0.27, 0.25], atol=1e-3)
    np.testing.assert_allclose(found.disagreement, [0.3, 0.5, 0.7], atol=1e-3)
    assert (found.label_ids, found.n_labelled, found.held_out, found.n_held_out, found.baseline) == (
        (11, 12), 9, 0.5, 8, 0.25,
    )  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_any_number_of_texts(n: int) -> None:
    scores.write(1, some(ids=tuple(range(1, n + 1))))
    assert len(scores.read(1, "probe")) == n


def test_rows_of_finds_those_that_were_scored() -> None:
    scores.write(1, some())
    assert scores.read(1, "probe").rows_of([5, 4, 7, 7, 900]) == {5: 1, 7: 2}
    assert scores.read(1, "probe").rows_of([]) == {}
    scores.write(1, some(ids=()))
    assert scores.read(1, "probe").rows_of([5]) == {}


def test_replacing_is_seen_at_once_and_the_old_version_stays_readable() -> None:
    scores.write(1, some())
    old = scores.read(1, "probe")
    scores.write(1, some(ids=(8, 9)))
    assert scores.read(1, "probe").example_ids.tolist() == [8, 9]
    assert old.example_ids.tolist() == [3, 5, 7]
    assert [path.name for path in scores.folder_of(1).iterdir()] == ["probe.npz"]


def test_absent_is_none() -> None:
    assert scores.read(1, "probe") is None
    assert scores.best(1) is None
    scores.remove(1, "probe")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def overwrite_header(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b"\x93NUMPY")
    path.write_bytes(content[:place] + b"broken" + content[place + 6 :])


def other_form(path: Path) -> None:
    arrays, about = read_arrays(path)
    write_arrays(path, arrays, about | {"form": 99})


def fewer_rows(path: Path) -> None:
    arrays, about = read_arrays(path)
    write_arrays(path, arrays | {"proba": np.array(arrays["proba"][:1])}, about)


def not_ascending(path: Path) -> None:
    arrays, about = read_arrays(path)
    write_arrays(path, arrays | {"example_ids": np.array(arrays["example_ids"][::-1])}, about)


def without_ids(path: Path) -> None:
    arrays, about = read_arrays(path)
    write_arrays(path, {"proba": np.array(arrays["proba"])}, about)


def pickled(path: Path) -> None:
    np.savez(path, example_ids=np.array([object()], dtype=object), proba=np.zeros((1, 2)))


def compressed(path: Path) -> None:
    arrays, _ = read_arrays(path)
    np.savez_compressed(path, **{name: np.array(array) for name, array in arrays.items()})


def a_list(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", "[]")


@pytest.mark.parametrize(
    "damage",
    [cut, overwrite_header, other_form, fewer_rows, not_ascending, without_ids, pickled, compressed, a_list,
     lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"PK\x03\x04 not at all")],
)  # fmt: skip
def test_a_damaged_file_counts_as_absent_and_is_logged(damage, caplog) -> None:
    scores.write(1, some(ids=tuple(range(200))))
    damage(scores.folder_of(1) / "probe.npz")
    with caplog.at_level(logging.WARNING):
        assert scores.read(1, "probe") is None
    assert "count as absent" in caplog.text
    scores.write(1, some())
    assert len(scores.read(1, "probe")) == 3


@pytest.mark.parametrize(
    "wrong",
    [some(ids=(1, 1)), some(disagreement=np.zeros(2)), some(source="a_guess"),
     Scores("probe", (1,), np.array([1, 2]), np.zeros((2, 2)))],
)  # fmt: skip
def test_what_does_not_fit_together_is_not_written(wrong: Scores) -> None:
    with pytest.raises(ValueError):
        scores.write(1, wrong)
    assert not scores.folder_of(1).exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(monkeypatch) -> None:
    scores.write(1, some())
    monkeypatch.setattr(
        "labeling.files.arrays.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError):
        scores.write(1, some(ids=(8, 9)))
    assert [path.name for path in scores.folder_of(1).iterdir()] == ["probe.npz"]
    assert len(scores.read(1, "probe")) == 3


def test_arrays_begin_aligned(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", {"one": np.arange(3, dtype=np.int8), "two": np.arange(9.0)}, {"n": 1})
    arrays, about = read_arrays(tmp_path / "a.npz")
    assert about == {"n": 1}
    assert all(array.ctypes.data % 64 == 0 for array in arrays.values())
    assert np.load(tmp_path / "a.npz")["two"].tolist() == list(range(9))


def test_a_file_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(BadArrays, match=r"a\.npz"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "held_out, n, baseline, worth",
    [
        (None, 0, 0.1, False),
        (0.9, 0, 0.1, False),
        (11 / 12, 12, 0.6, True),  # Wilson's lower end is 0.65
        (11 / 12, 12, 0.7, False),
        (1.0, 9, 0.5, False),  # too few to say
        (0.5, 200, 0.1, False),  # two labels: no better than chance
        (0.62, 200, 0.5, True),
    ],
)
def test_a_model_is_heard_once_it_is_clearly_above_the_largest_label_and_chance(held_out, n, baseline, worth):
    assert some(held_out=held_out, n_held_out=n, baseline=baseline).worth_hearing is worth


def test_the_best_source_is_the_one_that_held_out_texts_prefer() -> None:
    scores.write(1, some("zero_shot"))
    assert scores.best(1).source == "zero_shot"
    scores.write(1, some("probe", held_out=0.4, n_held_out=20))
    assert scores.best(1).source == "probe"
    scores.write(1, some("zero_shot", held_out=0.6, n_held_out=20))
    assert scores.best(1).source == "zero_shot"
    scores.write(1, some("probe", held_out=0.6, n_held_out=20))
    assert scores.best(1).source == "probe"
