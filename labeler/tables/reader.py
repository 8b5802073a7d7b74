"""What kind of table a file is, and its rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labeler.tables import label_studio
from labeler.tables.coco import KEYS, coco_rows
from labeler.tables.columns import LOOKED_AT, Chosen, Columns, choose_columns, row_of
from labeler.tables.json_stream import elements
from labeler.tables.records import Record, delimited, json_lines, looked_into, parquet, text_of
from labeler.tables.row import BadTable, Row
from labeler.told import told

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
UNKNOWN = told("The JSON is neither COCO, nor Label Studio’s, nor a list of records that name images.")


@dataclass(frozen=True)
class Table:
    """`kind` in words; `columns` where it has some."""

    kind: str
    rows: Iterator[Row]
    columns: Columns | None = None
    names: tuple[str, ...] = ()


def is_table(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


@contextmanager
def open_table(path: Path, name: str, max_rows: int, chosen: Chosen | None = None) -> Iterator[Table]:
    """The table at `path`; what it is is decided by its name and its beginning. `chosen`: what its columns say, where a
    person has said so. Raises BadTable, also while rows are read."""
    with ExitStack() as stack:
        try:
            table = _opened(stack, path, name, max_rows, chosen)
        except UnicodeError:
            raise BadTable(told("The table is no text in an encoding that is known; save it as UTF-8.")) from None
        yield replace(table, rows=_at_most(table.rows, max_rows))


def _opened(stack: ExitStack, path: Path, name: str, max_rows: int, chosen: Chosen | None) -> Table:
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise BadTable(told("The table is empty."))
    if head == b"PAR1" or name.lower().endswith(".parquet"):
        records = parquet(path, max_rows)
        stack.callback(records.close)  # type: ignore[attr-defined]
        return _plain("Parquet", records, chosen)
    text = stack.enter_context(text_of(path))
    if name.lower().endswith((".csv", ".tsv")):
        return _plain("CSV", delimited(text, name), chosen)
    if name.lower().endswith((".jsonl", ".ndjson")):
        return _plain("JSON Lines", json_lines(text), chosen)
    return _json(elements(text), chosen)


def _json(found: Iterator[tuple[str, Any]], chosen: Chosen | None) -> Table:
    first = next(found, None)
    if first is None:
        raise BadTable(told("The JSON is empty."))
    whole = itertools.chain([first], found)
    key, element = first
    if key or not isinstance(element, dict):
        return _object(whole)
    records = (_dict(one) for _, one in whole)
    if label_studio.is_task(element):
        return Table("Label Studio", label_studio.rows_of(records, are_tasks=True))
    if label_studio.is_min(element):
        return Table("Label Studio (JSON-MIN)", label_studio.rows_of(records, are_tasks=False))
    return _plain("JSON", records, chosen)


def _object(found: Iterator[tuple[str, Any]]) -> Table:
    """An object at the top: COCO, once one of its lists has come by."""
    seen: list[tuple[str, Any]] = []
    for key, element in found:
        seen.append((key, element))
        if key in KEYS and isinstance(element, dict):
            return Table("COCO", coco_rows(itertools.chain(seen, found)))
        if len(seen) > 1000:
            break
    raise BadTable(UNKNOWN)


def _plain(kind: str, records: Iterator[Record], chosen: Chosen | None) -> Table:
    names, first, whole = looked_into(records, LOOKED_AT)
    if not first:
        raise BadTable(told("The table has no rows."))
    columns = choose_columns(names, first, chosen)
    return Table(kind, (row_of(record, columns) for record in whole), columns, tuple(names))


def _at_most(rows: Iterator[Row], most: int) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number >= most:
            raise BadTable(told("The table has more than %(most)s rows, the most that are taken.", most=most))
        yield row


def _dict(element: object) -> Mapping[str, Any]:
    if not isinstance(element, dict):
        raise BadTable(told("The list in the JSON holds something other than objects."))
    return element
