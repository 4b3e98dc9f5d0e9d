"""A PostgreSQL of the tests' own, in a temporary folder: `python -m tests.postgres -- COMMAND …`.

Runs COMMAND with DATABASE_URL pointing at it and ends with the command's code.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def binaries() -> Path | None:
    """The folder of PostgreSQL's server programs, the newest that is installed; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _as_server(command: list[str]) -> list[str]:
    # The server refuses to run as root; Debian's package brings a user for it.
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[str]:
    """The DATABASE_URL of a fresh cluster with an empty database `wanxing`; stopped and removed afterwards.

    `durable`: commits are synced, as in a real one; tests do without.

    Raises FileNotFoundError when PostgreSQL is not installed.
    """
    folder_of_programs = binaries()
    if folder_of_programs is None:
        raise FileNotFoundError("PostgreSQL (initdb) is not installed")
    with tempfile.TemporaryDirectory(prefix="wanxing-pg-") as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        def call(program: str, *arguments: str) -> None:
            line = _as_server([str(folder_of_programs / program), *arguments])
            done = subprocess.run(line, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{program}: {done.stderr or done.stdout}")

        data = str(folder / "data")
        call("initdb", "-D", data, "-U", "wanxing", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c max_connections=60"
        if not durable:
            options += " -c fsync=off"
        call("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "wanxing", "wanxing")
            yield f"postgres://wanxing@127.0.0.1:{port}/wanxing"
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _main(arguments: list[str]) -> int:
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    with running() as url:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}).returncode


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
