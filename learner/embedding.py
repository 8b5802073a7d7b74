"""A map of the pool: images that look alike lie side by side. From pixels or features alone, no labels; in flat memory.

t-SNE costs too much for a whole pool. So it arranges some thousand landmarks, drawn at random, and every other image
goes to where its nearest landmarks lie. The same pool and seed give the same map. scikit-learn and numpy, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from learner.background import in_background
from learner.config import Report
from learner.errors import LearnerError
from learner.pool import Chunk, Inputs, Pool, open_chunk
from learner.seeds import derive

Floats = npt.NDArray[np.float32]

LANDMARKS = 3000
DIMENSIONS = 32
"""D, principal components that distances are taken in."""

SAMPLE = 8000
"""Images that the principal components are computed from."""

MOST_PIXELS = 800
"""Larger images are averaged down to about so many numbers first."""

NEAREST = 4
"""Landmarks that place an image; the images most like it are looked for among those that share one of them."""

LARGEST_CELL = 4096

RECORD = np.dtype(
    [
        ("x", "<u2"),
        ("y", "<u2"),
        ("nearest", "<i4"),
        ("distance", "<f4"),
        ("features", "<f2", (DIMENSIONS,)),
    ]
)
"""An image on the map: where it lies, in 65,535ths of the map's sides; the position of the image most like it that was
found (-1: none) and its distance in features; and the features, whose total variance is 1."""


def embed(chunks: Sequence[Chunk], *, seed: int, report: Report) -> npt.NDArray[np.void]:
    """Draw the map.

    Args:
        chunks: The pool's files of pixels or features, chunk 0, 1, 2 and so on.
        seed: Of all chance.
        report: Called with the phase `"embed"`, in images.

    Returns:
        `RECORD`s `[N]`, in the order of positions.

    Raises:
        ChunkError: If images are missing, damaged or of different shapes.
        LearnerError: If there are fewer than 3 images.

    Reference:
        van der Maaten and Hinton, 2008, Visualizing data using t-SNE, section 5 (landmarks); Poličar, Stražar, Zupan,
        2023, Embedding to reference t-SNE space addresses batch effects, section 2.1 (new points at the weighted mean
        of their neighbours).
    """
    pool = Pool(chunks)
    n = len(pool)
    if n < 3:
        raise LearnerError(f"a map needs at least 3 images, the pool has {n}")
    rng = np.random.default_rng(derive(seed, "embedding"))
    report("embed", 0, n)
    features_N_D = _features(pool, chunks, rng, report)
    landmarks = np.sort(rng.permutation(n)[:LANDMARKS])
    arranged_L_2 = in_background(lambda: _arrange(features_N_D[landmarks], seed), lambda: report("embed", n // 4, n))
    records = np.zeros(n, RECORD)
    records["features"][:, : features_N_D.shape[1]] = features_N_D
    xy_N_2, cells_N_k = _place(features_N_D, landmarks, arranged_L_2, report)
    low, high = xy_N_2.min(0), xy_N_2.max(0)
    scaled_N_2 = np.rint((xy_N_2 - low) / np.maximum(high - low, 1e-9) * 65_535).astype(np.uint16)
    records["x"], records["y"] = scaled_N_2[:, 0], scaled_N_2[:, 1]
    records["nearest"], records["distance"] = _nearest_in_cells(features_N_D, cells_N_k, report)
    report("embed", n, n)
    return records


def shrink(inputs_M_X: Inputs, most_numbers: int = MOST_PIXELS) -> Floats:
    """Pixels as vectors of at most about so many numbers, 0 to 1: larger images are averaged in blocks. Feature vectors
    stay as they are."""
    if inputs_M_X.ndim == 2:
        return inputs_M_X.astype(np.float32)
    m, channels, height, width = inputs_M_X.shape
    values = inputs_M_X.astype(np.float32) / 255
    most = max(1, int((most_numbers / channels) ** 0.5))
    for axis, side in ((2, height), (3, width)):
        if side > most:
            edges = np.linspace(0, side, most + 1).astype(np.int64)
            shape = [1, 1, 1, 1]
            shape[axis] = most
            values = np.add.reduceat(values, edges[:-1], axis=axis) / np.diff(edges).reshape(shape)
    return values.reshape(m, -1).astype(np.float32)


def _features(pool: Pool, chunks: Sequence[Chunk], rng: np.random.Generator, report: Report) -> Floats:
    """The first principal components of the images, scaled alike so that the mean squared distance is 2."""
    n = len(pool)
    sample = shrink(pool.inputs(np.sort(rng.permutation(n)[:SAMPLE])))
    mean = sample.mean(0)
    values, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False).reshape(len(mean), len(mean)))
    basis = vectors[:, ::-1][:, :DIMENSIONS].astype(np.float32)
    basis *= np.where(np.abs(basis).max(0) == basis.max(0), 1, -1)  # eigenvectors have no sign of their own
    scale = np.float32(max(float(values[::-1][:DIMENSIONS].sum()), 1e-12) ** -0.5)
    features = np.empty((n, basis.shape[1]), np.float32)
    for chunk in chunks:
        features[chunk.start : chunk.start + chunk.count] = (shrink(open_chunk(chunk)) - mean) @ basis * scale
        report("embed", chunk.start // 4, n)
    return features


def _arrange(features_L_D: Floats, seed: int) -> Floats:
    """t-SNE of the landmarks. One thread: sums in another order would end in another map."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    n = len(features_L_D)
    if features_L_D.std(0).max() < 1e-9:
        return np.zeros((n, 2), np.float32)  # all alike: one point
    with threadpool_limits(1):
        tsne = TSNE(
            perplexity=min(30.0, (n - 1) / 3),
            init="pca" if features_L_D.shape[1] > 1 else "random",
            learning_rate="auto",
            random_state=seed % 2**32,
        )
        return np.asarray(tsne.fit_transform(features_L_D), np.float32)


