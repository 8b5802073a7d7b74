"""A Gaussian process on the last hidden layer of a network: sure near what it has seen, unsure far from it.

Classification is made regression: an answer is a sample of a Dirichlet distribution, whose logarithms are nearly
normal, with a variance of their own for each class and image. So the posterior is exact. `gpytorch` finds the kernel;
the K samples are functions (`learner.estimators.pathwise`).

Reference:
    Milios, Camoriano, Michiardi, Rosasco, Filippone, 2018, Dirichlet-based Gaussian processes for large-scale
    calibrated classification, equations 6 and 7.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any, Self

import gpytorch
import numpy as np
import numpy.typing as npt
import torch
from linear_operator.utils.errors import NotPSDError
from linear_operator.utils.warnings import NumericalWarning
from safetensors.torch import load_file
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]
from torch.nn import functional

from learner.config import Report, RoundConfig
from learner.errors import LearnerError
from learner.estimators.pathwise import Fourier, Kernel, Observed, Output
from learner.estimators.weights import facts_of, read_network, write_network, write_tensors
from learner.fit import fit_network
from learner.network import Network, activation_floats
from learner.pool import Inputs, Pool
from learner.seeds import derive

CONCENTRATION = 0.01  # of the Dirichlet distribution before any answer
EXACT_LABELS = 2000  # more answers than these act through as many inducing points
KERNEL_LABELS, KERNEL_CLASSES = 200, 20  # answers and classes that the kernel is found with
KERNEL_STEPS, KERNEL_RATE = 60, 0.1
FOURIER_FEATURES = 1024
MOST_FLOATS = 128 * 2**20  # of all weights: classes, samples, places
MEMORY_FLOATS = 64 * 2**20 // 4
BATCH = 256
WAY_OUT = "take more answers, or another posterior in the settings"


class GaussianProcess:
    """A trained network without its last layer, and K functions for each class on what it puts out.

    Args:
        network: The trained network; of its head the last layer is not used.
        parts: `frequencies [D, L]`, `phases [L]`, `places [Z, D]`, `prior [C, L, K]`, `correction [C, Z, K]`,
            `means [C]`.
        saved: What `save` shall return.
    """

    WEIGHTS = "model.safetensors"
    FUNCTIONS = "functions.safetensors"

    def __init__(self, network: Network, parts: dict[str, Tensor], saved: dict[str, Any]) -> None:
        self.network, self.parts, self.saved = network, parts, saved
        self.device = next(network.parameters()).device
        on_device = {name: part.to(self.device) for name, part in parts.items()}
        self.kernel = Kernel(saved["lengthscale"], saved["scale"])
        self.fourier = Fourier(on_device["frequencies"], on_device["phases"], saved["scale"])
        self.places_Z_D, self.means_C_1_1 = on_device["places"], on_device["means"].view(-1, 1, 1)
        prior_C_L_K, correction_C_Z_K = on_device["prior"], on_device["correction"]
        self.n_classes, n_fourier, self.n_samples = prior_C_L_K.shape
        size = (self.n_classes, self.n_samples, n_fourier + len(self.places_Z_D))
        weights_C_K_F = torch.empty(size, device=self.device)  # filled in place: with many classes it is large
        weights_C_K_F[:, :, :n_fourier] = prior_C_L_K.transpose(1, 2)
        weights_C_K_F[:, :, n_fourier:] = correction_C_Z_K.transpose(1, 2)
        self.weights_CK_F = weights_C_K_F.flatten(0, 1)
        shape = tuple(saved["shape"])
        floats = activation_floats(network, shape) + self.weights_CK_F.shape[1] * 2 + 6 * len(self.weights_CK_F)
        self.minibatch = int(np.clip(MEMORY_FLOATS // floats, 1, 256))

    @classmethod
    def fit(
        cls,
        pool: Pool,
        positions: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        config: RoundConfig,
        report: Report,
    ) -> Self:
        """Train the network, find the kernel, draw the functions; see `Estimator.fit`.

        Raises:
            LearnerError: If the samples of all classes would not fit into memory, or a matrix is not positive definite.
        """
        n_places = min(len(labels), EXACT_LABELS)
        floats = config.n_classes * config.posterior_samples * (FOURIER_FEATURES + n_places)
        if floats > MOST_FLOATS:
            most = MOST_FLOATS // (config.n_classes * (FOURIER_FEATURES + n_places))
            raise LearnerError(
                f"Gaussian process: {config.posterior_samples} posterior samples of {config.n_classes} classes need "
                f"{floats * 4 / 2**30:.1f} GiB; take {most} or fewer, or another posterior in the settings"
            )
        fitted = fit_network(pool, positions, labels, config, report)
        generator = torch.Generator().manual_seed(derive(config.seed, "posterior samples"))
        x_N_D = _features_of_all(fitted.network, pool, positions, report).double().cpu()
        try:
            kernel, means_C, notes = find_kernel(x_N_D, torch.from_numpy(labels), config.n_classes, generator, report)
            parts = draw_functions(kernel, means_C, x_N_D, torch.from_numpy(labels), config, generator, report)
        except (LinAlgError, NotPSDError) as error:
            raise LearnerError(f"Gaussian process: the kernel is not positive definite; {WAY_OUT}") from error
        if len(labels) > n_places:
            notes.insert(0, f"approximate: {len(labels):,} labels act through {n_places:,} of them")
        saved = {
            **facts_of(fitted, pool.shape),
            "lengthscale": kernel.lengthscale,
            "scale": kernel.scale,
            "notes": notes,
            "files": [cls.WEIGHTS, cls.FUNCTIONS],
        }
        return cls(fitted.network, parts, saved)

    def save(self, directory: Path) -> dict[str, Any]:
        """Write the network and the functions; see `Estimator.save`."""
        write_network(directory / self.WEIGHTS, self.network)
        write_tensors(directory / self.FUNCTIONS, self.parts)
        return self.saved

    @classmethod
    def load(cls, directory: Path, saved: dict[str, Any], config: RoundConfig) -> Self:
        """Read the network and the functions; see `Estimator.load`."""
        network = read_network(directory / cls.WEIGHTS, saved, config)
        return cls(network, load_file(directory / cls.FUNCTIONS), saved)

    def sample_log_probs(self, inputs_M_X: Inputs) -> Tensor:
        """The network and the kernel once, then one product for all classes and samples."""
        with torch.inference_mode():
            return self.log_probs_of(self.network.tensor_of(inputs_M_X))

    def log_probs_of(self, inputs_M_X: Tensor) -> Tensor:
        """See `Estimator.log_probs_of`."""
        x_M_D = hidden_features(self.network, inputs_M_X)
        features_M_F = torch.cat([self.fourier(x_M_D), self.kernel(x_M_D, self.places_Z_D)], 1)
        latent_C_K_M = (self.weights_CK_F @ features_M_F.T).view(self.n_classes, self.n_samples, -1)
        return latent_C_K_M.add_(self.means_C_1_1).log_softmax(0).permute(2, 1, 0)


def hidden_features(network: Network, inputs_M_X: Tensor) -> Tensor:
    """The last hidden layer without dropout, each image's brought to length 1: `[M, D]`."""
    x_M_D = network.features(inputs_M_X)
    for layer in network.head.linears[:-1]:
        x_M_D = layer(x_M_D).relu()
    return functional.normalize(x_M_D, dim=1)


