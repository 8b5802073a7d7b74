"""CSV, JSON Lines and Parquet: one row an image."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from labeler.export_formats import COLUMNS, About, Batches, Row
from labeler.spreadsheets import safe

if TYPE_CHECKING:
    import pyarrow

METADATA = "metadata."  # before the name of a column that came with the images
GROUP = 16_384  # rows of a row group: of these, memory holds one


def spreadsheet_safe(value: object) -> object:
    """Of a text that a spreadsheet would take for a formula, one that it does not."""
    return safe(value) if isinstance(value, str) else value


def write_csv(file: BinaryIO, batches: Batches, about: About, *, with_path: bool = False) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in columns(about, with_path=with_path)])
    for rows in batches:
        writer.writerows(
            [_cell(value) for value in record_of(row, about, with_path=with_path).values()] for row in rows
        )
    text.flush()
    text.detach()


def _cell(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return safe(value)
    return safe("; ".join(value)) if kind is list else value


def write_json_lines(file: BinaryIO, batches: Batches, about: About, *, with_path: bool = False) -> None:
    encode = json.JSONEncoder(ensure_ascii=False).encode
    for rows in batches:
        lines = [encode(record_of(row, about, with_path=with_path)) for row in rows]
        if lines:
            file.write(("\n".join(lines) + "\n").encode())


def write_parquet(file: BinaryIO, batches: Batches, about: About, *, with_path: bool = False) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = _schema(about, with_path=with_path)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for records in _groups(batches, about, with_path=with_path):
            arrays = {name: [record[name] for record in records] for name in schema.names}
            writer.write_table(pyarrow.table(arrays, schema=schema), row_group_size=GROUP)


def _groups(batches: Batches, about: About, *, with_path: bool) -> Iterator[list[dict[str, Any]]]:
    """Records by the row group. What came as a number or a truth is written as a text: a column has one type."""
    kept: list[dict[str, Any]] = []
    texts = [f"{METADATA}{name}" for name in about.metadata]
    for rows in batches:
        records = [record_of(row, about, with_path=with_path) for row in rows]
        for record in records if texts else ():
            for name in texts:
                record[name] = None if record[name] is None else _text(record[name])
        kept += records
        if len(kept) >= GROUP:
            yield kept
            kept = []
    if kept:
        yield kept


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _schema(about: About, *, with_path: bool) -> pyarrow.Schema:
    import pyarrow

    whole = {"image": pyarrow.int64(), "annotators": pyarrow.list_(pyarrow.string())}
    whole |= dict.fromkeys(("answers", "round", "rank", "width", "height"), pyarrow.int32())
    shares = ("agreement", "label_probability", "model_mean", "model_std", "model_measure", "selection_probability")
    whole |= dict.fromkeys(shares, pyarrow.float64())
    return pyarrow.schema([(name, whole.get(name, pyarrow.string())) for name in columns(about, with_path=with_path)])


def columns(about: About, *, with_path: bool = False) -> Sequence[str]:
    return [*COLUMNS, *(f"{METADATA}{name}" for name in about.metadata), *(["path"] if with_path else [])]


def record_of(row: Row, about: About, *, with_path: bool = False) -> dict[str, Any]:
    """The row by its columns, in their order."""
    if not about.metadata and not with_path:
        return row.record
    record = {**row.record, **{f"{METADATA}{name}": row.metadata.get(name) for name in about.metadata}}
    return {**record, "path": row.path} if with_path else record
