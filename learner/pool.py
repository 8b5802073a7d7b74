"""The pool's images, as pixels or as feature vectors, in one file a chunk of 4,096, read through memory maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.errors import ChunkError
from learner.files import write_array

__all__ = ["CHUNK_SIZE", "Chunk", "Inputs", "Pool", "Shape", "describe", "open_chunk", "write_array"]

CHUNK_SIZE = 4096
"""Positions a chunk: the unit of import, scoring, retry and parallel work."""

Shape = tuple[int, ...]
"""X, the shape of one input: channels, height, width of an image, or D alone of a feature vector."""

Inputs = npt.NDArray[np.uint8] | npt.NDArray[np.float16] | npt.NDArray[np.float32]
"""`[n, X]`: pixels are uint8, features are floats."""


@dataclass(frozen=True)
class Chunk:
    """One file, or a part of it: the images at positions `number * CHUNK_SIZE` and on.

    Args:
        number: Which stretch of positions, from 0.
        path: A `.npy` file: pixels, uint8 `[count, channels, height, width]`, or features, float16 or float32
            `[count, D]`, all finite.
        count: Images, 1 to `CHUNK_SIZE`.
        row: Where the first of them is, in a file that holds more; None: the file holds these images alone.
    """

    number: int
    path: Path
    count: int
    row: int | None = None

    @property
    def start(self) -> int:
        """The position of the first image."""
        return self.number * CHUNK_SIZE

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The positions of all images, in the order of the file."""
        return np.arange(self.start, self.start + self.count, dtype=np.int64)


def describe(shape: Sequence[int]) -> str:
    """What an input of some shape is, for messages.

    >>> describe((1, 28, 28)), describe((128,))
    ('images of shape [1, 28, 28]', 'vectors of 128 features')
    """
    return f"vectors of {shape[0]} features" if len(shape) == 1 else f"images of shape {list(shape)}"


def open_chunk(chunk: Chunk) -> Inputs:
    """Map a chunk's pixels or features into memory.

    Args:
        chunk: The chunk to open.

    Returns:
        Read-only, of the type and shape that the file has; pages of pixels are read when they are touched, features
        are all read once to see that they are finite.

    Raises:
        ChunkError: If the file is missing, damaged, or not what the chunk says, or a feature is NaN or infinite.
    """
    try:
        inputs: npt.NDArray[Any] = np.load(chunk.path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ChunkError(f"chunk {chunk.number}: the file {chunk.path} is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise ChunkError(f"chunk {chunk.number}: the file {chunk.path} is damaged ({error})") from error
    if chunk.row is not None:
        inputs = inputs[chunk.row : chunk.row + chunk.count]
    is_pixels = inputs.dtype == np.uint8 and inputs.ndim == 4
    is_features = inputs.dtype in (np.float16, np.float32) and inputs.ndim == 2
    if not (is_pixels or is_features) or len(inputs) != chunk.count or 0 in inputs.shape:
        raise ChunkError(
            f"chunk {chunk.number}: the file {chunk.path} holds {inputs.dtype} {list(inputs.shape)}, expected pixels, "
            f"uint8 [{chunk.count}, channels, height, width], or features, float16 or float32 [{chunk.count}, D]"
        )
    if is_features and not (is_finite := np.isfinite(inputs).all(1)).all():
        raise ChunkError(
            f"chunk {chunk.number}: {int((~is_finite).sum())} of {chunk.count} vectors hold NaN or infinite features, "
            f"the first at position {chunk.start + int(is_finite.argmin())}; compute the features again"
        )
    return inputs


@dataclass
class Pool:
    """The images of several chunks, addressed by position.

    Args:
        chunks: The chunks, in any order; none twice, at least one, all pixels of one shape or all features of one
            length.

    Raises:
        ChunkError: If there is no chunk, one number occurs twice, or a count is out of range; later, on first use, if
            a file is missing, damaged, of another kind or of another shape.
    """

    chunks: Sequence[Chunk]
    _maps: dict[int, Inputs] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.chunks:
            raise ChunkError("a pool needs at least one chunk of images")
        self._by_number = {chunk.number: chunk for chunk in self.chunks}
        if len(self._by_number) != len(self.chunks):
            raise ChunkError("the same chunk number occurs twice in the pool")
        for chunk in self.chunks:
            if chunk.number < 0 or not 1 <= chunk.count <= CHUNK_SIZE:
                raise ChunkError(f"chunk {chunk.number}: {chunk.count} images, expected 1 to {CHUNK_SIZE}")
        self._shape: Shape | None = None

    def __len__(self) -> int:
        """How many images all chunks hold."""
        return sum(chunk.count for chunk in self.chunks)

    @property
    def shape(self) -> Shape:
        """Channels, height and width of every image, or the number of features of every vector."""
        if self._shape is None:
            self._map(self.chunks[0].number)
        assert self._shape is not None
        return self._shape

    def inputs(self, positions: npt.ArrayLike) -> npt.NDArray[Any]:
        """Read images.

        Args:
            positions: Integers `[n]`, in any order, repeats allowed.

        Returns:
            In the order of `positions`: pixels, uint8 `[n, channels, height, width]`, or features, float32 `[n, D]`.

        Raises:
            ChunkError: If a position is in no chunk, or a file is missing, damaged, of another kind or shape.
        """
        where = np.asarray(positions, dtype=np.int64)
        out = np.empty((len(where), *self.shape), dtype=np.uint8 if len(self.shape) == 3 else np.float32)
        numbers, offsets = np.divmod(where, CHUNK_SIZE)
        for number in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == number)
            inputs = self._map(number)
            if offsets[mine].max() >= len(inputs):
                raise ChunkError(f"position {where[mine].max()} is beyond the end of chunk {number}")
            out[mine] = inputs[offsets[mine]]
        return out

    def _map(self, number: int) -> Inputs:
        if number not in self._maps:
            if number not in self._by_number:
                raise ChunkError(f"chunk {number} is not in the pool of {len(self.chunks)} chunks")
            inputs = open_chunk(self._by_number[number])
            if self._shape is None:
                self._shape = inputs.shape[1:]
            elif inputs.shape[1:] != self._shape:
                raise ChunkError(
                    f"chunk {number}: {describe(inputs.shape[1:])}, the pool has {describe(self._shape)}; "
                    "all chunks of a pool are of one kind and shape"
                )
            self._maps[number] = inputs
        return self._maps[number]
