"""95 % intervals for numbers that pages compute live. Those of models are computed in rounds, by the learner."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054  # standard normal quantile of 0.975


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int) -> Interval | None:
    """A share with its Wilson score interval; None of nothing."""
    if n == 0:
        return None
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def mean(average: float | None, deviation: float | None, n: int) -> Interval | None:
    """A mean with its normal interval, from the population deviation; None of fewer than two values."""
    if average is None or deviation is None or n < 2:
        return None
    half = Z * deviation / math.sqrt(n - 1)
    return Interval(average, max(0.0, average - half), average + half, n)