def dirichlet_targets(is_answer: Tensor) -> tuple[Tensor, Tensor]:
    """What the process of a class is to pass through at images that are of it, and at images that are not.

    Args:
        is_answer: bool, of any shape.

    Returns:
        Means and variances of the logarithms, of the same shape, in double precision.
    """
    alpha = CONCENTRATION + is_answer.double()
    variances = (1 / alpha + 1).log()
    return alpha.log() - variances / 2, variances


def find_kernel(
    x_N_D: Tensor, labels_N: Tensor, n_classes: int, generator: torch.Generator, report: Report
) -> tuple[Kernel, Tensor, list[str]]:
    """The kernel, shared by the classes, and each class's mean that make some of the answers most likely.

    Of more than `KERNEL_CLASSES` classes the kernel is found with those that have the most of these answers: each class
    is a problem of its own, as large as the others. The means of the rest are the likeliest under that kernel.

    Args:
        x_N_D: Features in double precision.
        labels_N: Their classes.
        n_classes: C.
        generator: Chooses `KERNEL_LABELS` of the answers where there are more.
        report: Called every step with the phase `"kernel"`.

    Returns:
        The kernel, `means_C`, and notes for people: what was left out, and what it took to compute the last step.

    Raises:
        LearnerError: If the features, or what is found, are not finite.
    """
    if not bool(x_N_D.isfinite().all()):
        raise LearnerError(f"Gaussian process: what the network puts out is not finite; {WAY_OUT}")
    chosen = torch.randperm(len(labels_N), generator=generator)[:KERNEL_LABELS]
    x_n_D, labels_n = x_N_D[chosen], labels_N[chosen]
    counts_C = labels_n.bincount(minlength=n_classes)
    searched = counts_C.argsort(descending=True, stable=True)[:KERNEL_CLASSES].sort().values
    kernel, means_S, notes = _search(x_n_D, labels_n == searched.unsqueeze(1), report)
    means_C = torch.empty(n_classes, dtype=torch.float64)
    if len(searched) < n_classes:
        notes = [f"approximate: the kernel is found with {len(searched)} of {n_classes:,} classes", *notes]
        gram_n_n = kernel(x_n_D, x_n_D)
        means_C[:] = likeliest_mean(gram_n_n, torch.zeros_like(labels_n, dtype=torch.bool))  # of classes without answer
        for c in torch.unique(labels_n):
            means_C[c] = likeliest_mean(gram_n_n, labels_n == c)
    means_C[searched] = means_S
    if not np.isfinite([kernel.lengthscale, kernel.scale]).all() or not bool(means_C.isfinite().all()):
        raise LearnerError(f"Gaussian process: the kernel is not finite; {WAY_OUT}")
    return kernel, means_C, notes


