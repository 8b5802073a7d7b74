"""Deliveries on their way: sent by a worker, signed, tried again later and later, and given up after some hours.

A row is claimed by a conditional UPDATE. Where a worker died in the middle it is sent again: a message may arrive
twice, with the same `id`, and never not at all. Every address passes the guard of labeler/outbound.py each time.

Several are on their way at once, one to a receiver, and a few of a project; receivers that failed last have half of the
places. So one that accepts and never answers holds up its own messages, and nobody else's. The database is asked by
one thread; the others do nothing but wait for receivers.

The signature is of `<time>.<body>` by HMAC-SHA-256 with the webhook's secret; the time is part of it, so that an old
message which somebody has recorded can be told from a new one.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet

from labeler import clock
from labeler.models import NoticeKind, Webhook, WebhookDelivery, WebhookEvent
from labeler.outbound import OutboundError, OutboundRefused, Reply, send
from labeler.services import notices
from labeler.services.webhooks import SEND_WEBHOOKS
from labeler.told import told
from labeler.wake import wake

State = WebhookDelivery.State
PAUSES = [10, 60, 300, 1800, 7200, 21_600]  # seconds before each further attempt
MOST_FAILURES = 50  # attempts in a row, of all deliveries, after which an address is told no more
LOST = timedelta(minutes=2)
SECONDS = 10.0
MOST_REPLY = 64 * 1024
DUE_SHOWN, KEPT = 50, 100
PLACES = 8  # messages on their way at once
OF_STRUGGLING, OF_PROJECT = 4, 3  # of these at most: to receivers that failed last, of one project
TURN_SECONDS = 15.0  # after which mails have their turn
RECEIVER_RESTS = timedelta(seconds=30)  # one that was not reached hears of nothing else for so long
GONE = 410


def sign(secret: str, moment: int, body: str) -> str:
    """`t=…,v1=…`, as the header has it."""
    digest = hmac.new(secret.encode(), f"{moment}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def sweep_webhooks() -> int:
    """Wake a worker for what is due; what a lost worker held is due again. Returns how many are."""
    now = clock.now()
    unfinished = WebhookDelivery.objects.filter(state__in=[State.WAITING, State.SENDING])
    rows = unfinished.filter(not_before__lte=now).order_by("not_before").values_list("state", "began_at")[:DUE_SHOWN]
    found = list(rows)  # by the partial index: of an idle site nothing
    is_lost = [state == State.SENDING and (began_at or now) < now - LOST for state, began_at in found]
    if any(is_lost):
        lost = WebhookDelivery.objects.filter(state=State.SENDING, began_at__lt=now - LOST)
        lost.update(state=State.WAITING, error=told("A worker was lost while it sent this; it is sent again."))
    due = sum(is_lost) + sum(state == State.WAITING for state, _ in found)
    if due:
        wake(SEND_WEBHOOKS)
    return due


def send_webhooks() -> int:
    """The task: send what is due, for TURN_SECONDS and until all that was begun has ended. Returns how many arrived."""
    until, arrived = time.monotonic() + TURN_SECONDS, 0
    under_way: dict[Future[Reply], WebhookDelivery] = {}
    with ThreadPoolExecutor(PLACES, thread_name_prefix="webhook") as threads:
        while True:
            if is_open := time.monotonic() < until:
                for row in _next_ones(list(under_way.values())):
                    under_way[threads.submit(_request_of(row))] = row
            if not under_way:
                break
            for future in wait(under_way, timeout=1.0, return_when=FIRST_COMPLETED).done:
                arrived += _ended(under_way.pop(future), future)
    if not is_open and _due().exists():
        wake(SEND_WEBHOOKS)
    return arrived


def _due() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(state=State.WAITING, not_before__lte=clock.now())


def _next_ones(under_way: list[WebhookDelivery]) -> Iterator[WebhookDelivery]:
    """Claims as many as there are places for: of each webhook that may be told something its oldest message. Asked anew
    whenever one has ended."""
    busy = list(under_way)
    if len(busy) >= PLACES:
        return
    first_of_each = _due().values("webhook").annotate(first=Min("pk"), since=Min("not_before")).order_by("since")
    hooks = Webhook.objects.in_bulk([each["webhook"] for each in first_of_each])
    for each in first_of_each:
        hook = hooks.get(each["webhook"])
        if len(busy) < PLACES and hook is not None and _has_place(hook, [row.webhook for row in busy]):
            row = _claimed(each["first"])
            if row is not None:
                busy.append(row)
                yield row


def _has_place(hook: Webhook, busy: list[Webhook]) -> bool:
    if any(hook.host == other.host for other in busy):
        return False
    if sum(hook.project_id == other.project_id for other in busy) >= OF_PROJECT:
        return False
    return not hook.failures or sum(other.failures > 0 for other in busy) < OF_STRUGGLING


def _claimed(pk: int) -> WebhookDelivery | None:
    """None: another worker was first, or nobody is told any more."""
    if not _due().filter(pk=pk).update(state=State.SENDING, began_at=clock.now(), attempts=F("attempts") + 1):
        return None
    row = WebhookDelivery.objects.select_related("webhook__project").filter(pk=pk).first()
    if row is None:
        return None
    if row.webhook.stopped_at is not None and row.event != WebhookEvent.TEST:
        _end(row, State.FAILED, error=told("The webhook is stopped."))
        return None
    return row


def _request_of(row: WebhookDelivery) -> Callable[[], Reply]:
    """For a thread of its own: nothing in it may ask the database."""
    return partial(
        send, row.webhook.address, method="POST", headers=_headers(row), body=row.body.encode(), seconds=SECONDS,
        max_bytes=MOST_REPLY,
    )  # fmt: skip


def _ended(row: WebhookDelivery, future: Future[Reply]) -> bool:
    """Writes down what became of it; whether it arrived."""
    try:
        reply = future.result()
    except OutboundError as error:
        _failed(row, str(error), is_final=isinstance(error, OutboundRefused))
        others = _due().filter(webhook=row.webhook_id).exclude(event=WebhookEvent.TEST)
        others.update(not_before=clock.now() + RECEIVER_RESTS)
        return False
    if 200 <= reply.status < 300:
        return _arrived(row, reply.status)
    _failed(
        row,
        told("It answered %(status)s.", status=str(reply.status)),
        status=reply.status,
        is_final=reply.status == GONE,
    )
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
        _mine(row).update(state=State.WAITING, not_before=later, status=status, error=error)
    too_many = Q(failures__gte=MOST_FAILURES) if status != GONE else Q()
    if Webhook.objects.filter(too_many, pk=row.webhook_id, stopped_at=None).update(stopped_at=clock.now()):
        _say_stopped(row, error)


def _say_stopped(row: WebhookDelivery, error: str) -> None:
    words = told(
        "The webhook to %(host)s is stopped: %(error)s Mend it, then start it again under Settings, Webhooks.",
        host=row.webhook.host,
        error=error,
    )
    key = f"{row.webhook_id} {row.pk}"
    notices.notify(project=row.webhook.project, kind=NoticeKind.WEBHOOK_STOPPED, key=key, words=words)


def _end(row: WebhookDelivery, state: str, *, status: int | None = None, error: str = "") -> bool:
    ended = _mine(row).update(state=state, ended_at=clock.now(), status=status, error=error)
    old = WebhookDelivery.objects.filter(webhook=row.webhook_id).order_by("-pk").values_list("pk", flat=True)
    last = list(old[KEPT : KEPT + 1])
    if last:
        ended_ones = Q(state__in=[State.SENT, State.FAILED])
        WebhookDelivery.objects.filter(ended_ones, webhook=row.webhook_id, pk__lte=last[0]).delete()
    return bool(ended)


def _mine(row: WebhookDelivery) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(pk=row.pk, state=State.SENDING, attempts=row.attempts)
