"""Krippendorff's alpha against published examples, a computation by pairs, and simulated people."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from learner.agreement import alpha_interval, krippendorff_alpha
from learner.errors import LearnerError

# Krippendorff, 2011, Computing Krippendorff's alpha-reliability: sections A, B and C. A dot: no answer.
BINARY = ("0100000010", "1110010000"), 0.095
NOMINAL = ("aabbdcccedda", "babbbccceddd"), 0.692
MISSING = (
    ("123321412...", "12332241253.".replace("53.", "5.3"), ".33323422 51.".replace(" ", ""), "12332441251."),
    0.743,
)


def columns(observers: tuple[str, ...]) -> tuple[list[int], list[int]]:
    cells = [(unit, said) for row in observers for unit, said in enumerate(row) if said != "."]
    return [unit for unit, _ in cells], [ord(said) - ord("0") for _, said in cells]


def by_pairs(images: list[int], classes: list[int]) -> float:
    """The definition: unequal ordered pairs within images, each weighing 1 / (m - 1), against all possible ones."""
    answers: dict[int, list[int]] = {}
    for image, said in zip(images, classes, strict=True):
        answers.setdefault(image, []).append(said)
    paired = [said for said in answers.values() if len(said) > 1]
    n = sum(len(said) for said in paired)
    observed = sum(sum(a != b for a, b in permutations(said, 2)) / (len(said) - 1) for said in paired) / n
    pooled = [each for said in paired for each in said]
    expected = sum(a != b for a, b in permutations(pooled, 2)) / (n * (n - 1))
    return 1 - observed / expected


@pytest.mark.parametrize(("observers", "alpha"), [BINARY, NOMINAL, MISSING], ids=["binary", "nominal", "missing"])
def test_it_is_that_of_the_published_examples(observers, alpha) -> None:
    assert krippendorff_alpha(*columns(observers)) == pytest.approx(alpha, abs=0.0005)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_that_of_all_pairs(seed) -> None:
    rng = np.random.default_rng(seed)
    images, classes = rng.integers(0, 40, 130).tolist(), rng.integers(0, 4, 130).tolist()
    assert krippendorff_alpha(images, classes) == pytest.approx(by_pairs(images, classes))


def test_full_agreement_is_one_and_full_disagreement_is_below_zero() -> None:
    assert krippendorff_alpha([0, 0, 1, 1], [0, 0, 1, 1]) == 1
    assert krippendorff_alpha([0, 0, 1, 1], [0, 1, 1, 0]) < 0


@pytest.mark.parametrize(
    ("images", "classes"),
    [([], []), ([0, 1], [0, 1]), ([0, 0, 1, 1], [2, 2, 2, 2])],
    ids=["none", "alone", "one class"],
)
def test_where_nothing_is_known_it_says_so(images, classes) -> None:
    assert krippendorff_alpha(images, classes) is None
    assert alpha_interval(images, classes) is None


def test_images_with_one_answer_change_nothing() -> None:
    images, classes = [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 0, 1]
    assert krippendorff_alpha([*images, 9, 8], [*classes, 3, 0]) == krippendorff_alpha(images, classes)


def test_nonsense_is_refused() -> None:
    with pytest.raises(LearnerError):
        krippendorff_alpha([0, 1], [0])
    with pytest.raises(LearnerError):
        krippendorff_alpha([0, 0], [0, -1])


def people(rng: np.random.Generator, n_images: int, right: float = 0.85) -> tuple[np.ndarray, np.ndarray]:
    """Three people a picture, each right with that probability, else any other of four classes."""
    truth = rng.choice(4, n_images, p=[0.4, 0.3, 0.2, 0.1])
    images = np.repeat(np.arange(n_images), 3)
    is_right = rng.random(len(images)) < right
    wrong = (truth[images] + rng.integers(1, 4, len(images))) % 4
    return images, np.where(is_right, truth[images], wrong)


def test_its_interval_covers_at_about_its_rate() -> None:
    """Of 300 samples of 150 images; 95 % of them give 273 to 297 hits, the percentile interval a little fewer."""
    rng = np.random.default_rng(0)
    true = krippendorff_alpha(*people(rng, 300_000))
    hits = 0
    for seed in range(300):
        interval = alpha_interval(*people(rng, 150), resamples=300, seed=seed)
        assert interval is not None and interval.low <= interval.value <= interval.high
        hits += interval.low <= true <= interval.high
    assert 265 <= hits <= 297


def test_many_answers_and_classes_take_a_moment() -> None:
    """100,000 answers on 1,000 classes: fewer resamples, and no array of images times classes."""
    rng = np.random.default_rng(0)
    images, classes = np.repeat(np.arange(50_000), 2), rng.integers(0, 1000, 100_000)
    interval = alpha_interval(images, classes, resamples=200)
    assert interval is not None
    assert interval.n == 50_000
    assert interval.low <= 0 <= interval.high or abs(interval.value) < 0.01


def test_counting_is_not_fooled_by_numbers_of_images() -> None:
    assert krippendorff_alpha([7_000_000_000, 7_000_000_000, 3, 3], [0, 0, 1, 1]) == 1
