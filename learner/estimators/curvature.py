"""The curvature of a trained network's loss in its weights, in Kronecker factors, by `laplace-torch`."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from learner.background import in_background
from learner.config import Report
from learner.errors import LearnerError
from learner.vision import torchvision

BATCH = 256  # images at a time
PRECISIONS = (1e-4, 1e6)
ROUNDING = 1e-3  # of the norm of a factor, in single precision
WAY_OUT = "take more answers, or another posterior in the settings"


@dataclass(frozen=True)
class KroneckerFactors:
    """The curvature of one linear layer, H = B (x) A for its weights and B for its biases, by eigenvalues and vectors.

    Args:
        values_out: Eigenvalues of B, `[out]`.
        vectors_out: Their vectors, in columns, `[out, out]`.
        values_in: Eigenvalues of A, `[in]`.
        vectors_in: `[in, in]`.
        bias_values: Eigenvalues of the biases' block, `[out]`.
        bias_vectors: `[out, out]`.
    """

    values_out: Tensor
    vectors_out: Tensor
    values_in: Tensor
    vectors_in: Tensor
    bias_values: Tensor
    bias_vectors: Tensor

    NAMES: ClassVar = ("values_out", "vectors_out", "values_in", "vectors_in", "bias_values", "bias_vectors")

    def tensors(self) -> dict[str, Tensor]:
        """All parts by name, as `safetensors` takes them."""
        return {name: getattr(self, name).contiguous().cpu() for name in self.NAMES}

    def eigenvalues(self) -> Tensor:
        """Of the whole block, in no order, `[out * in + out]`."""
        return torch.cat([torch.outer(self.values_out, self.values_in).flatten(), self.bias_values])

    def draw(self, n_samples: int, precision: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Deviations from the trained weights, drawn from N(0, (H + precision I)^-1).

        Args:
            n_samples: K.
            precision: Of the prior, above 0.
            generator: A CPU generator.

        Returns:
            `[K, out, in]` for the weights and `[K, out]` for the biases.
        """
        n_out, n_in = len(self.values_out), len(self.values_in)
        noise_K_out_in = torch.randn((n_samples, n_out, n_in), generator=generator)
        noise_K_out_in *= (torch.outer(self.values_out, self.values_in) + precision).rsqrt()
        noise_K_out = torch.randn((n_samples, n_out), generator=generator) * (self.bias_values + precision).rsqrt()
        return self.vectors_out @ (noise_K_out_in @ self.vectors_in.T), noise_K_out @ self.bias_vectors.T


class Batches:
    """Images on their way into some layers, a minibatch at a time; what `laplace-torch` takes for a data loader.

    Args:
        inputs: Makes `[m, D]` of positions `[m]`.
        positions: int64 `[M]`.
        labels: int64 `[M]`.
        report: Called with the phase `"curvature"` at the start and after every minibatch.
    """

    def __init__(
        self,
        inputs: Callable[[npt.NDArray[np.int64]], Tensor],
        positions: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        report: Report,
    ) -> None:
        self.inputs, self.dataset, self.labels, self.report = inputs, positions, labels, report

    def tick(self) -> None:
        """Report that nothing has been seen yet."""
        self.report("curvature", 0, len(self.dataset))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        total = len(self.dataset)
        for start in range(0, total, BATCH):
            part = slice(start, min(start + BATCH, total))
            inputs_m_D = self.inputs(self.dataset[part])
            yield inputs_m_D, torch.from_numpy(self.labels[part]).to(inputs_m_D.device)
            self.report("curvature", part.stop, total)


