"""The published recipe's `label==word` file, into a project and out of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import BinaryIO

from django.db import transaction
from django.utils.translation import gettext as _

from labeling.files import FileRefused, Warned
from labeling.files.label_file import read_label_file, write_label_file
from labeling.models import Project
from labeling.services.import_words import file_text
from labeling.services.new_labels import MAX_LABELS, add_label, set_words
from labeling.services.prompt_changes import prompt_changed

MAX_BYTES = 1024 * 1024


class WordsRefused(Exception):
    """The file was not taken, and nothing was changed; the message is for the page."""


@dataclass(slots=True)
class WordsReport:
    """Names of labels, by what became of them. `untouched` stand in the project and not in the file."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)


def merge_words(*, project: Project, file: BinaryIO) -> WordsReport:
    """Add the file's labels that the project lacks and give the others the file's words; all, or nothing.

    A label that stands in the file without words keeps its own. No label is ever removed. Raises WordsRefused."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise WordsRefused(_("标签文件超过 1 MB，这不像是 label.txt。"))
    try:
        specs, warnings = read_label_file(lambda: io.BytesIO(data))
    except FileRefused as error:
        raise WordsRefused(file_text(error)) from error
    report = WordsReport(warnings=warnings)
    with transaction.atomic():
        held = {label.name: label for label in project.labels.prefetch_related("words")}
        for spec in specs:
            label = held.pop(spec.name, None)
            if label is None:
                if project.labels.count() >= MAX_LABELS:
                    raise WordsRefused(_("标签已达上限（%(labels)d 个）") % {"labels": MAX_LABELS})
                add_label(project=project, name=spec.name, words=spec.words)
                report.added.append(spec.name)
            elif spec.words and [word.text for word in label.words.all()] != list(spec.words):
                set_words(label=label, words=spec.words)
                report.changed.append(spec.name)
            else:
                report.same.append(spec.name)
        report.untouched = list(held)
        prompt_changed(project.pk)
    return report


def words_file(*, project: Project) -> bytes:
    """The project's label.txt in class-id order, archived labels left out."""
    labels = project.labels.filter(archived_at__isnull=True).prefetch_related("words")
    return write_label_file((label.name, [word.text for word in label.words.all()]) for label in labels)
