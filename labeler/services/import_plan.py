"""Before an import: what its files hold, and what the tables among them say of which image."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from django.conf import settings
from django.utils.crypto import get_random_string

from labeler import storage
from labeler.imaging.decode import Limits, Refused
from labeler.imaging.sources import Entry, Source, open_source
from labeler.imaging.zips import BadArchive, BadEntry
from labeler.import_roots import FolderRefused, allowed_folder
from labeler.models import ImportFile, ImportJob
from labeler.services.bucket_source import BucketSource
from labeler.services.fetching import EXPECTED_BYTES, Fetcher, name_of_address, without_secrets
from labeler.services.import_columns import chosen_columns
from labeler.services.import_places import bucket_of
from labeler.services.jobs import Beat
from labeler.services.uploads import NOT_STAGED
from labeler.tables.columns import NoPlace
from labeler.tables.index import Index
from labeler.tables.reader import open_table
from labeler.tables.row import MAX_COLUMNS, Answer, BadTable, Row
from labeler.told import told

SOURCE = "source address"  # the column that says where an image was fetched from
NOT_THERE = told("A table names it, but there is no file of this name beside it.")
PEOPLE = 1000  # whose answers one import takes
LOOK_PAGES = 20  # of a bucket's list
LOOK_ROWS = 100_000
OFTEN = 500  # rows or names between two beats


@dataclass
class Plan:
    """What a run of an import needs to open its files. `paths` are files on this machine that were never staged."""

    job: ImportJob
    limits: Limits
    beat: Beat
    paths: dict[int, Path] = field(default_factory=dict)
    parts: Collection[str] = ()
    is_look: bool = False  # bounded work, nothing is written
    index: Index | None = None
    total: int = 0
    is_cut: bool = False  # a look that did not read all
    columns: dict[str, None] = field(default_factory=dict)
    people: set[str] = field(default_factory=set)  # of another tool
    tables: list[dict[str, object]] = field(default_factory=list)

    def close(self) -> None:
        if self.index is not None:
            self.index.close()


def import_limits() -> Limits:
    return Limits(
        max_bytes=settings.IMPORT_MAX_FILE_BYTES,
        max_pixels=settings.IMPORT_MAX_PIXELS,
        max_aspect_ratio=settings.IMPORT_MAX_ASPECT_RATIO,
        display_max_side=settings.DISPLAY_MAX_SIDE,
        max_entries=settings.IMPORT_MAX_FILES,
        max_total_bytes=settings.IMPORT_MAX_TOTAL_BYTES,
        max_ratio=settings.IMPORT_MAX_COMPRESSION_RATIO,
    )


class RowsSource(Source):
    """Rows of tables that no file was found for: images to fetch by their address, and what has to be told."""

    def __init__(self, index: Index | None, limits: Limits) -> None:
        self._index, self._limits = index, limits
        self.total = index.left if index is not None else 0

    def entries(self, start: int) -> Iterator[Entry]:
        fetcher = Fetcher(self._limits)
        for row in self._index.rows_left(start) if self._index is not None else ():
            if row.refusal:
                yield Entry(row.name, partial(Refused, row.refusal), row=Row())
            elif not row.url:
                yield Entry(row.name, partial(Refused, NOT_THERE), row=Row())
            else:
                kept = replace(row, metadata={**row.metadata, SOURCE: without_secrets(row.url)})
                name = row.paths[0] if row.paths else name_of_address(row.url)
                yield Entry(name, partial(fetcher.load, row.url), row.label, EXPECTED_BYTES, kept)


@contextmanager
def opened(plan: Plan, file: ImportFile) -> Iterator[Source]:
    """One file of the import. Raises BadArchive, BucketError, FileNotFoundError."""
    if file.kind == ImportFile.Kind.ROWS:
        yield RowsSource(plan.index, plan.limits)
        return
    if file.kind == ImportFile.Kind.BUCKET:
        yield BucketSource(bucket_of(file), plan.limits, plan.beat, file.last, LOOK_PAGES if plan.is_look else None)
        return
    path = plan.paths.get(file.pk)
    if file.kind == ImportFile.Kind.FOLDER:
        try:
            path = allowed_folder(file.place["path"])  # the roots may have changed since
        except FolderRefused as error:
            raise BadArchive(str(error)) from None
    if path is not None:
        with open_source(path, file.name, plan.limits, plan.parts) as source:
            yield source
        return
    with (
        storage.local_path(file.staged) as staged,
        open_source(staged, file.name, plan.limits, plan.parts) as source,
    ):
        yield source


def make_plan(plan: Plan) -> None:
    """Count the entries, and read the tables: afterwards `index` knows which row is about which file.

    Made anew by each run: files are read in the same order, so that what an earlier run has done stays done.
    """
    files = list(plan.job.files.exclude(kind=ImportFile.Kind.ROWS))
    for file in files:
        try:
            with opened(plan, file) as source:
                plan.total += source.total
                if file.kind == ImportFile.Kind.BUCKET:
                    plan.columns[SOURCE] = None
                for name in source.tables:
                    _read_table(plan, source, name)
        except BadArchive:
            plan.total += 1  # told when its turn comes
        plan.beat()
    if plan.index is None:
        return
    for file in files:
        _mark_names(plan, file)
    left = plan.index.left
    plan.total += left
    if left and not plan.is_look:
        token = get_random_string(16)
        ImportFile.objects.get_or_create(
            job=plan.job, kind=ImportFile.Kind.ROWS,
            defaults={"name": "rows of tables", "staged": f"{NOT_STAGED}{token}", "size": 0},
        )  # fmt: skip


def with_row(plan: Plan, entry: Entry) -> Entry:
    """The entry with what a table says of it, whose label stands above the folder's name, and where it was read."""
    row = entry.row
    if plan.index is not None and row is None and entry.load is not None:
        row = plan.index.find(entry.name)
        if row is not None and not row.has_no_labels:
            entry = replace(entry, label=row.label)
    if entry.address:
        row = row or Row(has_no_labels=True)
        row = replace(row, metadata={**row.metadata, SOURCE: entry.address})
    return replace(entry, row=row)


