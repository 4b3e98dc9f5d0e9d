"""`manage.py open_sample`: the sample project, as the first page offers it."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from labeling.management.commands.import_dataset import account
from labeling.services.projects import open_sample


class Command(BaseCommand):
    help = "打开示例项目 / Make the sample project."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--user", default="", help="谁的名义；只有一个账号时不必写 / on whose behalf")

    def handle(self, *args: Any, **options: Any) -> None:
        project = open_sample(user=account(options["user"]))
        self.stdout.write(f"{project.pk} {project.name}: {project.examples.count()}")
