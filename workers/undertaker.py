"""Kills what a supervisor left behind. Standard library only: run as a script by `workers.supervise`.

It waits for the end of its standard input, which the kernel closes however the supervisor ends, SIGKILL
included. Then it kills the process groups named on it (one number a line) and, on Linux, every process
that inherited the supervisor's token in its environment: also grandchildren in sessions of their own.
"""

import contextlib
import os
import signal
import sys
import time

TOKEN_VARIABLE = "WANXING_SUPERVISOR"  # noqa: S105 - the name of a variable


def holders(token: str) -> list[int]:
    """Process ids, other than this one's, whose environment at start held the token (Linux; elsewhere none)."""
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    found = []
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
            if mark in file.read().split(b"\0"):
                found.append(int(name))
    return found


def kill_everything(token: str, groups: set[int]) -> None:
    """SIGKILL the groups and the holders of `token`, again until none is left (at most 10 s)."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (left := holders(token)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _main(token: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        word = line.strip()
        if word.startswith("-"):
            groups.discard(int(word[1:]))
        elif word:
            groups.add(int(word))
    kill_everything(token, groups)


if __name__ == "__main__":
    _main(sys.argv[1])
