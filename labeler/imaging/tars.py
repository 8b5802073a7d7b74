"""Reads tar archives of unknown origin, plain or packed by gzip, bzip2 or xz, from front to back in flat memory.

The standard library keeps every header and believes what they say of lengths; this keeps none. Nothing is ever written
under a name from the archive. Links, devices, bombs and lying headers are refused in words.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labeler.imaging.decode import Limits
from labeler.imaging.zips import BadArchive, BadEntry
from labeler.told import amount, told

BLOCK = 512
PIECE = 2**20
MAX_HEADER = 2**16  # bytes of a long name or of extended headers
XZ_MEMORY = 2**28
SMALL = 2**26  # unpacked; below this a high ratio is no bomb yet
FILES = b"0\x007"
FOLDER = b"5"
KINDS = {b"1": told("a hard link"), b"2": told("a symbolic link"), b"3": told("a device"), b"4": told("a device"),
         b"6": told("a pipe"), b"S": told("a sparse file")}  # fmt: skip
PACKERS: list[tuple[bytes, Callable[[], Any]]] = [
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY)),
]


class CutOff(BadArchive):
    """What came before it is whole."""

    def __init__(self) -> None:
        super().__init__(told("The archive is damaged or cut off here; what comes before it is taken."))


@dataclass(frozen=True)
class TarEntry:
    """`refusal`: why it is not read, in words; empty for a file."""

    name: str
    size: int
    refusal: str = ""


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a plain tar."""
    return len(head) >= BLOCK and head[257:262] == b"ustar" and _has_sum(head[:BLOCK])


def is_packed(head: bytes) -> bool:
    return any(head.startswith(magic) for magic, _ in PACKERS)


