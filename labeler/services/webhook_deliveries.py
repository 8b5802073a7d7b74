"""Deliveries on their way: sent by a worker, signed, tried again later and later, and given up after some hours.

A row is claimed by a conditional UPDATE. Where a worker died in the middle it is sent again: a message may arrive
twice, with the same `id`, and never not at all. Every address passes the guard of labeler/outbound.py each time.

The signature is of `<time>.<body>` by HMAC-SHA-256 with the webhook's secret; the time is part of it, so that an old
message which somebody has recorded can be told from a new one.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet

from labeler import clock
from labeler.models import NoticeKind, Webhook, WebhookDelivery
from labeler.outbound import OutboundFailed, OutboundRefused, send
from labeler.services import notices
from labeler.services.webhooks import SEND_WEBHOOKS
from labeler.wake import wake

State = WebhookDelivery.State
PAUSES = [10, 60, 300, 1800, 7200, 21_600]  # seconds before each further attempt
MOST_FAILURES = 50  # attempts in a row, of all deliveries, after which an address is told no more
LOST = timedelta(minutes=2)
SECONDS = 10.0
MOST_REPLY = 64 * 1024
AT_ONCE, KEPT = 50, 100
GONE = 410


def sign(secret: str, moment: int, body: str) -> str:
    """`t=…,v1=…`, as the header has it."""
    digest = hmac.new(secret.encode(), f"{moment}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def sweep_webhooks() -> int:
    """Wake a worker for what is due; what a lost worker held is due again. Returns how many are."""
    now = clock.now()
    unfinished = WebhookDelivery.objects.filter(state__in=[State.WAITING, State.SENDING])
    rows = unfinished.filter(not_before__lte=now).order_by("not_before").values_list("state", "began_at")[:AT_ONCE]
    found = list(rows)  # by the partial index: of an idle site nothing
    is_lost = [state == State.SENDING and (began_at or now) < now - LOST for state, began_at in found]
    if any(is_lost):
        lost = WebhookDelivery.objects.filter(state=State.SENDING, began_at__lt=now - LOST)
        lost.update(state=State.WAITING, error="A worker was lost while it sent this; it is sent again.")
    due = sum(is_lost) + sum(state == State.WAITING for state, _ in found)
    if due:
        wake(SEND_WEBHOOKS)
    return due


def send_webhooks() -> int:
    """The task: send what is due, one after the other. Returns how many arrived."""
    due = WebhookDelivery.objects.filter(state=State.WAITING, not_before__lte=clock.now())
    return sum(_send(pk) for pk in list(due.order_by("not_before", "pk").values_list("pk", flat=True)[:AT_ONCE]))


def _send(pk: int) -> bool:
    now = clock.now()
    free = WebhookDelivery.objects.filter(pk=pk, state=State.WAITING, not_before__lte=now)
    if not free.update(state=State.SENDING, began_at=now, attempts=F("attempts") + 1):
        return False  # another worker was first
    row = WebhookDelivery.objects.select_related("webhook__project").get(pk=pk)
    if row.webhook.stopped_at is not None and row.event != "test":
        _end(row, State.FAILED, error="The webhook is stopped.")
        return False
    try:
        reply = send(
            row.webhook.address, method="POST", headers=_headers(row), body=row.body.encode(), seconds=SECONDS,
            max_bytes=MOST_REPLY,
        )  # fmt: skip
    except OutboundRefused as refused:
        _failed(row, str(refused), is_final=True)
    except OutboundFailed as failed:
        _failed(row, str(failed))
    else:
        if 200 <= reply.status < 300:
            return _arrived(row, reply.status)
        _failed(row, f"It answered {reply.status}.", status=reply.status, is_final=reply.status == GONE)
    return False


def _headers(row: WebhookDelivery) -> dict[str, str]:
    moment = int(clock.now().timestamp())
    return {
        "content-type": "application/json",
        "x-plusminus-event": row.event,
        "x-plusminus-delivery": str(row.pk),
        "x-plusminus-signature": sign(row.webhook.secret, moment, row.body),
    }


@transaction.atomic
def _arrived(row: WebhookDelivery, status: int) -> bool:
    Webhook.objects.filter(pk=row.webhook_id).exclude(failures=0).update(failures=0)
    return _end(row, State.SENT, status=status)


@transaction.atomic
def _failed(row: WebhookDelivery, error: str, *, status: int | None = None, is_final: bool = False) -> None:
    Webhook.objects.filter(pk=row.webhook_id).update(failures=F("failures") + 1)
    if is_final or row.attempts > len(PAUSES) or row.event == "test":
        _end(row, State.FAILED, status=status, error=error)
    else:
        later = clock.now() + timedelta(seconds=PAUSES[row.attempts - 1])
        _mine(row).update(state=State.WAITING, not_before=later, status=status, error=error[:300])
    too_many = Q(failures__gte=MOST_FAILURES) if status != GONE else Q()
    if Webhook.objects.filter(too_many, pk=row.webhook_id, stopped_at=None).update(stopped_at=clock.now()):
        _say_stopped(row, error)


def _say_stopped(row: WebhookDelivery, error: str) -> None:
    words = (
        f"The webhook to {row.webhook.host} is stopped: {error} Mend it, then start it again under Settings, Webhooks."
    )
    key = f"{row.webhook_id} {row.pk}"
    notices.notify(project=row.webhook.project, kind=NoticeKind.WEBHOOK_STOPPED, key=key, words=words)


def _end(row: WebhookDelivery, state: str, *, status: int | None = None, error: str = "") -> bool:
    ended = _mine(row).update(state=state, ended_at=clock.now(), status=status, error=error[:300])
    old = WebhookDelivery.objects.filter(webhook=row.webhook_id).order_by("-pk").values_list("pk", flat=True)
    last = list(old[KEPT : KEPT + 1])
    if last:
        ended_ones = Q(state__in=[State.SENT, State.FAILED])
        WebhookDelivery.objects.filter(ended_ones, webhook=row.webhook_id, pk__lte=last[0]).delete()
    return bool(ended)


def _mine(row: WebhookDelivery) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(pk=row.pk, state=State.SENDING, attempts=row.attempts)
