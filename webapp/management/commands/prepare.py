"""`manage.py prepare`: what `up` does before it starts processes, for services that start them differently."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from webapp import env, setup_code, startup


class Command(BaseCommand):
    """Migrates (copying SQLite first), collects static files, and makes the setup code that `up` would print."""

    help = "Bring the database, the static files and the setup code in order, then end."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            notes = startup.prepare(env.host())
        except startup.StartProblem as error:
            sys.exit(f"✗ {error}")
        for note in notes:
            self.stdout.write(f"· {note}")
        code = setup_code.current()
        if code:
            self.stdout.write(f"首次注册需要安装码 / code for the first sign-up: {code}")
