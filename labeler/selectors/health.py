"""Is each part there? Says nothing that a stranger should not know."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler import disk, storage
from labeler.selectors.workers import PROGRAMS, workers_alive

logger = logging.getLogger(__name__)
LATELY_SECONDS = 5.0
_found: dict[str, tuple[float, str]] = {}  # by what was looked at: when, and what it was


def parts() -> dict[str, str]:
    """`ok` or a word for each of web, database, disk, broker and those of PROGRAMS (learner, worker, …, beat); of the
    storage where it is a bucket."""
    database = _database()
    found = {"web": "ok", "database": database, "disk": disk_lately(), "broker": broker()}
    if storage.bucket() is not None:
        found["storage"] = _lately("storage", _storage)
    can_tell = found["database"] == found["disk"] == "ok"  # else they could not say that they are alive
    for queue, name in PROGRAMS.items():
        found[name] = "ok" if can_tell and workers_alive(queue) else "missing" if can_tell else "unknown"
    if found["beat"] == "missing" and found["broker"] != "ok":
        found["beat"] = "unknown"  # it hangs in its sending
    return found


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseProblem as error:
        logger.warning("The database does not answer: %s", error)
        return "away"
    return "ok"


def _storage() -> str:
    try:
        store = storage.bucket()
        assert store is not None
        store.check()
    except storage.StorageAway as error:
        logger.warning("The storage does not answer: %s", error)
        return "away"
    return "ok"


def broker_lately() -> str:
    """For pages that ask every second."""
    return _lately(settings.REDIS_URL, broker)


def disk_lately() -> str:
    """Anybody may ask, and each look writes."""
    if disk.was_full_lately():
        return "full"
    return _lately(f"disk {settings.DATA_DIR}", lambda: disk.room_in(Path(settings.DATA_DIR)))


def _lately(what: str, look: Callable[[], str]) -> str:
    """What `look` found, at most LATELY_SECONDS ago in this process."""
    now = time.monotonic()
    found_at, found = _found.get(what, (-LATELY_SECONDS, ""))
    if now - found_at < LATELY_SECONDS:
        return found
    _found[what] = (now, found or "ok")  # first, so that of all the threads of this process one waits for what hangs
    found = look()
    _found[what] = (time.monotonic(), found)
    return found


def broker() -> str:
    """Half a second at most."""
    if not settings.REDIS_URL:
        folder = Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"]))
        return "ok" if os.access(folder, os.W_OK) else "away"
    from redis import Redis, RedisError

    try:
        with Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.25, socket_timeout=0.25) as client:
            client.ping()
    except RedisError as error:
        logger.warning("The broker does not answer: %s", error)
        return "away"
    return "ok"
