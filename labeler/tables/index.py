"""All rows of an import's tables by the image that they are about, in a file that goes away by itself: memory stays
flat, and a killed import makes it again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from labeler.imaging.names import NAME_LENGTH, name_refusal, normal
from labeler.tables.row import Answer, Row, joined
from labeler.told import from_kept, keep

CANDIDATES = 200  # rows with one base name that are compared by their folders
SCHEMA = """
CREATE TABLE rows (n INTEGER PRIMARY KEY, key TEXT UNIQUE, row TEXT, is_found INTEGER DEFAULT 0);
CREATE TABLE places (path TEXT, base TEXT, n INTEGER);
CREATE INDEX place_path ON places (path);
CREATE INDEX place_base ON places (base);
CREATE TABLE refusals (n INTEGER PRIMARY KEY, name TEXT, reason TEXT);
"""


class Index:
    """Rows are added, then the names of images found among them; what is left has an address or is missing."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536;" + SCHEMA)
        self._base.execute("BEGIN")
        self.count = 0

    def close(self) -> None:
        self._base.close()

    def add(self, row: Row) -> None:
        """A second row about the same image is joined with the first."""
        row = _checked(row)
        key = f"url {row.url}" if row.url and not row.paths else f"path {row.name}"
        added = self._base.execute("INSERT OR IGNORE INTO rows (key, row) VALUES (?, ?)", (key, _packed(row)))
        if added.rowcount:
            self.count += 1
            places = [(path, _base_name(path), added.lastrowid) for path in row.paths if not row.refusal]
            self._base.executemany("INSERT INTO places VALUES (?, ?, ?)", places)
            return
        n, packed = self._base.execute("SELECT n, row FROM rows WHERE key = ?", (key,)).fetchone()
        self._base.execute("UPDATE rows SET row = ? WHERE n = ?", (_packed(joined(_unpacked(packed), row)), n))

    def refuse(self, name: str, reason: str) -> None:
        """A table, or a row without a name, that is told with the others at the end."""
        self._base.execute("INSERT INTO refusals (name, reason) VALUES (?, ?)", (name, keep(reason)))

    def mark(self, name: str) -> bool:
        """Note that the image of this name is there. Returns whether a row is about it."""
        n = self._place(name)
        if n is not None:
            self._base.execute("UPDATE rows SET is_found = 1 WHERE n = ?", (n,))
        return n is not None

    def find(self, name: str) -> Row | None:
        """The row about the image of this name: of the same path, or of the one whose folders end or begin alike."""
        n = self._place(name)
        if n is None:
            return None
        return _unpacked(self._base.execute("SELECT row FROM rows WHERE n = ?", (n,)).fetchone()[0])

    @property
    def left(self) -> int:
        """How many rows no image was found for, and refusals."""
        count = "SELECT (SELECT count(*) FROM rows WHERE is_found = 0) + (SELECT count(*) FROM refusals)"
        return int(self._base.execute(count).fetchone()[0])

    def rows_left(self, start: int) -> Iterator[Row]:
        """Those after the first `start`, in the order of the tables, refusals first."""
        refusals = self._base.execute("SELECT name, reason FROM refusals ORDER BY n").fetchall()
        for name, reason in refusals[start:]:
            yield Row(paths=(name,), refusal=from_kept(reason))
        skip = max(0, start - len(refusals))
        found = self._base.execute("SELECT row FROM rows WHERE is_found = 0 ORDER BY n LIMIT -1 OFFSET ?", (skip,))
        while batch := found.fetchmany(1000):
            for (packed,) in batch:
                yield _unpacked(packed)

    def _place(self, name: str) -> int | None:
        exact = self._base.execute("SELECT n FROM places WHERE path = ?", (name,)).fetchone()
        if exact:
            return int(exact[0])
        same = self._base.execute("SELECT path, n FROM places WHERE base = ? LIMIT ?", (_base_name(name), CANDIDATES))
        fitting = [(len(path), n) for path, n in same if _ends_alike(path, name)]
        if not fitting:
            return None
        longest = max(length for length, _ in fitting)
        best = {n for length, n in fitting if length == longest}
        return int(best.pop()) if len(best) == 1 else None


def _checked(row: Row) -> Row:
    """A path that leaves the archive is refused, as an entry of such a name would be."""
    paths = tuple(normal(path).removeprefix("./") for path in row.paths)
    why = next((words for words in (name_refusal(path, is_path=True) for path in paths) if words), "")
    if why:
        return Row(paths=(paths[0][:NAME_LENGTH],), refusal=why)
    return replace(row, paths=paths)


def _ends_alike(path: str, name: str) -> bool:
    """Whether one of the two is the end of the other: a table often names files without their folder."""
    return f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}")


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _packed(row: Row) -> str:
    fields: Sequence[object] = (
        row.paths, row.url, row.label, dict(row.metadata), [asdict(answer) for answer in row.answers], keep(row.note),
        keep(row.refusal), row.has_no_labels,
    )  # fmt: skip
    return json.dumps(fields)


def _unpacked(packed: str) -> Row:
    paths, url, label, metadata, answers, note, refusal, has_no_labels = json.loads(packed)
    given = tuple(Answer(**answer) for answer in answers)
    return Row(tuple(paths), url, label, metadata, given, from_kept(note), from_kept(refusal), has_no_labels)
