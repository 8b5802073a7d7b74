"""95 % intervals for numbers that pages compute live. Those of models are computed in rounds, by the learner."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

Z = 1.959963984540054  # standard normal quantile of 0.975


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval | None:
    """A share with its Wilson score interval; None of nothing."""
    if n == 0:
        return None
    share, z = successes / n, Z if confidence == 0.95 else NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def mean_of_sums(total: float, of_squares: float, n: int) -> Interval | None:
    """The same from the sum of the values and of their squares, which a database adds up in one pass."""
    if not n:
        return None
    value = total / n
    return mean(value, max(0.0, of_squares / n - value**2) ** 0.5, n)


def mean(average: float | None, deviation: float | None, n: int) -> Interval | None:
    """A mean with its normal interval, from the population deviation; None of fewer than two values."""
    if average is None or deviation is None or n < 2:
        return None
    half = Z * deviation / math.sqrt(n - 1)
    return Interval(average, max(0.0, average - half), average + half, n)


def exact_share(successes: int, n: int, *, confidence: float = 0.95) -> Interval | None:
    """A share with its Clopper-Pearson interval, which covers at least at its rate; None of nothing.

    Source: Clopper and Pearson 1934: each end is the share at which what was seen, or more extreme, has half of the
    error probability.
    """
    if n == 0:
        return None
    half = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _share_where(lambda share: 1 - _at_most(successes - 1, n, share) < half)
    high = 1.0 if successes == n else _share_where(lambda share: _at_most(successes, n, share) > half)
    return Interval(successes / n, low, high, n)


def _share_where(is_below: Callable[[float], bool]) -> float:
    """The end of the shares, from 0 on, for which this holds."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _at_most(successes: int, n: int, share: float) -> float:
    """Binomial probability of so many or fewer."""
    if share <= 0 or share >= 1:
        return 1.0 if share <= 0 else float(successes >= n)
    if 2 * successes > n:  # the other tail has fewer terms
        return 1.0 - (_at_most(n - successes - 1, n, 1 - share) if successes < n else 0.0)
    log, log_not, whole = math.log(share), math.log1p(-share), math.lgamma(n + 1)
    terms = (
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log + (n - k) * log_not)
        for k in range(successes + 1)
    )
    return min(1.0, math.fsum(terms))
