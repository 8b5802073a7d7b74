"""How good a model is on labelled images that it has not seen: every number with its interval. numpy only.

The images must be a random sample. Labels that were acquired because the model was unsure say nothing here.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import check_labels
from learner.errors import LearnerError

Z_95 = 1.959963984540054
"""Standard normal quantile of 0.975."""

LEAST_PROB = 2.0**-24
"""The least positive float16; smaller probabilities count as this in the negative log-likelihood."""

ROUNDED = 0.01
"""Probabilities that sum to 1 within this are a distribution: a thousand float16 numbers lose less."""


@dataclass(frozen=True)
class Interval:
    """A measured number with its 95 % interval.

    Args:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        n: Images it rests on.
        method: How the interval was found: `"wilson"`, `"normal"`, `"student"`, `"bootstrap"`, `"score"` or
            `"adjusted wald"`.
    """

    value: float
    low: float
    high: float
    n: int
    method: str

    @property
    def half_width(self) -> float:
        """Half the interval's length: the number behind ±."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        """As `0.930 ± 0.041`."""
        return f"{self.value:.3f} ± {self.half_width:.3f}"


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose confidence lies in one part of 0 to 1.

    Args:
        low: Where the part begins.
        high: Where it ends, itself only in the last one.
        n: Images; there may be none.
        confidence: Their mean largest probability; None of none.
        accuracy: Share of right answers among them (Wilson); None of none.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: Interval | None


@dataclass(frozen=True)
class Metrics:
    """What a holdout says about a model.

    Args:
        n: Labelled holdout images.
        accuracy: Share of right answers, 0 to 1 (Wilson).
        nll: Mean negative log-likelihood of the label, in nats (normal).
        brier: Mean squared distance of the probabilities from the label, summed over classes, 0 to 2 (normal).
        ece: Expected calibration error, 0 to 1 (bootstrap).
        recall: For each class the share of its images that were found (Wilson); None where the holdout has none.
        confusion_C_C: Counts; row: the label, column: the prediction.
        reliability: Ten bins of the confidence, from 0 to 1: those whose gaps `ece` adds up.
    """

    n: int
    accuracy: Interval
    nll: Interval
    brier: Interval
    ece: Interval
    recall: tuple[Interval | None, ...]
    confusion_C_C: npt.NDArray[np.int64]
    reliability: tuple[CalibrationBin, ...]


def separation(scores: npt.ArrayLike, is_positive: npt.ArrayLike) -> float | None:
    """How well scores tell positives from negatives: the chance that a positive's is larger (AUROC), 0.5 by guessing.

    Args:
        scores: `[n]`.
        is_positive: bool `[n]`.

    Returns:
        0 to 1, ties counting half; None where one of the two kinds is missing.

    Reference:
        Hanley and McNeil, 1982, The meaning and use of the area under a ROC curve (Mann and Whitney's statistic).

    >>> separation([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    0.875
    """
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(is_positive, dtype=np.bool_)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def separation_interval(scores: npt.ArrayLike, is_positive: npt.ArrayLike) -> Interval | None:
    """`separation` with its 95 % interval: all values that lie within 1.96 of their own standard errors from it.

    Like Wilson's, it stays inside 0 to 1 and is honest at 0 and 1.

    Args:
        scores: `[n]`.
        is_positive: bool `[n]`.

    Returns:
        None where one of the two kinds is missing.

    Reference:
        Newcombe, 2006, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2,
        method 5: the standard error of Hanley and McNeil, 1982, with the mean of both counts in place of each.
    """
    value = separation(scores, is_positive)
    if value is None:
        return None
    positive = np.asarray(is_positive, dtype=np.bool_)
    n, n_positive = positive.size, int(positive.sum())
    low = _least_separation(value, n_positive, n - n_positive)
    high = 1 - _least_separation(1 - value, n - n_positive, n_positive)
    return Interval(value, low, high, n, "score")


