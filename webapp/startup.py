"""What `manage.py up` makes sure of before it starts anything: one named problem, or none.

Every problem is one line, Chinese then English, with what to do.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from webapp import env, setup_code

PYTHON_VERSIONS = ((3, 11), (3, 12))
FREE_DISK_NEEDED_BYTES = 200 * 1024 * 1024
BACKUPS_KEPT = 5


class StartProblem(Exception):
    """The house cannot start; the message is one line for the person at the terminal."""


def check_python() -> None:
    """Raise StartProblem unless this is Python 3.11 or 3.12."""
    if sys.version_info[:2] not in PYTHON_VERSIONS:
        found = ".".join(map(str, sys.version_info[:3]))
        raise StartProblem(
            f"需要 Python 3.11 或 3.12，现在是 {found}。 / Needs Python 3.11 or 3.12, this is {found}."
        )


def check_disk(folder: Path) -> None:
    """Raise StartProblem when `folder` cannot be written to or its disk is nearly full."""
    probe = folder / "tmp" / f"probe.{os.getpid()}"
    try:
        with open(probe, "wb") as file:
            file.write(b"\0" * 1024 * 1024)
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StartProblem(
                f"磁盘已满：{folder}。清出空间，或把 WANXING_HOME 设到别的磁盘。 / The disk of {folder} is full."
            ) from error
        raise StartProblem(
            f"不能写入 {folder}（{error.strerror}）。检查权限，或另设 WANXING_HOME。 / Cannot write to {folder}."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    if free < FREE_DISK_NEEDED_BYTES:
        raise StartProblem(
            f"磁盘快满了：{folder} 只剩 {free // 2**20} MiB，至少需要 {FREE_DISK_NEEDED_BYTES // 2**20} MiB。"
            f" / Only {free // 2**20} MiB left on the disk of {folder}."
        )


def check_port(host: str, port: int) -> None:
    """Raise StartProblem when the web server could not bind to host:port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise StartProblem(
            f"HOST={host} 不是本机的地址。 / HOST={host} is no address of this machine."
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartProblem(
                f"端口 {port} 已被占用。换一个端口：PORT={port + 1 if port < 65535 else 8000} make run"
                f" / Port {port} is taken; choose another with PORT=…"
            ) from error
        if error.errno == errno.EACCES:
            raise StartProblem(
                f"没有权限使用端口 {port}，请用 1024 以上的端口，例如 PORT=8000 make run"
                f" / Port {port} needs privileges; choose one above 1023."
            ) from error
        raise StartProblem(
            f"不能在 {host}:{port} 上监听（{error.strerror}）。检查 HOST。 / Cannot listen on {host}:{port}; see HOST."
        ) from error


def hold_lock(folder: Path, note: str) -> TextIO:
    """The held lock of `folder`: keep the file open. Raises StartProblem when another `up` holds it."""
    file = open(folder / "run" / "up.lock", "a+", encoding="utf-8")  # noqa: SIM115 - open for as long as it is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        other = file.read().strip() or "?"
        file.close()
        raise StartProblem(
            f"这个数据文件夹已经有一个实例在运行（{other}）。 / Another instance already runs on {folder} ({other})."
        ) from error
    file.seek(0)
    file.truncate()
    file.write(note)
    file.flush()
    return file


def prepare(host: str) -> list[str]:
    """Bring database, static files and the setup code in order for a server on `host`; what was done."""
    check_database()
    notes = [migrate_safely()]
    if not settings.DEBUG and collect_static():
        notes.append("静态文件已更新 / static files collected")
    if env.is_loopback(host) or get_user_model()._default_manager.exists():
        setup_code.forget()
    else:
        setup_code.ensure()
    return [note for note in notes if note]


def check_database() -> None:
    """Raise StartProblem when the database cannot be opened."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        name = (
            "DATABASE_URL"
            if connection.vendor == "postgresql"
            else str(settings.DATABASES["default"]["NAME"])
        )
        raise StartProblem(
            f"数据库打不开（{reason}）。检查 {name}。 / Cannot open the database; see {name}."
        ) from error


def pending_migrations() -> list[str]:
    """Names of the migrations that the database has not seen. A new database has seen none."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate_safely() -> str | None:
    """Apply pending migrations, after copying a SQLite database that holds anything. Returns what was done."""
    pending = pending_migrations()
    if not pending:
        return None
    note = f"数据库升级：{len(pending)} 步 / {len(pending)} database migrations"
    if connection.introspection.table_names():
        if connection.vendor == "sqlite":
            note += f"；已先备份到 {copy_database()}"
        else:
            note += "；PostgreSQL 请自行备份（pg_dump）/ back PostgreSQL up yourself"
    call_command("migrate", interactive=False, verbosity=0)
    connection.close()
    return note


def copy_database() -> Path:
    """A consistent copy of the SQLite database in WANXING_HOME/backups; the newest few are kept.

    Raises StartProblem when there is no room for it: nothing is migrated without a copy.
    """
    needed = Path(str(settings.DATABASES["default"]["NAME"])).stat().st_size
    if shutil.disk_usage(settings.WANXING_HOME).free < needed + FREE_DISK_NEEDED_BYTES:
        raise StartProblem(
            f"升级前要先备份数据库，磁盘还差空间（需要 {needed // 2**20 + FREE_DISK_NEEDED_BYTES // 2**20} MiB）。"
            " / No room to copy the database before its migration."
        )
    folder = settings.WANXING_HOME / "backups"
    folder.mkdir(exist_ok=True, mode=0o700)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    target, aside = folder / f"wanxing-{stamp}.sqlite3", folder / f"wanxing-{stamp}.part"
    with (
        contextlib.closing(sqlite3.connect(str(settings.DATABASES["default"]["NAME"]))) as source,
        contextlib.closing(sqlite3.connect(aside)) as copy,
    ):
        source.backup(copy)
    aside.chmod(0o600)
    aside.replace(target)
    for old in sorted(folder.glob("wanxing-*.sqlite3"))[:-BACKUPS_KEPT]:
        old.unlink()
    return target


def collect_static() -> bool:
    """Bring WANXING_HOME/static up to date; True when anything had changed since the last time."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in sorted(finder.list([]), key=lambda pair: pair[0]):
            found = os.stat(storage.path(path))
            digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    stamp = Path(settings.STATIC_ROOT) / ".stamp"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return False
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(digest.hexdigest())
    return True
