"""Rows of all tables on their way between databases: read as of one moment, written with the keys that they have.

A backup, its restore, and a move to another database are made of these. Values pass as JSON has them, so that SQLite
and PostgreSQL are the same here.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import Field, Model

from labeler.models import Project, User
from labeler.told import Told, keep

READING = "one_moment"  # the alias of a connection that sees one moment
BATCH = 2000
# Sessions would let whoever reads a backup be somebody who is signed in; workers say by themselves that they are there.
LEFT_OUT = frozenset({"sessions.session", "labeler.worker"})
PLAIN = (bool, int, float, str, list, dict, type(None))
SAME_IN_JSON = frozenset({
    "AutoField", "BigAutoField", "BigIntegerField", "BooleanField", "CharField", "EmailField", "FloatField",
    "ForeignKey", "IntegerField", "JSONField", "OneToOneField", "PositiveBigIntegerField", "PositiveIntegerField",
    "PositiveSmallIntegerField", "SlugField", "SmallIntegerField", "TextField",
})  # fmt: skip

ModelT = type[Model]
Report = Callable[[str, int, int], object]  # what is being done, how far, of how much


class RowsRefused(Exception):
    """Why rows cannot be read or written, in words for people."""


class Counting:
    """Tells how many rows of all tables have passed, a thousand at a time."""

    def __init__(self, total: int, report: Report) -> None:
        self.done, self.total, self.report = 0, total, report

    def __call__(self, rows: Iterable[list[Any]]) -> Iterator[list[Any]]:
        for row in rows:
            self.done += 1
            if self.done % 1000 == 0:
                self.report("rows", self.done, self.total)
            yield row

    def ended(self) -> None:
        self.report("rows", self.total, self.total)


def every_table() -> list[ModelT]:
    found = apps.get_models(include_auto_created=True)
    tables = [model for model in found if model._meta.managed and not model._meta.proxy]
    return sorted(tables, key=lambda model: model._meta.label_lower)


def kept_tables() -> list[ModelT]:
    return [model for model in every_table() if model._meta.label_lower not in LEFT_OUT]


def columns(model: ModelT) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


@contextmanager
def one_moment() -> Iterator[str]:
    """An alias under which the database stays as it is now until the block ends. Nobody who writes waits for it."""
    settings = copy.deepcopy(connections[DEFAULT_DB_ALIAS].settings_dict)
    is_postgresql = connections[DEFAULT_DB_ALIAS].vendor == "postgresql"
    if not is_postgresql:
        settings["OPTIONS"]["transaction_mode"] = "DEFERRED"  # an immediate one would keep everybody from writing
    with connected(READING, settings), transaction.atomic(using=READING):
        with connections[READING].cursor() as cursor:
            if is_postgresql:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SELECT 1 FROM labeler_project LIMIT 1")  # from here on it is that moment
        yield READING


@contextmanager
def connected(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """A connection by this name for as long as the block lasts."""
    connections.settings[alias] = settings
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def read_rows(*, model: ModelT, using: str) -> Iterator[list[Any]]:
    """The values of each row in the order of `columns`, as JSON can hold them; by key, in flat memory."""
    rows = model._base_manager.using(using).order_by("pk").values_list(*columns(model))
    for values in rows.iterator(chunk_size=BATCH):
        yield [value if type(value) in PLAIN else _as_json(value) for value in values]


def _as_json(value: Any) -> str:
    if isinstance(value, Told):
        return keep(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def write_rows(*, model: ModelT, rows: Iterable[list[Any]], using: str) -> int:
    """Add rows with their keys, in the caller's transaction. Raises what the database raises, and ValueError or
    TypeError at a value that is none of its column."""
    connection = connections[using]
    fields = model._meta.concrete_fields
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks})"  # noqa: S608 (names of columns)
    readers = [(field, _reader(field)) for field in fields]
    count = 0
    with connection.cursor() as cursor:
        rows = iter(rows)
        while batch := list(islice(rows, BATCH)):
            cursor.executemany(
                statement,
                [
                    [
                        field.get_db_prep_save(read(value) if read else value, connection)
                        for (field, read), value in zip(readers, row, strict=True)
                    ]
                    for row in batch
                ],
            )
            count += len(batch)
    return count


def _reader(field: Field[Any, Any]) -> Callable[[Any], Any] | None:
    return None if field.get_internal_type() in SAME_IN_JSON else field.to_python


def is_in_use(using: str = DEFAULT_DB_ALIAS) -> bool:
    return User.objects.using(using).exists() or Project.objects.using(using).exists()


def empty_tables(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Delete every row: what a new database brings along has other keys than the same rows elsewhere, and a session
    left behind would be somebody else's."""
    connection = connections[using]
    tables = [model._meta.db_table for model in every_table()]
    with connection.cursor() as cursor:
        for statement in connection.ops.sql_flush(no_style(), tables):
            cursor.execute(statement)


def set_sequences(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """New rows get keys after the highest."""
    connection = connections[using]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), every_table()):
            cursor.execute(statement)
    ContentType.objects.clear_cache()


def count_rows(*, model: ModelT, using: str = DEFAULT_DB_ALIAS) -> int:
    return model._base_manager.using(using).count()
