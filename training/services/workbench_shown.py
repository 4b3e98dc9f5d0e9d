"""Which ten texts stand under the editor: as they come, labelled ones, or those with some words in them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet

from labeling.models import Example, Project
from labeling.services.search import Filters, matching
from training.services.workbench_texts import N_SHOWN

CHOICES = ("random", "labelled", "search")
MAX_QUERY = 200


@dataclass(frozen=True)
class Shown:
    """Ids of texts of the pool and of training, never of dev or test; `page` is the one they stand on."""

    which: str
    page: int
    ids: list[int]
    query: str = ""


def shown(project: Project, *, which: str, page: int, query: str = "") -> Shown:
    """Ten texts, in an order that is random but does not change; past the end it begins anew."""
    which = which if which in CHOICES else CHOICES[0]
    query = query.replace("\x00", "").strip()[:MAX_QUERY]
    found: QuerySet[Example] = project.examples.for_training()
    if which == "random" or (not query and which == "search"):
        found = project.examples.for_training() | project.examples.pool()
    elif which == "search":
        texts = matching(project, Filters(q=query))
        found = texts.filter(pk__in=(project.examples.for_training() | project.examples.pool()).values("pk"))
    ids = found.order_by("order", "id").values_list("pk", flat=True)
    start = page * N_SHOWN
    rows = list(ids[start : start + N_SHOWN])
    if not rows and page:
        return Shown(which, 0, list(ids[:N_SHOWN]), query)
    return Shown(which, page, rows, query)
