"""Webhooks: made on a page, told once of each event, signed, tried again, stopped, and never sent inside."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.urls import reverse

from labeler import clock
from labeler.models import (
    AuditEntry,
    ExportJob,
    JobState,
    Notice,
    Project,
    Round,
    RoundState,
    Trigger,
    Webhook,
    WebhookDelivery,
)
from labeler.services import webhook_deliveries, webhooks
from labeler.services.claims import end_round, mark_done
from labeler.services.exporting import create_export, run_export
from labeler.services.notices import note_target
from tests.labeler.monitored import METRICS

EVENTS = list(webhooks.CHOICES)


class Listener(HTTPServer):
    """Keeps what it gets, and answers with `status`."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?key=abc"


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener(settings) -> Iterator[Listener]:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook(project, manager, listener) -> Webhook:
    return webhooks.make_webhook(project=project, address=listener.address, events=EVENTS, by=manager).webhook


def running(project: Project, number: int = 5) -> Round:
    return Round.objects.create(
        project=project, number=number, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.ACQUIRING, claim="w"
    )


def due_now() -> None:
    WebhookDelivery.objects.update(not_before=clock.now() - timedelta(seconds=1))


def test_a_round_that_is_done_is_told_and_signed(hook, listener, project):
    mark_done(round_=running(project), metrics=METRICS)
    assert webhook_deliveries.send_webhooks() == 1
    [(headers, body)] = listener.got
    told = json.loads(body)
    assert told["event"] == headers["x-plusminus-event"] == "round_done"
    assert told["round"] == 5 and told["project"] == "signs" and told["accuracy"]["low"] == 0.8
    check = _example_of_the_documents()
    assert check(hook.secret, headers["x-plusminus-signature"], body)
    assert not check(hook.secret, headers["x-plusminus-signature"], body + b" ")
    assert not check("whsec_other", headers["x-plusminus-signature"], body)
    row = WebhookDelivery.objects.get()
    assert (row.state, row.status, row.attempts) == ("sent", 204, 1)
    assert webhook_deliveries.send_webhooks() == 0 and len(listener.got) == 1


def _example_of_the_documents():
    """As docs/api.md tells people to do it."""
    text = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
    block = next(each for each in re.findall(r"```python\n(.*?)```", text, re.S) if "is_genuine" in each)
    names: dict = {}
    exec(block, names)
    return names["is_genuine"]


def test_each_event_is_told_where_it_is_wanted(project, manager, listener, make_images):
    for event in EVENTS:
        webhooks.make_webhook(project=project, address=f"{listener.address}&{event}", events=[event], by=manager)
    round_ = running(project)
    round_.metrics = METRICS
    round_.save()
    project.target_accuracy = 0.7
    assert note_target(project=project, round_=round_) is not None
    assert note_target(project=project, round_=round_) is None  # once
    end_round(Q(pk=round_.pk), RoundState.FAILED, "It broke.")
    mark_done(round_=running(project, 6), metrics={})
    make_images(project, 2)
    run_export(job_id=create_export(project=project, by=manager, file_format="csv", includes_unlabelled=True).pk)
    assert ExportJob.objects.get().state == JobState.DONE
    told = {row.event: row.webhook.address.rpartition("&")[2] for row in WebhookDelivery.objects.all()}
    assert told == {event: event for event in EVENTS}
    assert WebhookDelivery.objects.count() == len(EVENTS)


def test_what_did_not_happen_is_not_told(hook, project):
    from django.db import transaction

    with pytest.raises(RuntimeError), transaction.atomic():
        mark_done(round_=running(project), metrics={})
        raise RuntimeError
    assert not WebhookDelivery.objects.exists()


def test_it_is_tried_again_later_and_later_and_given_up(hook, listener, project):
    listener.status = 500
    mark_done(round_=running(project), metrics={})
    pauses = []
    for _ in range(len(webhook_deliveries.PAUSES) + 1):
        webhook_deliveries.send_webhooks()
        row = WebhookDelivery.objects.get()
        pauses.append(round((row.not_before - clock.now()).total_seconds()))
        assert webhook_deliveries.send_webhooks() == 0  # not before its time
        due_now()
    assert [round(pause, -1) for pause in pauses[:3]] == [10, 60, 300]
    row.refresh_from_db()
    assert (row.state, row.status, row.attempts) == ("failed", 500, 7) and "500" in row.error
    assert len(listener.got) == 7 and len({json.loads(body)["id"] for _, body in listener.got}) == 1
    hook.refresh_from_db()
    assert hook.failures == 7


def test_one_that_comes_to_its_senses_counts_from_nothing(hook, listener, project):
    listener.status = 503
    mark_done(round_=running(project), metrics={})
    webhook_deliveries.send_webhooks()
    listener.status = 200
    due_now()
    assert webhook_deliveries.send_webhooks() == 1
    hook.refresh_from_db()
    assert hook.failures == 0


