"""`manage.py import_dataset PROJECT PATH`: the same import as the page's, without the upload limit."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from labeling.models import ImportBatch, Project
from labeling.models.projects import Role
from labeling.services.import_words import reason_text
from labeling.services.imports import ImportRefused, import_now
from labeling.services.projects import ProjectRefused, create_project


class Command(BaseCommand):
    help = "把一个文件、五个 txt 的文件夹或 zip 导入项目 / Import a file, or the recipe's folder or zip."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("project", help="编号，或新项目的名字 / id, or the name of a new project")
        parser.add_argument("path", type=Path)
        parser.add_argument("--user", default="", help="谁的名义；只有一个账号时不必写 / on whose behalf")
        parser.add_argument(
            "--format", default="", choices=["", "txt", "tsv", "csv", "xlsx", "json", "jsonl"]
        )
        parser.add_argument("--encoding", default="")
        parser.add_argument("--text-column", default="")
        parser.add_argument("--label-column", default="", help="“-” 表示没有标签 / “-”: no labels")
        parser.add_argument("--split", default="", choices=["", "train", "dev", "test", "pool"])
        parser.add_argument(
            "--no-add-labels", action="store_true", help="只接受已有的标签 / known labels only"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        user = account(options["user"])
        project = _project(options["project"], user, options["path"])
        stop = _StopOnInterrupt()
        started = time.monotonic()
        try:
            batch = import_now(
                project=project,
                user=user,
                path=options["path"],
                options={
                    **{
                        name: options[name]
                        for name in ("format", "encoding", "text_column", "label_column", "split")
                    },
                    "add_labels": not options["no_add_labels"],
                },
                on_progress=self._show,
                should_stop=stop,
            )
        except ImportRefused as error:
            raise CommandError(error.message) from error
        self.stderr.write("")
        self._report(project, batch, time.monotonic() - started)
        if stop.asked:
            raise CommandError(_("已停止。已导入的都在；再运行一次只会补上余下的。"))

    def _show(self, stage: str, step: int, total: int) -> None:
        if self.stderr.isatty():
            shown = f"{100 * step / total:.0f} %" if total else f"{step:,}"
            self.stderr.write(f"\r{shown} ", ending="")
            self.stderr.flush()

    def _report(self, project: Project, batch: ImportBatch, seconds: float) -> None:
        self.stdout.write(
            _("项目 %(pk)d「%(name)s」：读 %(read)d，新增 %(added)d，重复 %(duplicate)d，补标签 %(relabelled)d，拒收 %(refused)d。%(seconds).1f 秒。")
            % {"pk": project.pk, "name": project.name, "read": batch.rows_read, "added": batch.rows_added,
               "duplicate": batch.rows_duplicate, "relabelled": batch.rows_relabelled,
               "refused": batch.rows_refused, "seconds": seconds}
        )  # fmt: skip
        for reason, n in sorted(batch.refused_by_reason.items(), key=lambda item: -item[1]):
            self.stdout.write(f"  {n} × {reason_text(reason)}")
        if batch.rows_conflict:
            self.stdout.write(f"  {batch.rows_conflict} × {reason_text('label_conflict')}")
        for warning in batch.warnings:
            self.stdout.write(
                f"  label.txt:{warning['line']} {reason_text(warning['code'])}：{warning['excerpt']}"
            )
        if batch.rows_refused or batch.rows_duplicate or batch.rows_relabelled:
            self.stdout.write(_("逐行报告：%(path)s") % {"path": batch.report_path})


class _StopOnInterrupt:
    """Ctrl-C ends the import after the present chunk; a second one ends the process."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __call__(self) -> bool:
        return self.asked


def account(username: str) -> Any:
    """The active account of that name, or the only one. Raises CommandError."""
    people = get_user_model().objects.filter(is_active=True)
    if username:
        user = people.filter(username=username).first()
        if user is None:
            raise CommandError(_("没有账号 %(name)s。") % {"name": username})
        return user
    found = list(people[:2])
    if len(found) != 1:
        raise CommandError(
            _("请先在浏览器里建立第一个账号。") if not found else _("有多个账号，请用 --user 指明。")
        )
    return found[0]


def _project(named: str, user: Any, path: Path) -> Project:
    if not path.exists():
        raise CommandError(_("找不到文件：%(detail)s") % {"detail": path})
    if named.isdecimal():
        project = Project.objects.filter(pk=int(named)).first()
        if project is None:
            raise CommandError(_("没有编号为 %(pk)s 的项目。") % {"pk": named})
    else:
        owned = Project.objects.filter(name=named, memberships__user=user)
        if owned.count() > 1:
            raise CommandError(_("有多个项目叫这个名字，请用编号。"))
        project = owned.first()
        if project is None:
            try:
                return create_project(user=user, name=named)
            except ProjectRefused as error:
                raise CommandError(str(error)) from error
    if project.role_of(user) not in (Role.OWNER, Role.REVIEWER):
        raise CommandError(_("%(user)s 不能往这个项目里导入。") % {"user": user.username})
    return project
