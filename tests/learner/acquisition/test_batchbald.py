import sys
from itertools import combinations, product

import numpy as np
import pytest

from learner.acquisition import batchbald
from learner.acquisition.batchbald import Configurations
from learner.errors import LearnerError


def samples(n, k, c, seed=0, scale=2.0):
    logits = np.random.default_rng(seed).normal(size=(n, k, c)) * scale
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def joint_information(log_probs, chosen):
    """I(y_1..b; k) summed over all C ** b combinations, term by term."""
    probs = np.exp(log_probs[list(chosen)])
    b, k, c = probs.shape
    joint = 0.0
    for classes in product(range(c), repeat=b):
        p = np.mean([np.prod([probs[i, s, classes[i]] for i in range(b)]) for s in range(k)])
        joint -= p * np.log(p)
    return joint + np.mean((probs * np.log(probs)).sum(-1), axis=1).sum()


@pytest.mark.parametrize(("n", "k", "c", "b"), [(6, 4, 3, 3), (5, 3, 2, 4), (4, 1, 3, 2), (7, 6, 4, 2)])
def test_each_step_takes_what_adds_most_by_brute_force(n, k, c, b):
    log_probs = samples(n, k, c)
    taken, gains = batchbald(log_probs, b, seed=0)
    chosen, information = [], 0.0
    for index, gain in zip(taken, gains, strict=True):
        found = {i: joint_information(log_probs, [*chosen, i]) for i in range(n) if i not in chosen}
        assert found[index] == pytest.approx(max(found.values()), abs=1e-12)
        assert gain == pytest.approx(found[index] - information, abs=1e-10)
        chosen, information = [*chosen, index], found[index]


def test_it_is_close_to_the_best_batch_of_all():
    log_probs = samples(8, 5, 3, seed=3)
    best = max(joint_information(log_probs, batch) for batch in combinations(range(8), 3))
    got = joint_information(log_probs, batchbald(log_probs, 3, seed=0)[0])
    assert (1 - 1 / np.e) * best <= got <= best + 1e-12


def test_a_duplicate_is_not_asked_about_while_something_else_adds_more():
    log_probs = samples(5, 8, 3, seed=1)
    repeated = np.concatenate([log_probs, log_probs])
    taken, gains = batchbald(repeated, 5, seed=0)
    single, single_gains = batchbald(log_probs, 5, seed=0)
    assert len(set(taken[:3] % 5)) == 3
    assert gains[:3] == pytest.approx(single_gains[:3])
    assert (taken[:3] % 5).tolist() == single[:3].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_sampled_combinations_come_close_to_all_of_them(seed):
    log_probs = samples(30, 10, 4, seed)
    exact = Configurations.before_any_answer(10, np.float64)
    sampled, rng = exact, np.random.default_rng(seed)
    for index in range(5):
        exact = exact.after(np.exp(log_probs[index]), 4**5, rng)
        sampled = sampled.after(np.exp(log_probs[index]), 200, rng)
    assert len(exact.weights_M) == 4**5
    assert len(sampled.weights_M) == 200
    rest = np.exp(log_probs[5:])
    assert sampled.information(rest) == pytest.approx(exact.information(rest), abs=0.05)
    assert (sampled.information(rest) >= 0).all()


def test_information_is_no_more_than_the_logarithm_of_the_samples():
    log_probs = samples(40, 4, 3, scale=5.0)
    taken, gains = batchbald(log_probs, 20, seed=0, most=500)
    assert sorted(set(taken)) == sorted(taken)
    assert gains[-1] == 0
    late = taken[gains == 0]
    alone = Configurations.before_any_answer(4, np.float64).information(np.exp(log_probs))
    assert alone[late].tolist() == sorted(alone[late], reverse=True)
    assert gains.sum() <= np.log(4) + 0.05
    assert (gains >= 0).all()


def test_where_nothing_adds_anything_the_most_informative_come_first():
    log_probs = np.tile(samples(4, 1, 3), (1, 5, 1))  # all samples agree
    taken, gains = batchbald(log_probs, 4, seed=0)
    assert sorted(taken) == [0, 1, 2, 3]
    assert gains == pytest.approx(np.zeros(4), abs=1e-12)


def test_the_order_of_images_samples_and_classes_does_not_matter():
    log_probs, rng = samples(9, 6, 3, seed=2), np.random.default_rng(0)
    images, ks, classes = (rng.permutation(size) for size in log_probs.shape)
    taken, gains = batchbald(log_probs, 4, seed=0)
    shuffled, same_gains = batchbald(log_probs[images][:, ks][:, :, classes], 4, seed=0)
    assert images[shuffled].tolist() == taken.tolist()
    assert same_gains == pytest.approx(gains)


def test_the_same_seed_gives_the_same_batch_in_single_precision_too():
    log_probs = samples(200, 20, 10).astype(np.float32)
    one, two = (batchbald(log_probs, 8, seed=5, most=1000) for _ in range(2))
    assert one[0].tolist() == two[0].tolist()
    assert one[1].dtype == np.float32


@pytest.mark.parametrize("shape", [(3, 1, 2), (2, 3, 1000), (1, 4, 3)])
def test_extreme_shapes(shape):
    taken, gains = batchbald(samples(*shape), 5, seed=0)
    assert sorted(taken) == list(range(shape[0]))
    assert np.isfinite(gains).all()


def test_certain_classes_are_no_trouble():
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]))
    taken, gains = batchbald(log_probs, 2, seed=0)
    assert taken.tolist() == [1, 0]
    assert gains == pytest.approx([np.log(2), 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0])
def test_samples_that_are_no_probabilities_are_refused(bad):
    log_probs = samples(3, 2, 2)
    log_probs[1, 0] = bad
    with pytest.raises(LearnerError, match=r"batchbald: .* no log-probabilities"):
        batchbald(log_probs, 2, seed=0)


def test_a_report_that_raises_stops_it():
    def report(_phase, done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batchbald(samples(10, 3, 2), 5, seed=0, report=report)


@pytest.mark.parametrize("seed", range(2))
def test_it_equals_the_published_implementation(seed):
    import torch
    from batchbald_redux import batchbald as published

    log_probs = samples(40, 12, 4, seed)
    theirs = published.get_batchbald_batch(torch.from_numpy(log_probs), 4, 4**4, dtype=torch.double)
    taken, gains = batchbald(log_probs, 4, seed=0)
    assert taken.tolist() == theirs.indices
    assert np.cumsum(gains) == pytest.approx(theirs.scores, abs=1e-6)


def test_it_reports_with_every_block_of_images(monkeypatch):
    """With 1,000 classes one look at 32 images takes seconds."""
    probs = np.random.default_rng(0).dirichlet(np.ones(5), (40, 6))
    calls: list[tuple] = []
    whole = batchbald(np.log(probs), 4, seed=0)
    monkeypatch.setattr(sys.modules[Configurations.__module__], "BLOCK_FLOATS", 4 * 6 * 5)
    blocks = batchbald(np.log(probs), 4, seed=0, report=lambda *call: calls.append(call))
    assert blocks[0].tolist() == whole[0].tolist() and blocks[1] == pytest.approx(whole[1])
    assert calls[:11] == [("acquire", 0, 4)] * 11  # before, and ten blocks of four images
    assert {call[1] for call in calls} == {0, 1, 2, 3, 4}