@pytest.mark.parametrize(("status", "failures"), [(500, webhook_deliveries.MOST_FAILURES - 1), (410, 0)])
def test_it_is_stopped_in_words(hook, listener, project, status, failures, client_of, manager):
    Webhook.objects.update(failures=failures)
    listener.status = status
    mark_done(round_=running(project), metrics={})
    webhook_deliveries.send_webhooks()
    hook.refresh_from_db()
    assert hook.stopped_at is not None
    notice = Notice.objects.get(kind="webhook_stopped")
    assert "127.0.0.1" in notice.words and "key=abc" not in notice.words
    mark_done(round_=running(project, 6), metrics={})
    assert WebhookDelivery.objects.count() == 1  # told no more
    client = client_of(manager)
    client.post(reverse("webhook-start", args=["signs", hook.pk]))
    hook.refresh_from_db()
    assert hook.stopped_at is None and hook.failures == 0


def test_what_a_lost_worker_held_is_sent_again(hook, listener, project):
    mark_done(round_=running(project), metrics={})
    WebhookDelivery.objects.update(state="sending", began_at=clock.now() - timedelta(hours=1), attempts=1)
    assert webhook_deliveries.sweep_webhooks() == 1
    assert webhook_deliveries.send_webhooks() == 1


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1/", "http://169.254.169.254/latest", "file:///etc/passwd", "http://[::ffff:10.0.0.1]/"]
)
def test_addresses_inside_are_refused_when_they_are_typed(project, manager, address):
    with pytest.raises(ValidationError) as refused:
        webhooks.make_webhook(project=project, address=address, events=["round_done"], by=manager)
    assert "address" in refused.value.message_dict and not Webhook.objects.exists()


def test_and_again_when_they_are_asked(hook, listener, project, settings):
    """A name that leads elsewhere since, or a network that is allowed no more."""
    settings.OUTBOUND_NETWORKS = []
    mark_done(round_=running(project), metrics={})
    assert webhook_deliveries.send_webhooks() == 0 and listener.got == []
    row = WebhookDelivery.objects.get()
    assert row.state == "failed" and "own" in row.error


def test_redirects_are_not_followed(hook, listener, project):
    listener.status = 302
    mark_done(round_=running(project), metrics={})
    assert webhook_deliveries.send_webhooks() == 0
    assert WebhookDelivery.objects.get().status == 302 and len(listener.got) == 1


def test_the_last_hundred_are_kept(hook, listener, monkeypatch):
    monkeypatch.setattr(webhook_deliveries, "KEPT", 3)
    monkeypatch.setattr(webhooks, "MOST_TESTS", 6)
    for _ in range(6):
        webhooks.send_test(webhook=hook)
        webhook_deliveries.send_webhooks()
    assert WebhookDelivery.objects.count() == 3


def test_the_page(client_of, manager, listener, project):
    client = client_of(manager)
    assert "No address is told" in client.get("/p/signs/settings/webhooks/").content.decode()
    page = client.post("/p/signs/settings/webhooks/", {"address": listener.address, "events": ["round_done"]})
    secret = page.context["secret"]
    hook = Webhook.objects.get()
    assert secret == hook.secret and secret in page.content.decode()
    assert secret not in client.get("/p/signs/settings/webhooks/").content.decode()
    assert secret not in str(Webhook.objects.values().get())
    assert "key=abc" not in AuditEntry.objects.latest("pk").words
    client.post(reverse("webhook-test", args=["signs", hook.pk]))
    assert webhook_deliveries.send_webhooks() == 1
    words = client.get("/p/signs/settings/webhooks/").content.decode()
    assert "a test" in words and "204" in words
    client.post(reverse("webhook-delete", args=["signs", hook.pk]))
    assert not Webhook.objects.exists() and not WebhookDelivery.objects.exists()


def test_mistakes_on_the_page_are_said(client_of, manager, project):
    page = client_of(manager).post("/p/signs/settings/webhooks/", {"address": "http://10.0.0.1/", "events": []})
    assert "Choose at least one event" in page.content.decode()
    page = client_of(manager).post("/p/signs/settings/webhooks/", {"address": "http://10.0.0.1/", "events": EVENTS})
    assert "OUTBOUND_NETWORKS" in page.content.decode() and not Webhook.objects.exists()


def test_the_page_reads_as_much_whatever_there_is(client_of, manager, hook, project, django_assert_max_num_queries):
    for _ in range(5):
        webhooks.send_test(webhook=hook)
    client = client_of(manager)
    with django_assert_max_num_queries(6):
        client.get("/p/signs/settings/webhooks/")
