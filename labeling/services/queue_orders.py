"""Orders of the queue that a model made: read from files, never computed while a page waits.

A worker ranks the next few thousand texts of train and pool after each training of the probe, one file an order:
`WANXING_HOME/scores/<project>/order-<name>.npz`. Here they are joined with what is open now, and mixed with the texts
that measure the model (dev and test), which are drawn at random in their own proportion whatever the order.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling.files.arrays import BadArrays, Watched, read_arrays, write_arrays
from labeling.models import Example, Label, Project
from labeling.models.texts import Split
from labeling.services import scores

LOG = logging.getLogger(__name__)

ORDERS: dict[str, Any] = {
    "auto": gettext_lazy("自动（推荐）"),
    "diverse": gettext_lazy("先看各种各样的"),
    "margin": gettext_lazy("两个标签分不清的"),
    "uncertain": gettext_lazy("模型最没把握的"),
    "disagree": gettext_lazy("几个模型答得不同的"),
    "balance": gettext_lazy("标得少的类别优先"),
}
WHY = ("", "diverse", "margin", "uncertain", "disagree", "balance")
_FORM = 1
_CHUNK = 128
_MEASURING = (Split.DEV, Split.TEST)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The next texts by one order, the most wanted first.

    `example_ids` (k,) int64 · `why` (k,) uint8, places in WHY · `label_ids` (k, 2) int64: the labels that the reason
    names, −1 where it names none · `shares` (k, 2) float16: their probabilities."""

    name: str
    example_ids: np.ndarray
    why: np.ndarray
    label_ids: np.ndarray
    shares: np.ndarray
    n_labelled: int = 0


def write(project_id: int, ranking: Ranking) -> None:
    """Replace the project's file of that order. Raises ValueError for arrays that do not fit together."""
    k = len(ranking.example_ids)
    if ranking.name not in ORDERS:
        raise ValueError(f"unknown order {ranking.name!r}")
    if ranking.why.shape != (k,) or ranking.label_ids.shape != (k, 2) or ranking.shares.shape != (k, 2):
        raise ValueError("the arrays do not fit together")
    arrays: dict[str, np.ndarray] = {
        "example_ids": ranking.example_ids.astype(np.int64),
        "why": ranking.why.astype(np.uint8),
        "label_ids": ranking.label_ids.astype(np.int64),
        "shares": ranking.shares.astype(np.float16),
    }
    write_arrays(
        _path(project_id, ranking.name), arrays, {"form": _FORM, "n_labelled": int(ranking.n_labelled)}
    )


def read(project_id: int, name: str) -> Ranking | None:
    """The project's ranking by that order; None where there is none that can be read."""
    return _FILES.read(_path(project_id, name)) if name in ORDERS else None


def candidates(
    project: Project, order: str, opened: QuerySet[Example], rest: Iterable[Example]
) -> Iterator[Example]:
    """Texts of `opened` in a model's order, texts that measure dealt among them; then what is left of `rest`.

    `rest` are all of `opened` in the order fixed at import: they alone, where nothing is ranked yet."""
    ranking = read(project.pk, order)
    seen: set[int] = set()
    if ranking is not None and len(ranking.example_ids):
        # Drawn, not counted: each page asks for a few texts anew, and a fixed turn would always begin the same way.
        share = min(0.8, (project.dev_percent + project.test_percent) / 100)
        measuring = _drawn(project, opened)
        for example in _ranked(ranking, opened):
            while random.random() < share:  # noqa: S311 - a draw, not a secret
                drawn = next(measuring, None)
                if drawn is None:
                    break
                seen.add(drawn.pk)
                yield drawn
            seen.add(example.pk)
            yield example
    yield from (example for example in rest if example.pk not in seen)


def reasons(project: Project, order: str, example_ids: Iterable[int]) -> dict[int, str]:
    """{text id: in words, why it comes next}; only those about which there is something to say."""
    ranking = read(project.pk, order)
    wanted = set(example_ids)
    if ranking is None or not wanted:
        return {}
    names = dict(Label.objects.filter(project=project).values_list("pk", "name"))
    found = {}
    for place in np.flatnonzero(np.isin(ranking.example_ids, list(wanted))):
        words = _words(ranking, int(place), names)
        if words:
            found[int(ranking.example_ids[place])] = words
    return found


