"""Which ten texts stand under the editor: as they come, labelled ones, or those with some words in them."""

from __future__ import annotations

from dataclasses import dataclass

from labeling.models import Project
from labeling.services.filters import Filters
from labeling.services.search import page_of
from training.services.workbench_texts import N_SHOWN, shown_texts

CHOICES = ("random", "labelled", "search")
MAX_QUERY = 200
LAST_PAGE = 50


@dataclass(frozen=True)
class Shown:
    """Ids of texts of the pool and of training, never of dev or test; `page` is the one they stand on."""

    which: str
    page: int
    ids: list[int]


def shown(project: Project, *, which: str, page: int, query: str = "") -> Shown:
    """Ten texts, in an order that is random but does not change; past the end it begins anew."""
    which = which if which in CHOICES else CHOICES[0]
    query = query.replace("\x00", "").strip()[:MAX_QUERY]
    page = min(page, LAST_PAGE)
    ids = _ids(project, which, page, query)
    return Shown(which, page, ids) if ids or not page else Shown(which, 0, _ids(project, which, 0, query))


def _ids(project: Project, which: str, page: int, query: str) -> list[int]:
    start = page * N_SHOWN
    if which == "labelled":
        ids = project.examples.for_training().order_by("order", "id").values_list("pk", flat=True)
        return list(ids[start : start + N_SHOWN])
    if which == "search" and query:
        found = page_of(project, Filters(q=query), n=start + N_SHOWN, learnable=True)
        return [example.pk for example in found.examples[start:]]
    return shown_texts(project, page=page)
