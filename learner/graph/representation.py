"""The vectors that images are compared by: whatever can be had before the first label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.embedding import shrink
from learner.errors import LearnerError
from learner.graph.neighbours import of_length_1
from learner.pool import Chunk, Inputs, Pool, open_chunk
from learner.seeds import derive

Floats = npt.NDArray[np.float32]

COMPONENTS = 50
"""D of pixels. On MNIST 50 components give communities of .97 purity."""

FEATURE_COMPONENTS = 128
"""D of feature vectors that have more."""

SAMPLE = 20_000
"""Images that the components are computed from."""


@dataclass(frozen=True)
class Representation:
    """A linear map of what is in the chunks to vectors.

    Args:
        name: `"pixels"` or `"features"`.
        reason: Why, in words for people.
        mean: What is taken off first, float32 `[d]`.
        basis: Principal components, float32 `[d, D]`, turned so that no number varies more than others.
    """

    name: str
    reason: str
    mean: Floats
    basis: Floats

    def vectors(self, inputs_M_X: Inputs) -> Floats:
        """Map images or feature vectors.

        Args:
            inputs_M_X: uint8 pixels `[M, channels, height, width]` or float features `[M, d]`.

        Returns:
            float32 `[M, D]`, rows one after another in memory.

        Raises:
            LearnerError: If they are of another shape than those it was fitted on, or NaN or infinite.
        """
        flat_M_d = _flat(inputs_M_X)
        if flat_M_d.shape[1] != len(self.mean):
            raise LearnerError(f"{flat_M_d.shape[1]} numbers an image, the graph was built on {len(self.mean)}")
        return np.ascontiguousarray((flat_M_d - self.mean) @ self.basis, dtype=np.float32)


def represent(chunks: Sequence[Chunk], *, seed: int = 0, report: Report = ignore) -> tuple[Representation, Floats]:
    """Choose and fit a representation by looking at the images alone, and apply it to the pool.

    Pixels become their first principal components; feature vectors, which a pretrained network or one trained on the
    pool has made, are brought to length 1 first, since what such networks say lies in the direction.

    Args:
        chunks: The pool's files, chunk 0, 1, 2 and so on.
        seed: Of the sample that the components are computed from.
        report: Called with the phase `"represent"`, in images.

    Returns:
        The map, and float32 `[N, D]` in the order of positions.

    Raises:
        ChunkError: If images are missing, damaged, of different shapes, or features NaN or infinite.

    Reference:
        Jolliffe, 2002, Principal component analysis, section 3.1.
    """
    pool = Pool(chunks)
    n = len(pool)
    report("represent", 0, n)
    rng = np.random.default_rng(derive(seed, "representation"))
    sample_M_d = _flat(pool.inputs(np.sort(rng.permutation(n)[:SAMPLE])))
    is_features = len(pool.shape) == 1
    name, most = ("features", FEATURE_COMPONENTS) if is_features else ("pixels", COMPONENTS)
    representation = Representation(name, _reason(pool, most), *_components(sample_M_d, most))
    vectors_N_D = np.empty((n, representation.basis.shape[1]), np.float32)
    for chunk in chunks:
        vectors_N_D[chunk.start : chunk.start + chunk.count] = representation.vectors(open_chunk(chunk))
        report("represent", chunk.start + chunk.count, n)
    return representation, vectors_N_D


def _reason(pool: Pool, most: int) -> str:
    if len(pool.shape) == 1:
        return f"vectors of {pool.shape[0]} features, compared by direction"
    colour = "grey" if pool.shape[0] == 1 else "colour"
    size = f"{pool.shape[2]} × {pool.shape[1]}"  # of what the learner sees, whatever the pictures are
    return f"{colour} images brought to {size} pixels, compared by their {most} principal components"


def _flat(inputs_M_X: Inputs) -> Floats:
    """Numbers 0 to 1 of pixels; feature vectors at length 1, those of length 0 as they are."""
    flat_M_d = shrink(inputs_M_X)
    if inputs_M_X.ndim == 2:
        if not (is_finite := np.isfinite(flat_M_d).all(1)).all():
            raise LearnerError(f"{int((~is_finite).sum())} of {len(flat_M_d)} vectors hold NaN or infinite features")
        return of_length_1(flat_M_d)
    return flat_M_d


def _components(sample_M_d: Floats, most: int) -> tuple[Floats, Floats]:
    mean_d = sample_M_d.mean(0)
    d = len(mean_d)
    covariance = np.cov(sample_M_d - mean_d, rowvar=False, ddof=0).reshape(d, d)
    basis = np.linalg.eigh(covariance)[1][:, ::-1][:, :most].astype(np.float32)
    basis *= np.where(np.abs(basis).max(0) == basis.max(0), 1, -1)  # eigenvectors have no sign of their own
    return mean_d, basis @ rotation(basis.shape[1])


def rotation(n: int) -> Floats:
    """A rotation or reflection that makes n numbers with unequal variances vary about alike: always the same one.

    Distances stay as they are, but who learns by steps of one size in every number (as AdamW does) would make as much
    of the last principal component as of the first. On sign photos that costs a head four points of accuracy
    (docs/log.md).

    Returns:
        float32 `[n, n]`, orthogonal.

    Reference:
        Stewart, 1980, The efficient generation of random orthogonal matrices, section 3.
    """
    q_n_n, r_n_n = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))
    return np.asarray(q_n_n * np.sign(np.diag(r_n_n)), np.float32)
