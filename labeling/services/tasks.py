"""How many labels a text may have: chosen for a project, changed only where no decision loses its meaning."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Count, Q
from django.utils.translation import gettext as _

from labeling.models import ExampleLabel, Project
from labeling.models.projects import Task
from labeling.models.texts import Status

CHUNK_ROWS = 2_000


class TaskRefused(Exception):
    """The project keeps its task; the message is for the page."""


def in_the_way(project: Project) -> int:
    """Decided texts that have not exactly one label: they stand in the way of one label a text."""
    if project.task != Task.MULTI_LABEL:
        return 0
    counted = project.examples.filter(status=Status.LABELLED).annotate(n=Count("label_rows"))
    return counted.filter(~Q(n=1)).count()


def change_task(*, project: Project, task: str) -> int:
    """Give the project another task; returns how many decided texts were carried over.

    One label becomes a set of one. The other way, each decided text must have exactly one label. Decisions are not
    touched: their events mean the same in both. Raises TaskRefused, also while a model is being trained."""
    if task not in Task.values:
        raise TaskRefused(_("没有这样的选择。"))
    with transaction.atomic():
        held = Project.objects.select_for_update().get(pk=project.pk)
        if held.task == task:
            return 0
        if held.jobs.filter(kind__in=["train", "import"]).active().exists():
            raise TaskRefused(_("训练或导入还在进行，等它结束再改。"))
        if task == Task.SINGLE and (n := in_the_way(held)):
            raise TaskRefused(
                _(
                    "有 %(n)d 条文本的标签不是刚好一个（有几个，或者都不合适）。先把它们改成一个标签，再换回来。"
                )
                % {"n": n}
            )
        moved = _write_rows(held) if task == Task.MULTI_LABEL else 0
        if task == Task.SINGLE:
            moved = ExampleLabel.objects.filter(example__project=held).count()
            ExampleLabel.objects.filter(example__project=held).delete()
        Project.objects.filter(pk=held.pk).update(task=task)
    project.task = task
    return moved


def _write_rows(project: Project) -> int:
    """A row for the one label of each text."""
    rows = project.examples.filter(label__isnull=False).order_by("pk").values_list("pk", "label_id")
    new = (ExampleLabel(example_id=pk, label_id=label_id) for pk, label_id in rows.iterator(CHUNK_ROWS))
    return len(ExampleLabel.objects.bulk_create(new, batch_size=CHUNK_ROWS))
