"""`manage.py doctor`: what is there and what is not, and what to do about it."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from webapp import health, report


class Command(BaseCommand):
    """Prints a line for each finding; ends with 1 when something that is needed is not well."""

    help = (
        "Say what is there and what is not: Python, packages, broker, workers, database, backbones, machine."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--report", type=Path, metavar="FILE", help="also write a zip for a bug report")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = health.look()
        for finding in findings:
            self.stdout.write(finding.line())
        target: Path | None = options["report"]
        if target is not None:
            try:
                report.write(target, findings)
            except OSError as error:
                sys.exit(f"✗ 不能写入 {target}（{error.strerror}） / cannot write {target}")
            self.stdout.write(
                f"· 问题报告（不含任何文本和密钥）/ bug report, without texts or secrets: {target}"
            )
        if any(finding.needed and not finding.ok for finding in findings):
            sys.exit(1)
