"""Where each image stands in the graph: coordinates in which images are near that a random walk takes to each other.

A head on them learns a class from a few answers, for what hangs together lies in one direction whatever it looks like.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.graph.model import Doubles, Graph, Integers
from learner.graph.neighbours import Affinity, Floats

COORDINATES = 64
"""At most; there are no more than parts of the tree."""

WALK = 10
"""Steps of the random walk whose end the coordinates tell."""

SMOOTHING = 5
"""Steps over the graph that turn what is known of leaves into what is known of images."""

SPARE = 16
"""Directions that are carried along beside those that are kept, so that the last of these are right, too."""


MOST_PARTS = 3000
"""Parts of the tree between which the walk is solved as a whole: some seconds and 200 MB, but time grows with the cube
of the number and memory with its square, and the number of leaves with the pool."""

KRYLOV, RESTARTS, TOLERANCE = 3, 60, 1e-3
"""Past that: directions at once, times those that are wanted; how often they are begun anew; of the eigenvalues."""


def diffusion_map(graph: Graph, *, report: Report = ignore) -> Floats:
    """Coordinates of all images.

    The eigenvectors of the random walk are found among those of the tree's leaves, smoothed over the graph: they are
    inexact where the walk mixes fast, which `WALK` steps forget. On 50,000 images of MNIST a head learns as well from
    them as from exact ones, and they take a fifth of the time (docs/log.md).

    Args:
        graph: Of the pool.
        report: Called with the phase `"spread"`, in steps.

    Returns:
        float32 `[N, m]`, m at most `COORDINATES`, rows of length 1; of images without neighbours 0. The same graph, the
        same coordinates, on one kind of machine.

    Reference:
        Coifman and Lafon, 2006, Diffusion maps, equation 9, with lengths taken out; Saad, 2011, Numerical methods for
        large eigenvalue problems, section 5.2 (subspace iteration with projection).
    """
    from scipy.sparse import diags

    tree, weights = graph.tree, graph.affinity.astype(np.float32)
    degree_N = np.asarray(weights.sum(1), np.float64).ravel()
    root_N = np.sqrt(degree_N)
    inverse_N = np.where(degree_N > 0, 1 / np.maximum(root_N, 1e-12), 0).astype(np.float32)
    walk = (diags(inverse_N) @ weights @ diags(inverse_N)).tocsr()
    basis_N_s = _among(walk, root_N, tree.leaf_N, tree.n_leaves)
    if basis_N_s is None:
        part_N = tree.parts(MOST_PARTS)[tree.leaf_N]
        basis_N_s = _among(walk, root_N, part_N, int(part_N.max()) + 1)
        assert basis_N_s is not None
    for step in range(SMOOTHING):
        report("spread", step, SMOOTHING)
        basis_N_s = walk @ basis_N_s
    basis_N_s = np.linalg.qr(basis_N_s)[0]
    stationary_N = (root_N / max(np.linalg.norm(root_N), 1e-12)).astype(np.float32)
    ends_s = stationary_N @ basis_N_s  # where every walk ends says nothing
    values_m, turn_s_m = _largest(basis_N_s.T @ (walk @ basis_N_s) - np.outer(ends_s, ends_s), COORDINATES)
    report("spread", SMOOTHING, SMOOTHING)
    coordinates_N_m = basis_N_s @ (turn_s_m * np.maximum(values_m, 0) ** WALK) * inverse_N[:, None]
    lengths_N = np.linalg.norm(coordinates_N_m, axis=1, keepdims=True)
    return np.asarray(coordinates_N_m / np.maximum(lengths_N, 1e-12), np.float32)


def _among(walk: Affinity, root_N: Doubles, part_N: Integers, n_parts: int) -> Floats | None:
    """The leading directions of the walk among those that are constant on each part, `[N, s]`. None: there are too many
    parts, and they are tied too evenly, to find them.

    Reference:
        Lehoucq, Sorensen, Yang, 1998, ARPACK users' guide, section 4 (implicitly restarted Lanczos method).
    """
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    count = COORDINATES + SPARE
    of_part = csr_matrix((root_N, (np.arange(len(root_N)), part_N)), shape=(len(root_N), n_parts))
    lengths_P = np.sqrt(np.asarray(of_part.power(2).sum(0)).ravel())
    of_part = (of_part @ diags(1 / np.maximum(lengths_P, 1e-12))).astype(np.float32).tocsr()
    between = (of_part.T @ walk @ of_part).tocsr()
    if n_parts <= MOST_PARTS:
        return np.ascontiguousarray(of_part @ _largest(between.toarray(), count)[1])
    start_P = np.random.default_rng(0).standard_normal(n_parts)
    try:
        _, vectors_P_s = eigsh(
            between.astype(np.float64), count, which="LA", ncv=int(KRYLOV * count), v0=start_P, maxiter=RESTARTS,
            tol=TOLERANCE,
        )  # fmt: skip
    except ArpackNoConvergence:
        return None
    return np.ascontiguousarray(of_part @ vectors_P_s.astype(np.float32))


def _largest(symmetric: npt.NDArray[np.float32], count: int) -> tuple[Floats, Floats]:
    """The largest eigenvalues and their vectors, as many as there are; each vector's largest entry is positive."""
    values, vectors = np.linalg.eigh(symmetric.astype(np.float64))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    return values.astype(np.float32), (vectors * np.where(largest < 0, -1, 1)).astype(np.float32)
