from dataclasses import replace

import gpytorch
import numpy as np
import pytest
import torch

from learner.config import Recipe, RoundConfig, ignore
from learner.errors import LearnerError
from learner.estimators import gaussian_process, pathwise
from learner.estimators.gaussian_process import GaussianProcess, dirichlet_targets, find_kernel, likeliest_mean
from learner.estimators.pathwise import Fourier, Kernel, Observed, Output
from learner.folder import write_chunks
from learner.pool import Pool
from learner.uncertainty import measure, summarise

KERNEL = Kernel(lengthscale=0.7, scale=2.0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def places(generator) -> torch.Tensor:
    return torch.rand((12, 2), generator=generator, dtype=torch.float64) * 2


@pytest.fixture(scope="module")
def fitted(digits, tmp_path_factory) -> GaussianProcess:
    pool = Pool(write_chunks(digits[0][:300], tmp_path_factory.mktemp("pool")))
    config = RoundConfig(
        n_classes=10, estimator="gaussian_process", posterior_samples=30, device="cpu", recipe=Recipe(steps=80)
    )
    return GaussianProcess.fit(pool, np.arange(60), digits[1][:60], config, ignore)


MEMBERS = (1, 4, 5, 10)
OUTPUT = Output(torch.tensor(MEMBERS), value=0.9, noise=0.05, elsewhere=-0.4)
NOISE = 0.5  # elsewhere


def samples_at(places, x, generator, query, output=OUTPUT, n_samples=8000, features=8000):
    fourier = Fourier.draw(KERNEL, 2, features, generator)
    weights = torch.randn((features, n_samples), generator=generator, dtype=torch.float64)
    correction = Observed(KERNEL, fourier, places, x, NOISE).weights(weights, output, generator)
    return fourier(query) @ weights + KERNEL(query, places) @ correction


def librarys_posterior(x, query, output=OUTPUT):
    """The exact posterior by gpytorch, of the same kernel without a mean."""
    y, variances = torch.full((len(x),), output.elsewhere).double(), torch.full((len(x),), NOISE).double()
    y[output.members_n], variances[output.members_n] = output.value, output.noise

    class Process(gpytorch.models.ExactGP):
        def __init__(self, likelihood) -> None:
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
            self.covar_module.outputscale, self.covar_module.base_kernel.lengthscale = KERNEL.scale, KERNEL.lengthscale

        def forward(self, places):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(places), self.covar_module(places))

    model = Process(gpytorch.likelihoods.FixedNoiseGaussianLikelihood(variances)).double().eval()
    with torch.no_grad():
        posterior = model(query)
        return posterior.mean, posterior.covariance_matrix


def has_moments(f, mean, covariance) -> None:
    """Near what was observed the variance is a tenth of the prior's or less: an absolute bound would see no noise."""
    assert torch.allclose(f.mean(1), mean, atol=0.05)
    assert torch.allclose(f.var(1), covariance.diagonal(), rtol=0.1)
    assert torch.allclose(f.cov(), covariance, atol=0.15)


def test_the_fourier_features_are_those_of_the_kernel(generator):
    x = torch.rand((5, 3), generator=generator, dtype=torch.float64)
    features = Fourier.draw(KERNEL, 3, 200_000, generator)(x)
    assert torch.allclose(features @ features.T, KERNEL(x, x), atol=0.03)


@pytest.mark.parametrize("members", [MEMBERS, (), tuple(range(12))])
def test_the_samples_have_the_moments_of_the_exact_posterior(places, generator, members):
    query = torch.tensor([[0.3, 0.4], [1.5, 1.0], [4.0, 4.0]], dtype=torch.float64)
    output = replace(OUTPUT, members_n=torch.tensor(members, dtype=torch.int64))
    f = samples_at(places, places, generator, query, output)
    has_moments(f, *librarys_posterior(places, query, output))


@pytest.mark.parametrize("members", [MEMBERS, ()])
def test_inducing_points_at_all_places_are_the_exact_posterior(places, generator, members):
    query = torch.tensor([[0.3, 0.4], [1.5, 1.0]], dtype=torch.float64)
    output = replace(OUTPUT, members_n=torch.tensor(members, dtype=torch.int64))
    f = samples_at(places.clone(), places, generator, query, output)  # a copy: the sparse way
    has_moments(f, *librarys_posterior(places, query, output))


