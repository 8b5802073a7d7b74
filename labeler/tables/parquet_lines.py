"""A program: a Parquet file to lines of JSON. Run by itself (`records.parquet`), with little memory: a hostile file may
crash whoever reads it. The first line names columns and rows, each other one holds a row's values."""

from __future__ import annotations

import json
import math
import resource
import sys

MAX_ROW_GROUP = 2**30  # bytes, as its header says
MAX_COLUMNS = 1000
MAX_TEXT = 20_000
BATCH = 2000


class Unreadable(Exception):
    """Why, in words for people."""


def main(path: str, max_rows: int) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(
        path, memory_map=False, thrift_string_size_limit=2**26, thrift_container_size_limit=2**20
    ) as file:
        about = file.metadata
        check(about, max_rows)
        schema = file.schema_arrow
        names = [field.name for field in schema if is_plain(field.type)]
        say({"columns": names, "rows": about.num_rows})
        for batch in file.iter_batches(batch_size=BATCH, columns=names, use_threads=False):
            batch.validate(full=True)
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                say([plain(value) for value in values])


def check(about: object, max_rows: int) -> None:
    rows, columns = about.num_rows, about.num_columns  # type: ignore[attr-defined]
    if rows > max_rows:
        raise Unreadable(f"The table has {rows:,} rows; at most {max_rows:,} are taken.")
    if columns > MAX_COLUMNS:
        raise Unreadable(f"The table has {columns:,} columns; at most {MAX_COLUMNS:,} are read.")
    for number in range(about.num_row_groups):  # type: ignore[attr-defined]
        size = about.row_group(number).total_byte_size  # type: ignore[attr-defined]
        if size > MAX_ROW_GROUP or size < 0:
            raise Unreadable(f"A row group of {size / 2**20:,.0f} MiB is too large; write smaller ones.")


def is_plain(kind: object) -> bool:
    """Text, numbers, truth and time; what is nested or binary is left out."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type  # type: ignore[attr-defined]
    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind)
                or types.is_fixed_size_binary(kind))  # fmt: skip


def plain(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)[:MAX_TEXT]


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    memory, seconds = int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except Unreadable as error:
        say({"refused": str(error)})
    except BrokenPipeError:
        sys.exit(0)
    except MemoryError:
        say({"refused": "The Parquet file needs more memory than there is for it."})
    except Exception as error:  # noqa: BLE001 - a reader may raise anything on hostile bytes
        say({"refused": f"The Parquet file is damaged or of a kind that is not read ({type(error).__name__})."})
