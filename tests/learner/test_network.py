import numpy as np
import pytest
import torch

from learner.config import FEATURE_ARCHITECTURES, IMAGE_ARCHITECTURES
from learner.errors import ConfigError, UnknownNameError
from learner.network import build

SHAPES = [(1, 28, 28), (1, 8, 8), (3, 64, 64), (3, 96, 96), (1, 1, 1), (3, 5, 40)]


def make(architecture="cnn", shape=(1, 28, 28), n_classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    channels = shape[0]
    return build(
        architecture, shape, n_classes, input_mean=[100.0] * channels, input_std=[50.0] * channels, generator=generator
    )


@pytest.mark.parametrize("architecture", IMAGE_ARCHITECTURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_architecture_takes_every_image(architecture, shape):
    pixels = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    logits = make(architecture, shape, 3)(pixels)
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


def test_the_mlp_is_the_essays():
    network = make("mlp")
    sizes = [(layer.in_features, layer.out_features) for layer in network.modules() if hasattr(layer, "in_features")]
    assert sizes == [(784, 256), (256, 64), (64, 10)]


def test_gals_network_has_his_sizes():
    head = make("gal_cnn").head
    assert [layer.in_features for layer in head.linears] == [32 * 11 * 11, 128]
    assert head.rates == (0.25, 0.5)


def test_the_trunk_is_deterministic_and_the_global_generator_stays_untouched():
    before = torch.get_rng_state()
    network, pixels = make(), torch.randint(0, 256, (4, 1, 28, 28), generator=torch.Generator(), dtype=torch.uint8)
    assert torch.equal(network.features(pixels), network.features(pixels))
    assert torch.equal(before, torch.get_rng_state())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    one, two, three = make(seed=1).state_dict(), make(seed=1).state_dict(), make(seed=2).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["head.layers.0.weight"], three["head.layers.0.weight"])


def test_masks_keep_features_at_their_rate_and_dropout_keeps_the_mean():
    head = make().head
    masks = head.draw_masks(20_000, torch.Generator().manual_seed(0))
    for mask, rate in zip(masks, head.rates, strict=True):
        assert abs(float(mask.float().mean()) - (1 - rate)) < 0.01
    whole = [torch.ones_like(mask[:1]) * (1 - rate) for mask, rate in zip(masks, head.rates, strict=True)]
    features = torch.rand(3, 128)
    assert torch.allclose(head(features, whole), head(features), atol=1e-5)


def test_an_unknown_architecture():
    with pytest.raises(UnknownNameError, match="known: cnn, deep_cnn, gal_cnn, head, mlp"):
        make("resnet")


def test_channels_are_normalised_by_their_own_statistics():
    network = build("mlp", (2, 1, 1), 2, input_mean=[0.0, 100.0], input_std=[1.0, 10.0])
    values = network.normalise(torch.tensor([[[[3]], [[120]]]], dtype=torch.uint8))
    assert np.allclose(values.flatten().numpy(), [3.0, 2.0])


@pytest.mark.parametrize("architecture", FEATURE_ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_vectors_are_standardised_each_feature_by_its_own_statistics(architecture, dtype):
    generator = torch.Generator().manual_seed(0)
    network = build(architecture, (3,), 4, input_mean=[1.0, 2.0, 3.0], input_std=[1.0, 2.0, 4.0], generator=generator)
    vectors = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 7.0]], dtype=dtype)
    assert torch.equal(network.normalise(vectors), torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert network(vectors).shape == (2, 4)


@pytest.mark.parametrize(
    ("architecture", "shape", "words"),
    [
        ("cnn", (128,), "'cnn' does not take vectors of 128 features; head, mlp do"),
        ("gal_cnn", (1,), "'gal_cnn' does not take vectors of 1 features"),
        ("head", (1, 28, 28), r"'head' does not take images of shape \[1, 28, 28\]; cnn, gal_cnn, mlp do"),
    ],
)
def test_a_network_for_another_kind_of_input_is_refused(architecture, shape, words):
    with pytest.raises(ConfigError, match=words):
        build(architecture, shape, 10, input_mean=[0.0], input_std=[1.0])
