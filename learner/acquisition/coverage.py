"""Batches that cover the pool: no measure of uncertainty, only where images lie in the space of features."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.background import in_background
from learner.config import Report, ignore
from learner.errors import LearnerError

Array = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

BLOCK = 1024
MOST_CLUSTERS = 500
LEAST_CLUSTER = 6  # smaller ones are outliers
NEIGHBOURS = 20
LEAST_DISTANCE = 1e-9


def check_finite(features_N_D: Array, name: str) -> None:
    """That distances can be told.

    Args:
        features_N_D: Of the images to choose from.
        name: Of the acquisition function, for the message.

    Raises:
        LearnerError: If a feature is NaN or infinite.
    """
    if not (is_finite_N := np.isfinite(features_N_D).all(1)).all():
        n = int((~is_finite_N).sum())
        raise LearnerError(
            f"{name}: {n} of {len(features_N_D)} images have NaN or infinite features, the first is number "
            f"{int(is_finite_N.argmin())}: fit the round again"
        )


def k_centre(features_N_D: Array, labelled_L_D: Array, count: int, *, seed: int, report: Report = ignore) -> Integers:
    """Take what lies farthest from everything labelled or taken, over and over.

    The largest distance of any image from its nearest centre is at most twice the least that there could be.

    Args:
        features_N_D: Of the images to choose from.
        labelled_L_D: Of those that have a label; may be empty, then the first image is drawn at random.
        count: b; at most N.
        seed: Of the first draw.
        report: Called every image taken with the phase `"acquire"`.

    Returns:
        int64 `[b]`, indices in the order taken.

    Raises:
        LearnerError: If a feature is NaN or infinite.

    Reference:
        Sener and Savarese, 2018, Active learning for convolutional neural networks: a core-set approach, algorithm 1.
    """
    check_finite(features_N_D, "k_centre")
    n = len(features_N_D)
    count = min(count, n)
    norms_N = np.square(features_N_D).sum(1)
    nearest_N = np.full(n, np.inf)
    for start in range(0, len(labelled_L_D), BLOCK):
        part = labelled_L_D[start : start + BLOCK]
        for at in range(0, n, BLOCK):
            squares = squared_distances(features_N_D[at : at + BLOCK], part)
            nearest_N[at : at + BLOCK] = np.minimum(nearest_N[at : at + BLOCK], squares.min(1))
        report("acquire", 0, count)
    taken = np.empty(count, np.int64)
    for step in range(count):
        is_first = step == 0 and not len(labelled_L_D)
        taken[step] = np.random.default_rng(seed).integers(n) if is_first else nearest_N.argmax()
        new_D = features_N_D[taken[step]]
        nearest_N = np.minimum(nearest_N, np.maximum(norms_N + new_D @ new_D - 2 * (features_N_D @ new_D), 0))
        nearest_N[taken[: step + 1]] = -1  # never again, though all that is left may lie on a centre
        report("acquire", step + 1, count)
    return taken


def typicality(features_N_D: Array, labelled_L_D: Array, count: int, *, seed: int, report: Report = ignore) -> Integers:
    """Take the most typical image of each cluster: the one whose neighbours are nearest. For the first labels.

    As many clusters as there will be labels, at most 500. Those with the fewest labels come first, of these the
    largest; then each once more, the images taken counting as labels.

    Args:
        features_N_D: Of the images to choose from.
        labelled_L_D: Of those that have a label; may be empty.
        count: b; at most N.
        seed: Of the clusters.
        report: Called with the phase `"acquire"` while clusters are made, and with every image taken.

    Returns:
        int64 `[b]`, indices in the order taken. A cluster without images left is passed over; clusters of fewer than 6
        images come after all others.

    Raises:
        LearnerError: If a feature is NaN or infinite.

    Reference:
        Hacohen, Dekel, Weinshall, 2022, Active learning on a budget: opposite strategies suit high and low budgets,
        section 3.2 and algorithm 1 (TypiClust).
    """
    check_finite(features_N_D, "typicality")
    n, n_labelled = len(features_N_D), len(labelled_L_D)
    count = min(count, n)
    if not count:
        return np.empty(0, np.int64)
    everything = np.concatenate([features_N_D, labelled_L_D]) if n_labelled else features_N_D
    tick = partial(report, "acquire", 0, count)
    clusters = in_background(lambda: _clusters(everything, min(n_labelled + count, MOST_CLUSTERS), seed), tick)
    n_clusters = int(clusters.max()) + 1
    sizes, labels = np.bincount(clusters, minlength=n_clusters), np.bincount(clusters[n:], minlength=n_clusters)
    queues = [_typical_first(features_N_D, np.flatnonzero(clusters[:n] == c), tick) for c in range(n_clusters)]
    taken: list[int] = []
    is_small = sizes < LEAST_CLUSTER
    while len(taken) < count:
        open_ones = [c for c in range(n_clusters) if queues[c]]
        best = min(open_ones, key=lambda c: (is_small[c], labels[c], -sizes[c], c))
        taken.append(queues[best].pop(0))
        labels[best] += 1
        report("acquire", len(taken), count)
    return np.array(taken, np.int64)


def squared_distances(a_N_D: Array, b_L_D: Array) -> Array:
    """`[N, L]`, at least 0."""
    squares = np.square(a_N_D).sum(1)[:, None] + np.square(b_L_D).sum(1) - 2 * (a_N_D @ b_L_D.T)
    distances: Array = np.maximum(squares, 0)
    return distances


def _clusters(features_N_D: Array, k: int, seed: int) -> Integers:
    """The cluster of each image, 0 and up. One thread: sums in another order would end in other clusters."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    k = min(k, len(np.unique(features_N_D, axis=0)))
    with threadpool_limits(1):
        means = KMeans(k, n_init=1, max_iter=50, random_state=seed % 2**32)
        return np.asarray(means.fit_predict(features_N_D), np.int64)


def _typical_first(features_N_D: Array, members: Integers, tick: Callable[[], None]) -> list[int]:
    """The images of a cluster, the one with the least mean distance from its nearest neighbours in it first."""
    tick()
    k = min(NEIGHBOURS, len(members) // 2)
    if k < 1:
        return [int(each) for each in members]
    mean_distances = np.empty(len(members))
    for start in range(0, len(members), BLOCK):
        part = members[start : start + BLOCK]
        squares = squared_distances(features_N_D[part], features_N_D[members])
        squares[np.arange(len(part)), start + np.arange(len(part))] = np.inf  # not one's own neighbour
        tick()
        mean_distances[start : start + BLOCK] = np.sqrt(np.partition(squares, k - 1, axis=1)[:, :k]).mean(1)
    return [int(each) for each in members[np.argsort(mean_distances, kind="stable")]]
