import threading
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from learner.config import LAPLACE_PRIORS, Recipe, RoundConfig, ignore
from learner.errors import LearnerError, UnknownNameError
from learner.estimators import curvature
from learner.estimators.curvature import Batches, KroneckerFactors, best_precision, kronecker_factors
from learner.estimators.laplace import Laplace, covers_all_weights, inputs_of, prior_precisions
from learner.estimators.layers import LinearisedLayers
from learner.network import build, linear_layers
from learner.pool import Pool
from learner.uncertainty import measure, summarise
from learner.vision import torchvision

N_LABELS = 60


def layers_of(widths: list[int], seed: int = 0) -> list[nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [nn.Linear(a, b) for a, b in pairwise(widths)]


def batches(inputs: torch.Tensor, labels: torch.Tensor, report=ignore) -> Batches:
    return Batches(lambda some: inputs[torch.from_numpy(some)], np.arange(len(inputs)), labels.numpy(), report)


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator), torch.randint(0, 3, (40,), generator=generator)


@pytest.fixture
def library(data):
    """The same by laplace-torch alone, over all weights of a small network."""
    torchvision()
    from laplace import Laplace as Library

    def fit(layers: list[nn.Linear]):
        parts = [part for layer in layers for part in (layer, nn.ReLU())][:-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Library(nn.Sequential(*parts), "classification", "all", "kron")
            model.fit(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=20))
        return model

    return fit


@pytest.fixture(scope="module")
def fitted(digits, tmp_path_factory) -> dict[str, Laplace]:
    from learner.folder import write_chunks

    pool = Pool(write_chunks(digits[0][:300], tmp_path_factory.mktemp("pool")))
    config = RoundConfig(n_classes=10, estimator="laplace", posterior_samples=50, device="cpu", recipe=Recipe(steps=60))
    labelled = np.arange(N_LABELS)
    return {
        name: Laplace.fit(pool, labelled, digits[1][:N_LABELS], replace(config, architecture=name), ignore)
        for name in ("mlp", "gal_cnn", "cnn")
    }


def test_of_one_image_the_curvature_is_exact():
    """Then the Gauss-Newton matrix of a linear layer is a Kronecker product, whatever factors approximate elsewhere."""
    (layer,), x, y = layers_of([4, 3]), torch.randn(1, 4), torch.tensor([1])
    (factors,) = kronecker_factors([layer], batches(x, y))
    probs = layer(x).softmax(1)[0].detach()
    hessian = torch.diag(probs) - torch.outer(probs, probs)
    weights = torch.kron(hessian, torch.outer(x[0], x[0]))
    vectors = torch.kron(factors.vectors_out, factors.vectors_in)
    values = torch.outer(factors.values_out, factors.values_in).flatten()
    assert torch.allclose(vectors @ torch.diag(values) @ vectors.T, weights, atol=1e-5)
    biases = factors.bias_vectors @ torch.diag(factors.bias_values) @ factors.bias_vectors.T
    assert torch.allclose(biases, hessian, atol=1e-5)


def test_the_samples_have_the_covariance_that_the_library_draws_with(data, library):
    layers = layers_of([6, 5, 3])
    precision, model = 2.0, library(layers)
    model.prior_precision = torch.tensor([precision])
    factors = kronecker_factors(layers, batches(*data))
    n_samples, generator = 40_000, torch.Generator().manual_seed(0)
    ours = [part for each in factors for part in each.draw(n_samples, precision, generator)]
    ours_K_P = torch.cat([part.flatten(1) for part in ours], 1)
    covariance = model.posterior_precision.to_matrix(exponent=-1)
    assert ours_K_P.mean(0).abs().max() < 5 * float(covariance.diagonal().max().sqrt()) / n_samples**0.5
    assert torch.allclose(ours_K_P.T.cov(), covariance, atol=6 * float(covariance.diagonal().max()) / n_samples**0.5)


def test_the_logits_have_the_variance_of_the_librarys_linearised_predictive(data, library):
    layers = layers_of([6, 5, 3])
    model = library(layers)
    factors = kronecker_factors(layers, batches(*data))
    generator = torch.Generator().manual_seed(0)
    sampled = LinearisedLayers(layers, [each.draw(20_000, 1.0, generator) for each in factors])
    with torch.no_grad():
        logits_K_C_M = sampled.logits(data[0][:4])
    mean, covariance = model._glm_predictive_distribution(data[0][:4])
    assert torch.allclose(logits_K_C_M.mean(0).T, mean, atol=0.05)
    for image in range(4):
        assert torch.allclose(logits_K_C_M[:, :, image].T.cov(), covariance[image], rtol=0.06, atol=0.05)


def test_the_best_precision_is_that_of_the_librarys_marginal_likelihood(data, library):
    layers = layers_of([6, 5, 3])
    model = library(layers)
    best = best_precision(layers, kronecker_factors(layers, batches(*data)))
    there, *elsewhere = (
        float(model.log_marginal_likelihood(prior_precision=torch.tensor([best * factor])))
        for factor in (1, 0.9, 1.1, 0.1, 10)
    )
    assert there > max(elsewhere)


