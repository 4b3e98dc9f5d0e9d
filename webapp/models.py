"""The account. Roles are not here: they belong to a membership of one project."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person who signs in. `is_superuser` marks a server administrator."""

    display_name = models.CharField(max_length=80, blank=True)
    language = models.CharField(max_length=10, blank=True)
    theme = models.CharField(max_length=8, blank=True, choices=[("light", "light"), ("dark", "dark")])

    def __str__(self) -> str:
        return self.display_name or self.username