def likeliest_mean(gram_n_n: Tensor, is_answer_n: Tensor) -> float:
    """The constant mean under which what a class is to pass through is likeliest: generalised least squares."""
    targets_n, variances_n = dirichlet_targets(is_answer_n)
    root_n_n = torch.linalg.cholesky(gram_n_n + torch.diag(variances_n))
    weights_n = torch.cholesky_solve(torch.ones_like(targets_n).unsqueeze(1), root_n_n)[:, 0]
    return float(weights_n @ targets_n / weights_n.sum())


def _search(x_n_D: Tensor, is_answer_S_n: Tensor, report: Report) -> tuple[Kernel, Tensor, list[str]]:
    """The likeliest kernel and means by gradient steps; a note where the last step needed jitter."""
    targets_S_n, variances_S_n = dirichlet_targets(is_answer_S_n)
    likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(variances_S_n)
    model = _Process(x_n_D.expand(len(targets_S_n), -1, -1), targets_S_n, likelihood).double()
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=KERNEL_RATE)
    marginal = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    report("kernel", 0, KERNEL_STEPS)
    for step in range(KERNEL_STEPS):
        optimizer.zero_grad()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loss = -marginal(model(*model.train_inputs), targets_S_n).mean()
            loss.backward()
        optimizer.step()
        report("kernel", step + 1, KERNEL_STEPS)
    words = {str(each.message) for each in caught if issubclass(each.category, NumericalWarning)}
    notes = [f"the search for the kernel ended with a warning: {each}" for each in sorted(words)]
    with torch.no_grad():
        kernel = Kernel(model.covar_module.base_kernel.lengthscale.item(), model.covar_module.outputscale.item())
    return kernel, model.mean_module.constant.detach(), notes


def draw_functions(
    kernel: Kernel,
    means_C: Tensor,
    x_N_D: Tensor,
    labels_N: Tensor,
    config: RoundConfig,
    generator: torch.Generator,
    report: Report,
) -> dict[str, Tensor]:
    """K functions for each class; see `GaussianProcess`. Computed in double precision, kept in single."""
    n_classes, n_samples = config.n_classes, config.posterior_samples
    (low, high), (noise_low, noise_high) = (part.tolist() for part in dirichlet_targets(torch.tensor([False, True])))
    fourier = Fourier.draw(kernel, x_N_D.shape[1], FOURIER_FEATURES, generator)
    places_Z_D = x_N_D
    if len(x_N_D) > EXACT_LABELS:
        places_Z_D = x_N_D[torch.randperm(len(x_N_D), generator=generator)[:EXACT_LABELS].sort().values]
    tick = partial(report, "draw", 0, n_classes)
    tick()
    observed = Observed(kernel, fourier, places_Z_D, x_N_D, noise_low, tick)
    prior_C_L_K = torch.empty((n_classes, FOURIER_FEATURES, n_samples))
    correction_C_Z_K = torch.empty((n_classes, len(places_Z_D), n_samples))
    for c, mean in enumerate(means_C.tolist()):
        weights_L_K = torch.randn((FOURIER_FEATURES, n_samples), generator=generator, dtype=torch.float64)
        output = Output(torch.nonzero(labels_N == c)[:, 0], high - mean, noise_high, low - mean)
        prior_C_L_K[c] = weights_L_K
        correction_C_Z_K[c] = observed.weights(weights_L_K, output, generator, partial(report, "draw", c, n_classes))
        report("draw", c + 1, n_classes)
    parts = {
        "frequencies": fourier.frequencies_D_L,
        "phases": fourier.phases_L,
        "places": places_Z_D,
        "prior": prior_C_L_K,
        "correction": correction_C_Z_K,
        "means": means_C,
    }
    return {name: part.float().contiguous() for name, part in parts.items()}


class _Process(gpytorch.models.ExactGP):  # type: ignore[misc]
    """A mean for each class, and one kernel for all; x `[C, N, D]`."""

    def __init__(self, x_C_N_D: Tensor, targets_C_N: Tensor, likelihood: Any) -> None:
        super().__init__(x_C_N_D, targets_C_N, likelihood)
        self.mean_module = gpytorch.means.ConstantMean(batch_shape=targets_C_N.shape[:1])
        self.mean_module.constant.data = targets_C_N.mean(1)
        self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x_C_N_D: Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x_C_N_D), self.covar_module(x_C_N_D))


def _features_of_all(network: Network, pool: Pool, positions: npt.NDArray[np.int64], report: Report) -> Tensor:
    parts = []
    for start in range(0, len(positions), BATCH):
        with torch.inference_mode():
            parts.append(
                hidden_features(network, network.tensor_of(pool.inputs(positions[start : start + BATCH]))).clone()
            )
        report("features", min(start + BATCH, len(positions)), len(positions))
    return torch.cat(parts).clone()
