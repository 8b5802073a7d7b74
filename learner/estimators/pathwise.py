"""Samples of a Gaussian process that are functions: each can be asked at any place, in any order, and stays itself.

A sample of the posterior is a sample of the prior, corrected by what was observed (Matheron's rule):

    f_k(x) = phi(x) w_k + k(x, Z) v_k

with random Fourier features phi for the prior, and weights v_k at the places Z that carry the observations: the
observed places themselves, or fewer of them (inducing points) where there are many observations.

Reference:
    Wilson, Borovitskiy, Terenin, Mostowsky, Deisenroth, 2020, Efficiently sampling functions from Gaussian process
    posteriors, equations 9 and 13; Rahimi and Recht, 2007, Random features for large-scale kernel machines; Titsias,
    2009, Variational learning of inducing variables in sparse Gaussian processes, equation 10.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

JITTER = 1e-6  # of the diagonal, relative to the kernel's scale
BLOCK = 512  # observations that inducing points are told of at a time


@dataclass(frozen=True)
class Kernel:
    """`scale * exp(-|x - y|^2 / (2 lengthscale^2))`."""

    lengthscale: float
    scale: float

    def __call__(self, a_N_D: Tensor, b_M_D: Tensor) -> Tensor:
        """`[N, M]`."""
        squares_N_M = (a_N_D.square().sum(1, keepdim=True) + b_M_D.square().sum(1) - 2 * (a_N_D @ b_M_D.T)).clamp_min(
            0.0
        )
        return squares_N_M.mul_(-0.5 / self.lengthscale**2).exp_().mul_(self.scale)


@dataclass(frozen=True)
class Fourier:
    """Random features of a kernel: `phi(x) phi(y)` is the kernel on average.

    Args:
        frequencies_D_L: L frequencies.
        phases_L: 0 to 2 pi.
        scale: Of the kernel.
    """

    frequencies_D_L: Tensor
    phases_L: Tensor
    scale: float

    @classmethod
    def draw(cls, kernel: Kernel, n_dimensions: int, count: int, generator: torch.Generator) -> Fourier:
        """`count` features, L, from a CPU generator, in double precision."""
        frequencies = torch.randn((n_dimensions, count), generator=generator, dtype=torch.float64) / kernel.lengthscale
        phases = torch.rand(count, generator=generator, dtype=torch.float64) * (2 * math.pi)
        return cls(frequencies, phases, kernel.scale)

    def __call__(self, x_N_D: Tensor) -> Tensor:
        """`[N, L]`."""
        angles_N_L = torch.addmm(self.phases_L, x_N_D, self.frequencies_D_L)
        return angles_N_L.cos_().mul_(math.sqrt(2 * self.scale / len(self.phases_L)))


def posterior_weights(
    kernel: Kernel,
    fourier: Fourier,
    weights_L_K: Tensor,
    places_Z_D: Tensor,
    x_N_D: Tensor,
    targets_N: Tensor,
    noise_N: Tensor,
    generator: torch.Generator,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    """The weights v of Matheron's rule, for one output. Memory does not grow with the observations past the places.

    Args:
        kernel: Of the process.
        fourier: Its features.
        weights_L_K: Standard normal: the samples of the prior.
        places_Z_D: Where the correction stands: `x_N_D` itself for the exact posterior, else inducing points.
        x_N_D: Observed places.
        targets_N: What was observed there.
        noise_N: The variance of each observation, above 0.
        generator: For the observations' noise, or for the inducing values. On the CPU.
        tick: Called as the observations are gone through: with inducing points they may be many.

    Returns:
        `[Z, K]`.

    Raises:
        torch.linalg.LinAlgError: If a matrix is not positive definite even with jitter.
    """
    n_samples = weights_L_K.shape[1]
    if places_Z_D is x_N_D:
        noise_N_K = torch.randn((len(x_N_D), n_samples), generator=generator, dtype=torch.float64)
        residual_N_K = targets_N.unsqueeze(1) - fourier(x_N_D) @ weights_L_K - noise_N.sqrt().unsqueeze(1) * noise_N_K
        gram_N_N = kernel(x_N_D, x_N_D)
        gram_N_N.diagonal().add_(noise_N + JITTER * kernel.scale)
        exact_N_K: Tensor = torch.cholesky_solve(residual_N_K, torch.linalg.cholesky(gram_N_N))
        return exact_N_K
    gram_Z_Z = kernel(places_Z_D, places_Z_D)
    gram_Z_Z.diagonal().add_(JITTER * kernel.scale)
    observed_Z_Z, observed_Z_1 = gram_Z_Z.clone(), torch.zeros((len(places_Z_D), 1), dtype=torch.float64)
    for start in range(0, len(x_N_D), BLOCK):
        part = slice(start, start + BLOCK)
        cross_Z_n = kernel(places_Z_D, x_N_D[part])
        scaled_Z_n = cross_Z_n / noise_N[part]
        observed_Z_Z.addmm_(scaled_Z_n, cross_Z_n.T)
        observed_Z_1 += scaled_Z_n @ targets_N[part].unsqueeze(1)
        tick()
    precision_Z_Z = torch.linalg.cholesky(observed_Z_Z)
    mean_Z_1 = torch.cholesky_solve(observed_Z_1, precision_Z_Z)
    tick()
    # q(u) has mean G mean_Z and covariance G (G + C N^-1 C')^-1 G, so G^-1 u is what is drawn here
    noise_Z_K = torch.randn((len(places_Z_D), n_samples), generator=generator, dtype=torch.float64)
    drawn_Z_K = mean_Z_1 + torch.linalg.solve_triangular(precision_Z_Z.T, noise_Z_K, upper=True)
    prior_Z_K = torch.cholesky_solve(fourier(places_Z_D) @ weights_L_K, torch.linalg.cholesky(gram_Z_Z))
    correction_Z_K: Tensor = drawn_Z_K - prior_Z_K
    return correction_Z_K
