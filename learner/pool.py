"""The pool's pixels, in one file a chunk of 4,096 images, read through memory maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.errors import ChunkError
from learner.files import write_array

__all__ = ["CHUNK_SIZE", "Chunk", "Pool", "open_chunk", "write_array"]

CHUNK_SIZE = 4096
"""Positions a chunk: the unit of import, scoring, retry and parallel work."""


@dataclass(frozen=True)
class Chunk:
    """One pixel file: the images at positions `number * CHUNK_SIZE` and on.

    Args:
        number: Which stretch of positions, from 0.
        path: A `.npy` file, uint8 `[count, channels, height, width]`.
        count: Images in the file, 1 to `CHUNK_SIZE`.
    """

    number: int
    path: Path
    count: int

    @property
    def start(self) -> int:
        """The position of the first image."""
        return self.number * CHUNK_SIZE

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The positions of all images, in the order of the file."""
        return np.arange(self.start, self.start + self.count, dtype=np.int64)


def open_chunk(chunk: Chunk) -> npt.NDArray[np.uint8]:
    """Map a chunk's pixels into memory.

    Args:
        chunk: The chunk to open.

    Returns:
        Read-only uint8 `[count, channels, height, width]`; pages are read when they are touched.

    Raises:
        ChunkError: If the file is missing, damaged, or not what the chunk says.
    """
    try:
        pixels: npt.NDArray[Any] = np.load(chunk.path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ChunkError(f"chunk {chunk.number}: the pixel file {chunk.path} is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise ChunkError(f"chunk {chunk.number}: the pixel file {chunk.path} is damaged ({error})") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != chunk.count or 0 in pixels.shape:
        raise ChunkError(
            f"chunk {chunk.number}: the pixel file {chunk.path} holds {pixels.dtype} {list(pixels.shape)}, "
            f"expected uint8 [{chunk.count}, channels, height, width]"
        )
    return pixels


@dataclass
class Pool:
    """The images of several chunks, addressed by position.

    Args:
        chunks: The chunks, in any order; none twice, at least one, all of one image shape.

    Raises:
        ChunkError: If there is no chunk, one number occurs twice, or a count is out of range; later, on first use, if
            a file is missing, damaged or of another shape.
    """

    chunks: Sequence[Chunk]
    _maps: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.chunks:
            raise ChunkError("a pool needs at least one chunk of images")
        self._by_number = {chunk.number: chunk for chunk in self.chunks}
        if len(self._by_number) != len(self.chunks):
            raise ChunkError("the same chunk number occurs twice in the pool")
        for chunk in self.chunks:
            if chunk.number < 0 or not 1 <= chunk.count <= CHUNK_SIZE:
                raise ChunkError(f"chunk {chunk.number}: {chunk.count} images, expected 1 to {CHUNK_SIZE}")
        self._shape: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        """How many images all chunks hold."""
        return sum(chunk.count for chunk in self.chunks)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        if self._shape is None:
            self._map(self.chunks[0].number)
        assert self._shape is not None
        return self._shape

    def pixels(self, positions: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Read images.

        Args:
            positions: Integers `[n]`, in any order, repeats allowed.

        Returns:
            uint8 `[n, channels, height, width]` in the order of `positions`.

        Raises:
            ChunkError: If a position is in no chunk, or a file is missing, damaged or of another shape.
        """
        where = np.asarray(positions, dtype=np.int64)
        out = np.empty((len(where), *self.shape), dtype=np.uint8)
        numbers, offsets = np.divmod(where, CHUNK_SIZE)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            chunk_pixels = self._map(number)
            if offsets[mine].max() >= len(chunk_pixels):
                raise ChunkError(f"position {where[mine].max()} is beyond the end of chunk {number}")
            out[mine] = chunk_pixels[offsets[mine]]
        return out

    def _map(self, number: int) -> npt.NDArray[np.uint8]:
        if number not in self._maps:
            if number not in self._by_number:
                raise ChunkError(f"chunk {number} is not in the pool of {len(self.chunks)} chunks")
            pixels = open_chunk(self._by_number[number])
            if self._shape is None:
                _, channels, height, width = pixels.shape
                self._shape = channels, height, width
            elif pixels.shape[1:] != self._shape:
                raise ChunkError(
                    f"chunk {number}: images of shape {list(pixels.shape[1:])}, the pool has {list(self._shape)}"
                )
            self._maps[number] = pixels
        return self._maps[number]
