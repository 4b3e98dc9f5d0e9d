"""`manage.py offline_kit`: one file that installs on a machine without a network."""

import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

NAME = "wanxing-offline"


class Command(BaseCommand):
    """Writes a tar with the checkout (HEAD) and a wheel of every locked package for this Python and machine."""

    help = "Pack the program and its packages for a machine without a network (same system, same Python)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--output", type=Path, default=settings.BASE_DIR / "dist", help="folder to write to"
        )
        parser.add_argument(
            "--requirements",
            type=Path,
            default=settings.BASE_DIR / "requirements" / "cpu.txt",
            help="the lock",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        output: Path = options["output"]
        output.mkdir(parents=True, exist_ok=True)
        target = output / kit_name()
        with tempfile.TemporaryDirectory(dir=output) as folder:
            wheels, source = Path(folder) / "wheels", Path(folder) / "source.tar"
            self.stdout.write("· 收集安装包（几分钟）/ collecting wheels, a few minutes")
            _run(
                [
                    *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
                    *("--no-deps", "-r", str(options["requirements"]), "-w", str(wheels)),
                ]
            )
            _run(["git", "archive", "--format=tar", f"--prefix={NAME}/", "-o", str(source), "HEAD"])
            aside = Path(folder) / "kit.tar"
            source.rename(aside)
            with tarfile.open(aside, "a") as kit:
                for wheel in sorted(wheels.iterdir()):
                    kit.add(wheel, f"{NAME}/wheels/{wheel.name}")
            aside.replace(target)
        size = target.stat().st_size / 2**20
        self.stdout.write(f"✓ {target}（{size:.0f} MiB）")
        self.stdout.write(f"  在那台机器上 / over there: tar xf {target.name} && cd {NAME} && make run")


def kit_name() -> str:
    """The file's name: it says for which Python and machine its wheels are."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    return f"{NAME}-{python}-{platform.system().lower()}-{platform.machine()}.tar"


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=settings.BASE_DIR, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"✗ {command[0]} {command[1]}: {(done.stderr or done.stdout).strip()}")
