"""Work that cannot report by itself, done in a thread so that somebody else may report meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

TICK_SECONDS = 0.5

T = TypeVar("T")


def in_background(work: Callable[[], T], tick: Callable[[], None]) -> T:
    """The result of `work`; `tick` is called every half second, and may raise to give up.

    A thread cannot be stopped: given up, `work` ends by itself some seconds later, and nobody looks at it. What `work`
    raises is raised here.
    """
    executor = ThreadPoolExecutor(1)
    future = executor.submit(work)
    try:
        while True:
            try:
                return future.result(TICK_SECONDS)
            except NotYet:
                if future.done():
                    raise  # of the work itself
                tick()
    finally:
        executor.shutdown(wait=False)
