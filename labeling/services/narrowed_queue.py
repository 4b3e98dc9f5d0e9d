"""The queue narrowed to a search: open texts that a search with its filters lets through, in the search's order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from django.http import QueryDict

from labeling.models import Project
from labeling.models.texts import Status
from labeling.services import search
from labeling.services.filters import Choices, Filters

STEP = 256


def open_ids(project: Project, query: str) -> Iterator[list[int]]:
    """Ids of open texts that `query` (as a shared address or a saved view keeps it) lets through, list by list.

    Filters that the project does not know any more are left out. Where a model's answer or a rule narrows or orders,
    texts of dev and test are left out: a model must not choose them. Nothing where the search wants texts of
    another status."""
    filters = Filters.of(QueryDict(query[:4_000]), Choices.of(project))
    if filters.status not in ("", Status.OPEN):
        return iter(())
    # "Decided last" lists decided texts alone.
    sort = "" if filters.sort == "decided" else filters.sort
    filters = dataclasses.replace(filters, status=Status.OPEN, sort=sort)
    return search.iter_ids(project, filters, step=STEP, in_order=True, learnable=filters.by_model)
