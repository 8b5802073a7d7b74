from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from labeler import clock
from labeler.told import ToldField


class WebhookEvent(models.TextChoices):
    ROUND_DONE = "round_done", _("a round is done")
    ROUND_FAILED = "round_failed", _("a round failed")
    TARGET_MET = "target_met", _("the target is met")
    EXPORT_READY = "export_ready", _("an export is ready")
    TEST = "test", _("a test")


def new_seed() -> str:
    return secrets.token_hex(32)


class Webhook(models.Model):
    """An address that is told of events of a project. Its secret is made of `seed` and the site's SECRET_KEY: a leaked
    database signs nothing."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="webhooks")
    address = models.CharField(max_length=500)
    events = models.JSONField(default=list)  # of WebhookEvent
    seed = models.CharField(max_length=64, default=new_seed)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now)
    failures = models.PositiveIntegerField(default=0)  # attempts since the last that went well
    stopped_at = models.DateTimeField(null=True)  # after too many of them, until a manager starts it again

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.address

    @property
    def host(self) -> str:
        """What others than managers may know of the address: its path may hold a key."""
        return urlsplit(self.address).netloc

    @property
    def secret(self) -> str:
        return f"whsec_{salted_hmac('labeler.webhook', self.seed, algorithm='sha256').hexdigest()}"


class WebhookDelivery(models.Model):
    """One message to one address. Made in the transaction of what it tells; sent by a worker, see
    services/webhook_deliveries.py."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("given up")

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event = models.CharField(max_length=16, choices=WebhookEvent)
    key = models.CharField(max_length=80)  # tells one event from another, so that each is told once
    body = models.TextField()  # JSON, as it is signed
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(default=clock.now)
    began_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True)  # of the last reply
    error = ToldField(blank=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "webhook deliveries"
        constraints = [models.UniqueConstraint(fields=["webhook", "key"], name="one_delivery_of_an_event")]
        indexes = [
            models.Index(
                fields=["not_before"], condition=models.Q(state__in=["waiting", "sending"]), name="delivery_waiting"
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"
