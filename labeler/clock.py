"""One time for all processes: the database's, however wrong the clocks of their machines are.

Leases, heartbeats and claims are written by one machine and judged by another. A learner whose clock is a minute slow
would be taken for dead, and a web server whose clock is fast would hand out what others hold. So nothing that is stored
takes the time from its own machine: it takes the database's, carried forward by a clock that nobody sets.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.db import connection
from django.db.utils import Error as DatabaseProblem
from django.utils import timezone

READ_AGAIN_SECONDS = 30
STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while a machine sleeps, where there is one

_anchor: tuple[datetime, float] | None = None  # a moment of the database's clock, and of the steady one


def now() -> datetime:
    """Now, as the database has it. SQLite has no other clock than this machine's.

    It is read again every half minute, outside of what counts statements, and right to half of a round trip.

    Raises:
        DatabaseProblem: If it has never been read and cannot be.
    """
    global _anchor  # noqa: PLW0603
    if connection.vendor != "postgresql":
        return timezone.now()
    steady = time.clock_gettime(STEADY)
    if _anchor is None or not 0 <= steady - _anchor[1] < READ_AGAIN_SECONDS:
        try:
            _anchor = _read()
        except DatabaseProblem:
            if _anchor is None:
                raise
    moment, read_at = _anchor
    return moment + timedelta(seconds=time.clock_gettime(STEADY) - read_at)


def _read() -> tuple[datetime, float]:
    with connection.cursor() as cursor, connection.wrap_database_errors:
        sent = time.clock_gettime(STEADY)
        cursor.cursor.execute("SELECT clock_timestamp()")
        [moment] = cursor.cursor.fetchone()
        got = time.clock_gettime(STEADY)
    return moment, (sent + got) / 2
