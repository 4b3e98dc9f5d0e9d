"""System checks: what is set so that it cannot work, or is not safe. `manage.py check` prints them."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from webapp import env


@register("security")
def check_debug_is_private(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """wanxing.E001: tracebacks would be shown to other machines."""
    if settings.DEBUG and not env.is_loopback(env.host()):
        return [
            Error(
                f"WANXING_DEBUG=1 shows tracebacks, and HOST={env.host()} lets other machines read them.",
                hint="Unset WANXING_DEBUG, or bind to 127.0.0.1.",
                id="wanxing.E001",
            )
        ]
    return []


@register("security")
def check_origins_match_https(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """wanxing.W001: behind HTTPS a form fails unless its origin is trusted, and cookies should be Secure."""
    secure = [origin for origin in env.trusted_origins() if origin.startswith("https://")]
    if secure and not env.read_flag("WANXING_HTTPS"):
        return [
            Warning(
                f"{secure[0]} is served over HTTPS, but cookies are not marked Secure.",
                hint="Set WANXING_HTTPS=1 when a proxy in front ends TLS.",
                id="wanxing.W001",
            )
        ]
    return []


@register("database")
def check_sqlite_version(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """wanxing.E002: SQLite lacks what the queries use (RETURNING and upserts with WHERE)."""
    if sqlite3.sqlite_version_info < (3, 35):
        return [
            Error(
                f"SQLite {sqlite3.sqlite_version} is older than 3.35.",
                hint="Use a Python built with a newer SQLite, or set DATABASE_URL to a PostgreSQL.",
                id="wanxing.E002",
            )
        ]
    return []
