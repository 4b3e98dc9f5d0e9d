from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from workers.sweep import sweep_forever, sweep_once


class Command(BaseCommand):
    help = "Bring back jobs whose worker died, and send again messages that were lost."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="look once and stop")
        parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            self.stdout.write(str(sweep_once()))
        else:
            sweep_forever(every_seconds=options["every"])
