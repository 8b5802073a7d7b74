"""Where an image stands that came after the graph: among those of the pool that look most like it.

The graph's file keeps neighbours and not what they were found by, so that is computed again from the pool's files, and
believed only if it gives what the graph's vectors say.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import LearnerError
from learner.graph.neighbours import NEIGHBOURS, of_length_1
from learner.graph.pool_graph import side_by_side
from learner.graph.representation import Floats, represent
from learner.pool import Chunk, Inputs
from learner.seeds import derive

Halves = npt.NDArray[np.float16]

MOST_KEPT = 100_000
"""Images of a larger pool are drawn at random: others stand where their neighbours among so many do."""

ROUNDING = 4e-3
"""How far a number of a vector of length 1 may be from what it was: float16 keeps three digits."""


@dataclass(frozen=True)
class Newcomers:
    """What it takes to say where an image stands.

    Args:
        kind: `"pixels"` or `"features"`: what images are compared by.
        mean: What is taken off first, float32 `[d]`; see `learner.graph.representation.Representation`.
        basis: Principal components, float32 `[d, D]`.
        vectors_N_D: float32, what the pool's images were compared by.
        coordinates_N_m: float16, where they stand in the graph; see `learner.graph.diffusion`.
        n_pool: How many images the graph is of; N, or more where N of them were drawn.
    """

    kind: str
    mean: Floats
    basis: Floats
    vectors_N_D: Floats
    coordinates_N_m: Halves
    n_pool: int

    @property
    def nearest(self) -> int:
        """How many neighbours say where an image stands."""
        return min(NEIGHBOURS, len(self.vectors_N_D))


def newcomers(
    chunks: Sequence[Chunk], vectors_N_D: Halves, *, seed: int, most: int = MOST_KEPT, report: Report = ignore
) -> Newcomers:
    """Find again what the graph of a pool was made by.

    Args:
        chunks: The files of exactly the images that the graph is of, as it read them.
        vectors_N_D: Of the graph; see `learner.graph.pool_graph.MadeGraph`.
        seed: The graph's.
        most: See `MOST_KEPT`.
        report: As of `learner.graph.representation.represent`.

    Raises:
        ChunkError: If images are missing or damaged.
        LearnerError: If the graph was made of other images, or by another kind of machine.

    Reference:
        Bengio, Paiement, Vincent, Delalleau, Le Roux, Ouimet, 2003, Out-of-sample extensions for LLE, Isomap, MDS,
        Eigenmaps, and spectral clustering, section 2, with the graph's own weights.
    """
    representation, compared_N_D = represent(chunks, seed=seed, report=report)
    n, m = len(vectors_N_D), vectors_N_D.shape[1] - compared_N_D.shape[1]
    if len(compared_N_D) != n or m < 0:
        raise LearnerError(f"the graph is of {n} images, of which {len(compared_N_D)} are there")
    coordinates_N_m = vectors_N_D[:, :m]
    again_N_D = side_by_side(np.zeros((n, 0), np.float32), compared_N_D)
    if np.abs(again_N_D.astype(np.float32) - vectors_N_D[:, m:].astype(np.float32)).max() > ROUNDING:
        raise LearnerError(
            "what images were compared by cannot be found again: the graph was made of other images, or on another "
            "kind of machine; have it made again, then a round"
        )
    kept = np.arange(n)
    if n > most:
        kept = np.sort(np.random.default_rng(derive(seed, "newcomers")).permutation(n)[:most])
    return Newcomers(
        representation.name, representation.mean, representation.basis, compared_N_D[kept], coordinates_N_m[kept], n
    )


def weights_in_pixels(found: Newcomers, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """The map from pixels of 0 to 255, or from features at length 1, to vectors, as one product.

    Args:
        found: See `Newcomers`.
        shape: Of an image, or of a feature vector.

    Returns:
        float32 `[numbers, D]` and `[D]`: `x @ weights + biases`.
    """
    biases_D = -(found.mean.astype(np.float64) @ found.basis)
    weights = found.basis.astype(np.float64)
    if len(shape) == 3:
        weights = blocks(shape) @ weights
    return weights.astype(np.float32), biases_D.astype(np.float32)


def blocks(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """What `learner.embedding.shrink` does to an image, as a matrix `[numbers, d]`."""
    from learner.embedding import shrink

    numbers = int(np.prod(shape))
    unit = np.zeros((1, *shape), np.uint8)
    columns = []
    for at in range(numbers):
        unit.flat[at] = 255
        columns.append(shrink(unit)[0].astype(np.float64) / 255)
        unit.flat[at] = 0
    return np.stack(columns)


def inputs_of(found: Newcomers, inputs_M_X: Inputs) -> Floats:
    """Vectors of new images as a round by likeness learns from them, float32 `[M, m + D]`; what an exported model
    does, in numpy."""
    flat_M_d = inputs_M_X.reshape(len(inputs_M_X), -1).astype(np.float32)
    if found.kind == "features":
        flat_M_d = of_length_1(flat_M_d)
    weights, biases = weights_in_pixels(found, inputs_M_X.shape[1:])
    vectors_M_D = flat_M_d @ weights + biases
    squares_M_N = np.maximum(
        np.square(vectors_M_D).sum(1)[:, None]
        + np.square(found.vectors_N_D).sum(1)
        - 2 * vectors_M_D @ found.vectors_N_D.T,
        0,
    )
    from learner.graph.neighbours import closeness

    index_M_k = np.argsort(squares_M_N, axis=1, kind="stable")[:, : found.nearest]
    weights_M_k = closeness(np.take_along_axis(squares_M_N, index_M_k, 1))
    coordinates = (weights_M_k[:, :, None] * found.coordinates_N_m[index_M_k].astype(np.float32)).sum(1)
    return side_by_side(coordinates, vectors_M_D).astype(np.float32)
