"""The project's labels: added, edited together, moved, and deleted without losing what texts carry.

`position` is the class id's order everywhere. A label that decisions refer to is archived, not deleted: the events
keep their meaning, and its name and key become free.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.files.label_file import split_label
from labeling.models import Annotation, Example, Label, Prediction, Project
from labeling.models.annotations import Action, Source
from labeling.models.labels import NAME_LENGTH, PALETTE
from labeling.models.projects import Task
from labeling.services import overlap
from labeling.services.new_labels import KEYS, MAX_LABELS, add_label, set_words
from labeling.services.prompt_changes import prompt_changed
from labeling.services.states import keep_again, label_ids_of
from labeling.services.words import WordsRefusedInForm, parse_words

CHUNK_ROWS = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


class LabelRefused(Exception):
    """The change was not made; the message is for the page."""


class LabelInUse(LabelRefused):
    """Texts carry the label: `n_texts` of them have to go to another one first."""

    def __init__(self, n_texts: int) -> None:
        self.n_texts = n_texts
        super().__init__(_("还有 %(n)d 条文本带着这个标签。请选一个标签接收它们，再删除。") % {"n": n_texts})


@dataclasses.dataclass(frozen=True)
class LabelEdit:
    """What a person typed for one label."""

    label_id: int
    name: str
    words: str
    color: str
    key: str


@dataclasses.dataclass
class Added:
    """What came of lines typed into the box; `refused` are (line number, line, reason)."""

    labels: list[Label] = dataclasses.field(default_factory=list)
    changed: list[Label] = dataclasses.field(default_factory=list)
    refused: list[tuple[int, str, str]] = dataclasses.field(default_factory=list)


def present_labels(project: Project) -> list[Label]:
    """The labels in class-id order with their words, each with `n_texts`; archived ones left out."""
    return list(
        project.labels.filter(archived_at__isnull=True)
        .prefetch_related("words")
        .annotate(n_texts=Count("example_rows" if project.task == Task.MULTI_LABEL else "examples"))
        .order_by("position", "id")  # Meta.ordering does not reach a query that groups
    )


def free_keys(project: Project) -> list[str]:
    """Keys that a label may still get, in the order in which they are given."""
    taken = set(project.labels.exclude(key="").values_list("key", flat=True))
    return [key for key in KEYS if key not in taken]


def add_labels(*, project: Project, lines: str) -> Added:
    """Add the labels of `lines`, `label` or `label==word` one a line; a line of a label that is there adds its word.

    Good lines are taken even where others are refused."""
    added = Added()
    with transaction.atomic():
        held = {label.name: label for label in project.labels.filter(archived_at__isnull=True)}
        for number, line in enumerate(lines.splitlines(), 1):
            if not line.strip():
                continue
            name, word, _misprint = split_label(line)
            try:
                name, words = clean_name(name), parse_words(word)
                if name in held:
                    label = held[name]
                    before = [one.text for one in label.words.all()]
                    if not [one for one in words if one not in before]:
                        raise LabelRefused(_("标签已经有了"))
                    set_words(label=label, words=[*before, *words])
                    if label not in added.labels:
                        added.changed.append(label)
                    continue
                if len(held) >= MAX_LABELS:
                    raise LabelRefused(_("标签已达上限（%(labels)d 个）") % {"labels": MAX_LABELS})
            except (LabelRefused, WordsRefusedInForm) as error:
                added.refused.append((number, line.strip(), str(error)))
                continue
            held[name] = add_label(project=project, name=name, words=words)
            added.labels.append(held[name])
    prompt_changed(project.pk)
    return added


def edit_labels(*, project: Project, edits: list[LabelEdit]) -> dict[tuple[int, str], str]:
    """Store what was typed for all labels together, or nothing; return what is wrong, by (label id, field).

    Names and keys may be swapped among the labels. Labels deleted meanwhile are left aside."""
    errors: dict[tuple[int, str], str] = {}
    with transaction.atomic():
        labels = {
            label.pk: label
            for label in project.labels.select_for_update().filter(
                archived_at__isnull=True, pk__in=[edit.label_id for edit in edits]
            )
        }
        others = project.labels.exclude(pk__in=labels)
        names = dict.fromkeys(others.values_list("name", flat=True), 0)
        keys = dict.fromkeys(others.exclude(key="").values_list("key", flat=True), 0)
        typed: list[tuple[Label, list[str]]] = []
        for edit in edits:
            label = labels.get(edit.label_id)
            if label is None:
                continue
            words: list[str] = []
            try:
                label.name = clean_name(edit.name)
                if label.name in names:
                    raise LabelRefused(_("已有同名的标签"))
                names[label.name] = label.pk
            except LabelRefused as error:
                errors[(label.pk, "name")] = str(error)
            try:
                words = parse_words(edit.words)
            except WordsRefusedInForm as error:
                errors[(label.pk, "words")] = str(error)
            label.key = edit.key.strip().lower()
            if label.key and (len(label.key) != 1 or label.key not in KEYS):
                errors[(label.pk, "key")] = _("快捷键是一个数字或字母；F 和 C 另有用处")
            elif label.key and label.key in keys:
                errors[(label.pk, "key")] = _("这个键已给了别的标签")
            keys[label.key] = label.pk
            keys.pop("", None)
            if edit.color not in PALETTE and edit.color != label.color:
                errors[(label.pk, "color")] = _("请从调色板里选")
            label.color = edit.color
            typed.append((label, words))
        if errors:
            return errors
        # Two labels that swap names or keys would meet for a moment.
        for label, _words in typed:
            Label.objects.filter(pk=label.pk).update(name=f"=={label.pk}", key="")
        for label, words in typed:
            label.save(update_fields=["name", "color", "key"])
            if [word.text for word in label.words.all()] != words:
                set_words(label=label, words=words)
        prompt_changed(project.pk)
    return {}


def reorder_labels(*, project: Project, order: list[int]) -> None:
    """Put the labels into the order of these ids; labels not named keep their order after them."""
    with transaction.atomic():
        labels = list(project.labels.select_for_update().filter(archived_at__isnull=True))
        rank = {pk: at for at, pk in enumerate(order)}
        labels.sort(key=lambda label: (rank.get(label.pk, len(rank)), label.position, label.pk))
        for position, label in enumerate(labels):
            label.position = position
        Label.objects.bulk_update(labels, ["position"])


def move_label(*, project: Project, label_id: int, by: int) -> None:
    """Move a label up (`by` -1) or down (+1) one place."""
    order = list(project.labels.filter(archived_at__isnull=True).values_list("pk", flat=True))
    if label_id not in order:
        return
    at = order.index(label_id)
    to = min(max(at + by, 0), len(order) - 1)
    order.insert(to, order.pop(at))
    reorder_labels(project=project, order=order)


def delete_label(*, project: Project, user: Any, label_id: int, move_to_id: int | None = None) -> int:
    """Delete a label; texts that carry it go to `move_to_id` first. Returns how many went.

    The texts move in chunks, each with its event, so that labelling goes on meanwhile. Raises LabelInUse when there
    are texts and no other label to take them, LabelRefused for an unknown label."""
    label = project.labels.filter(pk=label_id, archived_at__isnull=True).first()
    if label is None:
        raise LabelRefused(_("这个标签已经不在了。"))
    target = None
    if move_to_id is not None:
        target = project.labels.filter(pk=move_to_id, archived_at__isnull=True).exclude(pk=label_id).first()
        if target is None:
            raise LabelRefused(_("接收文本的标签已经不在了，请重选。"))
    moved = 0
    while target is not None:
        with transaction.atomic():
            n = _move_chunk(project=project, user=user, label=label, target=target)
        moved += n
        if n < CHUNK_ROWS:
            break
    with transaction.atomic():
        # Who is deciding for this label right now finishes first, or finds it gone.
        label = Label.objects.select_for_update().get(pk=label.pk)
        while target is not None and (
            n := _move_chunk(project=project, user=user, label=label, target=target)
        ):
            moved += n
        n_texts = _carrying(project, label).count()
        if n_texts:
            raise LabelInUse(n_texts)
        given = Annotation.objects.filter(label=label) if project.overlap > 1 else Annotation.objects.none()
        waiting = list(
            given.filter(example__label__isnull=True).values_list("example_id", flat=True).distinct()
        )
        _remove(label)
    if waiting:
        # Where several people decide each text, an opinion for this label is none any more: its person is asked again.
        overlap.rederive(project=project, example_ids=waiting)
    prompt_changed(project.pk)
    return moved


def clean_name(name: str) -> str:
    """The name, trimmed. Raises LabelRefused for an empty, long or unprintable one."""
    name = name.strip(" \t\u3000\xa0\ufeff")
    if not name:
        raise LabelRefused(_("标签要有名称"))
    if len(name) > NAME_LENGTH:
        raise LabelRefused(_("标签名最多 %(n)d 个字") % {"n": NAME_LENGTH})
    if _CONTROL.search(name) or "==" in name:
        raise LabelRefused(_("标签名里不能有换行、制表符或 =="))
    return name


def _carrying(project: Project, label: Label) -> QuerySet[Example]:
    """The texts that carry `label`, alone or among others."""
    if project.task == Task.MULTI_LABEL:
        return project.examples.filter(label_rows__label=label)
    return project.examples.filter(label=label)


def _move_chunk(*, project: Project, user: Any, label: Label, target: Label) -> int:
    """Give up to CHUNK_ROWS texts of `label` to `target`, each with an event."""
    examples = list(_carrying(project, label).select_for_update(of=("self",)).order_by("pk")[:CHUNK_ROWS])
    held = label_ids_of(project=project, examples=examples)
    places = dict(project.labels.values_list("pk", "position"))
    several = project.task == Task.MULTI_LABEL
    events = []
    for example in examples:
        label_ids = sorted({target.pk, *held[example.pk]} - {label.pk}, key=lambda pk: (places[pk], pk))
        events.append(
            Annotation(
                project=project,
                example=example,
                user=user,
                action=Action.LABEL,
                label_id=label_ids[0],
                labels=label_ids if several else [],
                previous_label_id=example.label_id,
                source=Source.BULK,
            )
        )
    Annotation.objects.bulk_create(events)
    keep_again(project=project, examples=examples)
    return len(examples)


def _remove(label: Label) -> None:
    remembered = (
        Annotation.objects.filter(Q(label=label) | Q(previous_label=label)).exists()
        or Prediction.objects.filter(label=label).exists()
    )
    if not remembered:
        label.delete()
        return
    label.archived_at = timezone.now()
    label.key = ""
    label.name = _("%(name)s（已删除 %(number)d）") % {"name": label.name[:50], "number": label.pk}
    label.save(update_fields=["archived_at", "key", "name"])


def hold_labels(*, project: Project, label_ids: Sequence[int]) -> list[Label]:
    """Those of the labels that are there and not archived, in the labels' order; deleting one waits until this
    transaction has ended.

    PostgreSQL: a share of the rows' locks, which `delete_label` excludes and other decisions do not."""
    if not label_ids:
        return []
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT 1 FROM {Label._meta.db_table} WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE",  # noqa: S608
                [list(label_ids)],
            )
    return list(project.labels.filter(pk__in=label_ids, archived_at__isnull=True))
