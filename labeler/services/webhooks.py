"""Addresses that are told of a project's events: made, changed, stopped by managers; and events written down for them.

A delivery is a row in the transaction of what it tells: what did not happen is not told. It is sent by
services/webhook_deliveries.py.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import AuditKind, ExportJob, Project, Round, User, Webhook, WebhookDelivery, WebhookEvent
from labeler.outbound import OutboundRefused, check_address
from labeler.selectors.pool import shown_accuracy
from labeler.services import audit
from labeler.told import Told, said, told
from labeler.wake import wake

SEND_WEBHOOKS = "messages.send_webhooks"
MOST = 20  # of a project
MOST_TESTS, TESTS_SECONDS = 5, 60  # of one webhook
CHOICES = [event for event in WebhookEvent.values if event != WebhookEvent.TEST]


class TooManyTests(Exception):
    """The message is for people."""


@dataclass(frozen=True)
class NewWebhook:
    webhook: Webhook
    secret: str


@transaction.atomic
def make_webhook(*, project: Project, address: str, events: Collection[str], by: User) -> NewWebhook:
    """The secret is shown this one time. Raises ValidationError, naming the field."""
    wanted = [event for event in CHOICES if event in events]
    if not wanted or set(events) - set(wanted):
        raise ValidationError({"events": _("Choose at least one event.")})
    try:
        check_address(address)
    except OutboundRefused as refused:
        raise ValidationError({"address": said(str(refused))}) from refused
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)
    if project.webhooks.count() >= MOST:
        raise ValidationError(
            {"address": _("A project has %(most)s webhooks at most. Delete one first.") % {"most": MOST}}
        )
    row = Webhook(project=project, address=address, events=wanted, created_by=by)
    row.full_clean(exclude=["project", "created_by", "stopped_at"])
    row.save()
    _record(row, by, _made(row, wanted))
    return NewWebhook(row, row.secret)


@transaction.atomic
def delete_webhook(*, webhook: Webhook, by: User) -> None:
    """With its deliveries; what is on its way is told no more."""
    if Webhook.objects.filter(pk=webhook.pk).delete()[0]:
        _record(webhook, by, told("deleted the webhook to %(host)s", host=webhook.host))


@transaction.atomic
def start_webhook(*, webhook: Webhook, by: User) -> bool:
    """Again, after it was stopped. False: it was not stopped."""
    stopped = Webhook.objects.filter(pk=webhook.pk, stopped_at__isnull=False)
    if not stopped.update(stopped_at=None, failures=0):
        return False
    _record(webhook, by, told("started the webhook to %(host)s again", host=webhook.host))
    return True


@transaction.atomic
def send_test(*, webhook: Webhook) -> WebhookDelivery:
    """A message that says no more than that it is one. Raises TooManyTests."""
    # Two clicks count each other.
    Webhook.objects.select_for_update(no_key=True).only("pk").filter(pk=webhook.pk).first()
    lately = clock.now() - timedelta(seconds=TESTS_SECONDS)
    if webhook.deliveries.filter(event=WebhookEvent.TEST, created_at__gt=lately).count() >= MOST_TESTS:
        words = _("%(most)s tests of a webhook a minute are enough; their replies stand in the list. Wait a minute.")
        raise TooManyTests(words % {"most": MOST_TESTS})
    found = _deliver(webhook, WebhookEvent.TEST, f"test {uuid.uuid4()}", {"words": "A test from PlusMinus."})
    wake(SEND_WEBHOOKS)
    return found


def tell_round(*, round_: Round, event: str, words: str = "") -> None:
    """A round is done or has failed; in that transaction."""
    accuracy = shown_accuracy(round_.metrics) if event == WebhookEvent.ROUND_DONE else None
    data = {"round": round_.number, "trigger": round_.trigger, "accuracy": accuracy, "words": words}
    tell(project=round_.project, event=event, key=f"{event} {round_.number}", data=data)


def tell_export(*, job: ExportJob) -> None:
    """An export is ready; in that transaction."""
    data = {
        "export": job.pk,
        "format": job.format,
        "file": f"/api/v1/projects/{job.project.slug}/exports/{job.pk}/file",
    }
    tell(project=job.project, event=WebhookEvent.EXPORT_READY, key=f"export {job.pk}", data=data)


@transaction.atomic
def tell(*, project: Project, event: str, key: str, data: dict[str, Any]) -> None:
    """A delivery to each address that wants to hear of it. One statement where none does."""
    rows = [row for row in Webhook.objects.filter(project=project, stopped_at=None) if event in row.events]
    for row in rows:
        row.project = project
        _deliver(row, event, key, data)
    if rows:
        wake(SEND_WEBHOOKS)


def _deliver(webhook: Webhook, event: str, key: str, data: dict[str, Any]) -> WebhookDelivery:
    now = clock.now()
    body = {
        "id": str(uuid.uuid4()),
        "event": event,
        "at": now.isoformat(),
        "project": webhook.project.slug,
        **data,
    }
    text = json.dumps(body, ensure_ascii=False)
    found, _ = WebhookDelivery.objects.get_or_create(
        webhook=webhook, key=key[:80], defaults={"event": event, "body": text}
    )
    return found


def _made(webhook: Webhook, events: list[str]) -> Told:
    return told("made a webhook to %(host)s for: %(events)s", host=webhook.host, events=events)


def _record(webhook: Webhook, by: User, words: str) -> None:
    audit.record(project=webhook.project, by=by, kind=AuditKind.SETTINGS, words=words, webhook=webhook.pk)