def test_inducing_points_are_told_of_many_observations_in_blocks(places, monkeypatch):
    """All at once is memory for each observation, and seconds for each class in which nothing can be cancelled."""
    fourier, weights = Fourier.draw(KERNEL, 2, 50, torch.Generator().manual_seed(1)), torch.ones(50, 3).double()

    def by(block: int) -> tuple[torch.Tensor, int]:
        ticks: list[None] = []
        monkeypatch.setattr(pathwise, "BLOCK", block)
        generator = torch.Generator().manual_seed(2)
        observed = Observed(KERNEL, fourier, places[:4], places, NOISE, lambda: ticks.append(None))
        return observed.weights(weights, OUTPUT, generator), len(ticks)

    (at_once, _), (in_blocks, ticks) = by(12), by(5)
    assert torch.allclose(at_once, in_blocks, rtol=1e-6)
    assert ticks >= 3


def test_the_targets_are_moments_of_the_logarithm_of_a_gamma_variable():
    """Its mean is alpha, and so is its variance: those of the log-normal variable with these moments."""
    means, variances = dirichlet_targets(torch.tensor([[True, False]]))
    for mean, variance, alpha in zip(means[0], variances[0], (1.01, 0.01), strict=True):
        drawn = torch.distributions.LogNormal(mean, variance.sqrt())
        assert float(drawn.mean) == pytest.approx(alpha)
        assert float(drawn.variance) == pytest.approx(alpha)


def test_the_kernel_makes_the_answers_likelier_than_the_one_it_began_with(generator):
    x = torch.rand((60, 2), generator=generator, dtype=torch.float64)
    labels = (x[:, 0] > 0.5).long()
    kernel, means, notes = find_kernel(x, labels, 2, generator, ignore)
    assert notes == []
    targets, variances = dirichlet_targets(labels == torch.arange(2).unsqueeze(1))

    def likelihood(each: Kernel) -> float:
        normal = torch.distributions.MultivariateNormal
        covariances = [each(x, x) + torch.diag(variance) for variance in variances]
        return sum(
            float(normal(mean.expand(60), covariance).log_prob(target))
            for mean, covariance, target in zip(means, covariances, targets, strict=True)
        )

    assert likelihood(kernel) > likelihood(Kernel(np.log(2), np.log(2))) + 1


def test_of_many_classes_the_kernel_is_found_with_some_and_says_so(generator, monkeypatch):
    """Each class is a problem of its own: all 1,000 together took gigabytes and did not end."""
    sizes, search = [], gaussian_process._search

    def watched(x, is_answer, report):
        sizes.append((tuple(is_answer.shape), int(is_answer.sum())))
        return search(x, is_answer, report)

    monkeypatch.setattr(gaussian_process, "_search", watched)
    x = torch.nn.functional.normalize(torch.rand((300, 8), generator=generator, dtype=torch.float64), dim=1)
    labels = torch.cat([torch.arange(20).repeat_interleave(10), torch.arange(100) + 400])
    _, means, notes = find_kernel(x, labels, 1000, generator, ignore)
    assert sizes[0][0] == (20, 200) and sizes[0][1] > 100  # of 200 answers those of the large classes
    assert notes == ["approximate: the kernel is found with 20 of 1,000 classes"]
    assert means.shape == (1000,) and bool(means.isfinite().all())
    assert len(means[600:].unique()) == 1
    assert float(means[:20].mean()) > float(means[600]) + 0.05  # classes with answers are likelier anywhere


def test_the_likeliest_mean_is_the_likeliest(places):
    is_answer = torch.arange(12) < 4
    targets, variances = dirichlet_targets(is_answer)
    covariance = KERNEL(places, places) + torch.diag(variances)
    best = likeliest_mean(KERNEL(places, places), is_answer)
    costs = [
        -float(torch.distributions.MultivariateNormal(torch.full((12,), mean).double(), covariance).log_prob(targets))
        for mean in (best, best - 0.01, best + 0.01)
    ]
    assert costs[0] < min(costs[1:])


def test_jitter_where_the_search_for_the_kernel_ended_is_said(generator, monkeypatch):
    monkeypatch.setattr(gaussian_process, "CONCENTRATION", 1e25)  # no noise: equal images have equal values
    x = torch.ones((40, 2), dtype=torch.float64)
    with gpytorch.settings.min_fixed_noise(double_value=1e-30):
        _, _, notes = find_kernel(x, torch.arange(40) % 2, 2, generator, ignore)
    assert len(notes) == 1 and "added jitter of" in notes[0]


def test_facts(fitted, digits):
    log_probs = fitted.sample_log_probs(digits[0][60:260])
    assert torch.allclose(log_probs.exp().sum(-1), torch.ones(200, 30), atol=1e-4)
    values = measure(summarise(log_probs))
    assert bool((values["mutual_information"] <= values["predictive_entropy"] + 1e-5).all())
    assert (log_probs.exp().mean(1).argmax(1).numpy() == digits[1][60:260]).mean() > 0.6
    parts = torch.cat([fitted.sample_log_probs(digits[0][i : i + 1]) for i in range(60, 70)])
    assert torch.allclose(log_probs[:10], parts, atol=1e-3)


