"""Receivers that hang: they wait for themselves, and nobody else waits for them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.urls import reverse

from labeler import clock
from labeler.models import Project, Webhook, WebhookDelivery
from labeler.services import webhook_deliveries, webhooks
from labeler.services.claims import mark_done
from labeler.services.webhooks import tell
from tests.labeler.test_webhooks import Listener, hook, listener, running

__all__ = ["hook", "listener"]  # fixtures
pytestmark = pytest.mark.django_db
SECONDS = 1.5  # that a receiver is given here


class Silent:
    """Accepts, reads nothing and never answers."""

    def __init__(self, stack: ExitStack) -> None:
        self.socket = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=50))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/"


@pytest.fixture
def silent(settings, monkeypatch) -> Iterator[list[Silent]]:
    """Twelve of them."""
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    monkeypatch.setattr(webhook_deliveries, "SECONDS", SECONDS)
    with ExitStack() as stack:
        yield [Silent(stack) for _ in range(12)]


def told(project: Project, address: str, *keys: str, failures: int = 0) -> Webhook:
    """A webhook with a message for each of the keys, all due now."""
    row = Webhook.objects.create(project=project, address=address, events=["round_done"], failures=failures)
    for key in keys:
        WebhookDelivery.objects.create(webhook=row, event="round_done", key=key, body="{}")
    return row


def other_project(name: str) -> Project:
    return Project.objects.create(name=name, slug=name)


def test_ten_to_one_that_hangs_hold_up_no_other_receiver(silent, hook, listener, project, monkeypatch):
    monkeypatch.setattr(webhook_deliveries, "TURN_SECONDS", 1.0)
    for number in range(10):
        told(project, f"{silent[0].address}{number}", "a", "b")
    tell(project=hook.project, event="round_done", key="round_done 5", data={})
    begun = time.monotonic()
    assert webhook_deliveries.send_webhooks() == 1
    assert time.monotonic() - begun < 2 * SECONDS  # one place, one turn
    row = WebhookDelivery.objects.get(webhook=hook)
    assert row.state == "sent" and row.ended_at - row.began_at < timedelta(seconds=SECONDS / 2)
    assert WebhookDelivery.objects.filter(attempts=1).exclude(webhook=hook).count() == 1


def test_what_was_not_reached_hears_of_nothing_for_a_while(silent, project, manager):
    row = told(project, silent[0].address, "a", "b", "c")
    webhook_deliveries.send_webhooks()
    assert sorted(row.deliveries.values_list("attempts", flat=True)) == [0, 0, 1]
    assert not row.deliveries.filter(not_before__lte=clock.now()).exists()
    webhooks.send_test(webhook=row)  # who tries it by hand is not kept waiting
    assert row.deliveries.filter(not_before__lte=clock.now()).count() == 1


def test_those_that_failed_last_have_half_of_the_places_at_most(silent, listener, monkeypatch):
    monkeypatch.setattr(webhook_deliveries, "TURN_SECONDS", 2.0)  # for three good ones, on a busy machine too
    monkeypatch.setattr(webhook_deliveries, "SECONDS", 3.0)  # no place of one that hangs is free again in this turn
    for number, each in enumerate(silent):
        told(other_project(f"p{number}"), each.address, "a", failures=3)
    good = told(other_project("good"), listener.address, "a", "b", "c")
    assert webhook_deliveries.send_webhooks() == 3
    assert WebhookDelivery.objects.filter(attempts=1).exclude(webhook=good).count() == webhook_deliveries.OF_STRUGGLING


def test_one_project_has_some_of_the_places(silent, project, listener, monkeypatch):
    monkeypatch.setattr(webhook_deliveries, "TURN_SECONDS", 2.0)  # for three good ones, on a busy machine too
    monkeypatch.setattr(webhook_deliveries, "SECONDS", 3.0)  # no place of one that hangs is free again in this turn
    for each in silent:
        told(project, each.address, "a")
    told(other_project("good"), listener.address, "a")
    assert webhook_deliveries.send_webhooks() == 1
    assert WebhookDelivery.objects.filter(attempts=1, webhook__project=project).count() == webhook_deliveries.OF_PROJECT


def test_what_is_left_after_a_turn_is_sent_in_the_next(silent, listener, monkeypatch):
    sent: list[str] = []
    monkeypatch.setattr(webhook_deliveries, "wake", sent.append)
    monkeypatch.setattr(webhook_deliveries, "TURN_SECONDS", 0.2)
    for number in range(2):
        told(other_project(f"p{number}"), f"{silent[0].address}{number}", "a")
    assert webhook_deliveries.send_webhooks() == 0
    assert sent == ["messages.send_webhooks"]


def test_messages_of_one_webhook_arrive_in_their_order(listener: Listener, project):
    told(project, listener.address, "a", "b", "c", "d")
    assert webhook_deliveries.send_webhooks() == 4
    ids = [int(headers["x-plusminus-delivery"]) for headers, _ in listener.got]
    assert ids == sorted(ids) and len(ids) == 4


def test_one_that_was_deleted_meanwhile_is_told_nothing(hook, listener, project):
    mark_done(round_=running(project), metrics={})
    pk = WebhookDelivery.objects.get().pk
    Webhook.objects.all().delete()
    assert webhook_deliveries._claimed(pk) is None


def test_tests_are_few_a_minute_and_it_is_said(hook, client_of, manager, make_user):
    client, at = client_of(manager), reverse("webhook-test", args=["signs", hook.pk])
    for _ in range(webhooks.MOST_TESTS):
        client.post(at)
    page = client.post(at, follow=True).content.decode()
    assert f"{webhooks.MOST_TESTS} tests of a webhook a minute are enough" in page
    assert hook.deliveries.count() == webhooks.MOST_TESTS
    hook.deliveries.update(created_at=clock.now() - timedelta(seconds=webhooks.TESTS_SECONDS + 1))
    client.post(at)
    assert hook.deliveries.count() == webhooks.MOST_TESTS + 1
