"""Images that stand for many others: each is taken for what it covers that nothing before it did.

Without a model every image counts alike, and the first ones taken are in the middle of where the pool is dense, each
far from those before. With one, an image counts by how unsure the model is of it, so that the same rule goes from the
first answer to the thousandth.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from learner.acquisition.coverage import BLOCK, check_finite, squared_distances
from learner.config import Report, ignore

Array = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

NEAR = 0.2
"""The share of pairs of images that are nearer to each other than the width of the kernel."""

SOME = 500
"""So many images say how far pairs of them are apart."""

LEAST_DISTANCE = 1e-12


class Herded(NamedTuple):
    """Images that were taken, in that order.

    Args:
        indices: int64 `[b]`, into the candidates.
        gains: float64 `[b]`, the share of the targets' weight that each covers anew, 0 to 1.
    """

    indices: Integers
    gains: npt.NDArray[np.float64]


def herding(
    candidates_M_D: Array,
    targets_T_D: Array,
    weights_T: Array,
    labelled_L_D: Array,
    count: int,
    *,
    report: Report = ignore,
) -> Herded:
    """Take the image by which the weighted coverage of the targets grows most, over and over.

    A target is covered as far as the most similar image that is labelled or taken is similar to it, by a Gaussian
    kernel as wide as `NEAR` of all pairs are apart. What a batch covers is at least 1 - 1/e of what the best batch of
    the size could cover. No chance is involved: of equal images the first is taken.

    Args:
        candidates_M_D: Of the images to choose from.
        targets_T_D: Of those to be covered, a random sample of what is not labelled.
        weights_T: How much each of these counts, at least 0: a measure of uncertainty, or 1.
        labelled_L_D: Of those that have a label; may be empty.
        count: b; at most M. Memory is that of M times T numbers.
        report: Called every image taken with the phase `"acquire"`.

    Raises:
        LearnerError: If a feature is NaN or infinite.

    Reference:
        Bae, Noh, Sutherland, 2024, Generalized coverage for more robust low-budget active learning, section 3
        (MaxHerding); Bae, Oliveira, Sutherland, 2025, Uncertainty herding: one active learning method for all label
        budgets, section 4; Nemhauser, Wolsey, Fisher, 1978, An analysis of approximations for maximizing submodular set
        functions, section 4 (the bound); Minoux, 1978, Accelerated greedy algorithms (bounds looked at one by one).
    """
    for features in (candidates_M_D, targets_T_D, labelled_L_D):
        check_finite(features, "herding")
    count = min(count, len(candidates_M_D))
    if not count or not len(targets_T_D):
        return Herded(np.arange(count), np.zeros(count))
    targets = np.asarray(targets_T_D, np.float32)
    width = _width(targets)
    covered_T = np.zeros(len(targets), np.float32)
    for start in range(0, len(labelled_L_D), BLOCK):
        near_T_B = _similar(targets, labelled_L_D[start : start + BLOCK], width)
        covered_T = np.maximum(covered_T, near_T_B.max(1))
        report("acquire", 0, count)
    weights = np.asarray(weights_T, np.float64)
    if not weights.any():
        weights = np.ones(len(targets))  # the model is sure of everything
    near_M_T = np.empty((len(candidates_M_D), len(targets)), np.float32)
    for start in range(0, len(candidates_M_D), BLOCK):
        near_M_T[start : start + BLOCK] = _similar(candidates_M_D[start : start + BLOCK], targets, width)
        report("acquire", 0, count)
    return _greedily(near_M_T, covered_T, np.asarray(weights / weights.sum(), np.float32), count, report)


def _greedily(near_M_T: Floats, covered_T: Floats, weights_T: Floats, count: int, report: Report) -> Herded:
    bounds = np.concatenate([
        np.maximum(near_M_T[start : start + BLOCK] - covered_T, 0) @ weights_T
        for start in range(0, len(near_M_T), BLOCK)
    ])  # fmt: skip
    queue = [(-float(bound), index) for index, bound in enumerate(bounds)]
    heapq.heapify(queue)
    taken, gains = np.empty(count, np.int64), np.empty(count)
    for step in range(count):
        while True:
            _bound, index = heapq.heappop(queue)
            gain = float(np.maximum(near_M_T[index] - covered_T, 0) @ weights_T)
            if not queue or (-gain, index) <= queue[0]:
                break
            heapq.heappush(queue, (-gain, index))
        taken[step], gains[step] = index, gain
        covered_T = np.maximum(covered_T, near_M_T[index])
        report("acquire", step + 1, count)
    return Herded(taken, gains)


def _width(targets_T_D: Floats) -> float:
    """A squared distance."""
    some = targets_T_D[:: -(-len(targets_T_D) // SOME)]
    return max(float(np.quantile(squared_distances(some, some), NEAR)), LEAST_DISTANCE)


def _similar(a_N_D: Array, b_T_D: Array, width: float) -> Floats:
    return np.asarray(np.exp(-squared_distances(a_N_D, b_T_D) / width), np.float32)
