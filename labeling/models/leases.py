"""Who holds which text, and whose place at a text is used up."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from labeling.models.projects import Project
from labeling.models.texts import Example


class Lease(models.Model):
    """One person's place at one text. A text has as many places (slots) as the project asks people: `overlap`.

    Held: `expires_at` is a time. Used up: it is null; the person has decided and the text is still open for others,
    or (`slot` null) they skipped it or decided without a place. Either way they do not get the text again.
    Where one person decides each text, the row goes with the decision."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="leases")
    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="leases")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="leases")
    slot = models.PositiveSmallIntegerField(null=True, blank=True)
    page = models.CharField(max_length=36, blank=True, help_text="the tab that holds it")
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["example", "slot"], name="lease_slot_once"),
            models.UniqueConstraint(fields=["example", "user"], name="lease_once_per_person"),
            models.CheckConstraint(
                condition=Q(slot__isnull=False) | Q(expires_at__isnull=True), name="held_lease_has_a_slot"
            ),
        ]
        indexes = [
            models.Index(fields=["user", "project", "expires_at"], name="lease_of_person"),
        ]

    def __str__(self) -> str:
        return f"#{self.example_id}[{self.slot}] {self.user_id}"
