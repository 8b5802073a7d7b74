"""A zip of many files, written from front to back. Not the standard library's: that one goes back in the file, or
leaves sizes out of the headers, and keeps some hundred bytes of each entry in memory; here the directory waits on disk.

Entries are stored as they are: images are compressed already. Past 65,535 entries or 4 GiB it is a zip64.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import zlib
from typing import BinaryIO, Self

DOS_DATE = 0x21  # 1 January 1980: no date is better than a wrong one, and two exports of the same are the same
UTF8 = 0x800
LIMIT_16, LIMIT_32 = 0xFFFF, 0xFFFFFFFF
VERSION_64, FILE_MODE = 45, 0o100644


class ZipStream:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._directory = file, tempfile.TemporaryFile()  # noqa: SIM115 (closed by the block)
        self._at = self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end()
        self._directory.close()

    def add(self, name: str, data: bytes) -> None:
        """A file that fits in memory."""
        self._header(name, zlib.crc32(data), len(data))
        self._write(data)

    def add_file(self, name: str, file: BinaryIO) -> None:
        """A file of any length, read twice from its beginning."""
        crc = size = 0
        file.seek(0)
        while piece := file.read(2**20):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
        self._header(name, crc, size)
        file.seek(0)
        while piece := file.read(2**20):
            self._write(piece)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._at += len(data)

    def _header(self, name: str, crc: int, size: int) -> None:
        raw, offset = name.encode(), self._at
        is_large = size >= LIMIT_32
        sizes = struct.pack("<QQ", size, size)
        extra = struct.pack("<HH", 1, 16) + sizes if is_large else b""
        shown = LIMIT_32 if is_large else size
        usual = (VERSION_64, UTF8, 0, 0, DOS_DATE, crc, shown, shown)
        self._write(struct.pack("<IHHHHHIIIHH", 0x04034B50, *usual, len(raw), len(extra)) + raw + extra)
        large = (sizes if is_large else b"") + (struct.pack("<Q", offset) if offset >= LIMIT_32 else b"")
        extra = struct.pack("<HH", 1, len(large)) + large if large else b""
        self._directory.write(
            struct.pack(
                "<IHHHHHHIIIHHHHHII", 0x02014B50, (3 << 8) | VERSION_64, *usual, len(raw), len(extra), 0, 0, 0,
                FILE_MODE << 16, min(offset, LIMIT_32),
            ) + raw + extra
        )  # fmt: skip
        self._count += 1

    def _end(self) -> None:
        start, count = self._at, self._count
        size = self._directory.tell()
        self._directory.seek(0)
        shutil.copyfileobj(self._directory, self._file)
        if count >= LIMIT_16 or start >= LIMIT_32 or size >= LIMIT_32:
            self._file.write(
                struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, VERSION_64, VERSION_64, 0, 0, count, count, size, start)
                + struct.pack("<IIQI", 0x07064B50, 0, start + size, 1)
            )
        shown = (min(count, LIMIT_16), min(count, LIMIT_16), min(size, LIMIT_32), min(start, LIMIT_32))
        self._file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, *shown, 0))
