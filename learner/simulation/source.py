"""What a run is made of: a labelled collection, divided into images that may be asked about and images to measure."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from learner.errors import LearnerError
from learner.files import digest, write_array
from learner.folder import UNKNOWN, Collection
from learner.pool import CHUNK_SIZE, Chunk, Pool, open_chunk
from learner.simulation.run import Material

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """A labelled collection whose own test part, if it has one, stands in chunks of its own.

    Args:
        chunks: The pool's: all but the test part.
        apart: The test part's, numbered after the pool's. No graph is made of them.
        labels_N: int64, by position; `UNKNOWN` where no class is known, or there is no image.
        n_classes: C.
        content: SHA-256 of labels and images.
    """

    chunks: tuple[Chunk, ...]
    apart: tuple[Chunk, ...]
    labels_N: Integers
    n_classes: int
    content: str

    @classmethod
    def of(cls, collection: Collection, directory: Path) -> Source:
        """Take a collection; its test part is written to a directory.

        Raises:
            LearnerError: If there are labels of fewer than two classes outside the test part.
        """
        n_pool = int((~collection.is_test).sum())
        assert not collection.is_test[:n_pool].any()  # as collections are read: what is for testing comes last
        known = collection.labels[:n_pool]
        if len(np.unique(known[known != UNKNOWN])) < 2:
            raise LearnerError("a simulation needs images of two classes at least that may be asked about")
        chunks = tuple(_cut(chunk, n_pool, directory) for chunk in collection.chunks if chunk.start < n_pool)
        apart = _write_apart(Pool(collection.chunks), n_pool, len(collection.labels), len(chunks), directory)
        start = len(chunks) * CHUNK_SIZE
        labels_N = np.full(start + len(collection.labels) - n_pool, UNKNOWN, np.int64)
        labels_N[:n_pool], labels_N[start:] = known, collection.labels[n_pool:]
        content = digest(labels_N, *(open_chunk(chunk) for chunk in (*chunks, *apart)))
        return cls(chunks, apart, labels_N, len(collection.class_names), content)

    def known(self) -> Integers:
        """Positions in the pool whose class is known."""
        n_pool = sum(chunk.count for chunk in self.chunks)
        return np.flatnonzero(self.labels_N[:n_pool] != UNKNOWN)

    def material(self, *, holdout: int, seed: int) -> Material:
        """What one run is made of, without a graph.

        Args:
            holdout: Images to measure, drawn from the test part, or of sources without one from the pool: a quarter
                of that at most.
            seed: Of the draw.
        """
        rng = np.random.default_rng(seed)
        start = len(self.chunks) * CHUNK_SIZE
        test = start + np.flatnonzero(self.labels_N[start:] != UNKNOWN)
        known = self.known()
        if len(test):
            return Material(self.chunks, self.labels_N, known, np.sort(rng.permutation(test)[:holdout]), self.apart,
                            propagate_to=np.arange(sum(chunk.count for chunk in self.chunks)))  # fmt: skip
        measured = np.sort(rng.permutation(known)[: max(0, min(holdout, len(known) // 4))])
        everyone = np.arange(sum(chunk.count for chunk in self.chunks))
        return Material(self.chunks, self.labels_N, np.setdiff1d(known, measured), measured,
                        propagate_to=np.setdiff1d(everyone, measured))  # fmt: skip


def _cut(chunk: Chunk, end: int, directory: Path) -> Chunk:
    """The part of a chunk before a position."""
    count = min(chunk.count, end - chunk.start)
    if count == chunk.count:
        return chunk
    return Chunk(chunk.number, write_array(directory / "last.npy", open_chunk(chunk)[:count]), count)


def _write_apart(pool: Pool, start: int, end: int, number: int, directory: Path) -> tuple[Chunk, ...]:
    """Copies of the images from one position to another, in chunks from a number on."""
    chunks: list[Chunk] = []
    for first in range(start, end, CHUNK_SIZE):
        inputs = pool.inputs(np.arange(first, min(first + CHUNK_SIZE, end)))
        path = write_array(directory / f"test-{number + len(chunks):06d}.npy", inputs)
        chunks.append(Chunk(number + len(chunks), path, len(inputs)))
    return tuple(chunks)
