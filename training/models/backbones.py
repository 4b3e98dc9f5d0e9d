from __future__ import annotations

from django.db import models


class RegisteredBackbone(models.Model):
    """A local encoder directory that the operator vouches for (`manage.py register_backbone`).

    Such a directory may hold a pickle; nothing that a user uploads ever becomes one."""

    name = models.CharField(max_length=80, unique=True)
    path = models.CharField(max_length=500)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
