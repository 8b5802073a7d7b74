from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.utils.crypto import salted_hmac

from labeler import clock

MARK = "pm_"  # what a token begins with, so that scanners of repositories know one
SHOWN = 8  # characters of it that lists show


class Scope(models.TextChoices):
    """What a token may do, of what its person may. None includes another."""

    READ = "read", "read"
    ANNOTATE = "annotate", "annotate"
    MANAGE = "manage", "manage"


class ApiToken(models.Model):
    """A person's key to the API. Only a hash of it is kept, so a leaked database opens nothing."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20)
    token_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)  # of Scope
    created_at = models.DateTimeField(default=clock.now)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)  # to a minute
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.user}"

    @staticmethod
    def new_token() -> str:
        return f"{MARK}{secrets.token_urlsafe(32)}"

    @staticmethod
    def hash_token(token: str) -> str:
        return salted_hmac("labeler.api_token", token, algorithm="sha256").hexdigest()

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > clock.now())


class ApiReply(models.Model):
    """What a request with an Idempotency-Key was answered with, written in the transaction of what it did. The same key
    again gets the same words; with another request it is refused. Kept for a day."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)  # of method, address and body
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(blank=True)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta:
        verbose_name_plural = "API replies"
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_reply_of_a_key")]

    def __str__(self) -> str:
        return f"{self.status} for {self.key}"
