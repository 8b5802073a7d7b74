from __future__ import annotations

import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from labeler import clock


class User(AbstractUser):
    """A person who signs in. Site admins are superusers; all other rights come from memberships."""

    language = models.CharField(max_length=10, blank=True)  # empty: what the browser asks for


class Role(models.TextChoices):
    ANNOTATOR = "annotator", _("annotator")
    MANAGER = "manager", _("manager")


class Membership(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=clock.now)
    deactivated_at = models.DateTimeField(null=True, blank=True)  # until a manager brings the person back
    gets_mail = models.BooleanField(default=False)  # of notices; each manager's own choice

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "project"], name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user} as {self.role} in {self.project}"


def default_invitation_expiry() -> object:
    return clock.now() + timedelta(days=settings.INVITATION_DAYS)


class Invitation(models.Model):
    """A one-time link. Only a hash of its token is kept, so a leaked database invites nobody."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=16, choices=Role)
    note = models.CharField(max_length=100, blank=True)
    token_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(default=default_invitation_expiry)
    used_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"invitation to {self.project} as {self.role}"

    @staticmethod
    def new_token() -> str:
        return secrets.token_urlsafe(32)

    @staticmethod
    def hash_token(token: str) -> str:
        return salted_hmac("labeler.invitation", token, algorithm="sha256").hexdigest()

    @property
    def is_open(self) -> bool:
        return self.used_at is None and self.revoked_at is None and self.expires_at > clock.now()
