"""The labels of an import: those that the project has, those that come with the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from labeling.files import LabelSpec
from labeling.models import ImportBatch, Label
from labeling.models.projects import Task
from labeling.services.new_labels import MAX_LABELS, add_label, set_words

_COMMAS = re.compile("[,，]")


class LabelBook:
    """The project's labels by name, as an import sees them.

    `known` are the names in class-id order at the import's very start: what an integer label counts in."""

    def __init__(self, *, batch: ImportBatch, known: Sequence[str], closed: bool) -> None:
        self._project = batch.project
        self._known = tuple(known)
        self._closed = closed
        self._several = batch.project.task == Task.MULTI_LABEL
        self._ids: dict[str, int] = {}
        self._archived: set[str] = set()
        for pk, name, archived_at in batch.project.labels.values_list("pk", "name", "archived_at"):
            if archived_at is None:
                self._ids[name] = pk
            else:
                self._archived.add(name)

    def ids_of(self, label: str | int | tuple[str | int, ...]) -> tuple[int, ...] | str | None:
        """Ids in the labels' order, labels made at their first appearance; or the reason why the row is refused.

        Where a project allows several: a tuple, or names joined by commas. None: the row says nothing of labels."""
        if not self._several:
            if isinstance(label, tuple):
                return "several_labels" if label else None
            answer = self._id_of(label)
            return answer if isinstance(answer, str) else (answer,)
        found: set[int] = set()
        for part in self._parts(label):
            answer = self._id_of(part)
            if isinstance(answer, str):
                return answer
            found.add(answer)
        return tuple(pk for pk in self._ids.values() if pk in found)

    def _parts(self, label: str | int | tuple[str | int, ...]) -> Sequence[str | int]:
        """A label's name that has a comma in it is one label where the project knows it."""
        if isinstance(label, tuple):
            return label
        if isinstance(label, int) or label in self._ids:
            return [label]
        return [part for part in (piece.strip() for piece in _COMMAS.split(label)) if part]

    def _id_of(self, label: str | int) -> int | str:
        name = self._name_of(label)
        found = self._ids.get(name)
        if found is not None:
            return found
        parts = [part.strip() for part in name.split(",")]
        if not self._several and len(parts) > 1 and all(part in self._ids for part in parts):
            return "several_labels"
        if self._closed or name in self._archived:
            return "unknown_label"
        existing = self._project.labels.filter(name=name).values_list("pk", "archived_at").first()
        if existing is None:
            if len(self._ids) + len(self._archived) >= MAX_LABELS:
                return "too_many_labels"
            self._ids[name] = add_label(project=self._project, name=name).pk
        elif existing[1] is None:
            self._ids[name] = existing[0]
        else:
            return "unknown_label"
        return self._ids[name]

    def _name_of(self, label: str | int) -> str:
        if isinstance(label, str):
            return label
        if str(label) in self._ids or not 0 <= label < len(self._known):
            return str(label)
        return self._known[label]


def bring_labels(*, batch: ImportBatch, specs: Iterable[LabelSpec]) -> None:
    """The labels of a label.txt, in its order; labels that are there keep the words that they have."""
    held = {label.name: label for label in batch.project.labels.prefetch_related("words")}
    for spec in specs:
        label = held.get(spec.name)
        if label is None:
            if len(held) >= MAX_LABELS:
                return
            held[spec.name] = add_label(project=batch.project, name=spec.name, words=spec.words)
        elif spec.words and not label.words.all():
            set_words(label=label, words=spec.words)


def label_names(batch: ImportBatch) -> list[str]:
    """Names of the labels that are not archived, in class-id order."""
    return list(
        Label.objects.filter(project=batch.project, archived_at__isnull=True).values_list("name", flat=True)
    )
