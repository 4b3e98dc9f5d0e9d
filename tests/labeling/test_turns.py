"""Writers of one process take turns, and the turn is passed on with the commit, whatever comes of it."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from labeling.services import turns

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def free() -> bool:
    """Whether another thread could write now."""
    answer: list[bool] = []

    def try_it() -> None:
        got = turns._TURN.acquire(blocking=False)
        if got:
            turns._TURN.release()
        answer.append(got)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return answer[0]


def test_the_turn_is_held_while_writing_and_free_when_what_follows_the_commit_runs():
    seen = []
    with turns.write():
        transaction.on_commit(lambda: seen.append(free()))
        assert free() == (connection.vendor != "sqlite")
    assert seen == [True]
    assert free()


def test_an_error_passes_the_turn_on_and_takes_the_write_back():
    with pytest.raises(ZeroDivisionError), turns.write():
        raise ZeroDivisionError
    assert free()


def test_inside_a_transaction_there_is_no_second_turn():
    with turns.write(), turns.write():
        pass
    assert free()