def kronecker_factors(layers: Sequence[nn.Linear], batches: Batches) -> list[KroneckerFactors]:
    """The generalised Gauss-Newton matrix of the cross entropy, summed over some images.

    Args:
        layers: Linear layers that follow each other with ReLUs between; the last one gives the logits.
        batches: What goes into the first of them, with the labels.

    Returns:
        The factors of each layer, first to last, on the CPU.

    Raises:
        LearnerError: If the curvature is not finite, or not positive semidefinite by more than rounding.

    Reference:
        Martens and Grosse, 2015, Optimizing neural networks with Kronecker-factored approximate curvature, section 3.
    """
    batches.tick()
    laplace = in_background(_library, batches.tick)
    parts = [part for layer in layers for part in (layer, nn.ReLU())][:-1]
    model = laplace.Laplace(
        nn.Sequential(*parts), "classification", subset_of_weights="all", hessian_structure="kron",
        backend=importlib.import_module("laplace.curvature").CurvlinopsGGN,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, about its own use of torch
        try:
            model.fit(batches)
        except SystemExit:  # what the library does when a factor has no eigenvalues
            raise LearnerError(f"Laplace: the curvature of the loss has no eigenvalues; {WAY_OUT}") from None
    values, vectors = (
        model.H.eigenvalues,
        model.H.eigenvectors,
    )  # of a layer's weights, of its biases, of the next one's
    for block, block_values, block_vectors in zip(model.H_facs.kfacs, values, vectors, strict=True):
        for part in zip(block, block_values, block_vectors, strict=True):
            _check_decomposition(*part)
    factors = []
    for weights, biases in zip(range(0, len(values), 2), range(1, len(values), 2), strict=True):
        both = zip((*values[weights], *values[biases]), (*vectors[weights], *vectors[biases]), strict=True)
        factors.append(KroneckerFactors(*(_checked(part) for pair in both for part in pair)))
    return factors


def best_precision(layers: Sequence[nn.Linear], factors: Sequence[KroneckerFactors]) -> float:
    """The precision of an isotropic prior around 0 that the marginal likelihood prefers, 1e-4 to 1e6.

    Of log p(D) ~ log p(D | w) - (precision |w|^2 + log det(H + precision I) - P log precision) / 2 only the bracket
    depends on it. It is searched on a grid of logarithms, three times, finer each time; nothing is trained again.

    Args:
        layers: At their trained weights.
        factors: Their curvature.

    Raises:
        LearnerError: If the marginal likelihood is nowhere finite.

    Reference:
        MacKay, 1992, Bayesian interpolation, section 4; Immer et al., 2021, Scalable marginal likelihood estimation for
        model selection in deep learning, equation 6.
    """
    with torch.no_grad():
        squares = float(sum(weights.double().square().sum() for layer in layers for weights in layer.parameters()))
        eigenvalues = torch.cat([each.eigenvalues() for each in factors]).double()
        low, high = (math.log(bound) for bound in PRECISIONS)
        for _ in range(3):
            grid = torch.linspace(low, high, 41, dtype=torch.float64)
            costs = torch.stack([each.exp() * squares + (eigenvalues / each.exp()).log1p().sum() for each in grid])
            if not bool(costs.isfinite().any()):
                raise LearnerError(f"Laplace: the marginal likelihood is not finite; {WAY_OUT}")
            best = int(costs.nan_to_num(nan=math.inf).argmin())
            low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, 40)])
    return math.exp(float(grid[best]))


def _library() -> Any:
    """`laplace-torch`; its first import in a process takes seconds."""
    torchvision()  # laplace-torch imports it, and beside a CPU-only torch that needs help
    importlib.import_module("laplace.curvature")
    return importlib.import_module("laplace")


def _check_decomposition(factor: Tensor, values: Tensor, vectors: Tensor) -> None:
    """Refuse what the library made of a factor that has negative eigenvalues: it makes them 0 without a word."""
    _checked(factor)
    far = float(torch.linalg.norm(vectors * values @ vectors.T - factor))
    if not far <= ROUNDING * float(torch.linalg.norm(factor)):
        raise LearnerError(f"Laplace: the curvature of the loss is not positive semidefinite; {WAY_OUT}")


def _checked(part: Tensor) -> Tensor:
    if not bool(part.isfinite().all()):
        raise LearnerError(f"Laplace: the curvature of the loss is not finite; {WAY_OUT}")
    return part.detach().float().cpu().contiguous()  # so that what is read back multiplies to the same bits