def _read_table(plan: Plan, source: Source, name: str) -> None:
    index = plan.index = plan.index or Index()
    count = 0
    try:
        chosen = chosen_columns(plan.job, name)
        with source.table_path(name) as path, open_table(path, name, plan.limits.max_entries, chosen) as table:
            for row in table.rows:
                count += 1
                if plan.is_look and count > LOOK_ROWS:
                    plan.is_cut = True
                    break
                _add(plan, index, row, name, count)
                if count % OFTEN == 0:
                    plan.beat()
            about: dict[str, object] = {"name": name, "kind": table.kind, "rows": count}
            if table.columns is not None:
                about |= {"place": table.columns.place, "label": table.columns.label}
                about |= {"names": [] if table.columns.is_own else list(table.names[:MAX_COLUMNS])}
            plan.tables.append(about)
    except (BadTable, BadEntry) as error:
        if isinstance(error, NoPlace):
            names = list(error.names[:MAX_COLUMNS])
            plan.tables.append({"name": name, "kind": "", "rows": 0, "place": "", "label": "", "names": names})
        index.refuse(name, str(error))


def _add(plan: Plan, index: Index, row: Row, table: str, number: int) -> None:
    if row.refusal and not row.name:
        index.refuse(table, told("Row %(number)s: %(why)s", number=number, why=row.refusal))
        return
    index.add(_of_known_people(plan, index, row, table, number))
    names = [*row.metadata, *([SOURCE] if row.url else [])]
    for name in names:
        if len(plan.columns) < MAX_COLUMNS:
            plan.columns[name] = None


def _of_known_people(plan: Plan, index: Index, row: Row, table: str, number: int) -> Row:
    """Without answers of people past the most that are taken: each becomes an account."""
    kept: list[Answer] = []
    for answer in row.answers:
        if answer.by in plan.people or len(plan.people) < PEOPLE:
            plan.people.add(answer.by)
            kept.append(answer)
    if len(kept) < len(row.answers):
        words = told("The tables name more than %(most)s people; answers of others are left out.", most=PEOPLE)
        index.refuse(table, told("Row %(number)s: %(why)s", number=number, why=words))
    return replace(row, answers=tuple(kept))


def _mark_names(plan: Plan, file: ImportFile) -> None:
    assert plan.index is not None
    try:
        with opened(plan, file) as source:
            for number, name in enumerate(source.names()):
                plan.index.mark(name)
                if number % OFTEN == 0:
                    plan.beat()
    except BadArchive:
        return
