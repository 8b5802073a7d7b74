"""When two transactions meet, the database lets one through; the other runs once more and finds what the first did."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Model, QuerySet

from labeler.models import User

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=Model)
ATTEMPTS = 5
_is_inside = ContextVar("is_inside", default=False)
DEADLOCK, CANNOT_SERIALISE = "40P01", "40001"  # PostgreSQL's codes for "try that again"


def again_if_raced(work: Callable[[], T]) -> T:
    """Run `work` in a transaction; again when a unique constraint or a deadlock says that somebody else was first.

    Inside another `work` it is part of that one's transaction, which is run again as a whole.
    """
    if _is_inside.get():
        return work()
    token = _is_inside.set(True)
    try:
        with _turn():
            return _try_some_times(work)
    finally:
        _is_inside.reset(token)


@contextmanager
def _turn() -> Iterator[None]:
    """SQLite's writers wait by looking again every so often, up to 100 ms later. Those of answers queue here instead.

    The queue is a lock on a file beside the database, so it is one for all threads of all processes; it ends with its
    holder. It is a courtesy: what is right is still decided by the database. Whoever is in a transaction already may
    hold what the queue's first waits for, and must not wait itself.
    """
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or connection.in_atomic_block or name == ":memory:" or "mode=memory" in name:
        yield
        return
    with Path(f"{name}-turn").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _try_some_times(work: Callable[[], T]) -> T:
    for _ in range(ATTEMPTS - 1):
        try:
            with transaction.atomic():
                return work()
        except IntegrityError:
            continue
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) not in {DEADLOCK, CANNOT_SERIALISE}:
                raise
    with transaction.atomic():
        return work()


def not_in_work(rows: QuerySet[ModelT]) -> QuerySet[ModelT]:
    """Those of the rows that no other transaction has locked, locked in turn. To close places in passing: one that is
    just being answered, taken or given back is its transaction's, and waiting for it would be a way into a deadlock.

    A statement of its own: in one with the change, a row that changed a moment ago would be locked and then passed by.
    """
    if not connection.features.has_select_for_update_skip_locked:
        return rows
    unlocked = rows.order_by().select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
    return rows.model._default_manager.filter(pk__in=list(unlocked))


def lock_person(annotator: User) -> None:
    """Until the transaction ends, no other one works for this person.

    For images with several places: a claim in one tab would else not see the answer that another tab is just giving,
    and offer the image again in its next place.
    """
    _lock("labeler.person", annotator.pk)


def lock_queue(project_id: int) -> None:
    """Until the transaction ends, no other one gives images of the project new places, or back a place by an undo.

    Each would else not see what the other is just giving, and together they would ask one person too many. Taken last
    by whoever gives a place back, and by the others before they look; who has it waits for no row of an answer.
    """
    _lock("labeler.queue", project_id)


def _lock(kind: str, pk: int) -> None:
    """SQLite has one writer at a time anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s), %s)", [kind, pk])
