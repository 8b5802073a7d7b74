import numpy as np
import pytest

from learner.acquisition import inclusion_probabilities, percentiles, rank, selection_probabilities
from learner.config import WAYS
from learner.errors import ArtifactError, UnknownNameError

SAMPLED = ("power", "softmax", "soft_rank")
SCORES = np.array([0.9, 0.5, 0.7, 0.1, 0.0])


@pytest.mark.parametrize("how", WAYS)
def test_a_ranking_is_a_permutation_and_its_seed_gives_it_again(how):
    order = rank(how, SCORES, coldness=2.0, seed=3)
    assert sorted(order) == list(range(5))
    assert np.array_equal(order, rank(how, SCORES, coldness=2.0, seed=3))


def test_top_goes_down_and_breaks_ties_by_chance():
    assert rank("top", SCORES, coldness=0.0, seed=0).tolist() == [0, 2, 1, 3, 4]
    firsts = [rank("top", np.ones(4), coldness=0.0, seed=seed)[0] for seed in range(400)]
    assert np.bincount(firsts).min() > 60


def test_power_goes_from_random_to_top_with_coldness():
    scores = np.arange(1, 11) / 10
    order = np.arange(9, -1, -1)

    def share_of_best(coldness):
        return np.mean([rank("power", scores, coldness=coldness, seed=seed)[0] == 9 for seed in range(500)])

    assert abs(share_of_best(0.0) - 0.1) < 0.05
    assert share_of_best(0.0) < share_of_best(2.0) < share_of_best(8.0)
    assert np.array_equal(rank("power", scores, coldness=1e6, seed=0), order)


@pytest.mark.parametrize(
    ("how", "weights"),
    [("power", [1, 4, 16]), ("softmax", np.exp([0.4, 0.8, 1.6])), ("soft_rank", [1 / 9, 1 / 4, 1])],
)
def test_the_first_draw_is_in_proportion_to_its_weight(how, weights):
    firsts = [rank(how, [0.2, 0.4, 0.8], coldness=2.0, seed=seed)[0] for seed in range(4000)]
    assert np.allclose(np.bincount(firsts, minlength=3) / 4000, np.array(weights) / sum(weights), atol=0.025)


@pytest.mark.parametrize("how", SAMPLED)
def test_without_coldness_all_orders_are_alike(how):
    firsts = [rank(how, SCORES, coldness=0.0, seed=seed)[0] for seed in range(2000)]
    assert np.bincount(firsts).min() > 300
    assert selection_probabilities(how, SCORES, 2, coldness=0.0) == pytest.approx([0.4] * 5)


def test_a_soft_rank_sees_only_the_order_of_the_scores():
    twisted = np.exp(10 * SCORES)
    assert np.array_equal(
        rank("soft_rank", SCORES, coldness=2.0, seed=1), rank("soft_rank", twisted, coldness=2.0, seed=1)
    )


def test_scores_of_zero_keep_a_chance():
    firsts = {rank("power", [0.0, 0.0, 0.0], coldness=8.0, seed=seed)[0] for seed in range(50)}
    assert firsts == {0, 1, 2}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("count", [0, 1, 3, 5, 9])
def test_selection_probabilities_sum_to_the_batch(how, count):
    probabilities = selection_probabilities(how, SCORES, count, coldness=2.0)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert probabilities.sum() == pytest.approx(min(count, 5))


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("scores", [SCORES, [0.5, 0.5, 0.5, 0.2], [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_selection_probabilities_are_those_of_simulation(how, scores, count):
    n, runs = len(scores), 3000
    chosen = np.concatenate([rank(how, scores, coldness=2.0, seed=seed)[:count] for seed in range(runs)])
    simulated = np.bincount(chosen, minlength=n) / runs
    assert np.abs(selection_probabilities(how, scores, count, coldness=2.0) - simulated).max() < 0.075


def test_inclusion_probabilities_of_many_items_are_close_to_simulation():
    log_weights = np.random.default_rng(0).normal(size=200) * 2
    keys = log_weights + np.random.default_rng(1).gumbel(size=(4000, 200))
    chosen = np.argpartition(-keys, 30, axis=1)[:, :30]
    simulated = np.bincount(chosen.ravel(), minlength=200) / 4000
    assert np.abs(inclusion_probabilities(log_weights, 30) - simulated).max() < 0.035


def test_inclusion_probabilities_of_extreme_weights():
    probabilities = inclusion_probabilities(np.array([0.0, -1000.0, -1000.0]), 2)
    assert probabilities == pytest.approx([1.0, 0.5, 0.5])
    assert inclusion_probabilities(np.zeros(1_000), 1_000).tolist() == [1.0] * 1000
    assert inclusion_probabilities(np.linspace(-160, 0, 1000), 10).sum() == pytest.approx(10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how", WAYS)
def test_scores_that_are_not_finite_are_refused(how, bad):
    with pytest.raises(ArtifactError, match="1 of 2 scores are not finite"):
        rank(how, [bad, 1.0], coldness=1.0, seed=0)


def test_an_unknown_way_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="known: power, random, soft_rank, softmax, top"):
        rank("best", SCORES, coldness=1.0, seed=0)


def test_percentiles_count_what_is_strictly_lower():
    assert percentiles(np.array([1.0, 1.0, 2.0, 3.0]), np.array([3.0, 1.0])).tolist() == [75.0, 0.0]


def test_what_the_settings_page_says_of_coldness():
    scores = np.linspace(0, 1, 2_000)
    of_the_highest = {
        (how, most): selection_probabilities(how, most * scores, 100, coldness=30.0)[-100:].mean()
        for how in ("power", "softmax")
        for most in (1.0, 0.05)
    }
    assert of_the_highest["power", 1.0] == pytest.approx(of_the_highest["power", 0.05])  # whatever the unit
    assert of_the_highest["power", 1.0] > 0.6
    assert of_the_highest["softmax", 1.0] > 0.6
    assert of_the_highest["softmax", 0.05] < 3 * 100 / 2_000  # close to random
