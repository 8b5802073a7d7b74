"""A broker that is away costs a request at most two seconds, and only one in ten."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from celery import Celery

from labeler import wake

send = wake.send  # before the fixture `sent` stands in for it


@pytest.fixture(autouse=True)
def fresh(monkeypatch) -> None:
    monkeypatch.setattr(wake, "_quiet_until", 0.0)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


@pytest.fixture
def broker(monkeypatch):
    def use(url: str) -> None:
        monkeypatch.setattr(wake, "app", Celery(broker=url, set_as_current=False))

    return use


def timed() -> tuple[bool, float]:
    started = time.monotonic()
    was_sent = send("labeler.nothing", 1)
    return was_sent, time.monotonic() - started


def test_a_broker_that_refuses(broker) -> None:
    broker("redis://127.0.0.1:1/0")
    was_sent, seconds = timed()
    assert not was_sent
    assert seconds < 2.5


def test_a_broker_that_hangs_is_waited_for_once(broker, deaf_port) -> None:
    broker(f"redis://127.0.0.1:{deaf_port}/0")
    was_sent, seconds = timed()
    assert not was_sent
    assert seconds < 3
    was_sent, seconds = timed()
    assert not was_sent
    assert seconds < 0.1


@pytest.mark.django_db
def test_nothing_is_sent_before_the_commit(sent, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        wake.wake("learner.run_round", 1)
        assert sent == []
    assert sent == [("learner.run_round", 1)]
