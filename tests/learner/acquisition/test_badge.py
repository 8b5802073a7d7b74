import numpy as np
import pytest

from learner.acquisition import badge
from learner.errors import LearnerError


def make(n=12, c=3, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(c), size=n), rng.normal(size=(n, d))


def gradients(probs, features):
    """The gradients themselves, C D numbers each."""
    errors = probs - np.eye(probs.shape[1])[probs.argmax(1)]
    return (errors[:, :, None] * features[:, None, :]).reshape(len(probs), -1)


def test_the_longest_gradient_comes_first():
    probs, features = make()
    longest = np.linalg.norm(gradients(probs, features), axis=1).argmax()
    assert {badge(probs, features, 1, seed=seed)[0] for seed in range(5)} == {longest}


def test_each_draw_is_in_proportion_to_the_squared_distance_from_what_is_taken():
    probs, features = make(n=6)
    points = gradients(probs, features)
    runs = np.array([badge(probs, features, 3, seed=seed) for seed in range(4000)])
    first = runs[0, 0]
    squares = np.square(points - points[first]).sum(1)
    assert np.bincount(runs[:, 1], minlength=6) / 4000 == pytest.approx(squares / squares.sum(), abs=0.025)
    second = np.bincount(runs[:, 1]).argmax()
    third = runs[runs[:, 1] == second, 2]
    squares = np.minimum(squares, np.square(points - points[second]).sum(1))
    assert np.bincount(third, minlength=6) / len(third) == pytest.approx(squares / squares.sum(), abs=0.05)


def test_duplicates_come_last_and_by_chance():
    probs, features = make(n=5)
    repeated = np.tile(probs, (4, 1)), np.tile(features, (4, 1))
    for seed in range(20):
        taken = badge(*repeated, 5, seed=seed)
        assert len(set(taken % 5)) == 5
        everything = badge(*(part.astype(np.float32) for part in repeated), 20, seed=seed)
        assert sorted(everything) == list(range(20))
        assert len(set(everything[:5] % 5)) == 5


def test_images_without_any_gradient_are_taken_once_each():
    sure = np.tile([1.0, 0.0], (4, 1))
    assert sorted(badge(sure, np.ones((4, 3)), 4, seed=0)) == [0, 1, 2, 3]


def test_it_takes_as_many_as_there_are_and_its_seed_gives_them_again():
    probs, features = make()
    assert len(badge(probs, features, 50, seed=0)) == 12
    assert badge(probs, features, 0, seed=0).tolist() == []
    assert badge(probs, features, 6, seed=3).tolist() == badge(probs, features, 6, seed=3).tolist()


def test_it_draws_by_the_distances_of_the_published_implementation():
    """Its `query` would keep the squared norms of the first draw, as if zero were a centre; the paper does not."""
    from skactiveml.pool import _badge as published

    probs, features = make(n=8)
    points, everywhere = gradients(probs, features), np.full(8, np.inf)
    runs = np.array([badge(probs, features, 3, seed=seed) for seed in range(4000)])
    assert set(runs[:, 0]) == {published._d_2(points, []).argmax()}
    squares = published._d_2(points, [runs[0, 0]], everywhere)
    assert np.bincount(runs[:, 1], minlength=8) / 4000 == pytest.approx(squares / squares.sum(), abs=0.025)
    second = np.bincount(runs[:, 1]).argmax()
    third = runs[runs[:, 1] == second, 2]
    squares = published._d_2(points, [second], squares)
    assert np.bincount(third, minlength=8) / len(third) == pytest.approx(squares / squares.sum(), abs=0.06)


@pytest.mark.parametrize("broken", [0, 1])
def test_what_is_not_finite_is_refused(broken):
    both = make()
    both[broken][3, 0] = np.inf
    with pytest.raises(LearnerError, match="badge: 1 of 12 images"):
        badge(*both, 2, seed=0)


def test_logits_are_refused():
    probs, features = make()
    with pytest.raises(LearnerError, match="that badge goes by are no probabilities: those of 12 of 12"):
        badge(np.log(probs), features, 2, seed=0)
