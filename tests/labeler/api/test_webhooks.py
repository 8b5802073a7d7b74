"""Webhooks by the API: by the same services and the same guard as the page, the secret shown once."""

from __future__ import annotations

import pytest

from labeler.models import ApiReply, Webhook, WebhookDelivery

HOOKS = "/projects/signs/webhooks"
NEW = {"address": "https://example.org/told?key=1", "events": ["round_done", "export_ready"]}


def test_it_is_made_once_and_its_secret_is_shown_once(as_manager, project, manager):
    made = as_manager.post(HOOKS, NEW, Idempotency_Key="w")
    assert made.status_code == 201, made.content
    row = Webhook.objects.get()
    assert made.json()["secret"] == row.secret and row.created_by == manager
    assert as_manager.post(HOOKS, NEW, Idempotency_Key="w").status_code == 409
    assert Webhook.objects.count() == 1 and "whsec" not in ApiReply.objects.get().body
    listed = as_manager.get(HOOKS)
    assert row.secret not in listed.content.decode()
    assert listed.json()["items"][0] == {name: value for name, value in made.json().items() if name != "secret"}


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/", "file:///etc/passwd", "x"]
)
def test_the_guard_of_the_page_stands_here_too(as_manager, project, address):
    reply = as_manager.post(HOOKS, NEW | {"address": address})
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "address"
    assert not Webhook.objects.exists()


@pytest.mark.parametrize("events", [[], ["nothing"], ["test"]])
def test_events_that_there_are_not(as_manager, project, events):
    reply = as_manager.post(HOOKS, NEW | {"events": events})
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"].startswith("events")


def test_a_test_its_delivery_and_the_end(as_manager, project):
    pk = as_manager.post(HOOKS, NEW).json()["id"]
    assert as_manager.post(f"{HOOKS}/{pk}/test").json()["state"] == "waiting"
    for _ in range(4):
        as_manager.post(f"{HOOKS}/{pk}/test")
    refused = as_manager.post(f"{HOOKS}/{pk}/test")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert "5 tests" in refused.json()["detail"] and WebhookDelivery.objects.count() == 5
    WebhookDelivery.objects.exclude(pk=WebhookDelivery.objects.earliest("pk").pk).delete()
    WebhookDelivery.objects.update(state="failed", attempts=3, status=500, error="It said 500.")
    [row] = as_manager.get("/projects/signs/deliveries").json()["items"]
    assert (row["webhook"], row["event"], row["status"], row["error"]) == (pk, "test", 500, "It said 500.")
    assert as_manager.post(f"{HOOKS}/{pk}/start").json()["changed"] is False
    Webhook.objects.update(stopped_at="2026-01-01T00:00:00Z", failures=50)
    assert as_manager.post(f"{HOOKS}/{pk}/start").json()["changed"] is True
    assert as_manager.send("DELETE", f"{HOOKS}/{pk}").status_code == 204
    assert not Webhook.objects.exists() and not WebhookDelivery.objects.exists()
    assert as_manager.send("DELETE", f"{HOOKS}/{pk}").status_code == 404
