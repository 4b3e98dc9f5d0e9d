"""The bug report of `manage.py doctor --report`: what helps, without any user's text and without secrets.

From the logs only names are kept: of an event, its level, logger and id; of an exception, its type and the
places in the code. Messages and values may quote a text, so they are left out.
"""

import importlib.metadata
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from webapp import env
from webapp.health import Finding

LOG_LINES_KEPT = 2_000
_SAFE_EVENT = re.compile(r"[a-z][a-z0-9_.]{2,60}")
_SAFE_ID = re.compile(r"[0-9a-f]{8}")
# Variables whose value says how the program was set up and cannot hold a secret.
_SHOWN = (
    "HOST",
    "PORT",
    "WANXING_HTTPS",
    "WANXING_DEBUG",
    "WANXING_LOG_LEVEL",
    "WANXING_UPLOAD_MAX_MB",
    "WANXING_WEB_THREADS",
)


def write(target: Path, findings: Iterable[Finding]) -> None:
    """Write the zip `target`: doctor.json, versions.txt, variables.json, rows.json, logs/*.jsonl, README.txt."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", __doc__ or "")
        # A finding's remedy or path can name the person's folders: they stay, texts never get there.
        archive.writestr("doctor.json", _json([finding.as_dict() for finding in findings]))
        archive.writestr("versions.txt", "\n".join(_versions()))
        archive.writestr("variables.json", _json(_variables()))
        archive.writestr("rows.json", _json(_row_counts()))
        for path in sorted((Path(settings.WANXING_HOME) / "logs").glob("*.log")):
            archive.writestr(f"logs/{path.stem}.jsonl", "\n".join(_bare_lines(path)))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _versions() -> list[str]:
    return sorted(
        f"{found.metadata['Name']}=={found.version}" for found in importlib.metadata.distributions()
    )


def _variables() -> dict[str, str]:
    """Values of the harmless variables; of the others only whether they are set."""
    return {
        name: env.read_text(name)
        if name in _SHOWN
        else ("set" if env.read_text(name) != variable.default else "default")
        for name, variable in env.VARIABLES.items()
    }


def _row_counts() -> dict[str, int]:
    """How many rows each table has."""
    counts = {}
    try:
        with connection.cursor() as cursor:
            for table in sorted(connection.introspection.table_names(cursor)):
                cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")  # noqa: S608 - own names
                counts[table] = cursor.fetchone()[0]
    except DatabaseError as error:
        counts[f"unreadable: {type(error).__name__}"] = 0
    return counts


def _bare_lines(path: Path) -> Iterator[str]:
    """The last lines of a log, each as JSON with nothing in it that may quote a user."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_KEPT:]
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a library's plain line: it may quote anything
        if isinstance(entry, dict):
            yield json.dumps(bare(entry), ensure_ascii=False)


def bare(entry: dict[str, Any]) -> dict[str, Any]:
    """A log entry without messages and values."""
    kept: dict[str, Any] = {}
    for key in ("timestamp", "level", "logger"):
        value = entry.get(key)
        if isinstance(value, str) and re.fullmatch(r"[\w.:+-]{1,80}", value, re.ASCII):
            kept[key] = value
    event, error_id = entry.get("event"), entry.get("error_id")
    kept["event"] = event if isinstance(event, str) and _SAFE_EVENT.fullmatch(event) else "…"
    if isinstance(error_id, str) and _SAFE_ID.fullmatch(error_id):
        kept["error_id"] = error_id
    if isinstance(entry.get("exception"), list):
        kept["exception"] = [
            {
                "type": part.get("exc_type"),
                "frames": [
                    f"{Path(str(frame.get('filename'))).name}:{frame.get('lineno')} {frame.get('name')}"
                    for frame in part.get("frames", [])
                ],
            }
            for part in entry["exception"]
            if isinstance(part, dict)
        ]
    return kept
