"""CSV, JSON Lines and Parquet: one row an image."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from labeler.export_formats import COLUMNS, Batches, Row

if TYPE_CHECKING:
    import pyarrow

FORMULA = ("=", "+", "-", "@", "\t", "\r")
FIRST = frozenset(FORMULA)
GROUP = 65_536  # rows of a row group: of these, memory holds one


def spreadsheet_safe(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets a quote before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def write_csv(file: BinaryIO, batches: Batches, *, with_path: bool = False) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(columns(with_path=with_path))
    for rows in batches:
        writer.writerows([_cell(value) for value in record_of(row, with_path=with_path).values()] for row in rows)
    text.flush()
    text.detach()


def _cell(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return f"'{value}" if value[:1] in FIRST else value
    if kind is list:
        return spreadsheet_safe("; ".join(value))
    return json.dumps(value, ensure_ascii=False) if kind is dict else value


def write_json_lines(file: BinaryIO, batches: Batches, *, with_path: bool = False) -> None:
    encode = json.JSONEncoder(ensure_ascii=False).encode
    for rows in batches:
        lines = [encode(record_of(row, with_path=with_path)) for row in rows]
        if lines:
            file.write(("\n".join(lines) + "\n").encode())


def write_parquet(file: BinaryIO, batches: Batches, *, with_path: bool = False) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = _schema(with_path=with_path)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for records in _groups(batches, with_path=with_path):
            columns_ = {name: [record[name] for record in records] for name in schema.names}
            writer.write_table(pyarrow.table(columns_, schema=schema), row_group_size=GROUP)


def _groups(batches: Batches, *, with_path: bool) -> Iterator[list[dict[str, Any]]]:
    kept: list[dict[str, Any]] = []
    for rows in batches:
        kept += [record_of(row, with_path=with_path) for row in rows]
        if len(kept) >= GROUP:
            yield kept
            kept = []
    if kept:
        yield kept


def _schema(*, with_path: bool) -> pyarrow.Schema:
    import pyarrow

    whole = {"image": pyarrow.int64(), "annotators": pyarrow.list_(pyarrow.string())}
    whole |= dict.fromkeys(("answers", "round", "rank", "width", "height"), pyarrow.int32())
    shares = ("agreement", "label_probability", "model_mean", "model_std", "model_measure", "selection_probability")
    whole |= dict.fromkeys(shares, pyarrow.float64())
    return pyarrow.schema([(name, whole.get(name, pyarrow.string())) for name in columns(with_path=with_path)])


def columns(*, with_path: bool = False) -> Sequence[str]:
    return [*COLUMNS, "path"] if with_path else list(COLUMNS)


def record_of(row: Row, *, with_path: bool = False) -> dict[str, Any]:
    return {**row.record, "path": row.path} if with_path else row.record
