"""Put a pool in an order, from one score an image.

Taking the top asks about near-duplicates; sampling does not, or less. Each choice comes with its probability, so that
estimates from acquired labels can be corrected.

Reference:
    Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron, Gal, 2023, Stochastic batch acquisition: a simple
    baseline for deep active learning, section 3 and table 2; Kool, van Hoof, Welling, 2019, Stochastic beams and where
    to find them, section 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from learner.config import WAYS
from learner.errors import ArtifactError, check_known

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_SCORE = 1e-9
"""Scores below count as this, so that an image the model is sure of keeps a chance above 0."""


def rank(how: str, scores_N: npt.ArrayLike, *, coldness: float, seed: int) -> Integers:
    """Put all images in the order in which they should be asked about; the first b are a batch of b.

    `"top"` takes the highest score first, ties by chance. `"random"` ignores the scores. The others sample without
    replacement by the Gumbel-top-k trick, at each draw in proportion to a weight: `"power"` to `score ** coldness`,
    `"softmax"` to `exp(coldness * score)`, `"soft_rank"` to `rank ** -coldness`, the highest score having rank 1 and
    ties broken by chance.

    Args:
        how: One of `learner.config.WAYS`.
        scores_N: `[N]`, finite; for power sampling those below `LEAST_SCORE` count as that.
        coldness: beta, 0 (random) and up (infinity would be the top).
        seed: Of all chance.

    Returns:
        int64 `[N]`, indices into the scores, best first.

    Raises:
        UnknownNameError: If there is no such way.
        ArtifactError: If a score is not finite.

    >>> rank("top", [0.2, 0.9, 0.4], coldness=8.0, seed=0).tolist()
    [1, 2, 0]
    """
    check_known("way to choose", how, WAYS)
    scores, rng = _checked(scores_N), np.random.default_rng(seed)
    if how == "random":
        return rng.permutation(len(scores)).astype(np.int64)
    if how in ("top", "soft_rank"):
        order = np.lexsort((rng.random(len(scores)), -scores)).astype(np.int64)
        if how == "top":
            return order
        keys = _log_weights_of_ranks(len(scores), coldness) + rng.gumbel(size=len(scores))
        return order[np.argsort(-keys, kind="stable")]
    keys = _log_weights(how, scores, coldness) + rng.gumbel(size=len(scores))
    return np.argsort(-keys, kind="stable").astype(np.int64)


def selection_probabilities(how: str, scores_N: npt.ArrayLike, count: int, *, coldness: float) -> Floats:
    """How probable each image is to be among the first `count` of `rank`, over all seeds.

    Args:
        how: As for `rank`.
        scores_N: As for `rank`.
        count: b; more than N counts as N.
        coldness: As for `rank`.

    Returns:
        float64 `[N]`, 0 to 1, sum `min(count, N)`. For `"top"` 1 above the threshold, 0 below, and for those tied at
        it the share of them that there is room for. For sampling see `inclusion_probabilities`; images tied in a soft
        rank share the mean of what their ranks have, each of which is as likely theirs.

    Raises:
        UnknownNameError: If there is no such way.
        ArtifactError: If a score is not finite.

    >>> selection_probabilities("top", [0.5, 0.9, 0.5], 2, coldness=8.0).tolist()
    [0.5, 1.0, 0.5]
    """
    check_known("way to choose", how, WAYS)
    scores = _checked(scores_N)
    n = len(scores)
    count = min(count, n)
    if how in ("power", "softmax"):
        return inclusion_probabilities(_log_weights(how, scores, coldness), count)
    if how == "soft_rank":
        by_rank = inclusion_probabilities(_log_weights_of_ranks(n, coldness), count)
        _, tie, size = np.unique(-scores, return_inverse=True, return_counts=True)
        return np.asarray((np.add.reduceat(by_rank, np.cumsum(size) - size) / size)[tie] if n else by_rank)
    if how == "random" or count in (0, n):
        return np.full(n, count / max(n, 1))
    threshold = np.partition(scores, n - count)[n - count]
    above, tied = scores > threshold, scores == threshold
    return np.where(above, 1.0, np.where(tied, (count - above.sum()) / tied.sum(), 0.0))


def inclusion_probabilities(log_weights_N: Floats, count: int) -> Floats:
    """How probable each item is to be among `count` drawn one after the other in proportion to its weight.

    Items arrive at exponential times with their weights as rates; the first `count` are the sample. The probability
    is taken at the fixed time t by which `count` arrivals are expected, `1 - exp(-w t)` with the sum over all items
    equal to `count`. That is exact for equal weights and in the limit of large samples; for a handful of items it is
    off by a few hundredths (a test compares it to simulation). t is found by bisection on its logarithm. For a count
    of 1 the share of the weight is exact.

    Args:
        log_weights_N: Natural logarithms of the weights, finite, to any constant.
        count: b, at most N.

    Returns:
        float64 `[N]`, in (0, 1], sum b (for b = 0 as good as 0).

    Reference:
        Rosén, 1972, Asymptotic theory for successive sampling with varying probabilities without replacement.

    >>> inclusion_probabilities(np.zeros(4), 2).round(6).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    n = len(log_weights_N)
    if count >= n:
        return np.ones(n)
    logs = log_weights_N - log_weights_N.max()
    if count <= 1:
        weights = np.exp(logs)
        return np.asarray(np.maximum(count * weights / weights.sum(), np.finfo(np.float64).tiny))
    low, high = np.log(count / n) - 1.0, float(np.log(count) - logs.min() + 40.0)
    while high - low > 1e-9:
        middle = (low + high) / 2
        expected = -np.expm1(-np.exp(np.minimum(logs + middle, 700.0))).sum()
        low, high = (middle, high) if expected < count else (low, middle)
    probabilities = -np.expm1(-np.exp(np.minimum(logs + high, 700.0)))
    return np.asarray(np.clip(probabilities, np.finfo(np.float64).tiny, 1.0))


def percentiles(scores_N: npt.NDArray[np.floating], chosen: npt.NDArray[np.floating]) -> Floats:
    """For each chosen score, the share of all scores that are lower, 0 to below 100 (percent).

    >>> percentiles(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.1])).tolist()
    [75.0, 0.0]
    """
    lower = np.searchsorted(np.sort(scores_N), chosen, side="left").astype(np.float64)
    return lower * (100.0 / max(len(scores_N), 1))


def _log_weights(how: str, scores_N: Floats, coldness: float) -> Floats:
    return coldness * (scores_N if how == "softmax" else np.log(np.maximum(scores_N, LEAST_SCORE)))


def _log_weights_of_ranks(n: int, coldness: float) -> Floats:
    return -coldness * np.log(np.arange(1, n + 1))


def _checked(scores_N: npt.ArrayLike) -> Floats:
    scores = np.asarray(scores_N, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ArtifactError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite: score again")
    return scores
