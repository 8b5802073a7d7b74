"""What answers say of the person who gave them: agreement with the others, fair comparison, speed. numpy only.

Nothing here is a verdict: every number comes with its 95 % interval, or is None where there is too little to say.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from learner.metrics import Z_95, Interval, wilson

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST = 10
"""Fewer answers than this say too little of a person."""

LEAST_IN_STRATUM = 5
"""A stratum where a person has fewer answers is left out of their comparison."""

LEAST_COVERED = 0.5
"""Strata that are left out may weigh at most the other half."""


def agreement_with_others(
    image_n: Integers, class_n: Integers, n_images: int, n_classes: int, known_N: Integers | None = None
) -> npt.NDArray[np.int8]:
    """Whether each answer is what most of the others on its image say.

    Args:
        image_n: int64, 0 to N - 1; one answer a person and image.
        class_n: int64, 0 to C - 1.
        n_images: N.
        n_classes: C.
        known_N: The class that settles an image whatever the others say, else -1.

    Returns:
        int8 `[n]`: 1 it is, 0 it is not, -1 the others say nothing, or as many of them one thing as another.
    """
    key, where, count = np.unique(image_n * n_classes + class_n, return_inverse=True, return_counts=True)
    image_k, class_k = np.divmod(key, n_classes)
    order = np.lexsort((-count, image_k))
    first = np.searchsorted(image_k[order], np.arange(n_images))
    place = np.arange(len(order)) - first[image_k[order]]
    top_class, top_count = np.full((n_images, 3), -1), np.zeros((n_images, 3), np.int64)
    kept = place < 3
    rows, columns = image_k[order][kept], place[kept]
    top_class[rows, columns], top_count[rows, columns] = class_k[order][kept], count[order][kept]
    is_own = top_class[image_n] == class_n[:, None]
    others = np.sort(np.where(is_own, 0, top_count[image_n]), axis=1)[:, ::-1]
    own = count[where] - 1
    most, second = others[:, 0], others[:, 1]
    says = np.full(len(image_n), -1, np.int8)
    says[own > most] = 1
    says[(most > own) & (most > second)] = 0
    if known_N is not None:
        known = known_N[image_n]
        says = np.where(known >= 0, (known == class_n).astype(np.int8), says).astype(np.int8)
    return says


def share(is_right_n: npt.NDArray[np.bool_], least: int = LEAST) -> Interval | None:
    """A share with its Wilson interval; None of fewer than `least`."""
    return wilson(int(is_right_n.sum()), len(is_right_n)) if len(is_right_n) >= max(1, least) else None


def standardised_share(
    is_right_n: npt.NDArray[np.bool_], stratum_n: Integers, weight_S: Floats, least: int = LEAST
) -> Interval | None:
    """A person's share of right answers, had they been asked as often about each stratum as all people together.

    `sum_s w_s p_s`, the direct standardisation of epidemiology, over strata of how hard images are: who is asked about
    harder ones is not put down for it. The interval joins the Wilson intervals of the strata.

    Args:
        is_right_n: The person's answers.
        stratum_n: int64, 0 to S - 1, the stratum of each.
        weight_S: All people's answers in each stratum, any scale.
        least: Fewer answers than this: None.

    Returns:
        None also where the person has hardly been asked about half of what others are asked. `n` counts the answers in
        the strata that count.

    Reference:
        Fleiss, Levin and Paik, 2003, Statistical methods for rates and proportions, chapter 19; Zou and Donner, 2008,
        Construction of confidence limits about effect measures, equations 6 and 7 (limits from those of the parts).
    """
    S = len(weight_S)
    n_S = np.bincount(stratum_n, minlength=S)
    right_S = np.bincount(stratum_n, is_right_n.astype(float), S)
    counts = np.flatnonzero((n_S >= LEAST_IN_STRATUM) & (weight_S > 0))
    total = float(weight_S.sum())
    covered = float(weight_S[counts].sum())
    n = int(n_S[counts].sum())
    if n < least or covered < LEAST_COVERED * total or not covered:
        return None
    value = below = above = 0.0
    for s in counts.tolist():
        part, weight = wilson(int(right_S[s]), int(n_S[s])), float(weight_S[s]) / covered
        value += weight * part.value
        below += (weight * (part.value - part.low)) ** 2
        above += (weight * (part.high - part.value)) ** 2
    return Interval(value, max(0.0, value - math.sqrt(below)), min(1.0, value + math.sqrt(above)), n, "newcombe")


def median_interval(values_n: Floats, least: int = LEAST) -> Interval | None:
    """A median with the 95 % interval between two of the values, whatever their distribution.

    Args:
        values_n: Any order.
        least: Fewer than this: None.

    Reference:
        Conover, 1999, Practical nonparametric statistics, section 3.2, with the normal approximation of the binomial.
    """
    n = len(values_n)
    if n < max(2, least):
        return None
    ordered = np.sort(values_n)
    half = Z_95 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - half)), min(n - 1, math.ceil(n / 2 + half))
    return Interval(float(np.median(ordered)), float(ordered[low]), float(ordered[high]), n, "order statistics")
