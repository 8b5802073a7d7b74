"""BADGE: images that would move the last layer far, and each its own way.

The gradient of the loss at the predicted class is (p - e) x h, an outer product of C by D numbers that is never built:
the inner product of two gradients is that of their errors times that of their features.

Reference:
    Ash, Zhang, Krishnamurthy, Langford, Agarwal, 2020, Deep batch active learning by diverse, uncertain gradient lower
    bounds, algorithm 1 and equation 1; Arthur and Vassilvitskii, 2007, k-means++.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from learner.acquisition.coverage import check_finite
from learner.config import Report, ignore
from learner.metrics import check_distributions

Array = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

NEARLY = 1e-6  # squared distances below this share of the squared norms are rounding: the gradients are the same


def badge(mean_probs_N_C: Array, features_N_D: Array, count: int, *, seed: int, report: Report = ignore) -> Integers:
    """Choose a batch by k-means++ seeding on gradients: the longest first, then in proportion to the squared distance
    from the nearest one taken. Where all that is left is the same as something taken, by chance.

    Args:
        mean_probs_N_C: The posterior predictive.
        features_N_D: What goes into the last layer.
        count: b; at most N.
        seed: Of all chance.
        report: Called every image taken with the phase `"acquire"`.

    Returns:
        int64 `[b]`, indices in the order taken. Time and memory grow with N (C + D).

    Raises:
        LearnerError: If a feature or probability is NaN or infinite, or the probabilities of an image do not sum to 1.
    """
    check_finite(features_N_D, "badge")
    check_finite(mean_probs_N_C, "badge")
    check_distributions(mean_probs_N_C, "the predictions that badge goes by")
    rng, n = np.random.default_rng(seed), len(mean_probs_N_C)
    count = min(count, n)
    errors_N_C = np.array(mean_probs_N_C)
    errors_N_C[np.arange(n), errors_N_C.argmax(1)] -= 1
    norms_N = np.square(errors_N_C).sum(1, dtype=np.float64) * np.square(features_N_D).sum(1, dtype=np.float64)
    nearest_N = np.full(n, np.inf)
    taken, is_left = np.empty(count, np.int64), np.ones(n, np.bool_)
    for step in range(count):
        taken[step] = norms_N.argmax() if step == 0 else _draw(nearest_N, is_left, rng)
        is_left[taken[step]] = False
        products_N = (errors_N_C @ errors_N_C[taken[step]]) * (features_N_D @ features_N_D[taken[step]])
        sums_N = norms_N + norms_N[taken[step]]
        squares_N = sums_N - 2 * products_N
        nearest_N = np.minimum(nearest_N, np.where(squares_N > NEARLY * sums_N, squares_N, 0))
        report("acquire", step + 1, count)
    return taken


def _draw(squares_N: npt.NDArray[np.float64], is_left: npt.NDArray[np.bool_], rng: np.random.Generator) -> int:
    weights_N = np.where(is_left, squares_N, 0)
    if not weights_N.any():
        return int(rng.choice(np.flatnonzero(is_left)))
    sums_N = np.cumsum(weights_N)
    return int(np.searchsorted(sums_N, rng.random() * sums_N[-1], side="right"))
