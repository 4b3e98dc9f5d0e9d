"""Label words as people type them, and the versions of the prompt that asks for them.

What is wrong with a template only the engine knows, and this room does not import it: `training` registers the
function that checks one when Django starts.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from labeling.models import Project, PromptTemplate
from labeling.models.labels import TEMPLATE_LENGTH, WORD_LENGTH
from labeling.services.prompt_changes import prompt_changed

MAX_WORDS = 20
# People part words by commas of either width, or by blanks.
_PARTING = re.compile(r"[,，、;；\s]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_BRACED_OR_ONE = re.compile(r"\{[^{}]*\}|.", re.DOTALL)

TemplateCheck = Callable[[str], str]
_template_check: TemplateCheck | None = None


class WordsRefusedInForm(Exception):
    """The words cannot be stored as typed; the message is for the page."""


class TemplateRefused(Exception):
    """The template cannot be used; the message is for the page and names the place."""


def register_template_check(function: TemplateCheck) -> None:
    """Set the function `(template) → what is wrong with it, or ""`, in the page's language."""
    global _template_check
    _template_check = function


def parse_words(typed: str) -> list[str]:
    """The words in `typed`, in order, each once. Raises WordsRefusedInForm."""
    words = list(dict.fromkeys(word for word in _PARTING.split(typed) if word))
    for word in words:
        if len(word) > WORD_LENGTH:
            raise WordsRefusedInForm(
                _("标签词“%(word)s…”超过 %(n)d 个字") % {"word": word[:10], "n": WORD_LENGTH}
            )
        if _CONTROL.search(word) or "{" in word or "}" in word or "==" in word:
            raise WordsRefusedInForm(_("标签词“%(word)s”里有不能用的字符") % {"word": word[:20]})
    if len(words) > MAX_WORDS:
        raise WordsRefusedInForm(_("一个标签最多 %(n)d 个词") % {"n": MAX_WORDS})
    return words


def join_words(words: Sequence[str]) -> str:
    """The words as the form shows them."""
    return _("，").join(words)


def present_template(project: Project) -> PromptTemplate | None:
    """The newest version of the prompt."""
    return project.templates.first()


def clean_template(text: str) -> str:
    """The template, trimmed. Raises TemplateRefused for one that cannot be used."""
    text = text.strip()
    if not text:
        raise TemplateRefused(_("提示模板是空的。至少要有 {text} 和 {mask}。"))
    if len(text) > TEMPLATE_LENGTH:
        raise TemplateRefused(_("提示模板最多 %(n)d 个字符。") % {"n": TEMPLATE_LENGTH})
    if "\x00" in text:
        raise TemplateRefused(_("提示模板里有 NUL 字符。"))
    problem = _template_check(text) if _template_check else ""
    if problem:
        raise TemplateRefused(problem)
    return text


def save_template(*, project: Project, user: Any, text: str) -> PromptTemplate:
    """The prompt as `text`: a new version, or the present one where nothing changed. Raises TemplateRefused."""
    text = clean_template(text)
    for _attempt in range(3):
        present = present_template(project)
        if present is not None and present.text == text:
            return present
        try:
            with transaction.atomic():
                prompt_changed(project.pk)
                return PromptTemplate.objects.create(
                    project=project,
                    version=present.version + 1 if present else 1,
                    text=text,
                    created_by=user,
                )
        except IntegrityError:
            continue  # somebody saved the same version number at the same moment
    raise TemplateRefused(_("有人同时在改提示模板，请再保存一次。"))


def restore_template(*, project: Project, user: Any, version: int) -> PromptTemplate:
    """An earlier version as the newest one. Raises TemplateRefused for one that does not exist."""
    earlier = project.templates.filter(version=version).first()
    if earlier is None:
        raise TemplateRefused(_("没有这个版本。"))
    return save_template(project=project, user=user, text=earlier.text)


@dataclasses.dataclass(frozen=True)
class Change:
    """A stretch of a template against the version before it: kind is same, added or removed."""

    kind: str
    text: str


def template_changes(before: str, after: str) -> list[Change]:
    """What `after` took over from `before`, added and removed, in reading order. A {…} is one piece."""
    old, new = _BRACED_OR_ONE.findall(before), _BRACED_OR_ONE.findall(after)
    changes = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            changes.append(Change("same", "".join(old[a:b])))
            continue
        if b > a:
            changes.append(Change("removed", "".join(old[a:b])))
        if d > c:
            changes.append(Change("added", "".join(new[c:d])))
    return changes


def template_versions(project: Project, limit: int = 20) -> list[tuple[PromptTemplate, list[Change]]]:
    """The newest versions, newest first, each with what it changed; the very first one changed nothing."""
    found = list(project.templates.select_related("created_by")[: limit + 1])
    rows = [(now, template_changes(before.text, now.text)) for now, before in itertools.pairwise(found)]
    if found and len(found) <= limit:
        rows.append((found[-1], [Change("same", found[-1].text)]))
    return rows
