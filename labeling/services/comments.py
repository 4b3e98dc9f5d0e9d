"""Remarks about texts: appended, counted on the text, taken back only by who wrote them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Comment, Example, Project
from labeling.services.annotate import AnnotateError, UnknownText

MAX_CHARACTERS = 2000


def add_comment(
    *, project: Project, user: Any, example_id: int, text: str, client_id: uuid.UUID | None = None
) -> Comment:
    """Append a comment; sent again under the same `client_id` it is the earlier one.

    Raises UnknownText, or AnnotateError for an empty or too long comment."""
    text = text.replace("\x00", "").strip()
    if not text or len(text) > MAX_CHARACTERS:
        raise AnnotateError(_("评论不能为空，最多 %(n)d 个字。") % {"n": MAX_CHARACTERS})
    try:
        with transaction.atomic():
            example = _held(project, example_id)
            earlier = _earlier(project, client_id)
            if earlier:
                return earlier
            comment = Comment.objects.create(
                project=project, example=example, user=user, text=text, client_id=client_id
            )
            _count(example)
            return comment
    except IntegrityError:
        earlier = _earlier(project, client_id)
        if earlier is None:
            raise
        return earlier


def remove_comment(*, project: Project, user: Any, comment_id: int) -> Comment:
    """Take back a comment of `user`'s own; a second time changes nothing. Raises AnnotateError."""
    with transaction.atomic():
        found = Comment.objects.filter(project=project, user=user, pk=comment_id).first()
        if found is None:
            raise AnnotateError(_("这条评论不是你写的，或者已经不在了。"))
        example = _held(project, found.example_id)
        Comment.objects.filter(pk=found.pk, removed_at__isnull=True).update(removed_at=timezone.now())
        _count(example)
        return found


def comments_on(*, project: Project, example_id: int) -> list[Comment]:
    """The comments on a text that were not taken back, oldest first, with their authors."""
    rows = Comment.objects.filter(project=project, example_id=example_id, removed_at__isnull=True)
    return list(rows.select_related("user").order_by("id"))


def _held(project: Project, example_id: int) -> Example:
    try:
        return Example.objects.select_for_update().get(project=project, pk=example_id)
    except Example.DoesNotExist:
        raise UnknownText(_("这条文本已经不在项目里了。")) from None


def _earlier(project: Project, client_id: uuid.UUID | None) -> Comment | None:
    return Comment.objects.filter(project=project, client_id=client_id).first() if client_id else None


def _count(example: Example) -> None:
    example.n_comments = example.comments.filter(removed_at__isnull=True).count()
    example.save(update_fields=["n_comments"])