def test_the_linearised_layers_are_the_network_and_its_derivative():
    layers, x = layers_of([6, 5, 4, 3]), torch.randn(7, 6)
    generator = torch.Generator().manual_seed(0)
    deviations = [
        (
            torch.randn((2, *layer.weight.shape), generator=generator),
            torch.randn((2, len(layer.bias)), generator=generator),
        )
        for layer in layers
    ]

    def network(*parts):
        h = x
        for i in range(0, len(parts), 2):
            h = nn.functional.linear(h.relu() if i else h, parts[i], parts[i + 1])
        return h

    weights = [part for layer in layers for part in (layer.weight.detach(), layer.bias.detach())]
    ours = LinearisedLayers(layers, deviations).logits(x)
    for k in range(2):
        directions = [part[k] for pair in deviations for part in pair]
        value, change = torch.func.jvp(network, tuple(weights), tuple(directions))
        assert torch.allclose(ours[k].T, value + change, atol=1e-4)


def test_of_the_last_layer_it_is_the_network_with_sampled_weights(fitted, digits):
    estimator = fitted["cnn"]
    (weights, biases), last = estimator.sampled.deviations[0], estimator.network.head.linears[-1]
    with torch.inference_mode():
        features = estimator.network.features(torch.from_numpy(digits[0][:20]))
        hidden = estimator.network.head.linears[0](features).relu()
        slow = [
            nn.functional.linear(hidden, last.weight + weights[k], last.bias + biases[k]).log_softmax(-1)
            for k in range(50)
        ]
    assert torch.allclose(estimator.sample_log_probs(digits[0][:20]), torch.stack(slow, 1), atol=1e-4)


@pytest.mark.parametrize("architecture", ["mlp", "gal_cnn", "cnn"])
def test_without_deviations_it_is_the_trained_network(fitted, digits, architecture):
    """So what goes into the sampled layers is what the network would give them."""
    estimator = fitted[architecture]
    still = [(torch.zeros_like(weights), torch.zeros_like(biases)) for weights, biases in estimator.sampled.deviations]
    with torch.inference_mode():
        network = estimator.network
        inputs = inputs_of(network, network.tensor_of(digits[0][:20]), len(estimator.factors))
        logits = LinearisedLayers(estimator.sampled.layers, still).logits(inputs)
        assert torch.allclose(logits[0].T, estimator.network(torch.from_numpy(digits[0][:20])), atol=1e-4)


@pytest.mark.parametrize(("architecture", "n_layers"), [("mlp", 3), ("gal_cnn", 1), ("cnn", 1)])
def test_small_networks_of_linear_layers_are_covered_whole(fitted, architecture, n_layers):
    assert len(fitted[architecture].factors) == n_layers


def test_too_many_samples_of_all_weights_leave_the_last_layer():
    network = build("mlp", (1, 28, 28), 10, input_mean=[0.0], input_std=[1.0])
    assert covers_all_weights(network, 100)
    assert not covers_all_weights(network, 1000)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_facts(fitted, digits, architecture):
    estimator = fitted[architecture]
    log_probs = estimator.sample_log_probs(digits[0][60:200])
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(140, 50), atol=1e-5)
    values = measure(summarise(log_probs))
    assert bool((values["mutual_information"] <= values["predictive_entropy"] + 1e-5).all())
    assert values["mutual_information"].mean() > 0.01
    accuracy = (log_probs.exp().mean(1).argmax(1).numpy() == digits[1][60:200]).mean()
    assert accuracy > 0.5  # guessing gives 0.1
    parts = torch.cat([estimator.sample_log_probs(digits[0][i : i + 1]) for i in range(60, 70)])
    assert torch.allclose(log_probs[:10], parts, atol=1e-4)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_it_comes_back_from_disk_the_same(fitted, digits, architecture, tmp_path, quick):
    estimator = fitted[architecture]
    config = replace(quick, architecture=architecture, estimator="laplace", posterior_samples=50)
    again = Laplace.load(tmp_path, estimator.save(tmp_path), config)
    assert torch.equal(estimator.sample_log_probs(digits[0][:30]), again.sample_log_probs(digits[0][:30]))


@pytest.mark.parametrize("prior", LAPLACE_PRIORS)
@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0, 1], list(range(10))])
def test_few_answers_of_few_classes_and_one_sample(make_chunks, digits, quick, prior, labels):
    config = replace(quick, estimator="laplace", posterior_samples=1, laplace_prior=prior, recipe=Recipe(steps=2))
    pool = Pool(make_chunks(digits[0][:20]))
    estimator = Laplace.fit(pool, np.arange(len(labels)), np.array(labels), config, ignore)
    assert estimator.sample_log_probs(digits[0][:1]).shape == (1, 1, 10)
    assert bool(estimator.sample_log_probs(digits[0][:20]).isfinite().all())


