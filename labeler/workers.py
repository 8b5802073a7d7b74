"""Workers say that they are alive, and what they do, in a row each: the database tells, not the broker.

The heartbeat is a thread of the worker's main process: a fit keeps a child busy, never this. While all children are
busy it does the sweep in their stead, so that an import of an hour delays no round.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import bootsteps
from celery.worker import state as worker_state
from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler import clock
from labeler.pulse import start_pulse

logger = logging.getLogger(__name__)
_name = ""  # of the worker that this process belongs to; set before the children are forked
_queues: frozenset[str] = frozenset()  # that it takes work from

# No child is forked while the heartbeat has the database open. A child inherits SQLite's table of the locks that its
# process holds: with the write lock in it, every write of that child would find the database locked, for ever.
_no_fork = threading.Lock()
os.register_at_fork(before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_no_fork.release)


def this_worker() -> str:
    return _name or f"{socket.gethostname()}:{os.getpid()}"


def serves(queue: str) -> bool:
    """Whether this process belongs to a worker of that queue."""
    return queue in _queues


@contextmanager
def busy_with(words: str) -> Iterator[None]:
    """Show on the Monitor what this worker does."""
    _say_doing(words)
    try:
        yield
    finally:
        _say_doing("")


def _say_doing(words: str) -> None:
    from labeler.models import Worker

    try:
        Worker.objects.filter(pk=this_worker()).update(doing=words[:200])
    except DatabaseProblem as error:
        logger.warning("Could not say what this worker does: %s", error)
        if not connection.in_atomic_block:
            connection.close()


class Heartbeat(threading.Thread):
    """Upserts the worker's row every HEARTBEAT_SECONDS, whatever happens to the database meanwhile."""

    def __init__(self, name: str, queues: set[str], concurrency: int) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.worker_name, self.queues, self.concurrency = name, queues, concurrency
        self.stopped = threading.Event()
        self.is_first = True

    def run(self) -> None:
        while not self.stopped.is_set():
            self.guarded(self.beat)
            if "default" in self.queues and len(worker_state.active_requests) >= self.concurrency:
                self.guarded(self.sweep)
            self.stopped.wait(settings.HEARTBEAT_SECONDS)
        self.guarded(self.leave)

    def guarded(self, action: Any) -> None:
        with _no_fork:
            try:
                action()
            except DatabaseProblem as error:
                logger.warning("The heartbeat could not %s: %s", action.__name__, error)
            finally:
                connection.close()

    def beat(self) -> None:
        from labeler.models import Worker
        from labeler.services.claims import give_up_stalled

        now = clock.now()
        values: dict[str, Any] = {"seen_at": now, "queues": ",".join(sorted(self.queues))}
        if self.is_first:
            values |= {"started_at": now, "device": settings.LEARNER_DEVICE if "learner" in self.queues else ""}
        if self.is_first or not worker_state.active_requests:
            values["doing"] = ""  # a child that was killed could not say that it had stopped
        Worker.objects.update_or_create(name=self.worker_name, defaults=values)
        self.is_first = False
        if "learner" in self.queues and not worker_state.active_requests:
            give_up_stalled(idle_worker=self.worker_name)

    def sweep(self) -> None:
        from labeler.services.sweep import sweep

        sweep()

    def leave(self) -> None:
        from labeler.models import Worker
        from labeler.services.stops import give_back_work

        if count := give_back_work(worker=self.worker_name):
            logger.info("Told to stop: %s piece(s) of work given back", count)
        Worker.objects.filter(pk=self.worker_name).delete()


class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts the heartbeat with the worker. When that is told to stop, its work goes to others and its row away.

    Steps stop in the opposite order of their start: this one before the pool, which waits until its processes have
    ended what they do. These find their claims gone at their next beat, so that nobody waits for the end of a fit.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        global _name, _queues
        super().__init__(parent, **options)
        _name, _queues = parent.hostname, frozenset(parent.app.amqp.queues.consume_from)
        self.heartbeat: Heartbeat | None = None

    def start(self, parent: Any) -> None:
        self.heartbeat = Heartbeat(parent.hostname, set(_queues), parent.concurrency)
        self.heartbeat.start()
        start_pulse()

    def stop(self, _parent: Any) -> None:
        if self.heartbeat is not None:
            self.heartbeat.stopped.set()
            with suppress(RuntimeError):
                self.heartbeat.join(timeout=3)

    terminate = stop