def test_it_is_surer_of_what_it_has_seen_than_of_noise(fitted, digits):
    noise = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    seen, strange = (measure(summarise(fitted.sample_log_probs(x))) for x in (digits[0][:60], noise))
    assert strange["predictive_entropy"].mean() > 2 * seen["predictive_entropy"].mean()


def test_it_comes_back_from_disk_the_same(fitted, digits, quick, tmp_path):
    again = GaussianProcess.load(tmp_path, fitted.save(tmp_path), replace(quick, estimator="gaussian_process"))
    assert torch.equal(fitted.sample_log_probs(digits[0][:30]), again.sample_log_probs(digits[0][:30]))


def test_the_same_seed_gives_the_same_functions_and_another_others(make_chunks, digits, quick):
    pool = Pool(make_chunks(digits[0][:40]))

    def fit(seed: int) -> torch.Tensor:
        config = replace(quick, seed=seed, recipe=Recipe(steps=2))
        return GaussianProcess.fit(pool, np.arange(20), digits[1][:20], config, ignore).sample_log_probs(digits[0][:5])

    assert torch.equal(fit(1), fit(1))
    assert not torch.equal(fit(1), fit(2))


def test_past_the_limit_it_goes_by_inducing_points(make_chunks, digits, quick, monkeypatch):
    monkeypatch.setattr(gaussian_process, "EXACT_LABELS", 40)
    pool = Pool(make_chunks(digits[0][:400]))
    config = replace(quick, posterior_samples=20, recipe=Recipe(steps=80))
    estimator = GaussianProcess.fit(pool, np.arange(200), digits[1][:200], config, ignore)
    assert len(estimator.places_Z_D) == 40
    probs = estimator.sample_log_probs(digits[0][200:400]).exp().mean(1)
    assert (probs.argmax(1).numpy() == digits[1][200:400]).mean() > 0.7


@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0, 1], list(range(10))])
def test_few_answers_one_sample_and_equal_images_that_disagree(make_chunks, digits, quick, labels):
    config = replace(quick, posterior_samples=1, recipe=Recipe(steps=2))
    pixels = np.repeat(digits[0][:1], 20, axis=0)
    estimator = GaussianProcess.fit(Pool(make_chunks(pixels)), np.arange(len(labels)), np.array(labels), config, ignore)
    assert estimator.sample_log_probs(pixels[:1]).shape == (1, 1, 10)
    assert bool(estimator.sample_log_probs(np.zeros_like(pixels)).isfinite().all())


def test_a_thousand_classes_fit_with_few_samples_and_are_refused_with_many(make_chunks, digits, quick):
    pool = Pool(make_chunks(digits[0][:20]))
    config = replace(quick, n_classes=1000, posterior_samples=2, recipe=Recipe(steps=2))
    estimator = GaussianProcess.fit(pool, np.arange(20), np.arange(20) * 50, config, ignore)
    assert estimator.sample_log_probs(digits[0][:2]).shape == (2, 2, 1000)
    with pytest.raises(LearnerError, match=r"1000 posterior samples of 1000 classes need .* GiB; take 128 or fewer"):
        GaussianProcess.fit(pool, np.arange(20), np.arange(20), replace(config, posterior_samples=1000), ignore)


def test_a_kernel_that_is_not_positive_definite_says_what_to_do(make_chunks, digits, quick, monkeypatch):
    monkeypatch.setattr(pathwise, "JITTER", -10)
    with pytest.raises(LearnerError, match=r"kernel is not positive definite; take more answers, or another posterior"):
        GaussianProcess.fit(Pool(make_chunks(digits[0][:20])), np.arange(20), digits[1][:20], quick, ignore)


def test_features_that_are_not_finite_say_what_to_do(generator):
    x = torch.full((5, 2), float("nan"), dtype=torch.float64)
    with pytest.raises(LearnerError, match="puts out is not finite; take more answers"):
        find_kernel(x, torch.tensor([0, 1, 0, 1, 0]), 2, generator, ignore)


@pytest.mark.parametrize(("phase", "least"), [("features", 1), ("kernel", 3), ("draw", 2)])
def test_it_can_be_cancelled_in_every_phase(make_chunks, digits, quick, abort_at, phase, least):
    report, pool = abort_at(phase, least), Pool(make_chunks(digits[0][:20]))
    with pytest.raises(report.error, match=phase):
        GaussianProcess.fit(pool, np.arange(20), digits[1][:20], replace(quick, recipe=Recipe(steps=1)), report)
