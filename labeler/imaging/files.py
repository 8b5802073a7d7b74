"""Files of a folder or archive: opened without leaving it, and the tables among them."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from labeler.imaging.names import is_litter, name_refusal
from labeler.imaging.zips import BadEntry
from labeler.tables.reader import is_table
from labeler.told import amount, told

MAX_TABLES = 20  # of one archive or folder; where there are more, they are something else: a note beside each image
MAX_TABLE_BYTES = 2 * 2**30


@contextmanager
def open_inside(root: Path, path: Path) -> Iterator[BinaryIO]:
    """A file below `root`, opened without following a link of that name, and where it really is. Raises BadEntry."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise BadEntry(told("It is a link, or cannot be read by the server.")) from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadEntry(told("It is a link or a device, not a file."))
        real = Path(f"/proc/self/fd/{descriptor}")
        if real.exists() and not real.resolve().is_relative_to(root.resolve()):
            raise BadEntry(told("It lies outside of the folder."))
        yield file


class TablesSeen:
    """Names of tables that were seen; none once they are too many."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def see(self, name: str) -> None:
        if is_table(name) and not is_litter(name) and not name_refusal(name) and len(self._seen) <= MAX_TABLES:
            self._seen[name] = self._seen.get(name, 0) + 1

    @property
    def names(self) -> Collection[str]:
        return self._seen if len(self._seen) <= MAX_TABLES else ()

    @property
    def count(self) -> int:
        return sum(self._seen.values()) if self.names else 0


def copy_table(blocks: Iterable[bytes], file: IO[bytes]) -> None:
    total = 0
    for block in blocks:
        total += len(block)
        if total > MAX_TABLE_BYTES:
            raise BadEntry(told("The table has more than %(value)s GiB.", value=amount(MAX_TABLE_BYTES / 2**30, 0)))
        file.write(block)
    file.flush()
