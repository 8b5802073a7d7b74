"""A database that is away: what its errors look like, and a line of the log instead of a traceback a request."""

from __future__ import annotations

import logging

import psycopg

from labeler.disk import chain

UNREACHABLE = "08"  # the class of PostgreSQL's codes for a connection that is lost or refused
# Is shut down by an administrator, has crashed, is not up yet, takes no more connections
AWAY = {"57P01", "57P02", "57P03", "53300"}


def is_of_database_away(error: BaseException | None) -> bool:
    """Whether the error, or one that led to it, says that no connection to PostgreSQL can be had. SQLite is a file."""
    return any(_says_away(each) for each in chain(error))


def _says_away(error: BaseException) -> bool:
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    code = error.sqlstate
    return code is None or code in AWAY or code.startswith(UNREACHABLE)


def without_traceback(record: logging.LogRecord) -> bool:
    """A filter: where the database is away the trace of every request tells the same. Takes no record away."""
    error = record.exc_info[1] if record.exc_info else None
    if is_of_database_away(error):
        why = " ".join(str(error).split())
        record.msg, record.args = f"{record.getMessage()}: the database is away ({why})", None
        record.exc_info = record.exc_text = None
    return True
