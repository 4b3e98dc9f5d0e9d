"""Which texts are kept aside."""

import random
from collections import Counter
from pathlib import Path

import pytest

from labeling.models import Project
from labeling.models.texts import text_hash
from labeling.services.imports import import_now
from labeling.services.splits import Reserver, SplitRefused, resplit
from tests.factories import make_job, make_project


def deal(sizes: dict[int, int], *, dev: int = 20, test: int = 20, seed: int = 1) -> dict[int, Counter[str]]:
    """Labelled texts of these class sizes, in random order."""
    order = [label for label, n in sizes.items() for _ in range(n)]
    random.Random(seed).shuffle(order)
    reserver = Reserver(dev_percent=dev, test_percent=test)
    dealt: dict[int, Counter[str]] = {label: Counter() for label in sizes}
    for number, label in enumerate(order):
        dealt[label][reserver.split_for(label_id=label, digest=text_hash(f"文本{seed}-{number}"))] += 1
    return dealt


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("dev", "test"), [(20, 20), (10, 30), (0, 20), (45, 35)])
def test_each_class_keeps_the_proportions(dev: int, test: int, seed: int) -> None:
    for counts in deal({1: 1000, 2: 200, 3: 50, 4: 15}, dev=dev, test=test, seed=seed).values():
        n = sum(counts.values())
        off = 1.5 + n / 100
        assert abs(counts["dev"] - n * dev / 100) <= off
        assert abs(counts["test"] - n * test / 100) <= off
        assert counts["pool"] == 0


def test_small_classes_learn_first() -> None:
    for counts in deal({1: 1, 2: 2}, dev=45, test=35).values():
        assert set(counts) == {"train"}


def test_the_part_cannot_be_read_off_the_order() -> None:
    reserver = Reserver(dev_percent=20, test_percent=20)
    splits = [str(reserver.split_for(label_id=1, digest=text_hash(f"文{n}"))) for n in range(2000)]
    places = [n % 5 for n, split in enumerate(splits) if split == "test"]
    assert min(Counter(places).values()) > 40


def test_unlabelled_texts_are_reserved_by_their_hash_alone() -> None:
    digests = [text_hash(f"文{n}") for n in range(5000)]
    first = Reserver(dev_percent=10, test_percent=30)
    second = Reserver(dev_percent=10, test_percent=30)
    forward = {digest: first.split_for(label_id=None, digest=digest) for digest in digests}
    backward = {digest: second.split_for(label_id=None, digest=digest) for digest in reversed(digests)}
    assert forward == backward
    counts = Counter(map(str, forward.values()))
    assert abs(counts["test"] - 1500) < 150
    assert abs(counts["dev"] - 500) < 100
    assert counts["pool"] == 5000 - counts["test"] - counts["dev"]


@pytest.fixture
def project(db: None, tmp_path: Path) -> Project:
    """500 texts without a given split, half of them labelled, and 40 with one."""
    project = make_project()
    loose = "".join(f"第{n}条\t{'一二'[n % 4] if n % 4 < 2 else ''}\n" for n in range(500))
    (tmp_path / "loose.tsv").write_text(f"text\tlabel\n{loose}", "utf-8")
    given = "".join(f"给定{n}\t一\ttest\n" for n in range(40))
    (tmp_path / "given.tsv").write_text(f"text\tlabel\tsplit\n{given}", "utf-8")
    for name in ("loose.tsv", "given.tsv"):
        import_now(project=project, user=project.created_by, path=tmp_path / name)
    return project


@pytest.mark.database
def test_proportions_can_be_changed_before_the_first_training(project: Project) -> None:
    assert set(project.examples.filter(text__startswith="给定").values_list("split", flat=True)) == {"test"}
    counts = resplit(project=project, dev_percent=0, test_percent=0)
    assert counts == {"train": 250, "pool": 250, "test": 40}
    resplit(project=project, dev_percent=10, test_percent=40)
    labelled = project.examples.labelled().filter(text__startswith="第")
    splits = Counter(labelled.values_list("split", flat=True))
    assert abs(splits["dev"] - 25) <= 8
    # The 40 given test texts of one class count too: that class has enough for test already.
    assert splits["test"] < 100
    again = resplit(project=project)
    assert again == Counter(project.examples.values_list("split", flat=True))
    assert Counter(labelled.values_list("split", flat=True)) == splits


@pytest.mark.database
def test_proportions_are_fixed_once_something_was_trained(project: Project) -> None:
    before = Counter(project.examples.values_list("split", flat=True))
    make_job(project, "train")
    with pytest.raises(SplitRefused):
        resplit(project=project, dev_percent=0, test_percent=0)
    project.refresh_from_db()
    assert (project.dev_percent, project.test_percent) == (20, 20)
    assert Counter(project.examples.values_list("split", flat=True)) == before


@pytest.mark.django_db
@pytest.mark.parametrize(("dev", "test"), [(46, 0), (0, 46), (-1, 0), (45, 40)])
def test_impossible_proportions_are_refused(dev: int, test: int) -> None:
    with pytest.raises(SplitRefused):
        resplit(project=make_project(), dev_percent=dev, test_percent=test)
