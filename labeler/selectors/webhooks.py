"""Webhooks of a project and what became of their last deliveries, for their page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labeler.models import Project, Webhook, WebhookDelivery, WebhookEvent

SHOWN = 100


@dataclass(frozen=True)
class WebhookRow:
    webhook: Webhook
    events: str  # in words


def webhook_rows(project: Project) -> list[WebhookRow]:
    rows = project.webhooks.select_related("created_by")
    return [WebhookRow(row, ", ".join(str(WebhookEvent(event).label) for event in row.events)) for row in rows]


def last_deliveries(project: Project) -> Sequence[WebhookDelivery]:
    """Of all of them together, newest first. One statement."""
    rows = WebhookDelivery.objects.filter(webhook__project=project).select_related("webhook").defer("body")
    return list(rows.order_by("-pk")[:SHOWN])


def is_any_on_its_way(deliveries: Sequence[WebhookDelivery]) -> bool:
    return any(row.state in (WebhookDelivery.State.WAITING, WebhookDelivery.State.SENDING) for row in deliveries)
