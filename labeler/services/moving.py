"""All rows into another database, from one moment of this one, by one transaction there. Files stay where they are."""

from __future__ import annotations

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction

from labeler.services.table_rows import (
    Counting,
    Report,
    connected,
    count_rows,
    empty_tables,
    is_in_use,
    kept_tables,
    one_moment,
    read_rows,
    set_sequences,
    write_rows,
)

TARGET = "target"


class MoveRefused(Exception):
    """Why rows cannot be moved there, in words for people."""


def move_rows(*, to: str, report: Report) -> dict[str, int]:
    """Copy every row to the PostgreSQL database at this address, which has to be empty. Returns the rows of each table,
    as counted on both sides."""
    with connected(TARGET, _settings_of(to)):
        try:
            connections[TARGET].ensure_connection()
            call_command("migrate", database=TARGET, verbosity=0, interactive=False)
            if is_in_use(TARGET):
                raise MoveRefused("There are people or projects in that database already. Give an empty one.")
            with one_moment() as source, transaction.atomic(using=TARGET):
                return _copy(source, report)
        except DatabaseError as error:
            raise MoveRefused(f"That database refused: {str(error).strip()} Nothing was moved.") from error


def _settings_of(url: str) -> dict[str, Any]:
    if not url.startswith(("postgres://", "postgresql://")):
        raise MoveRefused("Give the address of a PostgreSQL database: postgres://user:password@host:5432/name.")
    try:
        settings = environ.Env().db_url_config(url)
    except (ImproperlyConfigured, ValueError) as error:
        raise MoveRefused("This is no address of a database: postgres://user:password@host:5432/name.") from error
    filled = connections.configure_settings({DEFAULT_DB_ALIAS: settings})  # with what Django takes for granted
    return dict(filled[DEFAULT_DB_ALIAS])


def _copy(source: str, report: Report) -> dict[str, int]:
    models = kept_tables()
    expected = {model: count_rows(model=model, using=source) for model in models}
    told = Counting(sum(expected.values()), report)

    empty_tables(using=TARGET)
    counted = {}
    for model in models:
        label = model._meta.label_lower
        try:
            write_rows(model=model, rows=told(read_rows(model=model, using=source)), using=TARGET)
        except (DatabaseError, ValueError) as error:
            raise MoveRefused(f"That database refused a row of {label}: {error} Nothing was moved.") from error
        counted[label] = count_rows(model=model, using=TARGET)
        if counted[label] != expected[model]:
            raise MoveRefused(
                f"{label} has {counted[label]:,} rows there and {expected[model]:,} here. Nothing was moved."
            )
    set_sequences(using=TARGET)
    told.ended()
    return counted
