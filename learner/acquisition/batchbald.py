"""BatchBALD: the batch whose answers together tell most about the model.

Two images that would tell the same thing count once. The joint information of a batch is built up greedily: each step
takes the image whose answer tells most about the model once the answers to those before are known,

    I(y_n; k | y_1..b) = E over y_1..b of [ H(y_n | y_1..b) - E[H(y_n | k) | y_1..b] ],

which is what the joint information grows by. Greedy is within 1 - 1/e of the best batch, and what an image adds never
grows with the batch; so what it added last is a bound, and most images need not be looked at again (lazy greedy).

Reference:
    Kirsch, van Amersfoort, Gal, 2019, BatchBALD, equations 7 to 12 and algorithm 1; lazy: Minoux, 1978, Accelerated
    greedy algorithms for maximizing submodular set functions; sampling: Kitagawa, 1996, Monte Carlo filter and
    smoother for non-Gaussian nonlinear state space models, appendix (stratified).
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import LearnerError

Array = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

CONFIGURATIONS = 4_000
"""Combinations of answers that are kept apart: all that there are while C ** b is at most this, then a sample. Batches
of 10 are the same with 10,000, in a third of the time (docs/log.md)."""

BLOCK_FLOATS = 8 * 2**20
"""What is held at once beside the posterior samples: 32 MiB in single precision."""

LEAST_GAIN = 1e-4
"""Nats, less than the sampled combinations can tell from 0."""

SUM = 1e-2
"""How far from 1 the probabilities of a sample may add up."""

LOOK = 32
"""Images that are looked at together."""


@dataclass(frozen=True)
class Configurations:
    """What would be believed about the K samples after each combination of answers to the images taken so far.

    Args:
        posterior_M_K: How probable each sample is after each of M combinations of answers; rows sum to 1.
        weights_M: How probable each combination is; they sum to 1.
    """

    posterior_M_K: Array
    weights_M: Array

    @classmethod
    def before_any_answer(cls, n_samples: int, dtype: npt.DTypeLike) -> Self:
        """One empty combination, after which all samples are alike."""
        return cls(np.full((1, n_samples), 1 / n_samples, dtype), np.ones(1, dtype))

    def information(self, probs_n_K_C: Array, tick: Callable[[], None] = lambda: None) -> Array:
        """What the answer to each image would tell about the model once those so far are known, `[n]`, in nats.

        Never below 0: for every single combination the difference is a mutual information under its posterior. `tick`
        is called with every block of images.
        """
        n, n_samples, n_classes = probs_n_K_C.shape
        block = max(1, BLOCK_FLOATS // (max(len(self.weights_M), n_samples) * n_classes))
        gains_n = np.empty(n, probs_n_K_C.dtype)
        for start in range(0, n, block):
            part = probs_n_K_C[start : start + block]
            flat_K_nC = part.transpose(1, 0, 2).reshape(n_samples, -1)
            predictive_M_n_C = (self.posterior_M_K @ flat_K_nC).reshape(-1, len(part), n_classes)
            expected_M_n = self.posterior_M_K @ _entropy(part).T
            gains_n[start : start + block] = self.weights_M @ np.maximum(_entropy(predictive_M_n_C) - expected_M_n, 0)
            tick()
        return gains_n

    def after(self, probs_K_C: Array, most: int, rng: np.random.Generator) -> Self:
        """With the answers to one more image: all combinations that can be, or if those are more than `most` a sample.

        The sample is stratified: one draw from each `most`-th of the probability. One draw shifted by equal steps would
        vary more, for where all combinations before weigh alike, all would get the same new answer.
        """
        n_classes = probs_K_C.shape[1]
        weights_MC = (self.weights_M[:, None] * (self.posterior_M_K @ probs_K_C)).ravel()
        chosen = np.flatnonzero(weights_MC > 0)
        weights = weights_MC[chosen]
        if len(chosen) > most:
            sums = np.cumsum(weights, dtype=np.float64)
            at = np.searchsorted(sums, (rng.random(most) + np.arange(most)) / most * sums[-1], side="right")
            chosen = chosen[np.minimum(at, len(chosen) - 1)]
            weights = np.full(most, 1 / most, weights.dtype)
        before, answer = np.divmod(chosen, n_classes)
        posterior = self.posterior_M_K[before] * probs_K_C.T[answer]
        return type(self)(posterior / posterior.sum(1, keepdims=True), weights / weights.sum())


def batchbald(
    log_probs_N_K_C: Array, count: int, *, seed: int, most: int = CONFIGURATIONS, report: Report = ignore
) -> tuple[Integers, Array]:
    """Choose a batch greedily.

    The joint information cannot exceed log K: past some batch size (about 30 for K = 100) no image adds `LEAST_GAIN`,
    and what is left is taken by its own mutual information, its gain being said to be 0. Up to `most` combinations of
    answers everything is exact; past it the combinations are a sample, and so is what each image is said to add.

    Args:
        log_probs_N_K_C: Natural logarithms of consistent posterior samples: k is the same function for every image.
        count: b; at most N.
        seed: Of the sampled combinations.
        most: See `CONFIGURATIONS`. Memory is that times K and times the larger of K and C, in blocks.
        report: Called as images are taken and looked at, with the phase `"acquire"`.

    Returns:
        int64 `[b]`, indices in the order taken, and `[b]`, what each added to the information, in nats.

    Raises:
        LearnerError: If the probabilities of a sample are not finite, or do not add up to 1.
    """
    report("acquire", 0, count)
    probs_N_K_C = np.exp(log_probs_N_K_C)
    sums_N_K = probs_N_K_C.sum(2)
    if not np.isfinite(sums_N_K).all() or np.abs(sums_N_K - 1).max(initial=0) > SUM:
        raise LearnerError(
            "batchbald: posterior samples are no log-probabilities (NaN, infinite, or of another sum than 1): fit the "
            "round again"
        )
    rng, n = np.random.default_rng(seed), len(probs_N_K_C)
    count = min(count, n)
    state = Configurations.before_any_answer(probs_N_K_C.shape[1], probs_N_K_C.dtype)
    alone_N = state.information(probs_N_K_C, partial(report, "acquire", 0, count))
    bounds_N, is_left = alone_N.copy(), np.ones(n, np.bool_)
    taken, gains = np.empty(count, np.int64), np.empty(count, probs_N_K_C.dtype)
    for step in range(count):
        left = np.flatnonzero(is_left)
        order = left[np.lexsort((-alone_N[left], -bounds_N[left]))]
        best = _best(state, probs_N_K_C, bounds_N, order, partial(report, "acquire", step, count))
        if bounds_N[best] < LEAST_GAIN:
            taken[step:], gains[step:] = left[np.argsort(-alone_N[left], kind="stable")][: count - step], 0
            break
        taken[step], gains[step], is_left[best] = best, bounds_N[best], False
        if step + 1 < count:
            state = state.after(probs_N_K_C[best], most, rng)
    report("acquire", count, count)
    return taken, gains


def _best(state: Configurations, probs_N_K_C: Array, bounds_N: Array, order: Integers, tick: Callable[[], None]) -> int:
    """The image that adds most, of those in `order`, highest bound first. What is looked at gets its bound anew.

    Of images that add the same the first is taken: the one that tells most by itself.
    """
    best = int(order[0])
    for start in range(0, len(order), LOOK):
        if start and bounds_N[order[start]] <= bounds_N[best]:
            break
        part = order[start : start + LOOK]
        bounds_N[part] = state.information(probs_N_K_C[part], tick)
        first = int(part[bounds_N[part].argmax()])
        if not start or bounds_N[first] > bounds_N[best]:
            best = first
    return best


def _entropy(probs: Array) -> Array:
    """In nats, over the last axis."""
    entropy: Array = -(probs * np.log(np.maximum(probs, np.finfo(probs.dtype).tiny))).sum(-1)
    return entropy
