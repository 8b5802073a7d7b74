from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from learner.config import Recipe, ignore
from learner.errors import ConfigError, DivergedError, LearnerError
from learner.estimators import estimator_class, members
from learner.estimators.members import Bootstrap, Ensemble
from learner.estimators.temperature import LeftOut, fit_temperature
from learner.pool import Pool
from learner.uncertainty import measure, summarise

RNG = np.random.default_rng


@pytest.fixture
def pool(make_chunks, digits) -> Pool:
    return Pool(make_chunks(digits[0][:300]))


@pytest.fixture
def fit(pool, digits, quick):
    def make(name: str, labels: np.ndarray | None = None, report=ignore, **changes):
        labels = digits[1][:30] if labels is None else np.array(labels)
        config = replace(quick, estimator=name, **{"members": 3, **changes})
        return estimator_class(name).fit(pool, np.arange(len(labels)), labels, config, report), config

    return make


@pytest.mark.parametrize("name", ["bootstrap", "ensemble"])
@pytest.mark.parametrize("architecture", ["cnn", "gal_cnn", "mlp"])
def test_each_member_is_a_sample_and_they_differ(fit, digits, name, architecture):
    estimator, _ = fit(name, architecture=architecture)
    pixels = torch.from_numpy(digits[0][:40])
    with torch.inference_mode():
        slow = torch.stack([network(pixels).log_softmax(-1) for network in estimator.networks], 1)
    fast = estimator.sample_log_probs(digits[0][:40])
    assert fast.shape == (40, 3, 10)
    assert torch.allclose(fast, slow, atol=1e-4)
    assert measure(summarise(fast))["mutual_information"].mean() > 0.001


def test_with_dropout_inside_the_samples_are_the_masks_of_all_members(fit, digits):
    estimator, _ = fit("ensemble", member_dropout=True, posterior_samples=7)
    assert [len(masks[0]) for masks in estimator.masks] == [3, 2, 2]
    pixels = torch.from_numpy(digits[0][:20])
    with torch.inference_mode():
        slow = [
            network(pixels, [mask[k : k + 1] for mask in masks]).log_softmax(-1)
            for network, masks in zip(estimator.networks, estimator.masks, strict=True)
            for k in range(len(masks[0]))
        ]
    assert torch.allclose(estimator.sample_log_probs(digits[0][:20]), torch.stack(slow, 1), atol=1e-4)


@pytest.mark.parametrize("labels", [[0] * 50 + [1], [0, 1], [0, 1, 1, 2, 2, 2]])
def test_no_class_is_missing_in_a_bootstrap(quick, labels):
    labels = np.array(labels)
    sets = Bootstrap.training_sets(labels, replace(quick, members=50), RNG(0))
    assert len(sets) == 50
    assert all(set(labels[rows]) == set(labels) for rows in sets)
    assert all(len(labels) <= len(rows) <= len(labels) + len(set(labels)) for rows in sets)


def test_a_bootstrap_leaves_out_the_usual_share(quick):
    sets = Bootstrap.training_sets(np.arange(1000) % 10, replace(quick, members=20), RNG(0))
    assert np.mean([len(set(rows)) for rows in sets]) == pytest.approx(1000 * (1 - np.exp(-1)), rel=0.02)


def test_an_ensemble_learns_from_everything_unless_its_temperature_is_measured(quick):
    labels = np.array([0] * 12 + [1] * 6 + [2])
    config = replace(quick, members=3)
    assert all(rows.tolist() == list(range(19)) for rows in Ensemble.training_sets(labels, config, RNG(0)))
    sets = Ensemble.training_sets(labels, replace(config, temperature_scaling=True), RNG(0))
    left_out = [set(range(19)) - set(rows) for rows in sets]
    assert set.union(*left_out) == set(range(18))  # each once, but for the class with a single answer
    assert sum(map(len, left_out)) == 18
    assert all(set(labels[rows]) == {0, 1, 2} for rows in sets)


def single(logits: torch.Tensor, labels: torch.Tensor) -> LeftOut:
    return LeftOut(logits, torch.arange(len(labels)), labels)


