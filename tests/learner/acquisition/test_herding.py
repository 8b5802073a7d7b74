"""Images that stand for many others, against plain loops and all batches that there are."""

from itertools import combinations

import numpy as np
import pytest

from learner.acquisition import herding
from learner.acquisition.herding import NEAR
from learner.errors import LearnerError

NOTHING = np.empty((0, 2))


def kernel(a, b, targets):
    def squares(x, y):
        return np.square(x[:, None] - y[None]).sum(2)

    return np.exp(-squares(a, b) / np.quantile(squares(targets, targets), NEAR))


def covered(near_M_T, known_T, batch, weights_T):
    return np.maximum(near_M_T[list(batch)].max(0), known_T) @ weights_T


@pytest.fixture
def scattered():
    rng = np.random.default_rng(0)
    targets, candidates, labelled = rng.normal(size=(40, 2)), rng.normal(size=(12, 2)), rng.normal(size=(3, 2))
    return candidates, targets, rng.random(40), labelled


def test_it_takes_what_covers_most_each_time_and_comes_near_the_best_batch(scattered):
    candidates, targets, weights, labelled = scattered
    near, known = kernel(candidates, targets, targets), kernel(labelled, targets, targets).max(0)
    share = weights / weights.sum()
    taken, gains = herding(candidates, targets, weights, labelled, 4)
    before, chosen = float(known @ share), []
    for index, gain in zip(taken.tolist(), gains.tolist(), strict=True):
        after = [covered(near, known, [*chosen, other], share) for other in range(12)]
        assert after[index] == pytest.approx(max(after), abs=1e-6)
        assert gain == pytest.approx(after[index] - before, abs=1e-6)
        chosen, before = [*chosen, index], after[index]
    nothing = float(known @ share)
    best = max(covered(near, known, batch, share) for batch in combinations(range(12), 4))
    assert before - nothing >= (1 - 1 / np.e) * (best - nothing)
    assert np.all(np.diff(gains) <= 1e-9)


def test_without_answers_dense_parts_come_first_one_image_each():
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1, 2], [60, 30, 10])
    features = 20 * np.eye(3)[group] + rng.normal(size=(100, 3))
    taken, gains = herding(features, features, np.ones(100), np.empty((0, 3)), 3)
    assert group[taken].tolist() == [0, 1, 2]
    assert gains[0] > gains[1] > gains[2] > 0


def test_parts_with_an_answer_and_parts_that_the_model_is_sure_of_are_left_for_later():
    rng = np.random.default_rng(2)
    group = np.repeat([0, 1, 2], 30)
    features = 20 * np.eye(3)[group] + rng.normal(size=(90, 3))
    answered = features[group == 0]
    weights = np.where(group == 1, 0.01, 1.0)  # of these it is sure
    taken = herding(features, features, weights, answered, 1).indices
    assert group[taken].tolist() == [2]


def test_copies_come_last_and_all_are_ranked():
    features = np.tile(np.random.default_rng(0).normal(size=(5, 2)), (4, 1))
    taken = herding(features, features, np.ones(20), NOTHING, 99).indices
    assert len(set((taken[:5] % 5).tolist())) == 5
    assert sorted(taken.tolist()) == list(range(20))


@pytest.mark.parametrize("weights", [np.zeros(8), np.ones(8)], ids=["sure of everything", "all alike"])
def test_images_that_are_all_equal_make_a_batch_all_the_same(weights):
    taken, gains = herding(np.ones((8, 2)), np.ones((8, 2)), weights, NOTHING, 3)
    assert len(set(taken.tolist())) == 3
    assert gains.tolist() == pytest.approx([1, 0, 0])


def test_nothing_is_taken_of_nothing():
    assert herding(NOTHING, np.ones((8, 2)), np.ones(8), NOTHING, 3).indices.tolist() == []
    assert herding(np.ones((8, 2)), NOTHING, np.ones(0), NOTHING, 2).indices.tolist() == [0, 1]


@pytest.mark.parametrize("place", range(3))
def test_features_that_are_not_finite_are_refused(place):
    parts = [np.ones((9, 2)), np.ones((9, 2)), np.ones((9, 2))]
    parts[place][4, 1] = np.nan
    with pytest.raises(LearnerError, match="herding: 1 of 9 images have NaN or infinite features"):
        herding(parts[0], parts[1], np.ones(9), parts[2], 3)


def test_it_can_be_given_up(abort_at):
    features = np.random.default_rng(0).normal(size=(20, 2))
    for least in (0, 3):
        report = abort_at("acquire", least)
        with pytest.raises(report.error):
            herding(features, features, np.ones(20), features[:2], 5, report=report)
