"""Our own words for Django's rule about short passwords: its sentence has no Chinese translation."""

from __future__ import annotations

from django.contrib.auth.password_validation import MinimumLengthValidator
from django.utils.translation import ngettext


class LongEnoughValidator(MinimumLengthValidator):
    """Refuses passwords of fewer than `min_length` characters."""

    def get_error_message(self) -> str:
        return ngettext(
            "密码太短，至少要 %(min_length)d 个字符。",
            "密码太短，至少要 %(min_length)d 个字符。",
            self.min_length,
        ) % {"min_length": self.min_length}
