"""Heavy work in a web process: one thread at a time, and few that wait, so that the others are there for pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class AllTaken(Exception):
    """One works, as many wait as may, or the wait was too long."""


class Turns:
    """`waiting`: threads that may wait for the one that works, `seconds` each at most."""

    def __init__(self, *, waiting: int, seconds: float) -> None:
        self._places = threading.BoundedSemaphore(1 + waiting)
        self._turn = threading.Lock()
        self._seconds = seconds

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises AllTaken before anything is done."""
        if not self._places.acquire(blocking=False):
            raise AllTaken
        try:
            if not self._turn.acquire(timeout=self._seconds):
                raise AllTaken
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._places.release()
