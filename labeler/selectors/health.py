"""Is each part there? Says nothing that a stranger should not know."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler.selectors.workers import workers_alive

logger = logging.getLogger(__name__)
BROKER_SECONDS = 5.0
_broker_found: dict[str, tuple[float, str]] = {}  # by address: when, and what


def parts() -> dict[str, str]:
    """`ok` or a word for each of web, database, broker, learner, worker."""
    database = _database()
    found = {"web": "ok", "database": database, "broker": broker()}
    for name, queue in (("learner", "learner"), ("worker", "default")):
        found[name] = "unknown" if database != "ok" else "ok" if workers_alive(queue) else "missing"
    return found


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseProblem as error:
        logger.warning("The database does not answer: %s", error)
        return "away"
    return "ok"


def broker_lately() -> str:
    """For pages that ask every second: what `broker` found, at most BROKER_SECONDS ago in this process."""
    now = time.monotonic()
    found_at, found = _broker_found.get(settings.REDIS_URL, (-BROKER_SECONDS, ""))
    if now - found_at < BROKER_SECONDS:
        return found
    # First, so that of all the threads of this process one waits for a broker that hangs
    _broker_found[settings.REDIS_URL] = (now, found or "ok")
    found = broker()
    _broker_found[settings.REDIS_URL] = (time.monotonic(), found)
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
