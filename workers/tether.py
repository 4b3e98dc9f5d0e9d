"""Start a program that dies with the process that started it. Standard library only: also run as a script.

Linux: PR_SET_PDEATHSIG, which survives exec. It fires when the parent *thread* ends, so start
tethered programs from a thread that lives as long as the process (the main one). A small script sets
it and then becomes the program, because code between fork and exec is unsafe in a threaded parent.
Elsewhere there is no such call; there `workers.undertaker` cleans up.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def command(program: Sequence[str], *, niceness: int = 0) -> list[str]:
    """The command line that runs `program` tied to the calling process, `niceness` steps nicer."""
    return [sys.executable, "-ISs", os.path.abspath(__file__), str(os.getpid()), str(niceness), *program]


def die_with_parent() -> None:
    """Have the kernel SIGKILL this process when its parent's thread ends. Does nothing but on Linux."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def yield_as_a_session() -> None:
    """Have the scheduler weigh this session by the process's own niceness. Does nothing but on Linux.

    With autogroups (most distributions) a session is one share of the processor, and niceness counts only inside it: a
    training run in a session of its own took half of it from a worker that answers a waiting page."""
    niceness = os.nice(0)
    if niceness == 0 or os.getsid(0) != os.getpid():
        return
    for _ in range(5):
        try:
            with open("/proc/self/autogroup", "w", encoding="ascii") as file:
                file.write(str(niceness))
            return
        except BlockingIOError:  # one change in 0.1 s is allowed
            time.sleep(0.1)
        except OSError:  # no /proc, or a kernel without autogroups
            return


def _main(arguments: list[str]) -> None:
    parent, niceness, program = int(arguments[0]), int(arguments[1]), arguments[2:]
    die_with_parent()
    if os.getppid() != parent:  # it died before the tether was tied
        sys.exit(1)
    if niceness:
        os.nice(niceness)
    yield_as_a_session()
    try:
        os.execvp(program[0], program)  # noqa: S606 - becoming the program is the point
    except OSError as error:
        sys.exit(f"cannot run {program[0]}: {error.strerror}")


if __name__ == "__main__":
    _main(sys.argv[1:])
