"""Waking workers. The database is the truth: a message that gets lost only costs the seconds until the next sweep."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import transaction

from labeler.celery import app

logger = logging.getLogger(__name__)

SEND_SECONDS = 2.0  # a request waits for a dead broker no longer than this
QUIET_SECONDS = 10.0  # after which the next request may try again
_quiet_until = 0.0


def wake(task_name: str, *args: int, countdown: float = 0) -> None:
    """Send a task once the present transaction has committed. Never raises; see `send`."""
    transaction.on_commit(lambda: send(task_name, *args, countdown=countdown))


def send(task_name: str, *args: int, countdown: float = 0) -> bool:
    """Send a task now. False if the broker is away: the sweep sends it again.

    While the broker is away only one request in `QUIET_SECONDS` waits for it; the others go on at once.
    """
    global _quiet_until  # noqa: PLW0603
    if time.monotonic() < _quiet_until:
        return False
    try:
        with app.connection_for_write(transport_options=_options()) as connection:
            connection.ensure_connection(max_retries=1, timeout=SEND_SECONDS, interval_start=0)
            app.send_task(task_name, args=list(args), countdown=countdown or None, connection=connection, retry=False)
    except Exception as error:  # noqa: BLE001  (whatever a broker does must not reach the person who answered)
        logger.warning("Could not wake a worker for %s%s: %s. The sweep will.", task_name, args, error)
        _quiet_until = time.monotonic() + QUIET_SECONDS
        return False
    return True


def _options() -> dict[str, Any]:
    limits = {"socket_connect_timeout": 1, "socket_timeout": 1, "max_retries": 0, "retry_on_timeout": False}
    return {**app.conf.broker_transport_options, **(limits if app.conf.broker_url.startswith("redis") else {})}
