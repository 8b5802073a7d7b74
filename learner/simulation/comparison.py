"""Two orders on the same images: how many answers each takes to what a model of all answers has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.errors import LabelError
from learner.metrics import Interval, wilson

RESAMPLES = 1000
Rights = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """What two orders of the same answers took.

    Args:
        final: Accuracy of models of all answers, mean over all runs (Wilson, of the measured images).
        target: That less its standard error (Wilson's lower end with z = 1): from here on a model cannot be told from
            the last.
        own: Answers until the target in the order that is looked at, mean over the seeds.
        random: The same at random.
        saved: Their difference, above 0 where the order that is looked at needs fewer.
    """

    final: Interval
    target: float
    own: Interval
    random: Interval
    saved: Interval


def compare(answers_A: Sequence[int], own_S_A_M: Rights, random_S_A_M: Rights, *, seed: int = 0) -> Comparison:
    """Compare two orders.

    Both end with the same answers, so no run fails to arrive by more than chance; one that does counts with all.
    Intervals are of the bootstrap (percentiles) over seeds, in pairs, and over measured images at once: seeds alone
    would leave out that the images are a sample, the same one for all runs.

    Args:
        answers_A: Numbers of answers, ascending; the last are all.
        own_S_A_M: Whether each of the M measured images is right, by seed and number of answers.
        random_S_A_M: The same at random, with the same seeds.
        seed: Of the bootstrap.

    Raises:
        LabelError: If the shapes differ, or there are fewer than two seeds.

    Reference:
        Davison and Hinkley, 1997, Bootstrap methods and their application, sections 3.8 (two levels) and 5.3.
    """
    n_seeds, n_budgets, n = own_S_A_M.shape
    if own_S_A_M.shape != random_S_A_M.shape or n_seeds < 2 or n_budgets != len(answers_A):
        raise LabelError(f"expected two or more seeds of both orders, got {own_S_A_M.shape} and {random_S_A_M.shape}")
    rng, answers = np.random.default_rng(seed), np.array(answers_A)
    both = np.stack([own_S_A_M, random_S_A_M]).astype(np.float64)
    target, counts = _answers_to_target(both, np.full(n, 1 / n), answers)
    draws = np.empty((RESAMPLES, 2))
    for row in range(RESAMPLES):
        weights_M = rng.multinomial(n, np.full(n, 1 / n)) / n
        seeds = rng.integers(0, n_seeds, n_seeds)
        draws[row] = _answers_to_target(both[:, seeds], weights_M, answers)[1].mean(1)
    own, random = counts.mean(1)
    return Comparison(
        final=wilson(min(n, round(float(both[:, :, -1].mean()) * n)), n),
        target=target,
        own=_interval(own, draws[:, 0], n_seeds),
        random=_interval(random, draws[:, 1], n_seeds),
        saved=_interval(random - own, draws[:, 1] - draws[:, 0], n_seeds),
    )


def _answers_to_target(
    rights_2_S_A_M: Doubles, weights_M: Doubles, answers_A: npt.NDArray[np.int64]
) -> tuple[float, Doubles]:
    """The target, and the first number of answers from which on each run is at it: `[2, S]`."""
    accuracy_2_S_A = rights_2_S_A_M @ weights_M
    final, n = min(1.0, float(accuracy_2_S_A[:, :, -1].mean())), len(weights_M)
    target = (final + 1 / (2 * n) - float(np.sqrt(final * (1 - final) / n + 1 / (4 * n * n)))) / (1 + 1 / n)
    is_missed = accuracy_2_S_A < target - 1e-12
    is_missed[:, :, -1] = False
    last_missed = np.where(is_missed.any(2), len(answers_A) - 1 - is_missed[:, :, ::-1].argmax(2), -1)
    return target, answers_A[last_missed + 1].astype(np.float64)


def _interval(value: float, draws: Doubles, n: int) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return Interval(float(value), min(low, float(value)), max(high, float(value)), n, "bootstrap")
