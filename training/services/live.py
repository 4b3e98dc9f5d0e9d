"""How a page asks the live worker. `workers` registers the function when Django starts.

A question is a name of `workers.questions` and a JSON payload; the answer is JSON. The newest question of an editor
wins: the page gives each editor a name and counts its questions up, and an older one ends at its next batch.
"""

from __future__ import annotations

from typing import Any, Protocol

SUPERSEDED = {"superseded": True}


class LiveError(Exception):
    """The live worker gave no answer."""


class LiveTimeout(LiveError):
    """No answer within the time that a page waits."""


class LiveUnavailable(LiveError):
    """The question could not be put: the broker is down, no worker listens, or no function is registered."""


class LiveFailed(LiveError):
    """The worker answered that it could not.

    `code` is the engine's where the engine refused (template_too_long, backbone_damaged …), else `unexpected`;
    `hint` and `detail` (JSON values for a translation) as the engine gave them."""

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "unexpected",
        hint: str = "",
        detail: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.detail = detail or {}


class Superseded(Exception):
    """Raised inside a question that a newer one of the same editor, or the end of the wait, has made idle."""


class StillNewest(Protocol):
    """Whether the answer is still awaited. Costs one look into Redis (about 0.1 ms)."""

    def __call__(self) -> bool: ...


class Ask(Protocol):
    """The function that `workers` registers: see `ask`."""

    def __call__(
        self, question: str, payload: dict, *, timeout_seconds: float, newest: tuple[str, int] | None
    ) -> Any: ...


_ask: Ask | None = None


def register_live(function: Ask) -> None:
    """Set the function behind `ask`."""
    global _ask
    _ask = function


def ask(
    question: str, payload: dict, *, timeout_seconds: float, newest: tuple[str, int] | None = None
) -> Any:
    """The live worker's answer to `question`, JSON both ways.

    `newest`: (editor, number). The editor's name should hold the user's id, so that nobody ends another's question;
    `{"superseded": true}` comes back when a higher number of that editor was asked meanwhile.
    Raises LiveTimeout, LiveUnavailable, LiveFailed; at once where no live worker listens.
    """
    if _ask is None:
        raise LiveUnavailable("no live function is registered")
    return _ask(question, payload, timeout_seconds=timeout_seconds, newest=newest)


def require_newest(still_newest: StillNewest) -> None:
    """Raise Superseded unless the answer is still awaited: to be called between batches."""
    if not still_newest():
        raise Superseded
