"""The k nearest neighbours of every image, and the weighted graph that they make."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import LearnerError

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Affinity = Any
"""`scipy.sparse.csr_matrix` `[N, N]`, symmetric, weights in [0, 1], no image its own neighbour."""

NEIGHBOURS = 10
EXACT_LIMIT = 100_000
"""Up to so many images all pairs are compared: a minute on one core."""

BLOCK = 4096  # faiss's own: half of it takes three times as long
TRAINED_ON, PROBES = 100_000, 24
NEAR = 0.05
"""Near-duplicates: closer than this share of the mean squared distance of two images (docs/log.md, Near-duplicates)."""


@dataclass(frozen=True)
class Neighbours:
    """Who is near whom.

    Args:
        index_N_k: int64, positions, the nearest first; never the image itself, -1 where fewer were found.
        squares_N_k: float32, squared distances, at least 0; infinite where there is none.
        is_exact: Whether all pairs were compared.
    """

    index_N_k: Integers
    squares_N_k: Floats
    is_exact: bool


class Searcher:
    """Finds the nearest images of a pool. Holds one copy of the vectors.

    Args:
        vectors_N_D: float32, all finite, at least 2 images.
        exact_limit: Past so many images the search is approximate: only the cells around the query are looked into.
        seed: Of the cells.

    Raises:
        LearnerError: If there are fewer than 2 images, or a vector is NaN or infinite.

    Reference:
        Jégou, Douze, Schmid, 2011, Product quantization for nearest neighbor search, section 4 (inverted file).
    """

    def __init__(self, vectors_N_D: Floats, *, exact_limit: int = EXACT_LIMIT, seed: int = 0) -> None:
        import faiss

        if len(vectors_N_D) < 2:
            raise LearnerError(f"a graph needs at least 2 images, the pool has {len(vectors_N_D)}")
        _check_finite(vectors_N_D)
        n, d = vectors_N_D.shape
        self.vectors_N_D = np.ascontiguousarray(vectors_N_D, dtype=np.float32)
        self.is_exact = n <= exact_limit
        if self.is_exact:
            self._index: Any = faiss.IndexFlatL2(d)
        else:
            cells = max(1, int(4 * n**0.5))
            self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, cells)
            self._index.nprobe = min(PROBES, cells)
            self._index.cp.seed, self._index.cp.niter = seed % 2**31, 10
            sample = np.random.default_rng(seed).permutation(n)[: max(TRAINED_ON, 39 * cells)]
            self._index.train(self.vectors_N_D[np.sort(sample)])
        self._index.add(self.vectors_N_D)

    def search(self, vectors_M_D: Floats, k: int) -> tuple[Integers, Floats]:
        """The pool's nearest of any images.

        Args:
            vectors_M_D: float32, all finite.
            k: How many, at most N.

        Returns:
            int64 positions `[M, k]`, -1 where fewer were found, and float32 squared distances, then infinite.

        Raises:
            LearnerError: If a vector is NaN or infinite.
        """
        _check_finite(vectors_M_D)
        squares, index = self._index.search(np.ascontiguousarray(vectors_M_D, dtype=np.float32), k)
        return index.astype(np.int64), np.where(index < 0, np.inf, np.maximum(squares, 0)).astype(np.float32)

    def neighbours(self, k: int = NEIGHBOURS, *, report: Report = ignore) -> Neighbours:
        """The nearest of every image of the pool.

        Args:
            k: How many; at most N - 1 are given.
            report: Called with the phase `"neighbours"`, in images, every `BLOCK` of them.

        Returns:
            `[N, k]`. Memory beside the result is that of a block.
        """
        n = len(self.vectors_N_D)
        k = min(k, n - 1)
        index_N_k, squares_N_k = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
        for start in range(0, n, BLOCK):
            report("neighbours", start, n)
            block = slice(start, min(start + BLOCK, n))
            index, squares = self.search(self.vectors_N_D[block], k + 1)
            is_self = index == np.arange(block.start, block.stop)[:, None]
            is_self[:, -1] |= ~is_self.any(1)  # among many equal ones the image itself may not be found
            index_N_k[block] = index[~is_self].reshape(-1, k)
            squares_N_k[block] = squares[~is_self].reshape(-1, k)
        report("neighbours", n, n)
        return Neighbours(index_N_k, squares_N_k, self.is_exact)


def affinity(neighbours: Neighbours) -> Affinity:
    """The graph: `w_ij = exp(-4 d_ij² / d_k(i)²)`, made symmetric by the mean of both directions.

    Args:
        neighbours: `[N, k]`.

    Returns:
        A `scipy.sparse.csr_matrix` `[N, N]`, weights in [0, 1]. Equal images have weight 1, though k be equal.

    Reference:
        Calder, Cook, Thorpe, Slepčev, 2020, Poisson learning, section 4.
    """
    from scipy.sparse import csr_matrix

    n, k = neighbours.index_N_k.shape
    weights_N_k, is_found_N_k = closeness(neighbours.squares_N_k), neighbours.index_N_k >= 0
    rows = np.repeat(np.arange(n), k)[is_found_N_k.ravel()]
    one_way = csr_matrix((weights_N_k[is_found_N_k], (rows, neighbours.index_N_k[is_found_N_k])), shape=(n, n))
    return ((one_way + one_way.T) / 2).tocsr()


def closeness(squares_M_k: Floats) -> Floats:
    """`exp(-4 d² / d_k²)`, where d_k is the distance of the farthest of the k that was found.

    Args:
        squares_M_k: Squared distances, infinite where there is no neighbour.

    Returns:
        float32 `[M, k]`, 0 to 1; 0 where there is none, 1 where all are equal.
    """
    is_found = np.isfinite(squares_M_k)
    far_M_1 = np.where(is_found, squares_M_k, 0).max(1, keepdims=True)
    relative = np.where(is_found, squares_M_k, 0) / np.where(far_M_1 > 0, far_M_1, 1)
    return np.where(is_found, np.exp(-4 * relative), 0).astype(np.float32)


def near_duplicates(neighbours: Neighbours, vectors_N_D: Floats, share: float = NEAR) -> Integers:
    """Pairs of images that look all but the same.

    Args:
        neighbours: Of the pool.
        vectors_N_D: What they were found by.
        share: Of the mean squared distance of two images drawn at random, at least 0; pairs at most so far apart count.

    Returns:
        int64 `[P, 2]`, the lower position first, in ascending order, none twice. At most k pairs an image.
    """
    least = share * 2 * float(vectors_N_D.var(0, dtype=np.float64).sum())
    rows, columns = np.nonzero((neighbours.index_N_k >= 0) & (neighbours.squares_N_k <= least))
    pairs_P_2 = np.stack([rows, neighbours.index_N_k[rows, columns]], 1)
    return np.unique(np.sort(pairs_P_2, 1), axis=0)


def of_length_1(vectors_M_D: npt.NDArray[np.floating[Any]]) -> Floats:
    """Vectors in their directions, float32 `[M, D]`; those of length 0 stay as they are."""
    lengths_M_1 = np.linalg.norm(vectors_M_D, axis=1, keepdims=True)
    return np.asarray(vectors_M_D / np.where(lengths_M_1 > 0, lengths_M_1, 1), np.float32)


def _check_finite(vectors_M_D: Floats) -> None:
    if not (is_finite := np.isfinite(vectors_M_D).all(1)).all():
        raise LearnerError(
            f"{int((~is_finite).sum())} of {len(vectors_M_D)} vectors hold NaN or infinite features, the first at "
            f"position {int(is_finite.argmin())}; compute the features again"
        )
