"""Short writes of one process take turns where the database has one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

_TURN = threading.RLock()


@contextmanager
def write() -> Iterator[None]:
    """A short transaction that writes.

    SQLite has one writer, and who finds it busy sleeps for up to 100 ms before looking again, whoever came first. The
    threads of the web process wait here instead and go on at once. PostgreSQL needs no turns."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    _TURN.acquire()
    held = True

    def pass_on() -> None:
        nonlocal held
        if held:
            held = False
            _TURN.release()

    try:
        with transaction.atomic():
            # The first of what follows the commit: the others speak to the broker.
            transaction.on_commit(pass_on)
            yield
    finally:
        pass_on()
