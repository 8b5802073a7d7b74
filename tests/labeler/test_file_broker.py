"""The folder that stands in for a broker on one machine, read while others write it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection
from kombu.exceptions import ChannelError

from labeler import file_broker
from labeler.celery import app

MESSAGE = {"body": "one", "headers": {}, "properties": {"delivery_tag": "1"}}


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[file_broker.Channel]:
    (tmp_path / "control").mkdir()
    folders = {name: str(tmp_path) for name in ("data_folder_in", "data_folder_out")}
    options = {**folders, "control_folder": str(tmp_path / "control")}
    with Connection("folder://localhost", transport_options=options) as connection:
        yield connection.default_channel


def test_without_redis_it_is_what_the_app_uses(settings) -> None:
    if settings.REDIS_URL:
        pytest.skip("these tests run with Redis")
    assert isinstance(app.connection().transport, file_broker.Transport)


def test_a_message_appears_whole(channel, monkeypatch) -> None:
    seen = []

    def look_and_replace(part: Path, target: Path) -> None:
        with pytest.raises(Empty):
            channel._get("default")
        seen.append(part.read_text())
        part.rename(target)

    monkeypatch.setattr(Path, "replace", look_and_replace)
    channel._put("default", MESSAGE)
    assert channel._get("default") == MESSAGE
    assert len(seen) == 1
    with pytest.raises(Empty):
        channel._get("default")


def test_of_a_damaged_message_the_worker_does_not_die(channel, tmp_path) -> None:
    (tmp_path / "0_killed.default.msg").touch()
    channel._put("default", MESSAGE)
    assert channel._get("default") == MESSAGE


def test_an_exchange_that_is_just_being_written_is_waited_for(channel, tmp_path) -> None:
    table = tmp_path / "control" / "default.exchange"
    table.touch()
    timer = threading.Timer(0.1, lambda: table.write_text('[["default", "", "default"]]'))
    timer.start()
    assert [entry.queue for entry in channel.get_table("default")] == ["default"]
    channel._queue_bind("default", "other", "", "other")
    assert {entry.queue for entry in channel.get_table("default")} == {"default", "other"}


def test_one_that_stays_damaged_is_an_error(channel, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(file_broker, "PATIENCE_SECONDS", 0.05)
    (tmp_path / "control" / "default.exchange").touch()
    with pytest.raises(ChannelError, match="damaged"):
        channel.get_table("default")


def test_a_full_disk_leaves_nothing_half_written(channel, tmp_path, monkeypatch) -> None:
    def full(part: Path, _text: str) -> None:
        part.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ChannelError, match="No space left"):
        channel._put("default", MESSAGE)
    assert not list(tmp_path.glob("*.*"))


def test_a_worker_that_is_to_end_looks_up_soon(channel) -> None:
    """Celery looks whether it is to end between two waits for messages, and asks to wait for two seconds."""
    transport = channel.connection
    transport.client.transport_options["polling_interval"] = 0.1
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        transport.drain_events(transport, timeout=2.0)
    assert time.monotonic() - begin < 1
