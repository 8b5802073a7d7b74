"""What a network teaches itself: only what its past is sure of, and only the network learns."""

import numpy as np
import pytest
import torch

from learner.config import Recipe
from learner.consistency import BEGINS, Consistency
from learner.errors import ConfigError
from learner.network import build
from learner.pool import Pool

RECIPE = Recipe(unlabelled=16, light=0.4, cutout=0.3)


@pytest.fixture
def consistency(make_chunks, digits) -> Consistency:
    pool = Pool(make_chunks(digits[0][:200]))
    generator = torch.Generator().manual_seed(0)
    network = build("cnn", pool.shape, 10, input_mean=[60.0], input_std=[80.0], generator=generator)
    return Consistency(network, pool, np.arange(100), RECIPE, generator)


def sure_of(network, label: int, logit: float) -> None:
    with torch.no_grad():
        network.head.linears[-1].weight.zero_()
        network.head.linears[-1].bias.zero_()
        network.head.linears[-1].bias[label] = logit


def test_what_the_teacher_is_not_sure_of_teaches_nothing(consistency):
    sure_of(consistency.teacher, 3, 4.0)  # 0.86
    assert float(consistency.loss(BEGINS).detach()) == 0
    sure_of(consistency.teacher, 3, 5.0)  # 0.94
    assert float(consistency.loss(BEGINS).detach()) > 1
    assert float(consistency.loss(0).detach()) == 0  # not yet


def test_it_pulls_the_network_to_what_the_teacher_says_and_leaves_the_teacher(consistency):
    sure_of(consistency.teacher, 3, 8.0)
    before = [weights.clone() for weights in consistency.teacher.parameters()]
    consistency.loss(BEGINS).backward()
    gradient = consistency.network.head.linears[-1].bias.grad
    assert gradient[3] < 0 and (gradient[torch.arange(10) != 3] > 0).all()
    for weights, was in zip(consistency.teacher.parameters(), before, strict=True):
        assert weights.grad is None and torch.equal(weights, was)


def test_the_teacher_is_an_average_of_what_the_network_was(consistency):
    weights, its = consistency.network.head.linears[-1].bias, consistency.teacher.head.linears[-1].bias
    with torch.no_grad():
        weights.fill_(1.0)
    consistency.follow(0)
    assert its.detach().numpy() == pytest.approx(0.9)
    with torch.no_grad():
        weights.fill_(0.0)
    consistency.follow(5000)
    assert its.detach().numpy() == pytest.approx(0.9 * 0.99)


@pytest.mark.parametrize("change", [{"light": -0.1}, {"cutout": 1.0}, {"unlabelled": -1}])
def test_a_recipe_that_cannot_be_is_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        Recipe(**change)
