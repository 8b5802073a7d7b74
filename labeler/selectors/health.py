"""Is each part there? Says nothing that a stranger should not know."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from django.conf import settings
from django.db import Error as DatabaseProblem
from django.db import connection

from labeler.selectors.workers import workers_alive

logger = logging.getLogger(__name__)


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
