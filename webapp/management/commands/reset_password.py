"""A new password for somebody who forgot theirs: there is no mail."""

from __future__ import annotations

import getpass
import secrets
import sys
from typing import Any

from axes.models import AccessAttempt
from django.contrib.auth import get_user_model, password_validation
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

# Without 0 O 1 I l: a person reads it aloud or types it.
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


class Command(BaseCommand):
    """`manage.py reset_password NAME [--generate]`: sets it, ends open sessions, lifts a sign-in lock."""

    help = "给忘了密码的账号重设密码 / Sets a new password for an account"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--generate",
            action="store_true",
            help="生成一个随机密码并打印出来，不再询问 / make a random password and print it",
        )

    def handle(self, *args: Any, username: str, generate: bool, **options: Any) -> None:
        User = get_user_model()
        user = User.objects.filter(username=username).first()
        if user is None:
            names = ", ".join(User.objects.filter(is_active=True).values_list("username", flat=True)[:20])
            raise CommandError(
                f"没有用户 {username}。现有：{names} / no account {username!r}; there are: {names}"
            )
        password = self._generated() if generate else self._asked(user)
        user.set_password(password)
        user.save(update_fields=["password"])
        AccessAttempt.objects.filter(username=username).delete()
        self.stdout.write(f"已重设 {username} 的密码，其他登录都已失效。 / Password of {username} reset.")
        if not user.is_active:
            self.stdout.write("注意：这个账号已停用。 / Note: this account is closed.")
        if generate:
            self.stdout.write(password)

    def _generated(self) -> str:
        return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))

    def _asked(self, user: Any) -> str:
        if not sys.stdin.isatty():
            raise CommandError("没有终端可以询问，请加 --generate / no terminal to ask at: use --generate")
        password = getpass.getpass("新密码 / New password: ")
        try:
            password_validation.validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if getpass.getpass("再输一次 / Again: ") != password:
            raise CommandError("两次输入的不一样，没有改动 / the two differ: nothing was changed")
        return password
