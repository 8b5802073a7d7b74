"""How far people agree beyond chance: Krippendorff's alpha for classes, with a bootstrap interval. numpy only."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from learner.errors import LearnerError
from learner.metrics import Interval

Integers = npt.NDArray[np.int64]
RESAMPLES = 1000
MOST_DRAWN = 50_000_000
"""Answers drawn in all resamples together, at most: beyond it there are fewer resamples, never under 200."""

LEAST_RESAMPLES = 200


def krippendorff_alpha(images: npt.ArrayLike, classes: npt.ArrayLike) -> float | None:
    """Agreement of answers beyond chance: 1 where all agree, 0 where they agree as often as if they were shuffled.

    `alpha = 1 - D_o / D_e`, with the observed and the expected share of unequal pairs. Pairs are made within an image;
    an image of m answers weighs as m answers, not as m (m - 1) pairs. Images with one answer have no pairs and do not
    count.

    Args:
        images: int `[n]`, the image of each answer, any numbers.
        classes: int `[n]`, the class that each answer names, at least 0. Order of answers is of no matter.

    Returns:
        At most 1, below 0 for less than chance; None where no image has two answers, or all answers name one class:
        then nothing is known about how often they would disagree by chance.

    Raises:
        LearnerError: If the two are not equally long, or a class is negative.

    Reference:
        Krippendorff, 2011, Computing Krippendorff's alpha-reliability, section C (nominal data, missing values).

    >>> krippendorff_alpha([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 0, 1])
    0.4444444444444444
    """
    pairs = _Pairs(images, classes)
    return pairs.alpha(np.ones(pairs.n_images)) if pairs.n_images else None


def alpha_interval(
    images: npt.ArrayLike, classes: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval | None:
    """`krippendorff_alpha` with its 95 % interval: percentiles of resamples of whole images.

    Images are what was drawn at random; answers on one image hang together, so they are resampled together. With fewer
    than about 30 images the interval is somewhat too narrow.

    Args:
        images: int `[n]`.
        classes: int `[n]`.
        resamples: How often to resample; fewer where there are so many answers that it would take long.
        seed: Of the draws.

    Returns:
        None where alpha is. `n` counts the images with two answers or more. Resamples in which all answers name one
        class say nothing and are left out.

    Raises:
        LearnerError: As `krippendorff_alpha`.

    Reference:
        Davison and Hinkley, 1997, Bootstrap methods and their application, section 5.3 (percentile interval).
    """
    pairs = _Pairs(images, classes)
    value = pairs.alpha(np.ones(pairs.n_images)) if pairs.n_images else None
    if value is None:
        return None
    rng, n = np.random.default_rng(seed), pairs.n_images
    times = max(LEAST_RESAMPLES, min(resamples, MOST_DRAWN // max(1, pairs.n_counts)))
    draws = (pairs.alpha(np.bincount(rng.integers(0, n, n), minlength=n).astype(float)) for _ in range(times))
    found = [each for each in draws if each is not None]
    low, high = np.quantile(found, [0.025, 0.975]) if found else (value, value)
    return Interval(value, min(value, float(low)), max(value, float(high)), n, "bootstrap")


class _Pairs:
    """The images with two answers or more, as counts of classes: all that alpha needs, weighted image by image."""

    def __init__(self, images: npt.ArrayLike, classes: npt.ArrayLike) -> None:
        images_n, classes_n = np.asarray(images, np.int64).ravel(), np.asarray(classes, np.int64).ravel()
        if len(images_n) != len(classes_n):
            raise LearnerError(f"{len(images_n)} images for {len(classes_n)} answers")
        if len(classes_n) and classes_n.min() < 0:
            raise LearnerError("a class is at least 0")
        _, number_n, answers = np.unique(images_n, return_inverse=True, return_counts=True)
        is_paired = answers[number_n] >= 2
        _, number_n = np.unique(number_n[is_paired], return_inverse=True)
        self.n_classes = int(classes_n.max(initial=-1)) + 1
        key, count = np.unique(number_n * max(1, self.n_classes) + classes_n[is_paired], return_counts=True)
        self.image_k, self.class_k = np.divmod(key, max(1, self.n_classes))
        self.count_k = count.astype(float)
        self.n_images, self.n_counts = int(number_n.max(initial=-1)) + 1, len(key)
        self.m = np.bincount(self.image_k, self.count_k, self.n_images)
        equal = np.bincount(self.image_k, self.count_k**2, self.n_images)
        self.unequal = (self.m**2 - equal) / np.maximum(self.m - 1, 1)

    def alpha(self, weight: npt.NDArray[np.float64]) -> float | None:
        """With each image counted `weight` times."""
        of_class = np.bincount(self.class_k, self.count_k * weight[self.image_k], self.n_classes)
        n = float(of_class.sum())
        by_chance = n * n - float((of_class**2).sum())
        if n < 2 or math.isclose(by_chance, 0.0, abs_tol=1e-9):
            return None
        return 1.0 - (n - 1) * float((self.unequal * weight).sum()) / by_chance
