"""Texts like a sentence, texts like a text, and groups of texts that are nearly the same.

The nearest rows are looked up by the live worker, which holds the vectors; `workers` registers the function. Groups
are made from a file of pairs that the job EMBED leaves beside the vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from django.utils.translation import gettext as _

from labeling.files.arrays import BadArrays, read_arrays, write_arrays
from labeling.models import Example, Project
from labeling.models.texts import Status
from labeling.services import embeddings

LOG = logging.getLogger(__name__)

MAX_QUERY_CHARS = 1_000
SIZES = (50, 100, 200)
# More than are shown, since deleted texts and those that a filter leaves out fall away.
ASKED = 2_000
# Cosines by the shipped backbone: of 2,490 headlines half of all pairs are below 0.66, one in a thousand above 0.80,
# 12 pairs of three million above 0.90, and these say the same in other words.
FLOOR = 0.88
STRICTNESS = (0.88, 0.90, 0.95, 0.98)
DEFAULT_STRICTNESS = 0.90
GROUPS_A_PAGE = 20
GROUP_TEXTS = 50
PAIRS = "pairs.npz"


class SimilarUnavailable(Exception):
    """No answer now. `code`: timeout, unavailable, failed. `detail` is for the fold."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class Nearest(Protocol):
    """What `workers` registers: (example id, cosine) of the k nearest of a project to a text or an example.

    None while the project has no vectors. Raises SimilarUnavailable."""

    def __call__(
        self, project_id: int, *, text: str, example_id: int | None, k: int
    ) -> list[tuple[int, float]] | None: ...


_nearest: Nearest | None = None


def register_nearest(function: Nearest) -> None:
    """Set the function that asks the live worker."""
    global _nearest
    _nearest = function


@dataclass(frozen=True)
class Query:
    """What is looked for: a sentence `q`, or the text `like`. `n` results; `undecided`: only texts without a label."""

    q: str = ""
    like: int | None = None
    n: int = SIZES[0]
    undecided: bool = False

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Query:
        """From an address; what does not fit falls back to the default."""
        like, n = values.get("like", ""), values.get("n", "")
        is_id = like.isascii() and like.isdecimal() and len(like) < 19
        return cls(
            q=values.get("q", "").replace("\x00", "").strip()[:MAX_QUERY_CHARS],
            like=int(like) if is_id else None,
            n=next((size for size in SIZES if str(size) == n), SIZES[0]),
            undecided=values.get("undecided") == "1",
        )

    @property
    def address(self) -> dict[str, str]:
        """As it stands in an address."""
        found = {"like": str(self.like)} if self.like is not None else {"q": self.q} if self.q else {}
        if self.n != SIZES[0]:
            found["n"] = str(self.n)
        if self.undecided:
            found["undecided"] = "1"
        return found


@dataclass(frozen=True)
class Found:
    """A text and how near it is (cosine)."""

    example: Example
    similarity: float


def find(project: Project, query: Query) -> list[Found] | None:
    """The texts nearest to the query, the nearest first, without the text itself; None while there are no vectors.

    Raises Example.DoesNotExist for a `like` of another project, SimilarUnavailable."""
    if query.like is not None:
        Example.objects.only("pk").get(pk=query.like, project=project)
    elif not query.q:
        return []
    if _nearest is None:
        raise SimilarUnavailable("unavailable", "no function is registered")
    asked = _nearest(project.pk, text=query.q, example_id=query.like, k=ASKED)
    if asked is None:
        return None
    near = {example_id: similarity for example_id, similarity in asked if example_id != query.like}
    chosen = list(near)
    examples: dict[int, Example] = {}
    # The first ones are nearly always enough; SQLite binds at most some tens of thousands of values.
    for at in range(0, len(chosen), 500):
        rows = Example.objects.filter(project=project, pk__in=chosen[at : at + 500]).select_related("label")
        if query.undecided:
            rows = rows.exclude(status=Status.LABELLED)
        examples |= {row.pk: row for row in rows}
        if len(examples) >= query.n:
            break
    ordered = [Found(examples[pk], similarity) for pk, similarity in near.items() if pk in examples]
    return ordered[: query.n]


def matching_ids(project: Project, values: Mapping[str, str]) -> list[int]:
    """Ids of the set that a page shows for `values` (q or like, n, undecided), for work on all of it.

    Empty where nothing can be found now. Raises SimilarUnavailable."""
    try:
        return [found.example.pk for found in find(project, Query.of(values)) or []]
    except Example.DoesNotExist:
        return []


