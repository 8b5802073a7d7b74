"""A backup back into an installation, of the same kind of database or the other.

The whole file is read and checked before anything is written: its list of itself, that each name stays within the
storage, each digest. The rows go in by one transaction, after the files that they name: what fails leaves the database
as it was.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from django.db import DEFAULT_DB_ALIAS, DatabaseError, transaction

from labeler import storage
from labeler.services.backup import FORMAT, LIST, PIECE, VERSION, Contents, Member, Table, as_contents
from labeler.services.table_rows import (
    Counting,
    Report,
    RowsRefused,
    columns,
    count_rows,
    empty_tables,
    is_in_use,
    kept_tables,
    set_sequences,
    write_rows,
)

LIST_MAX_BYTES = 512 * 2**20
LINE_MAX_BYTES = 64 * 2**20
DAMAGED = "The backup is damaged: {}. Nothing was changed; restore another one."


class BadBackup(Exception):
    """Why a file is no backup that can be restored, in words for people."""


class NotEmpty(Exception):
    """There is something already; in words for people."""


def open_backup(file: BinaryIO) -> tuple[zipfile.ZipFile, Contents]:
    """Read a backup's list and hold it against what is in the file. Raises BadBackup."""
    try:
        archive = zipfile.ZipFile(file)
        if archive.getinfo(LIST).file_size > LIST_MAX_BYTES:
            raise BadBackup(DAMAGED.format("its list of contents is far too long"))
        listed = json.loads(archive.read(LIST))
        if listed["format"] != FORMAT or listed["version"] != VERSION:
            raise BadBackup("This backup is of another version of PlusMinus. Restore it with that one.")
        contents = as_contents(listed)
    except KeyError as error:
        raise BadBackup("This is no backup of PlusMinus: it has no list of its contents.") from error
    except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, NotImplementedError, OSError, EOFError) as error:
        raise BadBackup(
            f"This is no whole backup of PlusMinus ({error}). Was it cut off while it was copied?"
        ) from error
    _check_tables(contents)
    _check_names(archive, contents)
    return archive, contents


def _check_names(archive: zipfile.ZipFile, contents: Contents) -> None:
    members = [*contents.files, *(table.member for table in contents.tables)]
    listed = sorted([LIST, *(member.path for member in members)])
    if listed != sorted(archive.namelist()):
        raise BadBackup(DAMAGED.format("what is in it is not what its list says"))
    for member in contents.files:
        root, *parts = member.path.split("/")
        if root != "files" or not parts or not all(_is_safe(part) for part in parts):
            raise BadBackup(
                f"The backup names a file that would lie elsewhere: {member.path[:200]!r}. Do not trust it."
            )
    for member in members:
        if archive.getinfo(member.path).file_size != member.size:
            raise BadBackup(DAMAGED.format(f"{member.path} has another size than its list says"))


def _is_safe(part: str) -> bool:
    return part not in {"", ".", ".."} and part.isprintable() and not set(part) & {"\\", ":"}


def _check_tables(contents: Contents) -> None:
    """The tables of a backup are those of this version, column by column: nothing is guessed."""
    there = {table.model: table.columns for table in contents.tables}
    here = {model._meta.label_lower: columns(model) for model in kept_tables()}
    if there == here:
        return
    different = sorted({name for name in {*there, *here} if there.get(name) != here.get(name)})
    raise BadBackup(
        "The backup is of another version of PlusMinus, whose tables are not these "
        f"({', '.join(different[:5])}). Restore it with that version, then upgrade."
    )


def check_digests(*, archive: zipfile.ZipFile, contents: Contents, report: Report) -> None:
    """Read every byte. Raises BadBackup at the first file that is not as it was written."""
    members = [*contents.files, *(table.member for table in contents.tables)]
    total, done = sum(member.size for member in members), 0
    for member in members:
        for piece in _pieces(archive, member):
            done += len(piece)
            report("check", done, total)


def _pieces(archive: zipfile.ZipFile, member: Member) -> Iterator[bytes]:
    """The bytes of a file, which end in BadBackup if they are not those of the list."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(member.path) as file:
            while piece := file.read(PIECE):
                size += len(piece)
                if size > member.size:
                    break
                digest.update(piece)
                yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise BadBackup(DAMAGED.format(f"{member.path} cannot be read")) from error
    if size != member.size or digest.hexdigest() != member.sha256:
        raise BadBackup(DAMAGED.format(f"{member.path} is not what was written"))


def restore(*, archive: zipfile.ZipFile, contents: Contents, replaces: bool, report: Report) -> None:
    """Make this installation what the backup holds. Raises NotEmpty, BadBackup, storage.StorageError.

    `replaces`: whatever there is goes. Without it only an installation without people, projects and files will do.
    """
    before = {name for name, _ in storage.every_file()}
    if not replaces and (is_in_use() or before):
        raise NotEmpty("There are people, projects or files here already.")
    written: list[str] = []
    try:
        _write_files(archive, contents, written, report)
        _write_tables(archive, contents, report)
    except BaseException:
        for name in written:
            if name not in before:
                storage.delete(name)
        raise
    for name in before - {_name_of(member) for member in contents.files}:
        storage.delete(name)


def _write_files(archive: zipfile.ZipFile, contents: Contents, written: list[str], report: Report) -> None:
    total, done = sum(member.size for member in contents.files), 0
    for member in contents.files:
        name = _name_of(member)

        def fill(file: BinaryIO, member: Member = member) -> None:
            for piece in _pieces(archive, member):
                file.write(piece)

        if not _is_same(name, member):
            storage.delete(name)
            storage.write_once(name, fill)
        done += member.size
        written.append(name)
        report("files", done, total)


def _name_of(member: Member) -> str:
    return member.path.partition("/")[2]


def _is_same(name: str, member: Member) -> bool:
    if not storage.exists(name):
        return False
    with storage.reading(name) as file:
        digest = hashlib.sha256()
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest() == member.sha256


def _write_tables(archive: zipfile.ZipFile, contents: Contents, report: Report) -> None:
    by_label = {table.model: table for table in contents.tables}
    told = Counting(sum(table.rows for table in contents.tables), report)
    label = ""
    try:
        with transaction.atomic(using=DEFAULT_DB_ALIAS):
            empty_tables()
            for model in kept_tables():
                label = model._meta.label_lower
                write_rows(model=model, rows=told(_rows(archive, by_label[label])), using=DEFAULT_DB_ALIAS)
                if count_rows(model=model) != by_label[label].rows:
                    raise BadBackup(DAMAGED.format(f"{label} has another number of rows than its list says"))
            set_sequences()
            label = "a reference between tables"
    except RowsRefused as error:
        raise BadBackup(str(error)) from error
    except (DatabaseError, ValueError, TypeError, OverflowError) as error:
        raise BadBackup(
            f"The database refused the rows ({label}): {error}".strip() + " Nothing was changed."
        ) from error
    told.ended()


def _rows(archive: zipfile.ZipFile, table: Table) -> Iterator[list[Any]]:
    with archive.open(table.member.path) as file:
        while line := file.readline(LINE_MAX_BYTES):
            row = json.loads(line)
            if not isinstance(row, list) or len(row) != len(table.columns):
                raise RowsRefused(DAMAGED.format(f"a row of {table.model} has other columns than its table"))
            yield row
