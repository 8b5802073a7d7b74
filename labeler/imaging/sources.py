"""Where entries of an import come from: a zip, a tar, an .npz, a folder, or one image. All walk in a fixed order, so
that a killed import goes on at the entry after the last one it finished. Tables among the files are no entries."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from labeler.imaging.arrays import array_images, array_parts
from labeler.imaging.decode import DecodedImage, Limits, Refused, decode, from_array
from labeler.imaging.files import MAX_TABLE_BYTES, TablesSeen, copy_table, open_inside
from labeler.imaging.names import (
    LABEL_LENGTH,
    NAME_LENGTH,
    class_name,
    folder_label,
    is_litter,
    name_refusal,
    normal,
    too_long,
)
from labeler.imaging.sniff import IMAGES, kind_of_upload, name_of_other_content, name_of_unreadable
from labeler.imaging.tars import CutOff, TarEntry, TarReader, is_packed, is_tar
from labeler.imaging.zips import BadArchive, BadEntry, ZipEntry, ZipReader
from labeler.tables.reader import is_table
from labeler.tables.row import Row
from labeler.told import told


@dataclass(frozen=True)
class Entry:
    """`load` is None for litter: it counts and nothing else. `size` is what it may cost in memory, in bytes."""

    name: str
    load: Callable[[], DecodedImage | Refused] | None
    label: str = ""
    size: int = 0
    row: Row | None = None
    address: str = ""  # where it was read from, if that is worth keeping


class Source(AbstractContextManager["Source"]):
    """`total` entries, about; `entries(start)` yields those after the first `start`. `tables` are the names of tables
    among the files."""

    total: int
    tables: Collection[str] = ()

    def entries(self, start: int) -> Iterator[Entry]:
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """The names of the entries, which nothing is read for."""
        for entry in self.entries(0):
            yield entry.name

    def table_path(self, name: str) -> AbstractContextManager[Path]:
        """Where one of the tables lies while this is open. Raises BadEntry."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to close by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ImageSource(Source):
    def __init__(self, path: Path, name: str, limits: Limits) -> None:
        self._path, self._name, self._limits, self.total = path, name, limits, 1

    def entries(self, start: int) -> Iterator[Entry]:
        if start == 0:
            yield file_entry(self._path, self._name, self._limits)


