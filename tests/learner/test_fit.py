import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from learner.config import Recipe, ignore
from learner.errors import ConfigError, DivergedError
from learner.fit import choose_device, draw_weights, fit_network, input_statistics
from learner.pool import Pool


def fit(make_chunks, pixels, labels, config, report=ignore):
    labels = np.asarray(labels, dtype=np.int64)
    return fit_network(Pool(make_chunks(pixels)), np.arange(len(labels)), labels, config, report)


def weights_of(fitted):
    return torch.cat([tensor.flatten() for tensor in fitted.network.state_dict().values()])


def test_it_learns_digits_from_a_hundred_labels(make_chunks, digits, quick):
    pixels, labels = digits
    config = replace(quick, recipe=Recipe(steps=150))
    fitted = fit(make_chunks, pixels, labels[:100], config)
    with torch.inference_mode():
        right = fitted.network(torch.from_numpy(pixels[100:])).argmax(1).numpy() == labels[100:]
    assert right.mean() > 0.8
    assert fitted.steps == 150
    assert fitted.seconds > 0


def test_the_same_seed_gives_the_same_weights_whatever_the_global_generator(make_chunks, digits, quick):
    pixels, labels = digits[0][:30], digits[1][:30]
    one = weights_of(fit(make_chunks, pixels, labels, quick))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    two = weights_of(fit(make_chunks, pixels, labels, quick))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(one, weights_of(fit(make_chunks, pixels, labels, replace(quick, seed=1))))


def test_one_example_of_a_class_among_many_of_another(make_chunks, quick):
    pixels = np.zeros((50, 1, 8, 8), np.uint8)
    pixels[0] = 255
    fitted = fit(make_chunks, pixels, [1] + [0] * 49, replace(quick, n_classes=2, recipe=Recipe(steps=60)))
    with torch.inference_mode():
        assert fitted.network(torch.from_numpy(pixels[:2])).argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (3, 64, 64)])
@pytest.mark.parametrize("architecture", ["cnn", "gal_cnn", "mlp"])
def test_every_architecture_trains_on_every_shape(make_chunks, quick, architecture, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    config = replace(quick, architecture=architecture, recipe=Recipe(steps=2, batch=4))
    assert np.isfinite(fit(make_chunks, pixels, [0, 1, 0, 9], config).loss)


def test_images_without_contrast_train(make_chunks, quick):
    assert np.isfinite(fit(make_chunks, np.zeros((2, 1, 4, 4), np.uint8), [0, 1], quick).loss)


def test_a_thousand_classes(make_chunks, quick):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    config = replace(quick, n_classes=1000, recipe=Recipe(steps=3))
    assert np.isfinite(fit(make_chunks, pixels, np.arange(30) * 33, config).loss)


def test_a_fit_that_diverges_says_where_and_what_to_do(make_chunks, digits, quick):
    config = replace(quick, recipe=Recipe(steps=100, learning_rate=1e12))
    with pytest.raises(
        DivergedError, match=r"the fit diverged at step \d+: .* not finite; the last model stays"
    ) as error:
        fit(make_chunks, digits[0][:20], digits[1][:20], config)
    assert "try another network" in str(error.value)


def test_a_report_that_raises_aborts_within_the_step(make_chunks, digits, quick, abort_at):
    report = abort_at("fit", 3)
    started = time.perf_counter()
    with pytest.raises(report.error, match="fit 3"):
        fit(make_chunks, digits[0][:20], digits[1][:20], replace(quick, recipe=Recipe(steps=100_000)), report)
    assert time.perf_counter() - started < 5


def test_it_reports_every_step(make_chunks, digits, quick):
    calls = []
    fit(make_chunks, digits[0][:20], digits[1][:20], quick, lambda *call: calls.append(call))
    assert calls == [("fit", done, 20) for done in range(21)]


def test_draw_weights_go_from_images_alike_to_classes_alike():
    labels = np.array([0] * 9 + [1])
    assert np.allclose(draw_weights(labels, 0.0), 0.1)
    for_classes = draw_weights(labels, 1.0)
    assert np.allclose([for_classes[:9].sum(), for_classes[9]], 0.5)


def test_input_statistics_are_those_of_the_training_images(make_chunks):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    mean, std = input_statistics(Pool(make_chunks(pixels)), np.arange(10), 0)
    assert np.allclose(mean, pixels[:10].mean((0, 2, 3)))
    assert np.allclose(std, pixels[:10].std((0, 2, 3)))


def test_features_keep_their_scale_among_each_other(make_chunks):
    vectors = np.zeros((6, 3), np.float32)
    vectors[:, 0], vectors[:, 1] = [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 50]
    mean, std = input_statistics(Pool(make_chunks(vectors)), np.arange(4), 0)
    assert np.allclose(mean, [2.5, 0, 0])
    assert np.allclose(std, np.std([1, 2, 3, 4]) / 3**0.5)
    assert input_statistics(Pool(make_chunks(vectors * 0)), np.arange(4), 0) == ([0, 0, 0], [1, 1, 1])


def test_vectors_are_not_augmented(make_chunks, quick, monkeypatch):
    vectors, labels = np.eye(6, dtype=np.float32), [0, 1, 2, 3, 4, 5]
    monkeypatch.setattr("learner.fit.random_view", lambda *_: pytest.fail("augmented"))
    fitted = fit(make_chunks, vectors, labels, replace(quick, architecture="head", recipe=Recipe(steps=60)))
    with torch.inference_mode():
        assert fitted.network(torch.from_numpy(vectors)).argmax(1).tolist() == labels


def test_images_held_in_memory_train_as_those_read_from_the_pool(make_chunks, digits, quick, monkeypatch):
    held = weights_of(fit(make_chunks, digits[0], digits[1][:30], quick))
    monkeypatch.setattr("learner.fit.HELD_BYTES", 0)
    assert torch.equal(held, weights_of(fit(make_chunks, digits[0], digits[1][:30], quick)))


def test_a_device_that_is_not_there():
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'cuda' is not on this machine; there: cpu"):
            choose_device("cuda")


def test_a_perceptron_learns_large_colour_images_too(make_chunks, digits, quick):
    """At the rate of 28 x 28 pixels it ends at 0.13: each step moves all 12,288 weights of a neuron by it."""
    images = digits[0][:300].repeat(8, axis=2).repeat(8, axis=3).repeat(3, axis=1)
    config = replace(quick, architecture="mlp", recipe=Recipe(steps=80, batch=16))
    fitted = fit(make_chunks, images, digits[1][:100], config)
    with torch.inference_mode():
        right = fitted.network(torch.from_numpy(images[100:])).argmax(1).numpy() == digits[1][100:300]
    assert right.mean() > 0.55
