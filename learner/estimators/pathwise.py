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


@dataclass(frozen=True)
class Output:
    """What one output was observed to be: one value at some of the observed places, its members, another elsewhere.

    Args:
        members_n: int64, rows of the observed places, each once; may be empty.
        value: At the members.
        noise: The variance of an observation at a member, above 0.
        elsewhere: The value at all other places; their noise is that of `Observed`.
    """

    members_n: Tensor
    value: float
    noise: float
    elsewhere: float


class Observed:
    """Where a process was observed: what all its outputs share is computed once, so that many of them are cheap.

    An output differs from the shared noise at its members only, so that its matrix is the shared one and a term of
    their rank (Woodbury). Memory does not grow with the observations past the places.

    Args:
        kernel: Of the process.
        fourier: Its features.
        places_Z_D: Where the correction stands: `x_N_D` itself for the exact posterior, else inducing points.
        x_N_D: Observed places.
        noise: The variance of each observation that is no member, above 0.
        tick: Called as the observations are gone through: with inducing points they may be many.

    Raises:
        torch.linalg.LinAlgError: If a matrix is not positive definite even with jitter.
    """

    def __init__(
        self,
        kernel: Kernel,
        fourier: Fourier,
        places_Z_D: Tensor,
        x_N_D: Tensor,
        noise: float,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.kernel, self.places_Z_D, self.x_N_D, self.noise = kernel, places_Z_D, x_N_D, noise
        self.features_Z_L = fourier(places_Z_D)
        gram_Z_Z = kernel(places_Z_D, places_Z_D)
        gram_Z_Z.diagonal().add_(JITTER * kernel.scale)
        self.is_exact = places_Z_D is x_N_D
        if self.is_exact:
            gram_Z_Z.diagonal().add_(noise)
        self.root_Z_Z = torch.linalg.cholesky(gram_Z_Z)
        if not self.is_exact:
            every = torch.arange(len(x_N_D))
            self.precision_Z_Z, self.ones_Z_1 = self._told(gram_Z_Z, every, 1 / noise, tick)
            self.ones_Z_1 /= noise

    def weights(
        self, prior_L_K: Tensor, output: Output, generator: torch.Generator, tick: Callable[[], None] = lambda: None
    ) -> Tensor:
        """The weights v of Matheron's rule, for one output.

        Args:
            prior_L_K: Standard normal: the samples of the prior.
            output: What was observed.
            generator: For the observations' noise, or for the inducing values. On the CPU.
            tick: As for all outputs.

        Returns:
            `[Z, K]`.

        Raises:
            torch.linalg.LinAlgError: If a matrix is not positive definite.
        """
        prior_Z_K = self.features_Z_L @ prior_L_K
        noise_Z_K = torch.randn(prior_Z_K.shape, generator=generator, dtype=torch.float64)
        if self.is_exact:
            return self._exact(prior_Z_K, noise_Z_K, output)
        return self._induced(prior_Z_K, noise_Z_K, output, tick)

    def _exact(self, prior_N_K: Tensor, noise_N_K: Tensor, output: Output) -> Tensor:
        members, n_samples = output.members_n, prior_N_K.shape[1]
        values_N_1 = torch.full((len(prior_N_K), 1), output.elsewhere, dtype=torch.float64)
        noise_N_1 = torch.full_like(values_N_1, self.noise)
        values_N_1[members], noise_N_1[members] = output.value, output.noise
        residual_N_K = values_N_1 - prior_N_K - noise_N_1.sqrt() * noise_N_K
        units_N_n = torch.zeros((len(prior_N_K), len(members)), dtype=torch.float64)
        units_N_n[members, torch.arange(len(members))] = 1
        solved = torch.cholesky_solve(torch.cat([residual_N_K, units_N_n], 1), self.root_Z_Z)
        solved_N_K, columns_N_n = solved[:, :n_samples], solved[:, n_samples:]
        change = output.noise - self.noise
        small_n_n = torch.eye(len(members), dtype=torch.float64) + change * columns_N_n[members]
        exact_N_K: Tensor = solved_N_K - columns_N_n @ torch.linalg.solve(small_n_n, change * solved_N_K[members])
        return exact_N_K

    def _induced(self, prior_Z_K: Tensor, noise_Z_K: Tensor, output: Output, tick: Callable[[], None]) -> Tensor:
        members, change = output.members_n, 1 / output.noise - 1 / self.noise
        precision_Z_Z, sum_Z_1 = self._told(self.precision_Z_Z, members, change, tick)
        observed_Z_1 = output.elsewhere * self.ones_Z_1
        observed_Z_1 += (output.value / output.noise - output.elsewhere / self.noise) * sum_Z_1
        root_Z_Z = torch.linalg.cholesky(precision_Z_Z)
        mean_Z_1 = torch.cholesky_solve(observed_Z_1, root_Z_Z)
        tick()
        # q(u) has mean G mean_Z and covariance G (G + C N^-1 C')^-1 G, so G^-1 u is what is drawn here
        drawn_Z_K = mean_Z_1 + torch.linalg.solve_triangular(root_Z_Z.T, noise_Z_K, upper=True)
        correction_Z_K: Tensor = drawn_Z_K - torch.cholesky_solve(prior_Z_K, self.root_Z_Z)
        return correction_Z_K

    def _told(self, start_Z_Z: Tensor, rows: Tensor, factor: float, tick: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """`start + factor C C'` and `C 1` of what some observations have in common with the places, in blocks."""
        told_Z_Z, sum_Z_1 = start_Z_Z.clone(), torch.zeros((len(start_Z_Z), 1), dtype=torch.float64)
        for block in torch.split(rows, BLOCK):
            cross_Z_n = self.kernel(self.places_Z_D, self.x_N_D[block])
            told_Z_Z.addmm_(cross_Z_n, cross_Z_n.T, alpha=factor)
            sum_Z_1 += cross_Z_n.sum(1, keepdim=True)
            tick()
        return told_Z_Z, sum_Z_1