def _least_separation(value: float, n_positive: int, n_negative: int) -> float:
    """The least one whose interval of 1.96 standard errors still reaches the value, by bisection."""
    low, high, others = 0.0, value, (n_positive + n_negative) / 2 - 1
    for _ in range(50):
        a = (low + high) / 2
        variance = a * (1 - a) + others * (a / (2 - a) + 2 * a * a / (1 + a) - 2 * a * a)
        is_too_far = value - a > Z_95 * math.sqrt(variance / (n_positive * n_negative))
        low, high = (a, high) if is_too_far else (low, a)
    return low


def wilson(successes: int, n: int) -> Interval:
    """A share with its 95 % Wilson score interval, which stays inside 0 to 1 and is honest at 0 and at n.

    Args:
        successes: 0 to n.
        n: Trials, at least 1.

    Raises:
        LearnerError: If n is 0 or successes are not in 0 to n.

    Reference:
        Wilson, 1927, Probable inference, the law of succession, and statistical inference.

    >>> interval = wilson(95, 100)
    >>> f"{interval.value:.3f} {interval.low:.3f} {interval.high:.3f}"
    '0.950 0.888 0.978'
    """
    if n < 1 or not 0 <= successes <= n:
        raise LearnerError(f"a share needs 0 to n of n >= 1, got {successes} of {n}")
    share, z = successes / n, Z_95
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(share, low, high, n, "wilson")


def sign_test(gained: int, lost: int) -> float:
    """How likely so many gains, or more, are by chance alone.

    Args:
        gained: Images that only the new model is right about.
        lost: Images that only the old one is right about.

    Returns:
        The one-sided p-value of the exact test, 0 to 1; 1 where the two never differ.

    Reference:
        Dixon, Mood, 1946, The statistical sign test.

    >>> sign_test(5, 0), sign_test(1, 1), sign_test(0, 0)
    (0.03125, 0.75, 1.0)
    """
    n = gained + lost
    return float(sum(math.comb(n, k) for k in range(gained, n + 1)) / 2**n)


def normal_mean(values: npt.NDArray[np.float64], least: float = -math.inf) -> Interval:
    """A mean with its 95 % normal interval; of a single value the interval is infinitely wide.

    Args:
        values: float64 `[n]`, n at least 1.
        least: The least value possible, where the interval is cut.
    """
    n, mean = len(values), float(values.mean())
    half = Z_95 * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return Interval(mean, max(least, mean - half), mean + half, n, "normal")


