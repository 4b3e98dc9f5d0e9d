"""On what a run can be trained now. `workers` registers the function that knows."""

from __future__ import annotations

from collections.abc import Callable

_announced: Callable[[], list[str]] | None = None


def register_devices(function: Callable[[], list[str]]) -> None:
    """Set the function that returns the devices which live training workers announced: "cpu", "gpu"."""
    global _announced
    _announced = function


def devices() -> list[str]:
    """The devices that live training workers announced; the processor alone when nobody is there to ask."""
    return (_announced() if _announced else []) or ["cpu"]


def queue_for(device: str) -> str:
    """The queue for a run on `device` ("auto", "cpu" or "gpu")."""
    if device == "gpu" or (device == "auto" and "gpu" in devices()):
        return "gpu"
    return "train"
