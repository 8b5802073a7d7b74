"""Everything in one file, while the server runs: all rows as of one moment, and every file of the storage.

The rows come first, then the files: those never change, and what is replaced is kept for a day, so the files hold all
that the rows name. Only imports delete at once what they wrote themselves a moment ago; where a file that rows name is
missing, a later moment is taken. The file is a zip: `rows/<table>.jsonl`, `files/<name>`, and `backup.json` last, which
lists all of them with digests.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from labeler import clock, storage
from labeler.models import ImportFile, JobState, PoolNetwork, Project
from labeler.models.jobs import UNFINISHED_JOB
from labeler.services.leftovers import named_files
from labeler.services.table_rows import Report, columns, count_rows, kept_tables, one_moment, read_rows

FORMAT, VERSION = "plusminus-backup", 1
LIST = "backup.json"
PIECE = 2**20
MOMENTS = 3  # how often a later one is taken while files go away


@dataclass(frozen=True)
class Member:
    """One file within the backup."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Table:
    """Where the rows of a model are, and which columns they have."""

    model: str
    columns: list[str]
    rows: int
    member: Member


@dataclass
class Contents:
    """What is in a backup: its list of itself."""

    made_at: str
    database: str
    tables: list[Table] = field(default_factory=list)
    files: list[Member] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # files that rows name and that were not in the storage


def write_backup(*, to: BinaryIO, report: Report) -> Contents:
    """Write a backup of everything to a file or a pipe. Says what it did."""
    from django.db import connection

    contents = Contents(made_at=clock.now().isoformat(), database=connection.vendor)
    with (
        zipfile.ZipFile(to, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
        tempfile.TemporaryDirectory(dir=settings.DATA_DIR, prefix="backup-") as folder,
    ):
        done: set[str] = set()
        for _ in range(MOMENTS):
            named = _read_tables(contents, Path(folder), report)
            _add_files(archive, contents, done, report)
            missing = sorted(named - done)
            if missing == contents.missing:  # the same again, or none: a later moment would change nothing
                break
            contents.missing = missing
        for at, table in enumerate(contents.tables):
            with (Path(folder) / table.model).open("rb") as rows:
                member = _add(archive, table.member.path, iter(lambda: rows.read(PIECE), b""), zipfile.ZIP_DEFLATED)
            contents.tables[at] = Table(table.model, table.columns, table.rows, member)
        listed = {"format": FORMAT, "version": VERSION, **asdict(contents)}
        _add(archive, LIST, iter([json.dumps(listed, indent=1).encode()]), zipfile.ZIP_DEFLATED)
    return contents


def _read_tables(contents: Contents, folder: Path, report: Report) -> set[str]:
    """Rows as of now into files of the folder; returns the names of the files that these rows name."""
    contents.made_at, contents.tables = clock.now().isoformat(), []
    with one_moment() as using:
        models = kept_tables()
        total = sum(count_rows(model=model, using=using) for model in models)
        done = 0
        for model in models:
            label, before = model._meta.label_lower, done
            with (folder / label).open("w", encoding="utf-8") as file:
                for row in read_rows(model=model, using=using):
                    file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
                    done += 1
                    if done % 1000 == 0:
                        report("rows", done, total)
            contents.tables.append(Table(label, columns(model), done - before, Member(f"rows/{label}.jsonl", 0, "")))
        report("rows", total, total)
        return _named_by_rows(using)


def _named_by_rows(using: str) -> set[str]:
    names = {name for project in Project.objects.using(using) for name in named_files(project)}
    names -= set(PoolNetwork.objects.using(using).values_list("checkpoint", flat=True))  # there may be none yet
    staged = ImportFile.objects.using(using).filter(job__state__in=UNFINISHED_JOB)
    staged = staged.exclude(job__state=JobState.UPLOADING)  # its sender has it
    return {name for name in {*names, *staged.values_list("staged", flat=True)} if "/" in name}


def _add_files(archive: zipfile.ZipFile, contents: Contents, done: set[str], report: Report) -> None:
    """Every file that is not in yet. One that goes away meanwhile is none that the rows need, or it is missed later."""
    waiting = [(name, size) for name, size in storage.every_file() if name not in done]
    total, copied = sum(size for _, size in waiting), 0
    report("files", 0, total)

    def pieces(file: BinaryIO) -> Iterator[bytes]:
        nonlocal copied
        while piece := file.read(PIECE):
            copied += len(piece)
            report("files", min(copied, total), total)
            yield piece

    for name, _ in waiting:
        try:
            with storage.reading(name) as file:
                contents.files.append(_add(archive, f"files/{name}", pieces(file), zipfile.ZIP_STORED))
        except FileNotFoundError:
            continue
        done.add(name)


def _add(archive: zipfile.ZipFile, path: str, pieces: Iterator[bytes], compression: int) -> Member:
    info = zipfile.ZipInfo(path)
    info.compress_type, info.external_attr = compression, 0o600 << 16
    digest, size = hashlib.sha256(), 0
    with archive.open(info, "w", force_zip64=True) as member:
        for piece in pieces:
            member.write(piece)
            digest.update(piece)
            size += len(piece)
    return Member(path, size, digest.hexdigest())


def as_contents(listed: dict[str, Any]) -> Contents:
    """The list as it stands in the file. Raises KeyError, TypeError or ValueError where it is none."""
    tables = [
        Table(str(row["model"]), list(row["columns"]), int(row["rows"]), Member(**row["member"]))
        for row in listed["tables"]
    ]
    files = [Member(**row) for row in listed["files"]]
    return Contents(str(listed["made_at"]), str(listed["database"]), tables, files, list(listed["missing"]))
