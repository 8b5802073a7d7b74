"""Pools that are harder than they come: few images, copies with noise, rare classes, images of nothing.

All is drawn by one seed, so that the pool is the same for every order and every seed of a benchmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

NOISE = 12.0
"""Standard deviation of the noise of a copy, of 255."""

PATCHES = 4
"""A shuffled image is cut in so many patches a side."""


@dataclass(frozen=True)
class Conditions:
    """What to make of a pool.

    Args:
        images: So many of it, drawn at random; 0: all.
        imbalance: The most frequent class has so many times the images of the rarest, those between geometrically;
            which is which is drawn. 1: as they are.
        copies: So often every image, each with noise of its own.
        junk: The share of the pool that shows nothing of any class, 0 to below 1: a third each of noise, of images
            whose patches are shuffled, and of two images of different classes laid over each other.
        seed: Of all of it.
    """

    images: int = 0
    imbalance: float = 1.0
    copies: int = 1
    junk: float = 0.0
    seed: int = 0

    @property
    def are_any(self) -> bool:
        """Whether the pool is changed at all."""
        return self != Conditions(seed=self.seed)

    def apply(self, pixels: Pixels, labels: Integers, n_classes: int) -> tuple[Pixels, Integers]:
        """The pool under these conditions.

        Args:
            pixels: `[N, C, H, W]`.
            labels: int64 `[N]`.
            n_classes: The label of junk.
        """
        rng = np.random.default_rng([self.seed, 20])
        chosen = rng.permutation(len(labels))
        if self.imbalance > 1:
            chosen = chosen[np.sort(_rarer(labels[chosen], n_classes, self.imbalance, rng))]
        chosen = chosen[: self.images or None]
        pixels, labels = pixels[chosen], labels[chosen]
        if self.copies > 1:
            noisy = [np.clip(np.rint(pixels + rng.normal(0, NOISE, pixels.shape)), 0, 255) for _ in range(self.copies)]
            pixels, labels = np.concatenate(noisy).astype(np.uint8), np.tile(labels, self.copies)
        if self.junk:
            waste = _junk(pixels, labels, round(len(labels) * self.junk / (1 - self.junk)), rng)
            pixels, labels = np.concatenate([pixels, waste]), np.append(labels, np.full(len(waste), n_classes))
            order = rng.permutation(len(labels))
            pixels, labels = pixels[order], labels[order]
        return pixels, labels


def _rarer(labels: Integers, n_classes: int, ratio: float, rng: np.random.Generator) -> Integers:
    """Positions that are kept, the first of each class."""
    counts = np.bincount(labels, minlength=n_classes)
    shares = ratio ** -(rng.permutation(n_classes) / (n_classes - 1))
    return np.concatenate(
        [np.flatnonzero(labels == label)[: max(1, round(counts.min() * shares[label]))] for label in range(n_classes)]
    )


def _junk(pixels: Pixels, labels: Integers, count: int, rng: np.random.Generator) -> Pixels:
    thirds = [len(part) for part in np.array_split(np.arange(count), 3)]
    noise = rng.integers(0, 256, (thirds[0], *pixels.shape[1:])).astype(np.uint8)
    shuffled = np.stack([_shuffled(pixels[index], rng) for index in rng.integers(len(pixels), size=thirds[1])])
    first = rng.integers(len(pixels), size=thirds[2])
    others = [rng.choice(np.flatnonzero(labels != label)) for label in labels[first].tolist()]
    return np.concatenate([noise, shuffled, np.maximum(pixels[first], pixels[others])])


def _shuffled(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Its patches in another order; what is left at the edges stays."""
    height, width = image.shape[1] // PATCHES, image.shape[2] // PATCHES
    corners = [(row * height, column * width) for row in range(PATCHES) for column in range(PATCHES)]
    out = image.copy()
    for (y, x), index in zip(corners, rng.permutation(len(corners)).tolist(), strict=True):
        from_y, from_x = corners[index]
        out[:, y : y + height, x : x + width] = image[:, from_y : from_y + height, from_x : from_x + width]
    return out
