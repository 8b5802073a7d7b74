"""Networks trained at once are those that the plain loop trains."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from learner.config import FEATURE_ARCHITECTURES, Recipe, ignore
from learner.errors import DivergedError
from learner.estimators import members
from learner.estimators.members import fit_members
from learner.fit import fit_network
from learner.pool import Pool

STEPS = 25


@pytest.fixture
def vectors(digits) -> np.ndarray:
    return digits[0][:300].reshape(300, 64).astype(np.float32)


@pytest.fixture
def train(make_chunks, digits, vectors, quick):
    def make(report=ignore, n_members=4, **changes):
        config = replace(quick, **{"architecture": "head", "recipe": Recipe(steps=STEPS), **changes})
        pool, labels = Pool(make_chunks(vectors)), digits[1][:60]
        rng = np.random.default_rng(0)
        chosen = [rng.integers(60, size=40 + i) for i in range(n_members)]
        together = fit_members(pool, np.arange(60), labels, chosen, config, report)
        alone = [
            fit_network(pool, rows, labels[rows], config, ignore, stream=f"member {i}") for i, rows in enumerate(chosen)
        ]
        return together, alone

    return make


@pytest.mark.parametrize("architecture", FEATURE_ARCHITECTURES)
def test_they_equal_those_of_the_plain_loop(train, vectors, architecture):
    together, alone = train(architecture=architecture)
    for ours, plain in zip(together, alone, strict=True):
        assert (ours.steps, ours.input_mean, ours.input_std) == (STEPS, plain.input_mean, plain.input_std)
        assert ours.loss == pytest.approx(plain.loss, abs=1e-4)
        with torch.inference_mode():
            x = torch.from_numpy(vectors)
            assert torch.allclose(ours.network(x), plain.network(x), atol=5e-3)
    assert not torch.equal(together[0].network.head.layers[0].weight, together[1].network.head.layers[0].weight)


def test_in_groups_they_are_the_same_and_share_one_bar(train, monkeypatch):
    whole, _ = train()
    monkeypatch.setattr(members, "TOGETHER_FLOATS", 20_000)  # two heads of 64 * 128 + 128 * 10 weights
    seen = []
    groups, _ = train(report=lambda *call: seen.append(call))
    for one, two in zip(whole, groups, strict=True):
        assert torch.allclose(one.network.head.layers[0].weight, two.network.head.layers[0].weight, atol=1e-4)
    assert seen == [("fit", 2 * (i + 1), 4 * STEPS) for i in range(2 * STEPS)]


def test_one_that_diverges_is_named(train, monkeypatch):
    monkeypatch.setattr("learner.fit.Minibatches.draw", _with_nan_in_the_third(monkeypatch))
    with pytest.raises(DivergedError, match=r"member 3: the fit diverged at step 1: loss is not finite; .*another"):
        train()


def test_it_can_be_cancelled(train, abort_at):
    report = abort_at("fit", 20)
    with pytest.raises(report.error, match="fit 20"):
        train(report=report)


def _with_nan_in_the_third(monkeypatch):
    from learner.fit import Minibatches

    draw, calls = Minibatches.draw, []

    def patched(self):
        calls.append(self)
        views, masks, target = draw(self)
        return (views * float("nan") if len(calls) == 7 else views), masks, target

    return patched
