"""Addresses that are told of a project's events, and what became of it. Managers only; by the guard of the page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from django.http import Http404, HttpRequest, HttpResponse
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.once import SHOWN_ONCE
from labeler.api.operations import NONE, PATTERN, In, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem
from labeler.api.shapes import Outcome, Person, person_of
from labeler.models import Webhook, WebhookDelivery
from labeler.services.webhooks import (
    CHOICES,
    TESTS_SECONDS,
    TooManyTests,
    delete_webhook,
    make_webhook,
    send_test,
    start_webhook,
)

router = Operations("Webhooks")
ROOT = "/projects/{slug:slug}/webhooks"
ONE = f"{ROOT}/{{int:webhook_id}}"


class WebhookNew(In):
    address: Annotated[str, Field(min_length=1, max_length=500, pattern=PATTERN)]
    events: list[Literal[tuple(CHOICES)]] = Field(  # type: ignore[valid-type]
        default=list(CHOICES), min_length=1, max_length=len(CHOICES)
    )


class WebhookOut(Out):
    id: int
    address: str
    events: list[str]
    created_by: Person | None
    created_at: datetime
    failures: int = Field(description="Attempts since the last that went well.")
    stopped_at: datetime | None = Field(description="After too many of them; until somebody starts it again.")


class WebhookMade(WebhookOut):
    secret: str = Field(description="It signs the messages. Shown this one time.")


class DeliveryOut(Out):
    id: int
    webhook: int
    event: str
    state: str = Field(description="waiting, sending, sent or failed.")
    attempts: int
    status: int | None = Field(description="Of the last reply.")
    error: str
    not_before: datetime = Field(description="Of one that waits: when it is tried next.")
    created_at: datetime
    ended_at: datetime | None


@router.read(ROOT, Page[WebhookOut], who="manager")
def list_webhooks(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[WebhookOut]:
    """The project's webhooks, without their secrets."""
    rows = manager_access(request, slug).project.webhooks.select_related("created_by")
    page = page_of(f"webhooks {slug}", rows, paging)
    return Rows([_shown(row) for row in page.items], page.next)


@router.make(ROOT, WebhookMade)
def make_webhook_(request: HttpRequest, slug: str, body: WebhookNew, response: HttpResponse) -> WebhookMade:
    """An address that is told of events. It has to be outside the server's own networks."""
    access = manager_access(request, slug)
    made = make_webhook(project=access.project, address=body.address, events=body.events, by=access.user)
    response[SHOWN_ONCE] = "yes"
    return WebhookMade(**_shown(made.webhook).model_dump(), secret=made.secret)


@router.remove(ONE)
def delete_webhook_(request: HttpRequest, slug: str, webhook_id: int) -> None:
    """It is told of nothing any more; its deliveries go, too."""
    access = manager_access(request, slug)
    delete_webhook(webhook=_webhook(access, webhook_id), by=access.user)


@router.act(f"{ONE}/test", DeliveryOut)
def test_webhook(request: HttpRequest, slug: str, webhook_id: int, body: Nothing = NONE) -> DeliveryOut:  # noqa: ARG001
    """Send a message that says no more than that it is one; five a minute at most."""
    try:
        return _delivery(send_test(webhook=_webhook(manager_access(request, slug), webhook_id)))
    except TooManyTests as refused:
        raise Problem(429, str(refused), headers={"Retry-After": str(TESTS_SECONDS)}) from refused


@router.act(f"{ONE}/start", Outcome)
def start_webhook_(request: HttpRequest, slug: str, webhook_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Tell it again, after it was stopped."""
    access = manager_access(request, slug)
    changed = start_webhook(webhook=_webhook(access, webhook_id), by=access.user)
    return Outcome(changed=changed, detail="It is told of events again." if changed else "It was not stopped.")


@router.read("/projects/{slug:slug}/deliveries", Page[DeliveryOut], who="manager")
def list_deliveries(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[DeliveryOut]:
    """What became of the messages of all webhooks, newest first."""
    access = manager_access(request, slug)
    rows = WebhookDelivery.objects.filter(webhook__project=access.project).defer("body")
    page = page_of(f"deliveries {slug}", rows, paging, newest_first=True)
    return Rows([_delivery(row) for row in page.items], page.next)


def _webhook(access: Access, pk: int) -> Webhook:
    if (row := access.project.webhooks.select_related("project").filter(pk=pk).first()) is None:
        raise Http404("No such webhook")
    return row


def _shown(row: Webhook) -> WebhookOut:
    names = [name for name in WebhookOut.model_fields if name != "created_by"]
    return WebhookOut(**{name: getattr(row, name) for name in names}, created_by=person_of(row.created_by))


def _delivery(row: WebhookDelivery) -> DeliveryOut:
    names = [name for name in DeliveryOut.model_fields if name != "webhook"]
    return DeliveryOut(**{name: getattr(row, name) for name in names}, webhook=row.webhook_id)
