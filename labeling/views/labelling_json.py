"""What the labelling page and the server say to each other: texts on their way out, decisions on their way in."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from labeling.models import Example, Label, Project
from labeling.models.annotations import Action, Source
from labeling.services import annotate, comments
from labeling.services.new_labels import MAX_LABELS
from labeling.services.progress import Progress
from labeling.services.states import label_ids_of
from labeling.services.suggestions import suggestions_for

COMMENT = "comment"


def texts_json(
    *,
    project: Project,
    user: Any,
    examples: Iterable[Example],
    why: Mapping[int, str] | None = None,
    suggest: bool = True,
) -> list[dict[str, Any]]:
    """Texts as the page holds them: with their labels, a suggestion where one may be seen, and why they come next."""
    listed = list(examples)
    held = label_ids_of(project=project, examples=listed)
    suggestions = suggestions_for(project, user, listed) if suggest else {}
    found = []
    for example in listed:
        suggestion = suggestions.get(example.pk)
        found.append(
            {
                "id": example.pk,
                "text": example.text,
                "labels": held[example.pk],
                "status": example.status,
                "flagged": example.flagged,
                "comments": example.n_comments,
                "suggestion": suggestion.as_json() if suggestion else None,
                "why": (why or {}).get(example.pk, ""),
            }
        )
    return found


def labels_json(labels: Iterable[Label], keys: Mapping[int, str]) -> list[dict[str, Any]]:
    """Labels as the page holds them, with the key of this person and the words by which they are found."""
    return [
        {
            "id": label.pk,
            "name": label.name,
            "color": label.color,
            "key": keys.get(label.pk, ""),
            "shared": label.key,
            "words": label.word_texts,
        }
        for label in labels
    ]


def progress_json(progress: Progress) -> dict[str, Any]:
    return {
        "total": progress.total,
        "done": progress.labelled,
        "skipped": progress.skipped,
        "mine": progress.mine,
        "perLabel": progress.per_label,
    }


def store(project: Project, user: Any, sent: Any) -> dict[str, Any]:
    """What came of one decision or comment as the page sent it. An error that is named here is final."""
    client_id = sent.get("client_id") if isinstance(sent, dict) else None
    answer: dict[str, Any] = {"client_id": client_id if isinstance(client_id, str) else None}
    try:
        if isinstance(sent, dict) and sent.get("action") == COMMENT:
            comment = _comment(project, user, sent)
            return answer | {"ok": True, "comment": comment}
        decision = _decide(project, user, sent)
    except annotate.AnnotateError as error:
        return answer | {"ok": False, "error": {"code": error.code, "message": str(error)}}
    example = texts_json(project=project, user=user, examples=[decision.example], suggest=_is_undo(sent))[0]
    answer |= {"ok": True, "repeated": decision.repeated, "example": example}
    if decision.overruled:
        answer |= {
            "overruled": True,
            "notice": _("你的决定已收回；但别人之后又改过这条文本，它现在的标签没有变。"),
        }
    return answer


def row_id(value: Any) -> int:
    """A row's id, or ValueError: no database takes more than 63 bits."""
    number = int(str(value))
    if not 0 < number < 2**63:
        raise ValueError("not an id")
    return number


def is_id(word: str) -> bool:
    """Whether a word of an address can be a row's id."""
    return word.isdecimal() and word.isascii() and len(word) < 19


def _is_undo(sent: Any) -> bool:
    return isinstance(sent, dict) and sent.get("action") == Action.UNDO


def _decide(project: Project, user: Any, sent: Any) -> annotate.Decision:
    """The decision stored; raises AnnotateError for what cannot be read."""
    if not isinstance(sent, dict):
        raise _unreadable()
    try:
        client_id = uuid.UUID(str(sent["client_id"]))
        if _is_undo(sent):
            target = sent.get("target")
            return annotate.undo(
                project=project,
                user=user,
                client_id=client_id,
                target_client_id=uuid.UUID(str(target)) if target else None,
            )
        seconds = sent.get("seconds")
        return annotate.decide(
            project=project,
            user=user,
            client_id=client_id,
            example_id=row_id(sent.get("example")),
            action=str(sent.get("action")),
            label_ids=_label_ids(sent),
            source=_source(sent),
            suggested=_suggested(sent.get("suggestion")),
            guideline_version=row_id(sent["guidelines"]) if sent.get("guidelines") else None,
            seconds=None if seconds is None else float(seconds),
            reason=str(sent.get("reason") or ""),
        )
    except (KeyError, ValueError, TypeError, OverflowError):
        raise _unreadable() from None


def _comment(project: Project, user: Any, sent: dict[str, Any]) -> int:
    try:
        return comments.add_comment(
            project=project,
            user=user,
            example_id=row_id(sent.get("example")),
            text=str(sent.get("text") or ""),
            client_id=uuid.UUID(str(sent["client_id"])),
        ).pk
    except (KeyError, ValueError, TypeError):
        raise _unreadable() from None


def _unreadable() -> annotate.AnnotateError:
    return annotate.AnnotateError(_("这个决定的内容不完整，没有保存。"))


def _source(sent: dict[str, Any]) -> str:
    """What the page may say of how it was decided; the rest follows from what was in view or is no page's to say."""
    source = str(sent.get("source") or Source.BLIND)
    if source not in (Source.BLIND, Source.REVIEW):
        raise ValueError("not a page's source")
    return source


def _label_ids(sent: dict[str, Any]) -> list[int]:
    """The labels of a decision: `labels` (a list of ids), or `label`."""
    if sent.get("labels") is not None:
        return [row_id(one) for one in list(sent["labels"])[:MAX_LABELS]]
    return [row_id(sent["label"])] if sent.get("label") else []


def _suggested(sent: Any) -> annotate.Suggested | None:
    """The suggestion that the page says was in view."""
    if not sent:
        return None
    probability = float(sent["probability"])
    if not math.isfinite(probability):
        raise ValueError("not a probability")
    label_ids = tuple(row_id(one) for one in list(sent["labels"])[:MAX_LABELS])
    return annotate.Suggested(label_ids, probability, str(sent["source"]))
