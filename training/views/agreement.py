"""How far people agree, and the texts about which they do not."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from labeling.models.projects import Project
from labeling.permissions import project_for
from labeling.services import adjudication, opinions
from training.services.agreement import Agreement, agreement_of

PAGE_ROWS = 50
MATRIX_LABELS = 30


@require_GET
def agreement(request: HttpRequest, project_id: int) -> HttpResponse:
    """Figures with intervals, per label, and who differs from whom on what; a cell opens its texts."""
    project = project_for(request, project_id, "read")
    figures = agreement_of(project)
    context = {"project": project, "section": "quality", "tab": "agreement", "figures": figures}
    if figures is not None:
        context |= {"pair_rows": _pair_rows(figures), "label_rows": _label_rows(figures)}
    return render(request, "training/agreement.html", context)


@require_GET
def disagreements(request: HttpRequest, project_id: int) -> HttpResponse:
    """The texts behind a cell: `?people=A,B`, `?labels=X,Y`, or all about which anybody differs."""
    project = project_for(request, project_id, "read")
    table = opinions.opinions_of(project)
    people, labels = _two(request.GET.get("people")), _two(request.GET.get("labels"))
    ids = opinions.differing(table, people=people, labels=labels)
    page = Paginator(ids, PAGE_ROWS).get_page(request.GET.get("page"))
    examples = project.examples.select_related("label").in_bulk(list(page.object_list))
    rows = [
        (examples[pk], adjudication.said_of(project=project, example=examples[pk]))
        for pk in page.object_list
        if pk in examples
    ]
    context = {
        "project": project,
        "section": "quality",
        "tab": "agreement",
        "rows": rows,
        "page": page,
        "n": len(ids),
        "query": _query(people, labels),
        "people": [user for user in table.people if people and user.pk in people],
        "labels": _labels(project, labels),
    }
    return render(request, "training/disagreements.html", context)


def _pair_rows(figures: Agreement) -> list[tuple[object, list[tuple[object, object]]]]:
    return [
        (user, list(zip(figures.people, figures.pairs[row], strict=True)))
        for row, user in enumerate(figures.people)
    ]


def _label_rows(figures: Agreement) -> list[tuple[object, list[tuple[object, int, int]]]]:
    """Rows of (label, [(other label, texts, shade 0 to 3)]): the labels that differ most, in their order."""
    most = max(figures.most_on, 1)
    sums = [sum(row) for row in figures.on]
    shown = sorted(sorted(range(len(sums)), key=lambda row: -sums[row])[:MATRIX_LABELS])
    shown = [row for row in shown if sums[row]]
    return [
        (
            figures.labels[row],
            [
                (figures.labels[column], n, 0 if not n else 1 + (3 * n > most) + (3 * n > 2 * most))
                for column in shown
                for n in [figures.on[row][column]]
            ],
        )
        for row in shown
    ]


def _two(value: str | None) -> tuple[int, int] | None:
    """Two ids from an address, or None."""
    words = (value or "").split(",")
    if len(words) != 2 or not all(word.isascii() and word.isdecimal() and len(word) < 19 for word in words):
        return None
    return int(words[0]), int(words[1])


def _query(people: tuple[int, int] | None, labels: tuple[int, int] | None) -> str:
    """The part of the address that names the cell."""
    if people:
        return f"people={people[0]},{people[1]}"
    return f"labels={labels[0]},{labels[1]}" if labels else ""


def _labels(project: Project, labels: tuple[int, int] | None) -> list[object]:
    return list(project.labels.filter(pk__in=labels)) if labels else []
