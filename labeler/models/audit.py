from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeler import clock
from labeler.told import ToldField


class AuditKind(models.TextChoices):
    SETTINGS = "settings", _("settings")
    CLASSES = "classes", _("classes")
    PEOPLE = "people", _("people")
    INVITATIONS = "invitations", _("invitations")
    IMPORTS = "imports", _("imports")
    EXPORTS = "exports", _("exports")
    ROUNDS = "rounds", _("rounds and models")
    QUEUE = "queue", _("images sent to the queue")
    GOLD = "gold", _("gold images")
    REVIEW = "review", _("decisions on images")
    GRID = "grid", _("pages of tiles")
    COMMENTS = "comments", _("comments and examples")


class AuditEntry(models.Model):
    """Who did what when. Written by services/audit.py in the transaction of the act; the database refuses changes."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="audit", db_index=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=AuditKind)
    words = ToldField()
    details = models.JSONField(default=dict)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [models.Index(fields=["project", "id"], name="audit_project")]

    def __str__(self) -> str:
        return self.words
