"""Versions of a project's guidelines: added, never changed, compared line by line."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from labeling.models import GuidelineVersion, Membership, Project

CONTEXT_LINES = 2


class GuidelinesChanged(Exception):
    """Somebody else saved a version meanwhile: `newest` is theirs, nothing was saved."""

    def __init__(self, newest: GuidelineVersion | None) -> None:
        self.newest = newest
        super().__init__(_("你编辑的时候，别人保存了新的一版。你的文字还在下面，请对照着改好再保存。"))


@dataclass(frozen=True)
class Line:
    """One line of a comparison: `kind` is same, added, removed or skipped (a gap between changes)."""

    kind: str
    text: str


def newest_version(project: Project) -> int:
    """The number of the present version; 0 where nothing was ever written."""
    return project.guideline_versions.aggregate(newest=Max("version"))["newest"] or 0


def save_guidelines(*, project: Project, user: Any, text: str, based_on: int) -> GuidelineVersion | None:
    """Add a version and make it the present one; None where the text is the present one already.

    `based_on` is the version that the editor began with. Raises GuidelinesChanged when there is a newer one."""
    text = text.replace("\r\n", "\n").replace("\x00", "").rstrip()
    try:
        with transaction.atomic():
            held = Project.objects.select_for_update().get(pk=project.pk)
            if text == held.guidelines.replace("\r\n", "\n").rstrip():
                return None
            newest = newest_version(project)
            if newest != based_on:
                raise GuidelinesChanged(project.guideline_versions.first())
            version = GuidelineVersion.objects.create(
                project=project, version=newest + 1, text=text, created_by=user
            )
            Project.objects.filter(pk=project.pk).update(guidelines=text)
    except IntegrityError:
        raise GuidelinesChanged(project.guideline_versions.first()) from None
    project.guidelines = text
    # Who wrote it has seen it.
    mark_seen(project=project, user=user, version=version.version)
    return version


def mark_seen(*, project: Project, user: Any, version: int) -> None:
    """Remember that `user` has had this version in view; an older one changes nothing."""
    version = min(version, newest_version(project))
    Membership.objects.filter(project=project, user=user, seen_guidelines__lt=version).update(
        seen_guidelines=version
    )


def compare(old: str, new: str) -> list[Line]:
    """What changed from `old` to `new`, with a few lines around each change."""
    before, after = old.splitlines(), new.splitlines()
    lines: list[Line] = []
    groups = difflib.SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT_LINES)
    end = 0
    for group in groups:
        if group[0][1] > end or lines:
            lines.append(Line("skipped", ""))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                lines += [Line("same", text) for text in before[i1:i2]]
                continue
            lines += [Line("removed", text) for text in before[i1:i2]]
            lines += [Line("added", text) for text in after[j1:j2]]
        end = group[-1][2]
    if end and end < len(before):
        lines.append(Line("skipped", ""))
    return lines


def changes_since(project: Project, version: int) -> list[Line]:
    """The comparison of `version` with the present guidelines; empty where nothing was seen before."""
    earlier = project.guideline_versions.filter(version=version).first()
    return [] if earlier is None else compare(earlier.text, project.guidelines)
