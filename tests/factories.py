"""Plain functions that make the least that is valid. Each takes what the test cares about, as keywords."""

from __future__ import annotations

import itertools
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from labeling.models import (
    Annotation,
    Example,
    ImportBatch,
    Job,
    Label,
    LabelWord,
    Membership,
    Project,
    PromptTemplate,
)
from labeling.models.annotations import Action, Source
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.labels import DEFAULT_TEMPLATE, PALETTE
from labeling.models.projects import Role
from labeling.models.texts import Split, Status, text_hash
from labeling.services import text_index

PASSWORD = "a-long-enough-passphrase"
_numbers = itertools.count(1)


def make_user(username: str | None = None, **values: Any) -> Any:
    """A person who can sign in with PASSWORD."""
    return get_user_model().objects.create_user(
        username=username or f"user{next(_numbers)}", password=PASSWORD, **values
    )


def make_member(project: Project, role: str = Role.ANNOTATOR, user: Any = None) -> Any:
    """A person with `role` in `project`."""
    user = user or make_user()
    Membership.objects.create(project=project, user=user, role=role)
    return user


def make_project(
    owner: Any = None, *, name: str = "项目", template: str = DEFAULT_TEMPLATE, **values: Any
) -> Project:
    """A project with its owner and the first version of its prompt."""
    owner = owner or make_user()
    project = Project.objects.create(name=name, created_by=owner, **values)
    Membership.objects.create(project=project, user=owner, role=Role.OWNER)
    PromptTemplate.objects.create(project=project, version=1, text=template, created_by=owner)
    return project


def make_label(
    project: Project, name: str | None = None, *, words: tuple[str, ...] = (), **values: Any
) -> Label:
    """A label at the end of the project's list, with the next colour and digit."""
    position = project.labels.count()
    values.setdefault("color", PALETTE[position % len(PALETTE)])
    values.setdefault("key", "1234567890"[position] if position < 10 else "")
    values.setdefault("position", position)
    label = Label.objects.create(project=project, name=name or f"标签{position + 1}", **values)
    for number, word in enumerate(words):
        LabelWord.objects.create(label=label, text=word, position=number)
    return label


def make_example(
    project: Project,
    text: str | None = None,
    *,
    label: Label | None = None,
    split: str = Split.POOL,
    **values: Any,
) -> Example:
    """A text; with `label`, a labelled one (without an annotation: `make_annotation` appends one)."""
    text = text or f"第{next(_numbers)}条文本"
    values.setdefault("order", next(_numbers))
    if label is not None:
        values.setdefault("status", Status.LABELLED)
        values.setdefault("decided_at", timezone.now())
    example = Example.objects.create(
        project=project, text=text, text_hash=text_hash(text), label=label, split=split, **values
    )
    text_index.add_texts([(example.pk, project.pk, text)])
    return example


def make_annotation(example: Example, user: Any, label: Label | None = None, **values: Any) -> Annotation:
    """A decision, appended and carried over to the text as the labelling page would."""
    values.setdefault("action", Action.LABEL if label else Action.SKIP)
    values.setdefault("source", Source.BLIND)
    annotation = Annotation.objects.create(
        project=example.project,
        example=example,
        user=user,
        label=label,
        previous_label=example.label,
        **values,
    )
    example.label = label
    example.status = Status.LABELLED if label else Status.SKIPPED
    example.decided_at = annotation.created_at
    example.save(update_fields=["label", "status", "decided_at"])
    return annotation


def make_job(
    project: Project, kind: str = JobKind.IMPORT, *, status: str = JobStatus.QUEUED, **values: Any
) -> Job:
    """A job row in `status`; nothing is handed to a broker."""
    if status == JobStatus.RUNNING:
        values.setdefault("started_at", timezone.now())
        values.setdefault("heartbeat_at", timezone.now())
    values.setdefault("created_by", project.created_by)
    values.setdefault("queue", "data" if kind == JobKind.IMPORT else "train")
    return Job.objects.create(project=project, kind=kind, status=status, **values)


def make_import_batch(
    project: Project, *, path: str = "", job: Job | None = None, **values: Any
) -> ImportBatch:
    """An import of the file at `path` (below WANXING_HOME), with its job."""
    values.setdefault("filename", path.rsplit("/", 1)[-1] or "texts.txt")
    return ImportBatch.objects.create(
        project=project, path=path, job=job or make_job(project), created_by=project.created_by, **values
    )
