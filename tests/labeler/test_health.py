from __future__ import annotations

import socket
import time

import pytest
from django.db import OperationalError, connection

from labeler.models import Worker
from labeler.selectors.health import broker_lately


@pytest.mark.django_db
def test_it_tells_the_parts_apart_without_signing_in(client) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {
        "web": "ok", "database": "ok", "disk": "ok", "broker": "ok", "learner": "missing", "worker": "missing",
        "importer": "missing", "messenger": "missing",
        "background": "missing", "beat": "missing",
    }  # fmt: skip
    Worker.objects.create(name="a", queues="learner")
    Worker.objects.create(name="b", queues="default,imports,messages,background")
    assert client.get("/health").json()["beat"] == "missing"
    Worker.objects.create(name="c", queues="beat")
    assert set(client.get("/health").json().values()) == {"ok"}


@pytest.mark.django_db
def test_without_a_database_it_is_503(client, monkeypatch) -> None:
    def away(*_args, **_kwargs):
        raise OperationalError("password=secret host=db")

    monkeypatch.setattr(connection, "cursor", away)
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["database"] == "away"
    assert b"secret" not in response.content


@pytest.mark.django_db
def test_a_broker_that_is_away_is_told_but_people_are_still_served(client, settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = client.get("/health")
    assert response.status_code == 200
    assert (response.json()["broker"], response.json()["beat"]) == ("away", "unknown")  # it waits for the broker


def test_pages_ask_a_broker_that_hangs_once_in_a_while_and_not_for_long(settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        begin = time.monotonic()
        assert [broker_lately() for _ in range(20)] == ["away"] * 20
        assert time.monotonic() - begin < 2  # a wait for each would take five seconds


def test_only_reading(client) -> None:
    assert client.post("/health").status_code == 405
