"""Images out of an .npz: uint8 arrays [n, h, w] or [n, h, w, 3], read block by block and never unpickled."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.imaging.zips import BadArchive, BadEntry, ZipEntry, ZipReader
from labeler.told import told

MAX_HEADER = 4096
MAX_LABEL_BYTES = 256 * 2**20
IMAGES = re.compile(r"^(?:(?:x|images?|data)_?(?P<after>\w*)|(?P<before>\w+)_(?:x|images?|data))$", re.I)
LABELS = re.compile(r"^(?:(?:y|labels?|targets?)_?(?P<after>\w*)|(?P<before>\w+)_(?:y|labels?|targets?))$", re.I)


@dataclass(frozen=True)
class ArrayPart:
    """One array of images: `train` of x_train, with the labels of y_train where they fit."""

    name: str
    entry: ZipEntry
    shape: tuple[int, ...]
    header_size: int
    labels: npt.NDArray[Any] | None

    @property
    def image_bytes(self) -> int:
        return int(np.prod(self.shape[1:]))


def array_parts(reader: ZipReader) -> list[ArrayPart]:
    """The arrays of images in the archive. Raises BadArchive in words when there are none or one is of another kind."""
    images: dict[str, ZipEntry] = {}
    labels: dict[str, ZipEntry] = {}
    for entry in reader.entries():
        stem = entry.name.removesuffix(".npy")
        if match := LABELS.match(stem):
            labels[match["after"] or match["before"] or ""] = entry
        elif match := IMAGES.match(stem):
            images[match["after"] or match["before"] or ""] = entry
    if not images:
        raise BadArchive(told("The .npz holds no array of images: x, images, x_train, train_images or the like."))
    return [_part(reader, name, entry, labels.get(name)) for name, entry in images.items()]


def array_images(reader: ZipReader, part: ArrayPart) -> Iterator[npt.NDArray[np.uint8]]:
    """Every image of a part, [h, w] or [h, w, 3], in order."""
    shape, size = part.shape[1:], part.image_bytes
    if shape[-1] == 1 and len(shape) == 3:
        shape = shape[:2]
    rest, skip = b"", part.header_size
    for block in reader.blocks(part.entry):
        rest = rest + block[skip:] if len(block) > skip else rest
        skip = max(0, skip - len(block))
        whole = len(rest) // size
        for index in range(whole):
            yield np.frombuffer(rest, dtype=np.uint8, count=size, offset=index * size).reshape(shape)
        rest = rest[whole * size :]


def _part(reader: ZipReader, name: str, entry: ZipEntry, label_entry: ZipEntry | None) -> ArrayPart:
    shape, dtype, header_size = _header(reader, entry)
    if dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape:
        raise BadArchive(
            told(
                "%(name)s holds %(dtype)s %(value)s; whole numbers of 8 bits (uint8) as [n, height, width] or "
                "[n, height, width, 3] are taken.",
                name=entry.name,
                dtype=dtype,
                value=list(shape),
            )
        )
    if entry.size != header_size + int(np.prod(shape)):
        raise BadArchive(told("%(name)s is shorter or longer than its header says.", name=entry.name))
    return ArrayPart(name, entry, shape, header_size, _labels(reader, label_entry, shape[0]) if label_entry else None)


def _labels(reader: ZipReader, entry: ZipEntry, count: int) -> npt.NDArray[Any] | None:
    """Labels [count] of whole numbers or text; None when they are something else, which no one has to import."""
    shape, dtype, header_size = _header(reader, entry)
    is_fitting = shape in ((count,), (count, 1)) and dtype.kind in "iuUS" and entry.size <= MAX_LABEL_BYTES
    if not is_fitting:
        return None
    try:
        data = reader.read(entry, MAX_LABEL_BYTES)
    except BadEntry as error:
        raise BadArchive(told("%(name)s: %(why)s", name=entry.name, why=str(error))) from error
    if len(data) - header_size != count * dtype.itemsize:
        raise BadArchive(told("%(name)s is shorter or longer than its header says.", name=entry.name))
    return np.frombuffer(data, dtype=dtype, offset=header_size).reshape(count)


def _header(reader: ZipReader, entry: ZipEntry) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    try:
        head = io.BytesIO(next(reader.blocks(entry), b""))
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(head, max_header_size=MAX_HEADER)
    except BadEntry as error:
        raise BadArchive(told("%(name)s: %(why)s", name=entry.name, why=str(error))) from error
    except ValueError as error:
        raise BadArchive(told("%(name)s is no NumPy array.", name=entry.name)) from error
    if dtype.hasobject:
        raise BadArchive(told("%(name)s holds Python objects, which are never loaded.", name=entry.name))
    if is_fortran and len(shape) > 1:
        raise BadArchive(told("%(name)s is stored column by column; save it in C order.", name=entry.name))
    return shape, dtype, head.tell()
