"""Who wants to hear when a project's words or prompt have changed. `training` registers when Django starts."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction

Listener = Callable[[int], object]
_listeners: list[Listener] = []


def register_listener(function: Listener) -> None:
    """Have `function(project id)` called after each commit that changed labels, words or the prompt."""
    if function not in _listeners:
        _listeners.append(function)


def prompt_changed(project_id: int) -> None:
    """Tell the listeners after the commit. What they raise is logged and hinders nobody."""
    for listener in _listeners:
        transaction.on_commit(lambda listener=listener: listener(project_id), robust=True)  # type: ignore[misc]
