"""Fixtures of imports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labeler import storage
from labeler.services import importing, packing


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_SIZE", 10)
    monkeypatch.setattr(packing, "CHUNK_SIZE", 16)


@pytest.fixture
def full_at_the_fifth(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The disk is full at the fifth file, until this is undone."""
    write, calls = storage.write_once, []

    def write_once(name, content):
        calls.append(name)
        if len(calls) >= 5:
            raise storage.StorageFull("The disk of the server is full.")
        return write(name, content)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_once", write_once)
        yield patch