def test_images_without_contrast(make_chunks, quick):
    config = replace(quick, estimator="laplace", architecture="mlp", recipe=Recipe(steps=2))
    pixels = np.zeros((6, 1, 8, 8), np.uint8)
    estimator = Laplace.fit(Pool(make_chunks(pixels)), np.arange(6), np.array([0, 1] * 3), config, ignore)
    assert bool(estimator.sample_log_probs(pixels).isfinite().all())


def test_a_thousand_classes(make_chunks, digits, quick):
    config = replace(quick, n_classes=1000, estimator="laplace", posterior_samples=3, recipe=Recipe(steps=2))
    estimator = Laplace.fit(Pool(make_chunks(digits[0][:20])), np.arange(20), np.arange(20) * 50, config, ignore)
    assert estimator.sample_log_probs(digits[0][:2]).shape == (2, 3, 1000)


def test_a_broken_curvature_is_an_error_that_says_what_to_do(data, monkeypatch):
    layers = layers_of([6, 3])
    with torch.no_grad():
        layers[0].weight.fill_(float("nan"))
    with pytest.raises(LearnerError, match=r"Laplace.*take more answers, or another posterior"):
        kronecker_factors(layers, batches(*data))
    bad = KroneckerFactors(*(torch.full((3, 3)[: 1 + i % 2], float("nan")) for i in range(6)))
    with pytest.raises(LearnerError, match="marginal likelihood is not finite"):
        best_precision(layers_of([3, 3]), [bad])


def test_a_curvature_that_is_not_positive_semidefinite_is_refused(data, monkeypatch):
    """The library makes negative eigenvalues 0 and says nothing."""
    torchvision()
    from laplace.utils.matrix import Kron

    decompose = Kron.decompose

    def negative(self: Kron, damping: bool = False):
        self.kfacs[0][0].neg_()
        return decompose(self, damping=damping)

    kronecker_factors(layers_of([6, 3]), batches(*data))
    monkeypatch.setattr(Kron, "decompose", negative)
    with pytest.raises(LearnerError, match=r"not positive semidefinite; take more answers, or another posterior"):
        kronecker_factors(layers_of([6, 3]), batches(*data))


def test_it_can_be_cancelled_while_the_curvature_is_taken(data, abort_at, monkeypatch):
    monkeypatch.setattr(curvature, "BATCH", 10)
    report = abort_at("curvature", 20)
    with pytest.raises(report.error, match="curvature 20"):
        kronecker_factors(layers_of([6, 3]), batches(*data, report))


@pytest.mark.parametrize(("part", "done"), [("curvature._library", 0), ("laplace.prior_precisions", N_LABELS)])
def test_it_can_be_cancelled_before_and_after_the_curvature(make_chunks, digits, quick, monkeypatch, part, done):
    """The library is imported, and the samples of all weights are drawn: both take seconds and say nothing."""
    started, end = threading.Event(), threading.Event()
    monkeypatch.setattr(f"learner.estimators.{part}", lambda *_: started.set() or end.wait(60))

    def report(phase, seen, total):
        if started.is_set():
            raise KeyError(f"{phase} {seen} of {total}")

    config = replace(quick, architecture="mlp", recipe=Recipe(steps=2))
    try:
        with pytest.raises(KeyError, match=f"curvature {done} of {N_LABELS}"):
            Laplace.fit(
                Pool(make_chunks(digits[0][:N_LABELS])), np.arange(N_LABELS), digits[1][:N_LABELS], config, report
            )
    finally:
        end.set()


def test_the_prior_is_as_wide_as_the_weights_are_drawn():
    """Of the weights that a network begins with, not of the formula that they are drawn by."""
    generator = torch.Generator().manual_seed(0)
    network = build("mlp", (1, 28, 28), 10, input_mean=[0.0], input_std=[1.0], generator=generator)
    layers = linear_layers(network)
    precisions = prior_precisions("initial_weights", layers, [])
    assert precisions == pytest.approx([1 / float(layer.weight.var()) for layer in layers], rel=0.1)


def test_the_marginal_likelihood_is_asked_where_it_is_chosen(data):
    layers = layers_of([6, 5, 3])
    factors = kronecker_factors(layers, batches(*data))
    best = best_precision(layers, factors)
    assert prior_precisions("marginal_likelihood", layers, factors) == [best, best]
    assert best not in prior_precisions("initial_weights", layers, factors)


def test_an_unknown_prior():
    with pytest.raises(UnknownNameError, match="known: initial_weights, marginal_likelihood"):
        prior_precisions("flat", layers_of([6, 3]), [])
    with pytest.raises(UnknownNameError, match="prior of Laplace"):
        RoundConfig(n_classes=3, laplace_prior="flat")


def test_all_linear_layers_in_order():
    network = build("mlp", (1, 28, 28), 10, input_mean=[0.0], input_std=[1.0])
    assert [layer.out_features for layer in linear_layers(network)] == [256, 64, 10]
