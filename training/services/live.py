"""How a page asks the live worker. `workers` registers the function when Django starts."""

from __future__ import annotations

from collections.abc import Callable

Ask = Callable[[str, list[str], float], list[list[float]]]
_ask: Ask | None = None


class LiveError(Exception):
    """The live worker gave no answer."""


class LiveTimeout(LiveError):
    """No answer within the time that a page waits."""


class LiveUnavailable(LiveError):
    """The question could not be put: the broker is down, or no function is registered."""


class LiveFailed(LiveError):
    """The worker answered that it could not: the model is damaged, or its files are gone."""


def register_live(function: Ask) -> None:
    """Set the function `(model_folder, texts, timeout_seconds) → probabilities (n_texts, n_labels)`.

    It raises LiveTimeout, LiveUnavailable or LiveFailed."""
    global _ask
    _ask = function


def ask(model_folder: str, texts: list[str], timeout_seconds: float) -> list[list[float]]:
    """Probabilities of `texts`, (n_texts, n_labels), from the live worker. Raises LiveError."""
    if _ask is None:
        raise LiveUnavailable("no live function is registered")
    return _ask(model_folder, texts, timeout_seconds)
