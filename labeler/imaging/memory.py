"""Memory of large pictures, back to the system. What is freed stays with the process otherwise: glibc keeps a heap for
each thread, so that eight threads that have each seen a large picture hold eight."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Where the C library can; takes some milliseconds."""
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return None
    return found
