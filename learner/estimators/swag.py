"""SWAG: a Gaussian through the weights that stochastic gradient descent wanders over once it has arrived.

Only the head wanders; the trunk stays as it was trained, so that it runs once an image. Its normalisation layers, if it
has any, keep the statistics of those weights; a head with such layers is refused: each sample would need its own.

Reference:
    Maddox, Izmailov, Garipov, Vetrov, Wilson, 2019, A simple baseline for Bayesian uncertainty in deep learning,
    algorithm 1 and equation 1; on a part of the network: Izmailov et al., 2019, Subspace inference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from learner.config import Report, RoundConfig
from learner.errors import DivergedError, LearnerError
from learner.estimators.layers import SampledLayers
from learner.estimators.weights import facts_of, read_network, write_network, write_tensors
from learner.fit import Minibatches, fit_network
from learner.network import Head, Network, activation_floats, build
from learner.pool import Inputs, Pool
from learner.seeds import derive

MEMORY_FLOATS = 64 * 2**20 // 4
MOST_SAMPLED_FLOATS = 128 * 2**20
RANK = 20  # deviations that are kept
EVERY = 10  # steps between two looks at the weights
LEAST_STEPS = 2 * RANK * EVERY
RATE, MOMENTUM = 0.02, 0.9


class Swag:
    """A trunk, and K samples of the head's weights.

    Args:
        network: The trunk as trained, the head at the mean of where it wandered.
        parts: `mean [P]`, `variance [P]`, `deviations [R, P]` of the head's weights.
        config: Seed, K.
        saved: What `save` shall return.
    """

    WEIGHTS, MOMENTS = "model.safetensors", "moments.safetensors"

    def __init__(self, network: Network, parts: dict[str, Tensor], config: RoundConfig, saved: dict[str, Any]) -> None:
        self.network, self.parts, self.saved = network, parts, saved
        self.device = next(network.parameters()).device
        generator = torch.Generator().manual_seed(derive(config.seed, "posterior samples"))
        weights_K_P = draw_weights(parts, config.posterior_samples, generator).to(self.device)
        self.sampled = SampledLayers(split_weights(network.head, weights_K_P))
        floats = activation_floats(network, tuple(saved["shape"])) + self.sampled.floats_an_image
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
        """Train the network, then let its head wander at a constant rate; see `Estimator.fit`.

        Raises:
            LearnerError: If the head has normalisation layers, or K samples of it do not fit into memory.
            DivergedError: If the loss or the weights stop being finite.
        """
        head = build(config.architecture, pool.shape, config.n_classes, input_mean=[0.0], input_std=[1.0]).head
        check_head(head, config.posterior_samples)
        fitted = fit_network(pool, positions, labels, config, report)
        generator = torch.Generator().manual_seed(derive(config.seed, "swag"))
        steps = max(LEAST_STEPS, fitted.steps // 2)
        minibatches = Minibatches(fitted.network, pool, positions, labels, config.recipe, generator)
        parts = wander(fitted.network, minibatches, steps, report)
        saved = {
            **facts_of(fitted, pool.shape),
            "steps": fitted.steps + steps,
            "files": [cls.WEIGHTS, cls.MOMENTS],
        }
        return cls(fitted.network, parts, config, saved)

    def save(self, directory: Path) -> dict[str, Any]:
        """Write weights and moments; the samples are drawn again from the seed. See `Estimator.save`."""
        write_network(directory / self.WEIGHTS, self.network)
        write_tensors(directory / self.MOMENTS, self.parts)
        return self.saved

    @classmethod
    def load(cls, directory: Path, saved: dict[str, Any], config: RoundConfig) -> Self:
        """Read weights and moments; see `Estimator.load`."""
        network = read_network(directory / cls.WEIGHTS, saved, config)
        return cls(network, load_file(directory / cls.MOMENTS), config, saved)

    def sample_log_probs(self, inputs_M_X: Inputs) -> Tensor:
        """The trunk once, the head K times; see `Estimator.sample_log_probs`."""
        with torch.inference_mode():
            return self.log_probs_of(self.network.tensor_of(inputs_M_X))

    def log_probs_of(self, inputs_M_X: Tensor) -> Tensor:
        """See `Estimator.log_probs_of`."""
        return self.sampled.logits(self.network.features(inputs_M_X)).log_softmax(1).permute(2, 0, 1)


def check_head(head: Head, n_samples: int) -> None:
    """Refuse what SWAG cannot do here.

    Raises:
        LearnerError: If the head has layers with statistics of their own, or K samples of its weights are too many.
    """
    if any(isinstance(module, nn.modules.batchnorm._NormBase) for module in head.modules()):
        raise LearnerError(
            "SWAG: the head has normalisation layers, whose statistics each sample would need anew; "
            "take another network or another posterior in the settings"
        )
    floats = sum(weights.numel() for weights in head.parameters()) * n_samples
    if floats > MOST_SAMPLED_FLOATS:
        most = MOST_SAMPLED_FLOATS * n_samples // floats
        raise LearnerError(
            f"SWAG: {n_samples} posterior samples of the head need {floats * 4 / 2**30:.1f} GiB; take {most} or "
            "fewer, or another posterior in the settings"
        )


def wander(network: Network, minibatches: Minibatches, steps: int, report: Report) -> dict[str, Tensor]:
    """Let the head go on at a constant rate, and look at its weights every `EVERY` steps.

    Args:
        network: Trained; its head ends at the mean of what was seen.
        minibatches: Of the same network.
        steps: How many, at least `LEAST_STEPS`.
        report: Called every step with the phase `"swag"`.

    Returns:
        `mean [P]`, `variance [P]` and the last `deviations [R, P]` from the mean of that moment, on the CPU.

    Raises:
        DivergedError: If the loss or the weights stop being finite.
    """
    parameters = list(network.head.parameters())
    for weights in network.trunk.parameters():
        weights.requires_grad_(False)
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM, weight_decay=minibatches.recipe.weight_decay)
    seen, mean, square = 0, torch.zeros(0), torch.zeros(0)
    deviations: list[Tensor] = []
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        minibatches.loss(step).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % EVERY == 0:
            now = torch.cat([weights.detach().flatten() for weights in parameters]).cpu().double()
            mean = (seen * mean + now) / (seen + 1) if seen else now
            square = (seen * square + now.square()) / (seen + 1) if seen else now.square()
            seen += 1
            deviations = [*deviations[-(RANK - 1) :], now - mean]
        report("swag", step + 1, steps)
    if not bool(square.isfinite().all()):
        raise DivergedError(
            "the weights ran away at the constant rate; the last model stays in charge; take more answers, or "
            "another posterior in the settings"
        )
    nn.utils.vector_to_parameters(mean.float().to(parameters[0].device), parameters)
    return {
        "mean": mean.float(),
        "variance": (square - mean.square()).clamp_min(0.0).float(),
        "deviations": torch.stack(deviations).float(),
    }


def draw_weights(parts: dict[str, Tensor], n_samples: int, generator: torch.Generator) -> Tensor:
    """`[K, P]` from N(mean, diag(variance) / 2 + D D' / (2 (R - 1)))."""
    rank, count = parts["deviations"].shape
    diagonal_K_P = torch.randn((n_samples, count), generator=generator) * parts["variance"].sqrt()
    low_rank_K_P = torch.randn((n_samples, rank), generator=generator) @ parts["deviations"] / (rank - 1) ** 0.5
    drawn_K_P: Tensor = parts["mean"] + (diagonal_K_P + low_rank_K_P) / 2**0.5
    return drawn_K_P


def split_weights(head: Head, weights_K_P: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Samples of all weights of a head in one row each, as `[K, out, in]` and `[K, out]` of each layer."""
    parts, start = [], 0
    for layer in head.linears:
        end = start + layer.weight.numel()
        weights = weights_K_P[:, start:end].view(-1, *layer.weight.shape)
        start = end + layer.out_features
        parts.append((weights.contiguous(), weights_K_P[:, end:start].contiguous()))
    return parts