# Groups ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Texts that are chained together by pairs at or above the strictness, `similarity` their least near pair.

    `examples`: at most GROUP_TEXTS of `size`. `labels_differ`: two of them carry different labels."""

    examples: list[Example]
    size: int
    similarity: float

    @property
    def labels_differ(self) -> bool:
        return len({one.label_id for one in self.examples if one.label_id is not None}) > 1

    @property
    def splits_differ(self) -> bool:
        """Whether one is held out and another is not: the model would be judged by what it learnt."""
        return len({one.split in ("dev", "test") for one in self.examples}) > 1


@dataclass(frozen=True)
class Groups:
    """One page of groups, the largest first. `n_texts` texts were compared."""

    groups: list[Group]
    page: int
    pages: int
    n_groups: int
    n_texts: int


def write_pairs(
    index: embeddings.EmbeddingIndex, first: np.ndarray, second: np.ndarray, similarity: np.ndarray
) -> None:
    """Replace the pairs of the index. `first`, `second`: rows of the index."""
    ids = np.asarray(index.ids)
    arrays = {
        "first": ids[first],
        "second": ids[second],
        "similarity": similarity.astype(np.float32),
    }
    write_arrays(index.folder / PAIRS, arrays, {"n": len(index), "floor": FLOOR})


def compared_texts(index: embeddings.EmbeddingIndex) -> int:
    """How many texts the present pairs were made from; 0 where there are none."""
    pairs = _pairs(index)
    return 0 if pairs is None else int(pairs[1].get("n", 0))


def groups(project: Project, *, strictness: float, page: int = 1) -> Groups | None:
    """Texts that are nearly the same; None where they were not compared yet."""
    index = embeddings.index_of(project)
    pairs = _pairs(index) if index is not None else None
    if pairs is None:
        return None
    arrays, about = pairs
    near = np.flatnonzero(np.asarray(arrays["similarity"]) >= strictness - 1e-4)
    present = _present(project, np.concatenate([arrays["first"][near], arrays["second"][near]]))
    members: dict[int, list[int]] = {}
    least: dict[int, float] = {}
    parent: dict[int, int] = {}

    def root(one: int) -> int:
        while parent.setdefault(one, one) != one:
            parent[one] = one = parent[parent[one]]
        return one

    kept = [
        (int(a), int(b), float(s))
        for a, b, s in zip(
            arrays["first"][near], arrays["second"][near], arrays["similarity"][near], strict=True
        )
        if a in present and b in present
    ]
    for a, b, _s in kept:
        parent[root(a)] = root(b)
    for a, _b, similarity in kept:
        least[root(a)] = min(least.get(root(a), 1.0), similarity)
    for one in parent:
        members.setdefault(root(one), []).append(one)
    ordered = sorted(members, key=lambda key: (-len(members[key]), -least[key], key))
    pages = max(1, -(-len(ordered) // GROUPS_A_PAGE))
    page = min(max(1, page), pages)
    shown = ordered[(page - 1) * GROUPS_A_PAGE : page * GROUPS_A_PAGE]
    wanted = [pk for key in shown for pk in sorted(members[key])[:GROUP_TEXTS]]
    rows = Example.objects.filter(project=project, pk__in=wanted).select_related("label").in_bulk()
    made = [
        Group(
            [rows[pk] for pk in sorted(members[key])[:GROUP_TEXTS] if pk in rows],
            len(members[key]),
            least[key],
        )
        for key in shown
    ]
    return Groups(made, page, pages, len(ordered), int(about.get("n", 0)))


def _present(project: Project, ids: np.ndarray) -> set[int]:
    """Those of `ids` that still are texts of the project."""
    found: set[int] = set()
    unique = np.unique(ids).tolist()
    for at in range(0, len(unique), 5_000):
        rows = Example.objects.filter(project=project, pk__in=unique[at : at + 5_000])
        found.update(rows.values_list("pk", flat=True))
    return found


def _pairs(index: embeddings.EmbeddingIndex) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    path: Path = index.folder / PAIRS
    try:
        return read_arrays(path)
    except FileNotFoundError:
        return None
    except BadArrays as error:
        LOG.warning("pairs cannot be read: %s", error)
        return None


def unavailable_words(error: SimilarUnavailable) -> str:
    """What a page says of an answer that did not come, and what to do."""
    if error.code == "timeout":
        return _("按意思查找没有及时得到回答。计算进程可能正在载入模型或正忙，请过几秒再试。")
    if error.code == "unavailable":
        return _(
            "连不上计算进程，暂时不能按意思查找；按字查找不受影响。请在服务器上运行 manage.py doctor 看它是否还在。"
        )
    return _("这次没有找成。请再试一次；若仍然如此，请把技术细节告诉管理员。")