def _drawn(project: Project, opened: QuerySet[Example]) -> Iterator[Example]:
    """Open texts of dev and test at random, each once: the first at or after a random number, since sorting those of
    a large project, or walking over it where few are left, would take seconds."""
    ranges: dict[str, tuple[int, int]] = {}
    weights = {Split.DEV: project.dev_percent, Split.TEST: project.test_percent}
    for split in _MEASURING:
        inside = opened.filter(split=split).values_list("pk", flat=True)
        lowest = inside.order_by("pk").first()
        if lowest is not None and weights[split]:
            ranges[split] = (lowest, inside.order_by("-pk").first() or lowest)
    seen: set[int] = set()
    while ranges:
        chosen = random.choices(list(ranges), [weights[Split(one)] for one in ranges])[0]  # noqa: S311
        left = opened.filter(split=chosen).exclude(pk__in=seen).order_by("pk")
        pivot = random.randint(*ranges[chosen])  # noqa: S311
        drawn = left.filter(pk__gte=pivot).first() or left.first()
        if drawn is None:
            del ranges[chosen]
        else:
            seen.add(drawn.pk)
            yield drawn


def _ranked(ranking: Ranking, opened: QuerySet[Example]) -> Iterator[Example]:
    """Those of the ranking that are still open, in its order. What was decided since is passed over in growing
    steps: a ranking is made anew every few labels, so that its head is never long gone."""
    ids, start, step = ranking.example_ids, 0, _CHUNK
    while start < len(ids):
        chunk = [int(one) for one in ids[start : start + step]]
        by_id = {
            example.pk: example
            for example in opened.filter(pk__in=chunk, split__in=[Split.TRAIN, Split.POOL])
        }
        yield from (by_id[pk] for pk in chunk if pk in by_id)
        start, step = start + step, min(4 * step, 500)


def _words(ranking: Ranking, place: int, names: dict[int, str]) -> str:
    why = WHY[int(ranking.why[place])] if ranking.why[place] < len(WHY) else ""
    first, second = (names.get(int(one), "") for one in ranking.label_ids[place])
    sure, next_sure = (f"{float(one):.0%}" for one in ranking.shares[place])
    if why == "diverse":
        return _("和已经标过的都不像：先把各种文本都看到。")
    if why == "disagree":
        return _("几个模型对它答得不同。")
    if why == "margin" and first and second:
        return _("模型分不清它是“%(first)s”（%(sure)s）还是“%(second)s”（%(next)s）。") % {
            "first": first,
            "sure": sure,
            "second": second,
            "next": next_sure,
        }
    if why == "uncertain" and first:
        return _("模型对它最没把握：最像“%(first)s”，也只有 %(sure)s。") % {"first": first, "sure": sure}
    if why == "balance" and first:
        return _("“%(first)s”标得少，模型猜它属于这一类（%(sure)s）。") % {"first": first, "sure": sure}
    return ""


def _path(project_id: int, name: str) -> Path:
    return scores.folder_of(project_id) / f"order-{name}.npz"


def _read(path: Path) -> Ranking | None:
    try:
        arrays, about = read_arrays(path)
        if about["form"] != _FORM:
            raise BadArrays(f"form {about['form']} instead of {_FORM}")
        k = len(arrays["example_ids"])
        fits = (
            arrays["example_ids"].shape == (k,)
            and arrays["example_ids"].dtype == np.int64
            and arrays["why"].shape == (k,)
            and arrays["label_ids"].shape == (k, 2)
            and arrays["shares"].shape == (k, 2)
        )
        if not fits:
            raise BadArrays("the arrays do not fit together")
        name = path.stem.removeprefix("order-")
        return Ranking(name, **{key: np.array(arrays[key]) for key in ("example_ids", "why", "label_ids", "shares")},
                       n_labelled=int(about["n_labelled"]))  # fmt: skip
    except FileNotFoundError:
        return None
    except (BadArrays, KeyError, TypeError, ValueError) as error:
        LOG.warning("order %s cannot be read and counts as absent: %s", path, error)
        return None


_FILES = Watched(_read)
