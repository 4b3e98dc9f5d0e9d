"""Which texts are kept aside for dev and test before anything is selected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from labeling.models import Example, ImportBatch, Job, Project, WeakLabel
from labeling.models.jobs import JobKind
from labeling.models.texts import Split

CHUNK_ROWS = 2_000
# The first texts of each class go to train: a class with one or two texts is learned, and not measured.
TRAIN_FIRST = 2
MOST_FREEDOM = 20  # texts
MAX_PERCENT_TOGETHER = 80


class SplitRefused(Exception):
    """The proportions cannot be changed now, or not to these values; the message is for the page."""


class Reserver:
    """Deals texts to train, dev, test and pool, one at a time and in any order.

    A labelled text's hash chooses its part, with odds that lean towards the parts that its class lacks: each
    class keeps the proportions closely, and the file's order cannot be read off the result. An unlabelled text is reserved by its hash alone, else it goes to the pool."""

    def __init__(
        self, *, dev_percent: int, test_percent: int, counts: dict[int, Counter[str]] | None = None
    ) -> None:
        self._shares = {
            Split.TRAIN.value: 1 - (dev_percent + test_percent) / 100,
            Split.DEV.value: dev_percent / 100,
            Split.TEST.value: test_percent / 100,
        }
        self._counts = counts or {}

    @classmethod
    def of(cls, project: Project) -> Reserver:
        """With the project's proportions, going on from the labelled texts that it has."""
        return cls(
            dev_percent=project.dev_percent,
            test_percent=project.test_percent,
            counts=_labelled_counts(project),
        )

    def split_for(self, *, label_id: int | None, digest: bytes) -> str:
        """The split of a text with that hash (16 bytes), counted as dealt when it is labelled."""
        # Other bytes than the ones that make the queue's order.
        where = int.from_bytes(digest[8:16], "big") / 2**64
        if label_id is None:
            dev, test = self._shares[Split.DEV], self._shares[Split.TEST]
            return Split.TEST if where < test else Split.DEV if where < test + dev else Split.POOL
        counts = self._counts.setdefault(label_id, Counter())
        split = self._lacking(counts, where)
        counts[split] += 1
        return split

    def count(self, *, label_id: int, split: str) -> None:
        """Take note of a labelled text whose split was given."""
        self._counts.setdefault(label_id, Counter())[Split.TRAIN if split == Split.POOL else split] += 1

    def _lacking(self, counts: Counter[str], where: float) -> str:
        if counts[Split.TRAIN] < TRAIN_FIRST:
            return Split.TRAIN.value
        after = sum(counts.values()) + 1
        # In a small class what is lacking decides, in a large one chance has more of a say.
        freedom = min(MOST_FREEDOM, after / 20)
        lacks = {
            name: max(0.0, share * (after + freedom) - counts[name]) for name, share in self._shares.items()
        }
        left = where * sum(lacks.values())
        for name, lack in lacks.items():
            left -= lack
            if left < 0:
                return name
        return Split.TRAIN.value


def resplit(
    *, project: Project, dev_percent: int | None = None, test_percent: int | None = None
) -> Counter[str]:
    """Deal the project's texts anew, with these proportions; return how many each split has then.

    Only until the first training; texts whose split came with their file stay where they are. Runs in
    chunks; when it is interrupted, running it again gives the same result. Raises SplitRefused."""
    if Job.objects.filter(project=project, kind=JobKind.TRAIN).exists():
        raise SplitRefused(_("已经训练过模型，划分比例不能再改：否则以前的成绩就不能再比较了。"))
    dev = project.dev_percent if dev_percent is None else dev_percent
    test = project.test_percent if test_percent is None else test_percent
    if not (0 <= dev <= 45 and 0 <= test <= 45 and dev + test <= MAX_PERCENT_TOGETHER):
        raise SplitRefused(_("验证集和测试集各占 0% 到 45%。"))
    project.dev_percent, project.test_percent = dev, test
    project.save(update_fields=["dev_percent", "test_percent"])
    given = list(
        ImportBatch.objects.filter(project=project, resume__splits_given=True).values_list("pk", flat=True)
    )
    reserver = Reserver(dev_percent=dev, test_percent=test, counts=_labelled_counts(project, batches=given))
    for rows in _chunks(project, given):
        moved: dict[str, list[int]] = {}
        for pk, digest, label_id, split in rows:
            new = str(reserver.split_for(label_id=label_id, digest=bytes(digest)))
            if new != split:
                moved.setdefault(new, []).append(pk)
        with transaction.atomic():
            for new, ids in moved.items():
                Example.objects.filter(project=project, pk__in=ids).update(split=new)
                if new in (Split.DEV, Split.TEST):  # what a rule says never stands at a text that measures
                    WeakLabel.objects.filter(example_id__in=ids).delete()
    return Counter(dict(project.examples.values_list("split").annotate(n=Count("id")).order_by()))


def _chunks(project: Project, given: list[int]) -> Iterator[list[Any]]:
    """(id, hash, label id, split) of the texts that may be moved, in the order of their ids."""
    last = 0
    while True:
        rows = list(
            project.examples.filter(pk__gt=last)
            .exclude(batch_id__in=given)
            .order_by("pk")
            .values_list("pk", "text_hash", "label_id", "split")[:CHUNK_ROWS]
        )
        if not rows:
            return
        last = rows[-1][0]
        yield rows


def _labelled_counts(project: Project, *, batches: Iterable[int] | None = None) -> dict[int, Counter[str]]:
    """Labelled texts by label and split (pool counts as train), of all texts or of those batches."""
    of = Q() if batches is None else Q(batch_id__in=batches)
    counts: dict[int, Counter[str]] = {}
    rows = (
        project.examples.labelled()
        .filter(of)
        .values_list("label_id", "split")
        .annotate(n=Count("id"))
        .order_by()
    )
    for label_id, split, n in rows:
        counts.setdefault(label_id, Counter())[Split.TRAIN.value if split == Split.POOL else split] += n
    return counts
