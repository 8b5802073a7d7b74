"""Reads zip archives of unknown origin one entry at a time.

The standard library loads the whole table of contents (about 1 KB an entry); this walks it, so that memory stays flat
in the size of the archive. Nothing is ever written under a name from the archive. Bombs by bytes, ratio and count,
overlapping entries and lying headers are refused in words.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labeler.imaging.decode import Limits
from labeler.told import amount, told

END = b"PK\x05\x06"
CENTRAL = struct.Struct("<4s6H3I5H2I")  # signature … external attributes, offset of the local header
LOCAL_SIZE = 30
STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x1, 0x800
BLOCK = 1 << 20
SMALL = 1 << 20  # below this a high ratio is only a plain picture
UNSAFE_KINDS = {stat.S_IFLNK: told("a symbolic link"), stat.S_IFIFO: told("a pipe"), stat.S_IFCHR: told("a device"),
                stat.S_IFBLK: told("a device"), stat.S_IFSOCK: told("a socket")}  # fmt: skip


class BadArchive(Exception):
    """The archive as a whole cannot be read; the message is for people."""


class BadEntry(Exception):
    """One entry cannot be read; the message is for people."""


@dataclass(frozen=True)
class ZipEntry:
    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    mode: int
    offset: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith(("/", "\\"))


class ZipReader:
    """An open archive: `entries` walks its table of contents, `read` and `blocks` give one. Threads may share it."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.limits = limits
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            self._file_size = os.fstat(self._descriptor).st_size
            self.count, self._table_size, self._table_start, self._shift = self._find_table()
            if self.count > limits.max_entries:
                raise BadArchive(
                    told(
                        "The archive has %(count)s entries; at most %(max_entries)s are taken.",
                        count=self.count,
                        max_entries=limits.max_entries,
                    )
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def entries(self) -> Iterator[ZipEntry]:
        """Every entry in the order of the table, folders too. Raises BadArchive where the table is broken."""
        taken, unpacked = 0, 0
        for entry in self._table():
            taken += entry.compressed
            unpacked += entry.size
            if taken > self._file_size:
                raise BadArchive(told("The entries of the archive overlap, as in an archive made to fill disks."))
            if unpacked > self.limits.max_total_bytes:
                raise BadArchive(
                    told(
                        "The archive unpacks to more than %(value)s GiB.",
                        value=amount(self.limits.max_total_bytes / 2**30, 0),
                    )
                )
            yield entry

    def refusal(self, entry: ZipEntry, max_bytes: int) -> str:
        """Why an entry is not even read, in words; empty when it may be."""
        unsafe = UNSAFE_KINDS.get(stat.S_IFMT(entry.mode))
        if unsafe:
            return told("It is %(kind)s, not a file.", kind=unsafe)
        if entry.flags & ENCRYPTED:
            return told("It is encrypted; make the archive without a password.")
        if entry.method not in (STORED, DEFLATED):
            return told(
                "It is packed by method %(method)s; only stored and deflated entries are read.",
                method=str(entry.method),
            )
        if entry.size > max_bytes:
            return told(
                "It unpacks to %(size)s MiB; at most %(most)s are taken.",
                size=amount(entry.size / 2**20, 1),
                most=amount(max_bytes / 2**20, 1),
            )
        if entry.size > SMALL and entry.size > self.limits.max_ratio * max(1, entry.compressed):
            return told(
                "It unpacks to more than %(most)s times its size, as a decompression bomb does.",
                most=self.limits.max_ratio,
            )
        return ""

    def read(self, entry: ZipEntry, max_bytes: int) -> bytes:
        """The unpacked content, checked. Raises BadEntry."""
        why = self.refusal(entry, max_bytes)
        if why:
            raise BadEntry(why)
        return b"".join(self.blocks(entry))

    def blocks(self, entry: ZipEntry) -> Iterator[bytes]:
        """The content piece by piece, never more than the table says. Raises BadEntry where the entry lies."""
        start = self._data_start(entry)
        inflate = zlib.decompressobj(-15) if entry.method == DEFLATED else None
        left, crc, at, end = entry.size, 0, start, start + entry.compressed
        while at < end:
            packed = os.pread(self._descriptor, min(BLOCK, end - at), at)
            if not packed:
                raise BadEntry(told("The archive is cut off in the middle of it."))
            at += len(packed)
            while True:
                try:
                    data = inflate.decompress(packed, BLOCK) if inflate else packed
                except zlib.error:
                    raise BadEntry(told("Its packed data is damaged.")) from None
                left -= len(data)
                if left < 0:
                    raise BadEntry(told("It unpacks to more than the archive says."))
                crc = zlib.crc32(data, crc)
                if data:
                    yield data
                packed = inflate.unconsumed_tail if inflate else b""
                if not packed:
                    break
        if left or crc != entry.crc:
            raise BadEntry(told("It is damaged: its checksum does not fit."))

    def _data_start(self, entry: ZipEntry) -> int:
        at = entry.offset + self._shift
        header = os.pread(self._descriptor, LOCAL_SIZE + len(entry.raw_name), at)
        if len(header) < LOCAL_SIZE or header[:4] != b"PK\x03\x04":
            raise BadEntry(told("The archive has nothing where it says the entry is."))
        name_length, extra_length = struct.unpack_from("<HH", header, 26)
        if header[LOCAL_SIZE : LOCAL_SIZE + name_length] != entry.raw_name:
            raise BadEntry(told("The archive gives it two different names."))
        start: int = at + LOCAL_SIZE + name_length + extra_length
        if start + entry.compressed > self._table_start:
            raise BadEntry(told("It reaches past its end in the archive."))
        return start

    def _table(self) -> Iterator[ZipEntry]:
        at, buffer, used = self._table_start, b"", 0
        end = self._table_start + self._table_size
        for _ in range(self.count):
            if len(buffer) - used < CENTRAL.size + 3 * 0xFFFF and at < end:
                more = os.pread(self._descriptor, min(BLOCK, end - at), at)
                at += len(more)
                buffer, used = buffer[used:] + more, 0
            entry, length = _parse_central(buffer, used)
            used += length
            yield entry

    def _find_table(self) -> tuple[int, int, int, int]:
        """Number of entries, size and place of the table, and the shift of all offsets by bytes put before."""
        tail_start = max(0, self._file_size - 22 - 0xFFFF)
        tail = os.pread(self._descriptor, self._file_size - tail_start, tail_start)
        found = tail.rfind(END)
        if found < 0 or len(tail) - found < 22:
            raise BadArchive(told("The archive is damaged or cut off: its table of contents is missing."))
        disk, table_disk, _, count, size, offset = struct.unpack_from("<4H2I", tail, found + 4)
        end = tail_start + found
        if 0xFFFF in (count, disk) or 0xFFFFFFFF in (size, offset):
            disk, table_disk, count, size, offset, end = self._find_table_64(
                end, (disk, table_disk, count, size, offset)
            )
        if disk or table_disk:
            raise BadArchive(told("The archive is one part of several; join them first."))
        start = end - size
        if start < 0 or start < offset or count * CENTRAL.size > size:
            raise BadArchive(told("The archive is damaged: its table of contents does not fit."))
        return count, size, start, start - offset

    def _find_table_64(self, end: int, plain: tuple[int, int, int, int, int]) -> tuple[int, int, int, int, int, int]:
        locator = os.pread(self._descriptor, 20, max(0, end - 20))
        if locator[:4] != b"PK\x06\x07":
            return (*plain, end)
        at = struct.unpack_from("<Q", locator, 8)[0]
        record = os.pread(self._descriptor, 56, at) if at < self._file_size else b""
        if record[:4] != b"PK\x06\x06" or len(record) < 56:
            raise BadArchive(told("The archive is damaged: its table of contents is missing."))
        disk, table_disk, _, count, size, offset = struct.unpack_from("<2I4Q", record, 16)
        return disk, table_disk, count, size, offset, at


def _parse_central(buffer: bytes, at: int) -> tuple[ZipEntry, int]:
    if len(buffer) - at < CENTRAL.size or buffer[at : at + 4] != b"PK\x01\x02":
        raise BadArchive(told("The archive is damaged: its table of contents breaks off."))
    (_, _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length, comment_length, _, _, attributes,
     offset) = CENTRAL.unpack_from(buffer, at)  # fmt: skip
    name_at = at + CENTRAL.size
    raw_name = buffer[name_at : name_at + name_length]
    extra = buffer[name_at + name_length : name_at + name_length + extra_length]
    size, compressed, offset = _zip64_values(extra, size, compressed, offset)
    entry = ZipEntry(_text(raw_name, flags), raw_name, flags, method, crc, compressed, size, attributes >> 16, offset)
    return entry, CENTRAL.size + name_length + extra_length + comment_length


def _zip64_values(extra: bytes, *values: int) -> tuple[int, int, int]:
    """Size, compressed size and offset, from the 64-bit field where the 32-bit one is full."""
    wide: list[int] = []
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = list(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            break
        extra = extra[4 + length :]
    size, compressed, offset = (wide.pop(0) if value == 0xFFFFFFFF and wide else value for value in values)
    return size, compressed, offset


def _text(raw: bytes, flags: int) -> str:
    """Many tools write UTF-8 without saying so; what is no UTF-8 is the code page of the format's first days."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace") if flags & UTF8 else raw.decode("cp437")
