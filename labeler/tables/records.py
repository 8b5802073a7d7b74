"""CSV, JSON Lines, lists in JSON and Parquet: the names of the columns and one record after another."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeler.spreadsheets import exact
from labeler.tables.json_stream import DECODER, decode
from labeler.tables.row import BadTable
from labeler.told import told

Record = Mapping[str, object]
MAX_LINE = 4 * 2**20  # characters of a line of JSON
MAX_FIELDS = 1000
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
PARQUET = Path(__file__).with_name("parquet_lines.py")
PARQUET_MEMORY = 3 * 2**30  # bytes of address space; what needs more is refused
PARQUET_SECONDS = 900  # of computing


@contextmanager
def text_of(path: Path) -> Iterator[io.TextIOWrapper]:
    """The file as text: UTF-8, what its mark says, or the code page of old spreadsheets."""
    with path.open("rb") as file:
        head = file.read(2**16)
        file.seek(0)
        encoding = next((name for mark, name in MARKS if head.startswith(mark)), "")
        if not encoding:
            try:
                codecs.getincrementaldecoder("utf-8")().decode(head)
                encoding = "utf-8"
            except UnicodeDecodeError:
                encoding = "cp1252"
        with io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="") as text:
            yield text


def delimited(text: io.TextIOWrapper, name: str) -> Iterator[Record]:
    """Records of a CSV with a line of names; separated by what most separates that line. Raises BadTable."""
    first = text.readline(MAX_LINE)
    text.seek(0)
    separator = "\t" if name.lower().endswith(".tsv") else max(",;\t|", key=first.count)
    reader = csv.reader(text, delimiter=separator)
    try:
        names = [cell.strip().lstrip("\ufeff") for cell in next(reader, [])]
        if not any(names):
            raise BadTable(told("The table has no first line with the names of its columns."))
        check_names(names)
        for cells in reader:
            if any(cells):
                yield dict(zip(names, map(exact, cells), strict=False))
    except csv.Error as error:
        raise BadTable(
            told("Line %(line_num)s is no line of a table (%(why)s).", line_num=reader.line_num, why=str(error))
        ) from None


def json_lines(text: io.TextIOWrapper) -> Iterator[Record]:
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise BadTable(
                told("Line %(number)s has more than %(max_line)s characters.", number=number, max_line=MAX_LINE)
            )
        if not line.strip():
            continue
        try:
            record = decode(line)
        except BadTable as error:
            raise BadTable(told("Line %(number)s: %(why)s", number=number, why=str(error))) from None
        if not isinstance(record, dict):
            raise BadTable(told("Line %(number)s is no object ({…}).", number=number))
        yield record


def parquet(path: Path, max_rows: int) -> Iterator[Record]:
    """Records of a Parquet file, read by a process of its own: what is hostile ends that one, with its memory."""
    environment = {
        "PATH": os.defpath,
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "OMP_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }
    command = [sys.executable, "-I", str(PARQUET), str(path), str(max_rows), str(PARQUET_MEMORY), str(PARQUET_SECONDS)]
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment
    )
    assert process.stdout is not None
    try:
        with io.TextIOWrapper(process.stdout, encoding="utf-8") as lines:
            head = _line(lines)
            if not isinstance(head, dict) or "columns" not in head:
                words = head.get("refused") if isinstance(head, dict) else None
                raise BadTable(str(words or "The Parquet file is damaged, or needs more memory than there is for it."))
            names = check_names([str(name) for name in head["columns"]])
            count = 0
            while (values := _line(lines)) is not None:
                if isinstance(values, dict):
                    raise BadTable(str(values.get("refused")))
                count += 1
                yield dict(zip(names, values, strict=False))
            if count != head["rows"]:
                raise BadTable(
                    told(
                        "The Parquet file is damaged: %(count)s of its %(value)s rows could be read.",
                        count=count,
                        value=head["rows"],
                    )
                )
    finally:
        process.kill()
        process.wait()


def _line(lines: io.TextIOWrapper) -> Any:
    line = lines.readline(MAX_LINE)
    return DECODER.decode(line) if line.endswith("\n") else None


def check_names(names: list[str]) -> list[str]:
    if len(names) > MAX_FIELDS:
        raise BadTable(
            told(
                "The table has %(count)s columns; at most %(max_fields)s are read.",
                count=len(names),
                max_fields=MAX_FIELDS,
            )
        )
    return names


def looked_into(records: Iterator[Record], count: int) -> tuple[list[str], list[Record], Iterator[Record]]:
    """The names of the columns, the first records, and all of them from the first on."""
    first = list(itertools.islice(records, count))
    names = list(dict.fromkeys(name for record in first for name in record))
    return check_names(names), first, itertools.chain(first, records)
