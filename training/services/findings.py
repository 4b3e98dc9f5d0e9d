"""One thing to know before training, and the words for a list of names."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know before training. `fix` is the name of the address where it is mended, or ""."""

    code: str
    message: str
    blocking: bool = False
    count: int = 0
    fix: str = ""
    fix_title: str = ""


def names_of(names: list[str]) -> str:
    """The first few names, and how many there are."""
    shown = _("、").join(names[:NAMES_SHOWN])
    return (
        _("%(names)s 等 %(n)d 个") % {"names": shown, "n": len(names)} if len(names) > NAMES_SHOWN else shown
    )
