"""Rows of statements that are written out, as instances of models.

What `Manager.raw` and `save` do, for the few statements that every request runs: which column is which field is known
beforehand there, and to find it out anew each time takes longer than the statement itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, Generic, TypeVar

from django.db import connection, models

ModelT = TypeVar("ModelT", bound=models.Model)
Convert = Callable[[Any], Any]


class Reader(Generic[ModelT]):
    """Makes instances of `model` from the values of these fields (all of them, if none are named), in this order."""

    def __init__(self, model: type[ModelT], names: Sequence[str] = ()) -> None:
        fields = {field.attname: field for field in model._meta.concrete_fields}
        self.model = model
        self.names = list(names or fields)
        self.fields = [fields[name] for name in self.names]

    def columns(self, alias: str) -> str:
        return ", ".join(f'{alias}."{field.column}"' for field in self.fields)

    def take(self, values: Iterator[Any]) -> ModelT:
        """The next values of a row are this model's."""
        kept = list(islice(values, len(self.names)))
        for at, convert in self._conversions:
            kept[at] = convert(kept[at])
        return self.model.from_db("default", self.names, kept)

    @cached_property
    def _conversions(self) -> list[tuple[int, Convert]]:
        """Of the fields that the database does not give as Python has them: times and JSON on SQLite, for example."""
        columns = [field.get_col(self.model._meta.db_table) for field in self.fields]
        return [
            (at, partial(_converted, convert, column))
            for at, column in enumerate(columns)
            for convert in [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
        ]


def _converted(convert: Callable[..., Any], column: Any, value: Any) -> Any:
    return convert(value, column, connection)


class Writer(Generic[ModelT]):
    """Adds rows of `model`, as `save(force_insert=True)` does for a model without parents, files or receivers."""

    def __init__(self, model: type[ModelT]) -> None:
        self.fields = [field for field in model._meta.concrete_fields if not field.primary_key]
        columns = ", ".join(f'"{field.column}"' for field in self.fields)
        marks = ", ".join(["%s"] * len(self.fields))
        self.statement = f"INSERT INTO {model._meta.db_table} ({columns}) VALUES ({marks}) RETURNING id"  # noqa: S608

    def insert(self, row: ModelT) -> None:
        """Sets the row's key. Raises what the database raises."""
        values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in self.fields]
        with connection.cursor() as cursor:
            cursor.execute(self.statement, values)
            row.pk = cursor.fetchone()[0]
        row._state.adding, row._state.db = False, connection.alias