def _place(
    features_N_D: Floats, landmarks: npt.NDArray[np.int64], arranged_L_2: Floats, report: Report
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Where each image lies, and which landmarks are nearest to it. A landmark lies where it was arranged."""
    n, at = len(features_N_D), features_N_D[landmarks]
    norms = np.square(at).sum(1)
    k = min(NEAREST, len(landmarks))
    xy, cells = np.empty((n, 2), np.float32), np.empty((n, k), np.int64)
    for start in range(0, n, 2048):
        part = features_N_D[start : start + 2048]
        squares = np.maximum(norms - 2 * part @ at.T + np.square(part).sum(1)[:, None], 0)
        near = np.argpartition(squares, k - 1, axis=1)[:, :k]
        distances = np.take_along_axis(squares, near, 1)
        weights = 1 / np.square(distances + 1e-4)
        xy[start : start + 2048] = np.einsum("nk,nkd->nd", weights / weights.sum(1)[:, None], arranged_L_2[near])
        cells[start : start + 2048] = near
        report("embed", n // 4 + start // 2, n)
    return xy, cells


def _nearest_in_cells(
    features_N_D: Floats, cells_N_k: npt.NDArray[np.int64], report: Report
) -> tuple[npt.NDArray[np.int32], Floats]:
    """The image most like each one, among those that share one of its nearest landmarks: near-duplicates do as a rule.

    The cost is linear in N for cells of bounded size; a cell past `LARGEST_CELL` images is searched in parts.
    """
    n, k = cells_N_k.shape
    nearest, distance = np.full(n, -1, np.int32), np.full(n, np.inf, np.float32)
    order = np.argsort(cells_N_k.ravel(), kind="stable")
    cells = np.split(order // k, np.flatnonzero(np.diff(cells_N_k.ravel()[order])) + 1)
    done = 0
    parts = (cell[at : at + LARGEST_CELL] for cell in cells for at in range(0, len(cell), LARGEST_CELL))
    for members in parts:
        done += len(members)
        report("embed", n * 3 // 4 + done // (4 * k), n)
        if len(members) < 2:
            continue
        mine = features_N_D[members].astype(np.float64)
        norms = np.square(mine).sum(1)
        squares = norms[:, None] + norms - 2 * mine @ mine.T
        np.fill_diagonal(squares, np.inf)
        best = squares.argmin(1)
        found = np.sqrt(np.maximum(squares[np.arange(len(members)), best], 0)).astype(np.float32)
        is_nearer = found < distance[members]
        nearest[members[is_nearer]] = members[best[is_nearer]]
        distance[members[is_nearer]] = found[is_nearer]
    return nearest, distance
