"""Two orders of the same answers: who needs fewer, and when that cannot be said."""

import numpy as np
import pytest

from learner.errors import LabelError
from learner.simulation.comparison import compare

ANSWERS = (5, 10, 20, 40, 80)


def rights(accuracy_A: list[float], *, seeds: int = 4, n: int = 400, noise: int = 0) -> np.ndarray:
    """Images that are right by how easy they are, the same for all runs, as holdouts have them."""
    rng = np.random.default_rng(noise)
    ease = np.arange(n) / n
    return np.stack([[ease < accuracy + rng.normal(0, 0.005) for accuracy in accuracy_A] for _ in range(seeds)])


def test_an_order_that_is_quicker_is_told_from_a_slower_one():
    found = compare(ANSWERS, rights([0.7, 0.95, 0.95, 0.95, 0.95]), rights([0.5, 0.6, 0.7, 0.8, 0.95], noise=1))
    assert (found.own.value, found.random.value, found.saved.value) == (10, 80, 70)
    assert found.saved.low > 0
    assert found.final.low < 0.95 < found.final.high
    assert found.target == pytest.approx(0.95 - (0.95 * 0.05 / 400) ** 0.5, abs=0.01)


def test_two_orders_that_are_alike_are_not_told_apart():
    found = compare(ANSWERS, rights([0.6, 0.7, 0.8, 0.9, 0.92]), rights([0.6, 0.7, 0.8, 0.9, 0.92], noise=1))
    assert found.saved.low <= 0 <= found.saved.high


def test_a_small_holdout_says_less_than_a_large_one():
    def width(n: int) -> float:
        own, random = rights([0.6, 0.85, 0.88, 0.9, 0.9], n=n), rights([0.5, 0.6, 0.85, 0.88, 0.9], n=n, noise=1)
        saved = compare(ANSWERS, own, random).saved
        return saved.high - saved.low

    assert width(30) > 0
    assert width(30) >= width(2000)


def test_a_last_model_that_falls_short_by_chance_counts_with_all_answers():
    found = compare(ANSWERS, rights([0.9] * 5), np.concatenate([rights([0.9] * 5)[:3], rights([0.5] * 5)[:1]]))
    assert found.random.value <= 80


def test_one_seed_is_refused():
    with pytest.raises(LabelError, match="two or more seeds"):
        compare(ANSWERS, rights([0.9] * 5, seeds=1), rights([0.9] * 5, seeds=1))
