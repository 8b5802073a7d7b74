from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeler import clock
from labeler.told import ToldField


class NoticeKind(models.TextChoices):
    ROUND_FAILED = "round_failed", _("a round failed")
    MODEL_REFUSED = "model_refused", _("a model was refused")
    TARGET_MET = "target_met", _("the target is met")
    QUEUE_DRY = "queue_dry", _("nothing is left to answer")
    SOMEBODY_ELSE = "somebody_else", _("images wait for somebody else")
    WEBHOOK_STOPPED = "webhook_stopped", _("a webhook was stopped")


class Notice(models.Model):
    """Something that managers should hear of, once: `key` tells one such event of a project from another. Of what is
    left to answer it says how things are now, and is over while they are not so."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="notices", db_index=False)
    kind = models.CharField(max_length=16, choices=NoticeKind)
    key = models.CharField(max_length=60)
    words = ToldField()
    facts = models.JSONField(default=dict)  # of which it is worded again for each reader; empty: the words are all
    round = models.ForeignKey("labeler.Round", null=True, on_delete=models.CASCADE, related_name="+")  # that it is of
    created_at = models.DateTimeField(default=clock.now)
    over_at = models.DateTimeField(null=True)  # it is not so any more

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "kind", "key"], name="one_notice_of_an_event")]

    def __str__(self) -> str:
        return self.words


class NoticeDismissal(models.Model):
    """A person has read a notice and does not want to see it again."""

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="dismissals", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["notice", "user"], name="dismissed_once")]

    def __str__(self) -> str:
        return f"{self.notice} read by {self.user}"


class NoticeMail(models.Model):
    """A notice on its way to a person. One row, one mail: see services/notice_mails.py."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting for a worker")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("not sent")
        UNKNOWN = "unknown", _("perhaps sent")  # its worker died in the middle: it is not sent again

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="mails", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(default=clock.now)
    began_at = models.DateTimeField(null=True)  # the last attempt
    sent_at = models.DateTimeField(null=True)
    error = ToldField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["notice", "user"], name="one_mail_a_person")]
        indexes = [
            models.Index(
                fields=["not_before"], condition=models.Q(state__in=["waiting", "sending"]), name="mail_waiting"
            )
        ]

    def __str__(self) -> str:
        return f"mail to {self.user}: {self.notice}"
