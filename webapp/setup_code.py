"""The code that the first sign-up must give when the server is reachable from other machines.

`manage.py up` makes it and prints it; it lies in WANXING_HOME/run/setup_code (mode 0600) until the first
account exists, so that a restart prints the same one.
"""

import os
import secrets
from pathlib import Path

from django.conf import settings
from django.utils.crypto import constant_time_compare

# Without 0 O 1 I L: a person types it from a terminal.
_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def _path() -> Path:
    return Path(settings.WANXING_HOME) / "run" / "setup_code"


def current() -> str | None:
    """The code in force, or None when the first sign-up needs none."""
    try:
        return _path().read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def ensure() -> str:
    """The code in force, made if there is none: 12 letters and digits in three groups."""
    code = current()
    if code:
        return code
    code = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(code)
    aside.replace(path)
    return code


def forget() -> None:
    """Remove the code: after the first sign-up, and when only this machine can reach the server."""
    _path().unlink(missing_ok=True)


def accepts(given: str) -> bool:
    """Whether the first sign-up may go on: no code is in force, or `given` is it (case and blanks aside)."""
    code = current()
    if code is None:
        return True
    return constant_time_compare("".join(given.split()).replace("-", "").upper(), code.replace("-", ""))
