"""Searches kept under a name: a person's own, or the project's."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from labeling.models import Project, SavedView
from labeling.services.filters import Filters

MAX_VIEWS = 50


class ViewRefused(Exception):
    """The view cannot be kept; the message is for the page."""


def views_for(*, project: Project, user: Any) -> QuerySet[SavedView]:
    """What `user` kept and what others share, by name."""
    return project.saved_views.filter(Q(user=user) | Q(shared=True)).select_related("user")


def save_view(*, project: Project, user: Any, name: str, filters: Filters, shared: bool) -> SavedView:
    """Keep `filters` under `name`; a view of that name of one's own is replaced. Raises ViewRefused."""
    name = " ".join(name.split())
    longest = SavedView._meta.get_field("name").max_length or 0
    if not name or len(name) > longest:
        raise ViewRefused(_("视图的名字不能为空，最多 %(longest)d 个字。") % {"longest": longest})
    if len(filters.query) > (SavedView._meta.get_field("query").max_length or 0):
        raise ViewRefused(_("这个搜索太长，存不下。请缩短搜索词。"))
    own = project.saved_views.filter(user=user)
    if not own.filter(name=name).exists() and own.count() >= MAX_VIEWS:
        raise ViewRefused(_("最多保存 %(most)d 个视图。请先删掉几个。") % {"most": MAX_VIEWS})
    view, _created = SavedView.objects.update_or_create(
        project=project, user=user, name=name, defaults={"query": filters.query, "shared": shared}
    )
    return view


def delete_view(*, project: Project, user: Any, view_id: int, any_shared: bool) -> bool:
    """Remove a view of one's own; with `any_shared` (an owner) also what somebody else shares."""
    mine = Q(user=user) | Q(shared=True) if any_shared else Q(user=user)
    removed, _by_model = project.saved_views.filter(mine, pk=view_id).delete()
    return removed > 0
