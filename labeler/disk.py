"""A full disk: what its errors look like, whether a folder still takes something, whether a write failed lately."""

from __future__ import annotations

import errno
import logging
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
NO_ROOM = re.compile(r"\d+ requested and \d+ written|Not enough free space")  # numpy's words; it gives no number
# SQLite cannot make or grow one of its files; that has other causes, too
PERHAPS_FULL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
POSTGRESQL_FULL = "53100"
PROBE_BYTES = 64 * 1024
LATELY_SECONDS = 30
KEY = "disk-full"


def is_of_full_disk(error: BaseException | None) -> bool:
    """Whether the error, or one that led to it, says that there is no room: of a file, SQLite or PostgreSQL."""
    return any(_says_full(each) for each in chain(error))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _says_full(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells where
        return code == sqlite3.SQLITE_FULL or (code in PERHAPS_FULL and room_in(Path(settings.DATA_DIR)) == "full")
    if isinstance(error, OSError):
        return error.errno in DISK_FULL or (error.errno is None and bool(NO_ROOM.search(str(error))))
    return getattr(error, "sqlstate", None) == POSTGRESQL_FULL


def room_in(folder: Path) -> str:
    """`ok`, `full` or `unwritable`, found by writing a little to the disk: quotas and rights count as well."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(os.urandom(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        logger.warning("Nothing can be written to %s: %s", folder, error)
        return "full" if error.errno in DISK_FULL else "unwritable"
    return "ok"


def note_full() -> None:
    """A request could not be saved for want of room. The disk may be the database's, which only its errors tell."""
    try:
        cache.set(KEY, True, timeout=LATELY_SECONDS)
    except RedisError as error:
        logger.warning("Cannot tell the other processes that the disk is full: %s", error)


def was_full_lately() -> bool:
    try:
        return bool(cache.get(KEY))
    except RedisError:
        return False
