"""What happened to texts: every change, for the people who may read it, and the whole log as a file.

Nothing is derived here that is not in the events: they are appended and never changed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_lazy as _

from labeling.files.columns import escape_formula
from labeling.models import Annotation, Label, Project
from labeling.models.annotations import Action, Source
from labeling.services.fold import labels_of

PAGE_ROWS = 2_000

ACTIONS = {
    Action.LABEL: _("标注"),
    Action.NONE: _("都不合适"),
    Action.SKIP: _("跳过"),
    Action.CLEAR: _("去掉标签"),
    Action.UNDO: _("撤销"),
    Action.FLAG: _("标记"),
    Action.UNFLAG: _("取消标记"),
}
SOURCES = {
    Source.BLIND: _("没有看建议"),
    Source.SUGGESTION: _("看着建议"),
    Source.REVIEW: _("复查"),
    Source.IMPORT: _("随文件导入"),
    Source.BULK: _("批量"),
    Source.ADJUDICATION: _("裁决"),
}

LOG_HEADER = (
    "id", "time_utc", "text_id", "text", "split", "person", "action", "from", "to", "source", "seconds", "reason",
    "suggestion_shown", "suggested", "suggestion_probability", "suggestion_source", "guideline_version",
    "undoes", "undone", "bulk_id",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Change:
    """One event of a text with its labels looked up. `struck`: taken back since."""

    event: Annotation
    before: Label | None
    after: list[Label]
    suggested: list[Label]
    struck: bool

    @property
    def action(self) -> Any:
        return ACTIONS.get(Action(self.event.action), self.event.action)

    @property
    def source(self) -> Any:
        return SOURCES.get(Source(self.event.source), self.event.source)

    @property
    def suggestion_shown(self) -> bool:
        return self.event.suggestion_probability is not None or bool(self.suggested)


def changes_of(*, project: Project, example_id: int) -> list[Change]:
    """Every event of one text, oldest first."""
    events = list(
        Annotation.objects.filter(project=project, example_id=example_id)
        .select_related("user", "undoes", "undoes__label")
        .order_by("id")
    )
    labels = project.labels.in_bulk()
    struck = {event.undoes_id for event in events if event.undoes_id}
    return [
        Change(
            event=event,
            before=labels.get(event.previous_label_id or 0),
            after=_those(labels, labels_of(event)),
            suggested=_those(labels, event.suggested_labels or _one(event.suggested_label_id)),
            struck=event.pk in struck,
        )
        for event in events
    ]


def iter_log(*, project: Project) -> Iterator[bytes]:
    """Every event of the project as CSV with BOM, oldest first, read in pages; formulas escaped."""
    yield (",".join(LOG_HEADER) + "\r\n").encode("utf-8-sig")
    names = dict(project.labels.values_list("pk", "name"))
    undone = Exists(Annotation.objects.filter(undoes=OuterRef("pk")))
    last = 0
    while True:
        page = list(
            Annotation.objects.filter(project=project, pk__gt=last)
            .annotate(is_undone=undone)
            .select_related("user", "example")
            .order_by("pk")[:PAGE_ROWS]
        )
        if not page:
            return
        last = page[-1].pk
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(_row(event, names) for event in page)
        yield text.getvalue().encode()


def _row(event: Any, names: dict[int, str]) -> list[Any]:
    suggested = event.suggested_labels or _one(event.suggested_label_id)
    cells = [
        event.pk,
        event.created_at.astimezone(UTC).isoformat(timespec="seconds"),
        event.example_id,
        event.example.text,
        event.example.split,
        event.user.get_username() if event.user else "",
        event.action,
        names.get(event.previous_label_id, ""),
        "|".join(names.get(one, "") for one in labels_of(event)),
        event.source,
        "" if event.seconds is None else event.seconds,
        event.reason,
        int(event.suggestion_probability is not None or bool(suggested)),
        "|".join(names.get(one, "") for one in suggested),
        "" if event.suggestion_probability is None else round(event.suggestion_probability, 4),
        event.suggestion_source,
        event.guideline_version or "",
        event.undoes_id or "",
        int(event.is_undone),
        event.bulk_id or "",
    ]
    return [escape_formula(cell) if isinstance(cell, str) else cell for cell in cells]


def _those(labels: dict[int, Label], ids: Sequence[int]) -> list[Label]:
    return [labels[one] for one in ids if one in labels]


def _one(label_id: int | None) -> list[int]:
    return [label_id] if label_id else []