def test_the_temperature_is_the_one_under_which_the_answers_are_likeliest():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((4000, 5), generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(single(logits * 3, labels)) == pytest.approx(3, rel=0.1)
    assert fit_temperature(single(logits / 2, labels)) == pytest.approx(0.5, rel=0.1)


def test_of_several_predictions_the_average_of_the_scaled_ones_is_made_likely():
    generator = torch.Generator().manual_seed(0)
    logits_n_3_C = torch.randn((500, 3, 4), generator=generator) * 4
    labels = torch.randint(0, 4, (500,), generator=generator)
    left_out = LeftOut(logits_n_3_C.flatten(0, 1), torch.arange(500).repeat_interleave(3), labels)

    def nll(temperature: float) -> float:
        probs = (logits_n_3_C / temperature).softmax(2).mean(1)
        return float(functional.nll_loss(probs.log(), labels))

    for temperature in (0.5, 1.0, 3.0):
        assert left_out.nll(temperature) == pytest.approx(nll(temperature), rel=1e-4)
    best = fit_temperature(left_out)
    assert 0.05 < best < 20 and nll(best) < nll(1.0)


@pytest.mark.parametrize("member_dropout", [False, True])
@pytest.mark.parametrize("name", ["bootstrap", "ensemble"])
def test_members_that_are_too_sure_become_likelier_on_fresh_images(make_chunks, digits, quick, name, member_dropout):
    """A fifth of all answers is wrong, and they learn them by heart."""
    vectors, rng = digits[0].reshape(-1, 64).astype(np.float32), RNG(0)
    answers = np.where(rng.random(1797) < 0.2, rng.integers(10, size=1797), digits[1])
    pool, rows = Pool(make_chunks(vectors)), np.arange(200)
    recipe = Recipe(steps=300, label_smoothing=0.0, weight_decay=0.0)
    config = replace(
        quick, estimator=name, architecture="head", recipe=recipe, members=3, member_dropout=member_dropout,
        posterior_samples=12, temperature_scaling=True,
    )  # fmt: skip
    estimator = estimator_class(name).fit(pool, rows, answers[rows], config, ignore)
    assert estimator.temperature > 1.05
    fresh, costs = torch.from_numpy(answers[200:]), []
    for temperature in (estimator.temperature, 1.0):
        estimator.temperature = temperature
        costs.append(float(functional.nll_loss(estimator.sample_log_probs(vectors[200:]).exp().mean(1).log(), fresh)))
    assert costs[0] < costs[1] - 0.05


def test_it_is_measured_on_what_each_member_left_out_with_its_dropout(fit, pool, digits, monkeypatch):
    estimator, _ = fit("ensemble", member_dropout=True, posterior_samples=7)
    chosen = [np.arange(30)[10:], np.delete(np.arange(30), np.arange(5, 12)), np.arange(30)]
    left_out = estimator.left_out(chosen, pool, np.arange(30), digits[1][:30], RNG(0), ignore)
    samples = estimator.sample_log_probs(digits[0][:30])
    expected = torch.cat([samples[:10, :3].flatten(0, 1), samples[5:12, 3:5].flatten(0, 1)])
    assert torch.allclose(left_out.log_probs_R_C, expected, atol=1e-5)
    assert left_out.answers_R.tolist() == [n for n in range(10) for _ in range(3)] + [
        n for n in range(5, 12) for _ in range(2)
    ]
    assert left_out.labels_n.tolist() == digits[1][:12].tolist()
    monkeypatch.setattr(members, "LEFT_OUT_FLOATS", 60)  # of many answers with many samples some
    some = estimator.left_out(chosen, pool, np.arange(30), digits[1][:30], RNG(0), ignore)
    assert 1 <= len(some.labels_n) <= 3 and len(some.log_probs_R_C) <= 6


def test_few_answers_that_are_all_right_do_not_make_it_sure_of_everything():
    logits = torch.eye(5).repeat(3, 1) * 4
    right = torch.arange(5).repeat(3)
    assert 0.9 < fit_temperature(single(logits, right)) < 1
    assert fit_temperature(single(logits.repeat(200, 1), right.repeat(200))) < 0.6


@pytest.mark.parametrize("name", ["bootstrap", "ensemble"])
def test_on_average_a_measured_temperature_is_no_worse_even_of_few_answers(make_chunks, digits, quick, name):
    vectors, labels = digits[0].reshape(-1, 64).astype(np.float32), digits[1]
    pool, unseen = Pool(make_chunks(vectors)), torch.from_numpy(labels[1000:])
    differences = []
    for seed in range(6):
        rows = RNG(seed).permutation(1000)[:24]
        config = replace(
            quick, estimator=name, architecture="head", seed=seed, temperature_scaling=True, recipe=Recipe(steps=200)
        )
        estimator = estimator_class(name).fit(pool, rows, labels[rows], config, ignore)
        costs = []
        for temperature in (estimator.temperature, 1.0):
            estimator.temperature = temperature
            costs.append(functional.nll_loss(estimator.sample_log_probs(vectors[1000:]).exp().mean(1).log(), unseen))
        differences.append(float(costs[0] - costs[1]))
    assert np.mean(differences) <= 0.01
    assert max(differences) <= 0.1


@pytest.mark.parametrize("changes", [{}, {"member_dropout": True, "temperature_scaling": True}])
def test_it_comes_back_from_disk_the_same(fit, digits, tmp_path, changes):
    estimator, config = fit("ensemble", **changes)
    again = Ensemble.load(tmp_path, estimator.save(tmp_path), config)
    assert torch.equal(estimator.sample_log_probs(digits[0][:30]), again.sample_log_probs(digits[0][:30]))


def test_the_same_seed_gives_the_same_members(fit, digits):
    first, second, other = (fit("bootstrap", seed=seed)[0].sample_log_probs(digits[0][:5]) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_one_bar_for_all_members(fit):
    seen = []
    fit("ensemble", report=lambda phase, done, total: seen.append((phase, done, total)))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("fit", 60, 60)
    assert {(phase, total) for phase, _, total in seen} == {("fit", 60)}


def test_it_can_be_cancelled_in_the_second_member(fit, abort_at):
    report = abort_at("fit", 25)
    with pytest.raises(report.error, match="fit 25"):
        fit("ensemble", report=report)


def test_it_can_be_cancelled_while_the_temperature_is_measured(fit, abort_at, monkeypatch):
    """Of many answers a member leaves out many: each minibatch of them is a chance to stop."""
    monkeypatch.setattr(members, "MEMORY_FLOATS", 1)
    seen = []
    fit("ensemble", temperature_scaling=True, report=lambda phase, done, total: seen.append((phase, done, total)))
    of_temperature = [each for each in seen if each[0] == "temperature"]
    assert len(of_temperature) > 3 + 5 and of_temperature[-1] == ("temperature", 3, 3)
    report = abort_at("temperature", 0)
    with pytest.raises(report.error, match="temperature 0"):
        fit("ensemble", temperature_scaling=True, report=report)


@pytest.mark.parametrize("name", ["bootstrap", "ensemble"])
def test_two_answers_and_a_thousand_classes(fit, digits, name):
    estimator, _ = fit(name, [0, 999], n_classes=1000, recipe=Recipe(steps=2))
    assert estimator.sample_log_probs(digits[0][:1]).shape == (1, 3, 1000)


def test_what_cannot_be_is_refused_in_words(fit, quick):
    with pytest.raises(LearnerError, match="no class has two answers"):
        fit("ensemble", [0, 1], temperature_scaling=True, recipe=Recipe(steps=2))
    with pytest.raises(ConfigError, match="members is 1, expected 2 to 100"):
        replace(quick, members=1)
    with pytest.raises(DivergedError, match="another network"):
        fit("ensemble", recipe=Recipe(steps=50, learning_rate=1e30))
    with pytest.raises(LearnerError, match="not finite"):
        fit_temperature(single(torch.full((3, 2), float("nan")), torch.tensor([0, 1, 0])))
