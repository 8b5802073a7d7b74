"""What answers say of people, against counting by hand and simulated people."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from learner.annotators import agreement_with_others, median_interval, share, standardised_share


def by_hand(image_n: list[int], class_n: list[int]) -> list[int]:
    """What most of the others on the image say, by counting them."""
    found = []
    for at, (image, said) in enumerate(zip(image_n, class_n, strict=True)):
        others = Counter(class_n[i] for i in range(len(image_n)) if i != at and image_n[i] == image).most_common(2)
        if not others or (len(others) == 2 and others[0][1] == others[1][1]):
            found.append(-1)
        else:
            found.append(int(others[0][0] == said))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_agreement_is_what_counting_finds(seed) -> None:
    rng = np.random.default_rng(seed)
    image_n, class_n = np.sort(rng.integers(0, 15, 70)), rng.integers(0, 5, 70)
    says = agreement_with_others(image_n, class_n, 15, 5)
    assert says.tolist() == by_hand(image_n.tolist(), class_n.tolist())


def test_agreement_by_a_table() -> None:
    """Image 0: cat cat dog. Image 1: cat dog. Image 2: owl alone. Image 3: cat dog dog, decided to be cat."""
    image_n = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3])
    class_n = np.array([0, 0, 1, 0, 1, 2, 0, 1, 1])
    known = np.array([-1, -1, -1, 0])
    # A cat of image 0 has a cat and a dog beside it: nothing is said. Its dog has two cats.
    assert agreement_with_others(image_n, class_n, 4, 3, known).tolist() == [-1, -1, 0, 0, 0, -1, 1, 0, 0]


def test_too_few_say_nothing() -> None:
    assert share(np.ones(9, bool)) is None
    assert share(np.zeros(0, bool), least=0) is None
    assert median_interval(np.ones(9)) is None
    assert standardised_share(np.ones(9, bool), np.zeros(9, np.int64), np.array([9.0])) is None


def test_standardised_by_hand() -> None:
    """20 easy with 18 right, 10 hard with 5; all people answer as many of either: (0.9 + 0.5) / 2."""
    is_right = np.array([True] * 18 + [False] * 2 + [True] * 5 + [False] * 5)
    stratum = np.array([0] * 20 + [1] * 10)
    interval = standardised_share(is_right, stratum, np.array([50.0, 50.0]))
    assert interval is not None
    assert interval.value == pytest.approx(0.7)
    assert interval.low < 0.7 < interval.high


def test_who_was_hardly_asked_about_half_of_it_is_not_compared() -> None:
    is_right, stratum = np.ones(30, bool), np.zeros(30, np.int64)
    assert standardised_share(is_right, stratum, np.array([40.0, 60.0])) is None
    assert standardised_share(is_right, stratum, np.array([60.0, 40.0])) is not None


def test_hard_images_are_not_held_against_a_person() -> None:
    """Two equally good people, one asked about hard images mostly: raw shares differ, adjusted ones hardly."""
    rng = np.random.default_rng(0)
    right = np.array([0.98, 0.7])
    weights = np.array([1.0, 1.0])
    values = []
    for hard in (0.2, 0.8):
        stratum = (rng.random(4000) < hard).astype(np.int64)
        is_right = rng.random(4000) < right[stratum]
        values.append((is_right.mean(), standardised_share(is_right, stratum, weights).value))
    (raw, fair), (raw_hard, fair_hard) = values
    assert raw - raw_hard > 0.1
    assert fair == pytest.approx(fair_hard, abs=0.03)


def test_intervals_cover_at_about_their_rate() -> None:
    """Of 500 people each: 95 % gives 465 to 484 hits or a few more, as Wilson's errs on the side of width."""
    rng = np.random.default_rng(1)
    right, weights = np.array([0.97, 0.85, 0.6]), np.array([0.5, 0.3, 0.2])
    true = float((right * weights).sum())
    hits = medians = 0
    for _ in range(500):
        stratum = rng.choice(3, 120, p=[0.3, 0.3, 0.4])
        is_right = rng.random(120) < right[stratum]
        interval = standardised_share(is_right, stratum, weights)
        hits += interval.low <= true <= interval.high
        median = median_interval(rng.lognormal(1.0, 0.6, 80))
        medians += median.low <= np.exp(1.0) <= median.high
    assert 460 <= hits <= 495
    assert 465 <= medians <= 495
