from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from learner.config import Recipe, RoundConfig, ignore
from learner.errors import DivergedError, LearnerError
from learner.estimators import swag
from learner.estimators.swag import Swag, check_head, draw_weights, split_weights
from learner.folder import write_chunks
from learner.network import Head
from learner.pool import Pool
from learner.uncertainty import measure, summarise


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(swag, "LEAST_STEPS", 60)
    monkeypatch.setattr(swag, "EVERY", 3)


@pytest.fixture
def config() -> RoundConfig:
    return RoundConfig(n_classes=10, estimator="swag", posterior_samples=20, device="cpu", recipe=Recipe(steps=60))


@pytest.fixture
def pool(digits, tmp_path) -> Pool:
    return Pool(write_chunks(digits[0][:300], tmp_path / "pool"))


@pytest.fixture
def fitted(pool, digits, config) -> Swag:
    return Swag.fit(pool, np.arange(60), digits[1][:60], config, ignore)


def test_it_equals_the_plain_loop_over_the_sampled_heads(fitted, digits):
    pixels = torch.from_numpy(digits[0][:40])
    with torch.inference_mode():
        features = fitted.network.features(pixels)
        slow = []
        for k in range(20):
            x = features
            for i, (weights, biases) in enumerate(fitted.sampled.samples):
                x = nn.functional.linear(x.relu() if i else x, weights[k], biases[k])
            slow.append(x.log_softmax(-1))
    assert torch.allclose(fitted.sample_log_probs(digits[0][:40]), torch.stack(slow, 1), atol=1e-4)


def test_the_draws_have_the_moments_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    deviations = torch.randn((4, 3), generator=generator)
    parts = {"mean": torch.tensor([1.0, 2.0, 3.0]), "variance": torch.tensor([0.0, 1.0, 4.0]), "deviations": deviations}
    drawn = draw_weights(parts, 200_000, generator)
    covariance = (torch.diag(parts["variance"]) + deviations.T @ deviations / 3) / 2
    assert torch.allclose(drawn.mean(0), parts["mean"], atol=0.02)
    assert torch.allclose(drawn.T.cov(), covariance, atol=0.04)


def test_the_moments_are_those_of_the_weights_that_were_seen(pool, digits, config, monkeypatch):
    """Kept here one by one, and summed up there."""
    seen = []
    step = torch.optim.SGD.step

    def look(self, closure=None):
        result = step(self, closure)
        seen.append(torch.cat([w.detach().flatten().clone() for w in self.param_groups[0]["params"]]))
        return result

    monkeypatch.setattr(torch.optim.SGD, "step", look)
    monkeypatch.setattr(swag, "RANK", 8)  # fewer than looks: the last are kept, each from the mean of its moment
    estimator = Swag.fit(pool, np.arange(60), digits[1][:60], config, ignore)
    looked = torch.stack(seen[2::3]).double()
    assert len(looked) == 20
    assert torch.allclose(estimator.parts["mean"], looked.mean(0).float(), atol=1e-5)
    assert torch.allclose(estimator.parts["variance"], looked.var(0, unbiased=False).float(), atol=1e-6)
    expected = torch.stack([looked[i] - looked[: i + 1].mean(0) for i in range(12, 20)]).float()
    assert torch.allclose(estimator.parts["deviations"], expected, atol=1e-5)


def test_a_head_comes_apart_into_its_layers():
    head = Head([4, 3, 2], [0.5, 0.5])
    flat = torch.cat([weights.detach().flatten() for weights in head.parameters()])
    layers = split_weights(head, torch.stack([flat, 2 * flat]))
    assert torch.equal(layers[0][0][0], head.linears[0].weight)
    assert torch.equal(layers[1][1][1], 2 * head.linears[1].bias)


def test_facts(fitted, digits):
    log_probs = fitted.sample_log_probs(digits[0][60:260])
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(200, 20), atol=1e-5)
    values = measure(summarise(log_probs))
    assert bool((values["mutual_information"] <= values["predictive_entropy"] + 1e-5).all())
    assert values["mutual_information"].max() > 0
    assert (log_probs.exp().mean(1).argmax(1).numpy() == digits[1][60:260]).mean() > 0.5
    parts = torch.cat([fitted.sample_log_probs(digits[0][i : i + 1]) for i in range(60, 70)])
    assert torch.allclose(log_probs[:10], parts, atol=1e-4)


def test_it_comes_back_from_disk_the_same(fitted, digits, config, tmp_path):
    again = Swag.load(tmp_path, fitted.save(tmp_path), config)
    assert torch.equal(fitted.sample_log_probs(digits[0][:30]), again.sample_log_probs(digits[0][:30]))


def test_the_trunk_stays_as_it_was_trained(pool, digits, config):
    from learner.fit import fit_network

    plain = fit_network(pool, np.arange(60), digits[1][:60], config, ignore).network
    ours = Swag.fit(pool, np.arange(60), digits[1][:60], config, ignore).network
    assert all(torch.equal(a, b) for a, b in zip(plain.trunk.parameters(), ours.trunk.parameters(), strict=True))
    assert not torch.equal(plain.head.linears[0].weight, ours.head.linears[0].weight)


@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0, 1]])
def test_one_sample_of_few_answers(pool, digits, config, labels):
    one = replace(config, posterior_samples=1)
    estimator = Swag.fit(pool, np.arange(len(labels)), np.array(labels), one, ignore)
    assert estimator.sample_log_probs(digits[0][:1]).shape == (1, 1, 10)


def test_what_it_cannot_do_is_refused_in_words(pool, digits, config, monkeypatch):
    head = Head([4, 3], [0.5])
    head.layers.append(nn.BatchNorm1d(3))
    with pytest.raises(LearnerError, match="normalisation layers"):
        check_head(head, 10)
    with pytest.raises(LearnerError, match=r"10000 posterior samples of the head need .* GiB; take \d+ or fewer"):
        check_head(Head([1000, 128, 10], [0.5, 0.5]), 10_000)
    monkeypatch.setattr(swag, "RATE", 1e30)
    with pytest.raises(DivergedError, match=r"diverged|ran away"):
        Swag.fit(pool, np.arange(60), digits[1][:60], config, ignore)


def test_it_can_be_cancelled_while_it_wanders(pool, digits, config, abort_at):
    report = abort_at("swag", 5)
    with pytest.raises(report.error, match="swag 5"):
        Swag.fit(pool, np.arange(60), digits[1][:60], config, report)