def calibration_error(
    confidence_n: npt.NDArray[np.float64], is_right_n: npt.NDArray[np.bool_], *, bins: int = 10
) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins of equal width, weighted by count.

    Args:
        confidence_n: Largest mean probability, 0 to 1.
        is_right_n: Whether it is that of the label.
        bins: How many bins of 0 to 1.

    Reference:
        Guo et al., 2017, On calibration of modern neural networks, equation 3.
    """
    which = _bin_of(confidence_n, bins)
    gaps = np.bincount(which, weights=confidence_n - is_right_n, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence_n))


def _bin_of(confidence_n: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    """Which bin of equal width each falls into; 1 falls into the last."""
    return np.minimum((confidence_n * bins).astype(np.int64), bins - 1)


def reliability(
    confidence_n: npt.NDArray[np.float64], is_right_n: npt.NDArray[np.bool_], *, bins: int = 10
) -> tuple[CalibrationBin, ...]:
    """Confidence against accuracy, bin by bin: what a reliability diagram shows.

    Args:
        confidence_n: Largest mean probability, 0 to 1.
        is_right_n: Whether it is that of the label.
        bins: How many bins of 0 to 1.

    Reference:
        DeGroot and Fienberg, 1983, The comparison and evaluation of forecasters; Niculescu-Mizil and Caruana, 2005,
        Predicting good probabilities with supervised learning. The interval of each bin: `wilson`.
    """
    which = _bin_of(confidence_n, bins)
    counts = np.bincount(which, minlength=bins).tolist()
    sums = np.bincount(which, weights=confidence_n, minlength=bins).tolist()
    rights = np.bincount(which, weights=is_right_n, minlength=bins).astype(np.int64).tolist()
    return tuple(
        CalibrationBin(b / bins, (b + 1) / bins, n, total / n if n else None, wilson(right, n) if n else None)
        for b, (n, total, right) in enumerate(zip(counts, sums, rights, strict=True))
    )


def calibration_interval(
    confidence_n: npt.NDArray[np.float64], is_right_n: npt.NDArray[np.bool_], *, resamples: int = 500, seed: int = 0
) -> Interval:
    """The calibration error with its 95 % basic bootstrap interval.

    A resample of a holdout is less calibrated than the holdout itself, so percentiles of resamples lie too high; the
    basic interval mirrors them at the estimate, which takes that bias out. It is cut at 0 and holds the estimate.

    Reference:
        Davison and Hinkley, 1997, Bootstrap methods and their application, equation 5.6.
    """
    value, n = calibration_error(confidence_n, is_right_n), len(confidence_n)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        again = rng.integers(0, n, n)
        draws.append(calibration_error(confidence_n[again], is_right_n[again]))
    low, high = np.quantile(draws, [0.025, 0.975])
    mirrored_low, mirrored_high = 2 * value - high, 2 * value - low
    return Interval(value, max(0.0, min(value, mirrored_low)), min(1.0, max(value, mirrored_high)), n, "bootstrap")


def check_distributions(probs_n_C: npt.NDArray[np.floating], what: str) -> None:
    """Refuse rows that are no distributions, such as logits, but for what float16 loses.

    Raises:
        LearnerError: If a probability is below 0, or those of an image do not sum to 1 within `ROUNDED`.
    """
    sums_n = probs_n_C.sum(1, dtype=np.float64)
    is_wrong_n = (np.abs(sums_n - 1) > ROUNDED) | (probs_n_C < 0).any(1)
    if is_wrong_n.any():
        index = int(is_wrong_n.argmax())
        raise LearnerError(
            f"{what} are no probabilities: those of {int(is_wrong_n.sum())} of {len(sums_n)} images do not sum to 1 or "
            f"are below 0, the first of these is number {index} (sum {sums_n[index]:.3g})"
        )


def metrics(probs_n_C: npt.NDArray[np.floating], labels_n: npt.NDArray[np.int64]) -> Metrics:
    """All metrics of some predictions.

    Args:
        probs_n_C: Mean probabilities, rows of sum 1 up to rounding.
        labels_n: int64, 0 to C - 1.

    Raises:
        LabelError: If there are no labels, or they do not fit.
        LearnerError: If a probability is NaN or infinite, or those of an image do not sum to 1.
    """
    probs = probs_n_C.astype(np.float64)
    if not np.isfinite(probs).all():
        raise LearnerError("the predictions to measure are NaN or infinite: the model is broken; fit it again")
    check_distributions(probs, "the predictions to measure")
    n, n_classes = len(labels_n), probs.shape[-1]
    check_labels(np.arange(len(probs), dtype=np.int64), labels_n, n_classes, "holdout")
    predicted, of_label = probs.argmax(1), probs[np.arange(n), labels_n]
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (labels_n, predicted), 1)
    return Metrics(
        n=n,
        accuracy=wilson(int(np.trace(confusion)), n),
        nll=normal_mean(-np.log(np.maximum(of_label, LEAST_PROB)), least=0.0),
        brier=normal_mean(np.square(probs).sum(1) - 2 * of_label + 1, least=0.0),
        ece=calibration_interval(probs.max(1), predicted == labels_n),
        recall=tuple(
            wilson(int(confusion[c, c]), int(row)) if row else None for c, row in enumerate(confusion.sum(1).tolist())
        ),
        confusion_C_C=confusion,
        reliability=reliability(probs.max(1), predicted == labels_n),
    )
