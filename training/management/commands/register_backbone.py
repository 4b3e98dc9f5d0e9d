"""The operator vouches for a local encoder directory, which then appears in the training form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from training.fewshot.backbones import KNOWN_BACKBONES, resolve
from training.fewshot.errors import EngineError
from training.models import RegisteredBackbone
from training.services.backbones import cache_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class Command(BaseCommand):
    """`manage.py register_backbone NAME PATH`, `--remove NAME`, or without arguments the list.

    The directory is read, checked and converted at once, so that a run does not find out later."""

    help = "登记、列出或移除本机的预训练模型目录 / Registers, lists or removes a local encoder directory"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="表单里显示的名字 / the name shown in the form")
        parser.add_argument(
            "path", nargs="?", help="PaddleNLP 或 Hugging Face 目录 / a directory of either kind"
        )
        parser.add_argument("--remove", metavar="NAME", help="移除这个名字，目录本身不动 / forget NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["remove"]:
            self._remove(options["remove"])
        elif options["name"] is not None and options["path"]:
            self._register(options["name"], Path(options["path"]).expanduser())
        elif options["name"] is not None:
            raise CommandError("还要给出目录 / the directory is missing: register_backbone NAME PATH")
        else:
            self._list()

    def _register(self, name: str, path: Path) -> None:
        if not _NAME.fullmatch(name):
            raise CommandError(
                f"名字 {name!r} 只能用字母、数字和 . _ -，最多 80 个 / letters, digits and . _ - only"
            )
        if name in {known.name for known in KNOWN_BACKBONES}:
            raise CommandError(f"{name} 是内置的名字，请换一个 / {name} is a built-in name: choose another")
        if not path.is_dir():
            raise CommandError(f"目录不存在：{path} / no such directory: {path}")
        path = path.resolve()
        try:
            backbone = resolve(path, cache_dir(), trusted=True)
        except EngineError as error:
            raise CommandError(f"[{error.code}] {error.message} {error.hint}") from error
        _row, created = RegisteredBackbone.objects.update_or_create(name=name, defaults={"path": str(path)})
        config = backbone.config
        size = f"{config.get('num_hidden_layers')} × {config.get('hidden_size')}"
        done = "已登记 / registered" if created else "已更新 / updated"
        self.stdout.write(f"{done}: {name} → {path} ({size}, {backbone.hash[:12]})")

    def _remove(self, name: str) -> None:
        if not RegisteredBackbone.objects.filter(name=name).delete()[0]:
            raise CommandError(f"没有登记过 {name} / {name} is not registered")
        self.stdout.write(f"已移除 {name}，目录没有动 / {name} forgotten; its directory is untouched")

    def _list(self) -> None:
        rows = list(RegisteredBackbone.objects.all())
        if not rows:
            self.stdout.write("还没有登记任何目录 / nothing is registered")
        for row in rows:
            missing = "" if Path(row.path).is_dir() else "  （目录不在了 / directory is gone）"
            self.stdout.write(f"{row.name}\t{row.path}{missing}")
