"""Beat, which says that it lives as workers do: in a row of the database."""

from __future__ import annotations

import logging
import signal
import socket
import time
from typing import Any, NoReturn

from celery.signals import beat_init
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection
from django_celery_beat.schedulers import DatabaseScheduler

from labeler import clock
from labeler.models import Worker
from labeler.pulse import start_pulse

logger = logging.getLogger(__name__)
QUEUE = "beat"  # no queue of messages: what its row says that it serves
DOING = "sending the sweep and rounds by the clock"


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """Says so after a tick, so that one that hangs in a tick falls silent."""

    said_at = float("-inf")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        start_pulse()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        interval = super().tick(*args, **kwargs)
        if time.monotonic() - self.said_at >= settings.HEARTBEAT_SECONDS:
            self.said_at = time.monotonic()
            _guarded(say_alive)
        return float(min(interval, settings.HEARTBEAT_SECONDS))

    def close(self) -> None:
        connection.close()  # a statement that a signal has broken into leaves it unusable
        super().close()
        _guarded(leave)


@beat_init.connect  # type: ignore[untyped-decorator]
def leave_the_work_to_the_loop(**_: Any) -> None:
    """Replace celery's handlers, which close the scheduler themselves, in the middle of whatever they break into.

    Where that is a statement, the driver's lock is held by the very thread that would then wait for it, for ever. The
    loop closes its scheduler in any case, once the exit has reached it.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


def _exit(*_: object) -> NoReturn:
    raise SystemExit


def _guarded(action: Any) -> None:
    try:
        action()
    except DatabaseProblem as error:
        logger.warning("Beat could not %s: %s", action.__name__, error)
        connection.close()


def own_name() -> str:
    return f"beat@{socket.gethostname()}"


def say_alive() -> None:
    now = clock.now()
    if not Worker.objects.filter(pk=own_name()).update(seen_at=now):
        Worker.objects.create(name=own_name(), queues=QUEUE, doing=DOING, started_at=now, seen_at=now)


def leave() -> None:
    Worker.objects.filter(pk=own_name()).delete()
