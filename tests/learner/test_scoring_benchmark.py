"""benchmarks/scoring.py: what it gives to BaaL is the network that ours is measured on."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.scoring import WithDropout, extrapolated
from learner.network import build


@pytest.mark.parametrize("architecture", ["gal_cnn", "mlp", "cnn"])
def test_a_network_with_layers_of_dropout_is_the_same_network(architecture):
    network = build(
        architecture, (1, 28, 28), 4, input_mean=[100.0], input_std=[80.0], generator=torch.Generator().manual_seed(0)
    )
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 1, 28, 28), np.uint8))
    other = WithDropout(network)
    assert torch.allclose(other.eval()(images), network(images), atol=1e-6)
    rates = [layer.p for layer in other.modules() if isinstance(layer, (nn.Dropout, nn.Dropout2d))]
    assert rates == list(network.head.rates)
    many = images[:2].repeat(400, 1, 1, 1)
    with torch.inference_mode():
        theirs = other.train()(many).softmax(1).view(400, 2, 4)
        masks = network.head.draw_masks(len(many), torch.Generator().manual_seed(0))
        ours = network(many, masks).softmax(1).view(400, 2, 4)
    assert torch.allclose(theirs.mean(0), ours.mean(0), atol=0.04)
    assert torch.allclose(theirs.std(0), ours.std(0), atol=0.04)


def test_a_few_images_stand_for_all(monkeypatch):
    seen = []
    monkeypatch.setattr("benchmarks.scoring.timed", lambda work: seen.append(work()) or 2.0)
    assert extrapolated(len, np.zeros((60, 1)), 20) == 6.0
    assert seen == [20]