class TableSource(Source):
    """A table by itself: no entries, but what it says of other files and of addresses."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self.tables, self.total = path, [name], 0

    def entries(self, start: int) -> Iterator[Entry]:
        del start
        return iter(())

    @contextmanager
    def table_path(self, name: str) -> Iterator[Path]:
        del name
        yield self._path


class FolderSource(Source):
    """A folder on this machine, links not followed."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        labels: set[str] = set()
        found = TablesSeen()
        count = 0
        for file, name in self._walk():
            count += 1
            labels.add(folder_label(name))
            if not file.is_symlink():
                found.see(name)
        self.tables = found.names
        self.total = count - len(self.tables)
        if not count:
            raise BadArchive(told("The folder holds no file."))
        self._has_classes = len(labels - {""}) >= 2

    def entries(self, start: int) -> Iterator[Entry]:
        index = -1
        for path, name in self._walk():
            if name in self.tables:
                continue
            index += 1
            if index >= start:
                yield file_entry(path, name, self._limits, folder_label(name) if self._has_classes else "", self._path)

    @contextmanager
    def table_path(self, name: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile() as file:
            with open_inside(self._path, self._path / name) as found:
                copy_table(iter(partial(found.read, 2**20), b""), file)
            yield Path(file.name)

    def _walk(self) -> Iterator[tuple[Path, str]]:
        for folder, subfolders, files in os.walk(self._path):
            subfolders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                yield path, path.relative_to(self._path).as_posix()


class ZipSource(Source):
    def __init__(self, path: Path, limits: Limits) -> None:
        self._reader, self._limits = ZipReader(path, limits), limits
        labels: set[str] = set()
        found = TablesSeen()
        count = 0
        try:
            for entry in self._reader.entries():
                name = normal(entry.name)
                if not entry.is_folder:
                    count += 1
                    found.see(name)
                    if not is_litter(name) and len(labels) < 10_000:
                        labels.add(folder_label(name))
        except BaseException:
            self.close()
            raise
        self._has_classes = len(labels - {""}) >= 2
        self.tables = found.names
        self.total = count - found.count
        if not count:
            self.close()
            only_folders, nothing = told("The archive holds folders and no file."), told("The archive holds nothing.")
            raise BadArchive(only_folders if self._reader.count else nothing)

    def entries(self, start: int) -> Iterator[Entry]:
        index = -1
        for entry in self._reader.entries():
            if entry.is_folder or normal(entry.name) in self.tables:
                continue
            index += 1
            if index >= start:
                yield self._entry(entry)

    def _entry(self, entry: ZipEntry) -> Entry:
        name = normal(entry.name)
        if is_litter(name):
            return Entry(name, None)
        why = name_refusal(name)
        if why:
            return Entry(name, partial(Refused, why))
        label = folder_label(name) if self._has_classes else ""
        return Entry(name, partial(self._load, entry), label, min(entry.size, self._limits.max_bytes))

    def _load(self, entry: ZipEntry) -> DecodedImage | Refused:
        try:
            data = self._reader.read(entry, self._limits.max_bytes)
        except BadEntry as error:
            return Refused(str(error))
        return decode(data, self._limits)

    @contextmanager
    def table_path(self, name: str) -> Iterator[Path]:
        entry = next(entry for entry in self._reader.entries() if normal(entry.name) == name)
        why = self._reader.refusal(entry, MAX_TABLE_BYTES)
        if why:
            raise BadEntry(why)
        with tempfile.NamedTemporaryFile() as file:
            copy_table(self._reader.blocks(entry), file)
            yield Path(file.name)

    def close(self) -> None:
        self._reader.close()


class TarSource(Source):
    """A tar, packed or not. It is walked once to count, and once again for its entries."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        labels: set[str] = set()
        found = TablesSeen()
        self._end = ""
        count = 0
        with self._open() as reader:
            try:
                for entry in reader.entries():
                    name = normal(entry.name)
                    count += 1
                    if not entry.refusal:
                        found.see(name)
                    if not is_litter(name) and len(labels) < 10_000:
                        labels.add(folder_label(name))
            except CutOff as error:
                self._end = str(error)
        self._has_classes = len(labels - {""}) >= 2
        self.tables = found.names
        self.total = count - found.count + bool(self._end)
        if not count:
            raise BadArchive(self._end or told("The archive holds nothing."))

    def entries(self, start: int) -> Iterator[Entry]:
        index = -1
        with self._open() as reader:
            try:
                for entry in reader.entries():
                    if not entry.refusal and normal(entry.name) in self.tables:
                        continue
                    index += 1
                    if index >= start:
                        yield self._entry(reader, entry)
            except CutOff as error:
                yield Entry("the archive", partial(Refused, str(error)))

    def names(self) -> Iterator[str]:
        with self._open() as reader:
            try:
                for entry in reader.entries():
                    yield normal(entry.name)
            except CutOff:
                return

    @contextmanager
    def table_path(self, name: str) -> Iterator[Path]:
        with self._open() as reader, tempfile.NamedTemporaryFile() as file:
            entry = next(entry for entry in reader.entries() if normal(entry.name) == name)
            copy_table(reader.blocks(entry, MAX_TABLE_BYTES), file)
            yield Path(file.name)

    def _entry(self, reader: TarReader, entry: TarEntry) -> Entry:
        """Read at once: the reader only ever goes on."""
        name = normal(entry.name)
        if is_litter(name):
            return Entry(name, None)
        try:
            data = b"" if name_refusal(name) else reader.read(entry, self._limits.max_bytes)
        except (BadEntry, CutOff) as error:
            return Entry(name[:NAME_LENGTH], partial(Refused, str(error)))
        why = name_refusal(name)
        if why:
            return Entry(name, partial(Refused, why))
        return Entry(name, partial(decode, data, self._limits), folder_label(name) if self._has_classes else "",
                     len(data))  # fmt: skip

    @contextmanager
    def _open(self) -> Iterator[TarReader]:
        reader = TarReader(self._path, self._limits)
        try:
            yield reader
        finally:
            reader.close()


class ArraySource(Source):
    """An .npz. `parts` names the arrays to take (train of x_train); none named: all."""

    def __init__(self, path: Path, limits: Limits, parts: Collection[str] = ()) -> None:
        self._reader, self._limits = ZipReader(path, limits), limits
        try:
            self._parts = [part for part in array_parts(self._reader) if not parts or part.name in parts]
        except BaseException:
            self.close()
            raise
        self.total = sum(part.shape[0] for part in self._parts)

    def entries(self, start: int) -> Iterator[Entry]:
        before = 0
        for part in self._parts:
            if start < before + part.shape[0]:
                for index, array in enumerate(array_images(self._reader, part)):
                    if before + index >= start:
                        label = "" if part.labels is None else _text(part.labels[index])
                        name = f"{part.name or 'image'}/{index:05}.png"
                        yield Entry(name, partial(from_array, array, self._limits), label, part.image_bytes)
            before += part.shape[0]

    def close(self) -> None:
        self._reader.close()


def open_source(path: Path, name: str, limits: Limits, parts: Collection[str] = ()) -> Source:
    """The source that fits what lies at `path`, by its content. Raises BadArchive in words."""
    if path.is_dir():
        return FolderSource(path, limits)
    with path.open("rb") as file:
        head = file.read(512)
    if is_packed(head) or is_tar(head):
        return TarSource(path, limits)
    if (is_table(name) and not head.startswith(IMAGES)) or head.startswith(b"PAR1"):
        return TableSource(path, name)
    if kind_of_upload(head) != "zip":
        why = _not_an_archive(head, name)
        if why:
            raise BadArchive(why)
        return ImageSource(path, name, limits)
    return ArraySource(path, limits, parts) if name.lower().endswith(".npz") else ZipSource(path, limits)


def _not_an_archive(head: bytes, name: str) -> str:
    """Words for a file that is named like an archive and is neither one nor an image."""
    if not head or not name.lower().endswith((".zip", ".npz")):
        return ""
    other = name_of_other_content(head) or name_of_unreadable(head).removesuffix(", not an image")
    if not other:
        return ""
    is_npz = name.lower().endswith(".npz")
    if other == "not an image":
        if is_npz:
            return told("This is not a zip archive, which an .npz has to be.")
        return told("This is not a zip archive.")
    what = told("a text file") if other == "a text file" else told(other)
    if is_npz:
        return told("This is %(what)s, not a zip archive, which an .npz has to be.", what=what)
    return told("This is %(what)s, not a zip archive.", what=what)


def file_entry(path: Path, name: str, limits: Limits, label: str = "", root: Path | None = None) -> Entry:
    name = normal(name)
    if is_litter(name):
        return Entry(name, None)
    why = too_long() if len(name) > NAME_LENGTH else ""
    if path.is_symlink() or not path.is_file():
        why = told("It is a link or a device, not a file.")
    if why:
        return Entry(name, partial(Refused, why))
    size = path.stat().st_size
    return Entry(name, partial(_load_file, path, limits, root), label, min(size, limits.max_bytes))


def _load_file(path: Path, limits: Limits, root: Path | None) -> DecodedImage | Refused:
    try:
        with path.open("rb") if root is None else open_inside(root, path) as file:
            return decode(file.read(limits.max_bytes + 1), limits)
    except BadEntry as error:
        return Refused(str(error))


def _text(label: object) -> str:
    return class_name(label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label))[:LABEL_LENGTH]
