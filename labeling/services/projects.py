"""Projects: made, filled with the sample, deleted with everything that belongs to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils.translation import gettext as _

from labeling.models import (
    Annotation,
    Comment,
    Example,
    ExampleLabel,
    GuidelineVersion,
    Job,
    JobEvent,
    Label,
    LabelWord,
    Lease,
    Membership,
    Prediction,
    Project,
    PromptTemplate,
    Rule,
    Suspect,
    WeakLabel,
)
from labeling.models.labels import DEFAULT_TEMPLATE
from labeling.models.projects import Role
from labeling.services import embeddings, scores, text_index
from labeling.services.imports import import_now
from labeling.services.uploads import imports_folder
from labeling.services.words_file import merge_words

SAMPLE_FOLDER = Path(__file__).resolve().parent.parent / "sample"
SAMPLE_TEMPLATE = "以下是一条{mask}新闻。{text}"
DELETE_ROWS = 2_000

_before_deletion: list[Callable[[Project], None]] = []


class ProjectRefused(Exception):
    """The project cannot be made or deleted now; the message is for the page."""


def register_deletion(function: Callable[[Project], None]) -> None:
    """Call `function(project)` before a project's rows go: other rooms remove their rows and files there."""
    if function not in _before_deletion:
        _before_deletion.append(function)


def create_project(*, user: Any, name: str, template: str = DEFAULT_TEMPLATE, **values: Any) -> Project:
    """A project owned by `user`, with the first version of its prompt. Raises ProjectRefused for a bad name."""
    name = " ".join(name.split())
    longest = Project._meta.get_field("name").max_length or 0
    if not name or len(name) > longest:
        raise ProjectRefused(_("项目名不能为空，最多 %(longest)d 个字。") % {"longest": longest})
    with transaction.atomic():
        project = Project.objects.create(name=name, created_by=user, **values)
        Membership.objects.create(project=project, user=user, role=Role.OWNER)
        PromptTemplate.objects.create(project=project, version=1, text=template, created_by=user)
        if project.guidelines:
            GuidelineVersion.objects.create(
                project=project, version=1, text=project.guidelines, created_by=user
            )
    return project


def open_sample(*, user: Any) -> Project:
    """The sample project of `user`: the one that there is, or a new one through the ordinary import."""
    mine = (
        Project.objects.filter(is_sample=True, created_by=user, memberships__user=user).order_by("pk").first()
    )
    if mine is not None and mine.examples.exists():
        return mine
    project = mine or create_project(
        user=user,
        name=_("示例：新闻标题"),
        template=SAMPLE_TEMPLATE,
        guidelines=(SAMPLE_FOLDER / "guidelines.md").read_text("utf-8"),
        is_sample=True,
    )
    with (SAMPLE_FOLDER / "label.txt").open("rb") as file:
        merge_words(project=project, file=file)
    import_now(
        project=project, user=user, path=SAMPLE_FOLDER / "headlines.tsv", options={"add_labels": False}
    )
    return project


def delete_project(*, project: Project) -> None:
    """Remove the project, its rows in short transactions and its files. Cannot be taken back.

    Interrupted, it may be called again. Raises ProjectRefused while one of its jobs is still stopping."""
    for job in Job.objects.filter(project=project).active():
        job.request_cancel()
    if Job.objects.filter(project=project).running().exists():
        raise ProjectRefused(_("这个项目还有任务在运行，已要求它停止。请过几秒再删除。"))
    _delete_in_chunks(Prediction.objects.filter(project=project))
    for function in _before_deletion:
        function(project)
    of_project: list[models.QuerySet[Any]] = [
        Suspect.objects.filter(project=project),
        # The newest first: an undo points to the decision before it.
        Annotation.objects.filter(project=project),
        Lease.objects.filter(project=project),
        Comment.objects.filter(project=project),
        ExampleLabel.objects.filter(example__project=project),
        WeakLabel.objects.filter(project=project),
        Rule.objects.filter(project=project),
        Example.objects.filter(project=project),
        LabelWord.objects.filter(label__project=project),
        Label.objects.filter(project=project),
        JobEvent.objects.filter(job__project=project),
    ]
    folders = _import_folders(project) | {scores.folder_of(project.pk), embeddings.folder_of(project.pk)}
    for rows in of_project:
        _delete_in_chunks(rows)
    with transaction.atomic():
        project.delete()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _delete_in_chunks(rows: models.QuerySet[Any]) -> None:
    while True:
        keys = list(rows.order_by("-pk").values_list("pk", flat=True)[:DELETE_ROWS])
        if not keys:
            return
        with transaction.atomic():
            if rows.model is Example:
                text_index.remove_texts(
                    Example.objects.filter(pk__in=keys).values_list("pk", "project_id", "text")
                )
            # Without the collector, which would load each row: what refers to these rows is gone already.
            chunk = rows.model._base_manager.filter(pk__in=keys)
            chunk._raw_delete(chunk.db)


def _import_folders(project: Project) -> set[Path]:
    home, root = Path(settings.WANXING_HOME), imports_folder()
    folders = set()
    for paths in project.imports.values_list("path", "report_path"):
        for path in (home / name for name in paths if name):
            if path.is_relative_to(root):
                folders.add(root / path.relative_to(root).parts[0])
    for about in root.glob("*/upload.json"):
        if json.loads(about.read_text("utf-8")).get("project") == project.pk:
            folders.add(about.parent)
    return folders