class TarReader:
    """Walks an archive once: of each entry that comes, `read` gives the content before the next one is asked for."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._file = path.open("rb")
        self._pieces = self._unpacked()
        self._waiting, self._at = b"", 0
        self._size = self._left = 0  # of the entry that was yielded last, padding and all

    def close(self) -> None:
        self._file.close()

    def entries(self) -> Iterator[TarEntry]:
        """Every file in order, folders left out. Raises BadArchive where it breaks off or takes too much."""
        count = 0
        name, size = "", None
        while (header := self._next_header()) is not None:
            kind = header[156:157]
            length = _number(header[124:136])
            if kind in (b"L", b"K", b"x", b"g"):
                if length > MAX_HEADER:
                    raise BadArchive(told("A header of the archive is longer than any name."))
                text = self._take(length)
                self._skip(-length % BLOCK)
                if kind == b"L":
                    name = _text(text.rstrip(b"\x00"))
                elif kind == b"x":
                    name, size = _extended(text, name)
                continue
            length = length if size is None else size
            self._left = self._size = length + -length % BLOCK
            entry = _entry(name or _name(header), kind, length)
            name, size = "", None
            if kind == FOLDER or entry.name.endswith("/"):
                continue
            count += 1
            if count > self._limits.max_entries:
                raise BadArchive(
                    told("The archive has more than %(max_entries)s entries.", max_entries=self._limits.max_entries)
                )
            yield entry

    def read(self, entry: TarEntry, max_bytes: int) -> bytes:
        """The content of the entry that came last. Raises BadEntry, BadArchive."""
        if entry.refusal:
            raise BadEntry(entry.refusal)
        if entry.size > max_bytes:
            raise BadEntry(
                told(
                    "It has %(size)s MiB; at most %(most)s are taken.",
                    size=amount(entry.size / 2**20, 1),
                    most=amount(max_bytes / 2**20, 1),
                )
            )
        data = self._take(entry.size)
        self._left -= entry.size
        return data

    def blocks(self, entry: TarEntry, max_bytes: int) -> Iterator[bytes]:
        """The same piece by piece."""
        if entry.refusal or entry.size > max_bytes:
            raise BadEntry(entry.refusal or told("It has more than %(most)s GiB.", most=amount(max_bytes / 2**30)))
        while self._left > 0 and (length := min(PIECE, entry.size - (self._size - self._left))) > 0:
            yield self._take(length)
            self._left -= length

    def _next_header(self) -> bytes | None:
        self._skip(self._left)
        self._left = 0
        header = self._take(BLOCK)
        if not header.strip(b"\x00"):
            return None
        if not _has_sum(header):
            raise CutOff
        return header

    def _take(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            if self._at == len(self._waiting):
                self._waiting, self._at = next(self._pieces, b""), 0
                if not self._waiting:
                    raise CutOff
            parts.append(self._waiting[self._at : self._at + count])
            count -= len(parts[-1])
            self._at += len(parts[-1])
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self._take(min(count, PIECE)))

    def _unpacked(self) -> Iterator[bytes]:
        head = self._file.read(8)
        self._file.seek(0)
        packer = next((make for magic, make in PACKERS if head.startswith(magic)), None)
        total = 0
        for piece in self._plain() if packer is None else self._inflated(packer):
            total += len(piece)
            if total > self._limits.max_total_bytes:
                raise BadArchive(
                    told(
                        "The archive unpacks to more than %(value)s GiB.",
                        value=amount(self._limits.max_total_bytes / 2**30, 0),
                    )
                )
            if total > SMALL and total > self._limits.max_ratio * self._file.tell():
                raise BadArchive(
                    told(
                        "The archive unpacks to more than %(max_ratio)s times its size, as a bomb does.",
                        max_ratio=self._limits.max_ratio,
                    )
                )
            yield piece

    def _plain(self) -> Iterator[bytes]:
        while piece := self._file.read(PIECE):
            yield piece

    def _inflated(self, make: Callable[[], Any]) -> Iterator[bytes]:
        """Piece by piece, however much a few bytes unpack to; several streams one after another are one."""
        inflate, packed = make(), b""
        while True:
            packed = packed or self._file.read(PIECE)
            if not packed:
                return
            if inflate.eof:
                inflate = make()
            try:
                data = inflate.decompress(packed, PIECE)
                packed = _behind(inflate)
                if data:
                    yield data
                while not inflate.eof and (packed or not getattr(inflate, "needs_input", True)):
                    data = inflate.decompress(packed, PIECE)
                    packed = _behind(inflate)
                    if data:
                        yield data
                    elif not packed:
                        break
            except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, MemoryError):
                raise CutOff from None


def _behind(inflate: Any) -> bytes:
    """What was not unpacked yet: zlib hands it back, the others keep it until the stream is over."""
    if inflate.eof:
        return bytes(inflate.unused_data)
    return bytes(getattr(inflate, "unconsumed_tail", b""))


def _entry(name: str, kind: bytes, size: int) -> TarEntry:
    known = told("It is %(kind)s, not a file.", kind=KINDS[kind]) if kind in KINDS else ""
    other = (
        "" if kind in (b"0", b"\x00", b"7", FOLDER) else told("It is no file but something that only some tools know.")
    )
    return TarEntry(name.removeprefix("./"), size, known or other)


def _name(header: bytes) -> str:
    name, prefix = header[:100].rstrip(b"\x00"), header[345:500].rstrip(b"\x00")
    is_posix = header[257:263] == b"ustar\x00"
    return _text(prefix + b"/" + name if prefix and is_posix else name)


def _extended(text: bytes, name: str) -> tuple[str, int | None]:
    """Name and size of the next entry as extended headers (pax) give them: records of "length key=value"."""
    size = None
    while text:
        length, _, _ = text.partition(b" ")
        if not length.isdigit() or len(length) > 6 or not int(length):
            break
        record = text[len(length) + 1 : int(length)].rstrip(b"\n")
        key, _, value = record.partition(b"=")
        if key == b"path":
            name = _text(value)
        elif key == b"size" and value.isdigit() and len(value) < 16:
            size = int(value)
        text = text[int(length) :]
    return name, size


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, for what does not fit into octal digits
        number = int.from_bytes(field[1:], "big")
    else:
        digits = field.strip(b" \x00") or b"0"
        if digits.strip(b"01234567"):
            raise CutOff
        number = int(digits, 8)
    if number > 2**50:
        raise CutOff
    return number


def _has_sum(header: bytes) -> bool:
    digits = header[148:156].strip(b" \x00")
    if not digits or digits.strip(b"01234567"):
        return False
    return int(digits, 8) == sum(header[:148]) + 8 * 32 + sum(header[156:])


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
