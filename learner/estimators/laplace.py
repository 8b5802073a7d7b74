"""Laplace's approximation: a Gaussian around the trained weights, as wide as the curvature of the loss allows.

Small networks of linear layers get it over all weights, others over their last layer. `laplace-torch` takes the
curvature; the K samples of the weights are drawn here, once, so that every chunk and every worker sees the same K
functions. The library's own predictive would build a Jacobian for every image.

Reference:
    MacKay, 1992, A practical Bayesian framework for backpropagation networks; Ritter, Botev, Barber, 2018, A scalable
    Laplace approximation for neural networks, equation 8 (Kronecker factors); Immer, Korzepa, Bauer, 2021, Improving
    predictions of Bayesian neural nets via local linearization, equation 9 (the linearised network); Daxberger et al.,
    2021, Laplace redux.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from learner.background import in_background
from learner.config import LAPLACE_PRIORS, Report, RoundConfig
from learner.errors import check_known
from learner.estimators.curvature import Batches, KroneckerFactors, best_precision, kronecker_factors
from learner.estimators.layers import LinearisedLayers
from learner.estimators.weights import facts_of, read_network, write_network, write_tensors
from learner.fit import Fitted, fit_network
from learner.network import Network, activation_floats, linear_layers
from learner.pool import Inputs, Pool, Shape
from learner.seeds import derive

MOST_PARAMETERS = 300_000  # of a network whose weights all get a distribution
MOST_SAMPLED_FLOATS = 64 * 2**20  # K samples of all those weights at once
MEMORY_FLOATS = 64 * 2**20 // 4


class Laplace:
    """A network whose weights, or those of its last layer, have a Gaussian distribution with K samples drawn from it.

    Args:
        network: The trained network; dropout was for training only, here it is left out.
        factors: The curvature of the layers that have a distribution: all linear layers, or the last one.
        config: Seed, K.
        shape: X, of one input.
        saved: What `save` shall return.
    """

    WEIGHTS = "model.safetensors"
    FACTORS = "curvature.safetensors"

    def __init__(
        self,
        network: Network,
        factors: Sequence[KroneckerFactors],
        config: RoundConfig,
        shape: Shape,
        saved: dict[str, Any],
    ) -> None:
        self.network, self.factors, self.saved = network, list(factors), saved
        self.device = next(network.parameters()).device
        layers = linear_layers(network)[-len(factors) :]
        generator = torch.Generator().manual_seed(derive(config.seed, "posterior samples"))
        deviations = [
            each.draw(config.posterior_samples, precision, generator)
            for each, precision in zip(self.factors, saved["prior_precisions"], strict=True)
        ]
        self.sampled = LinearisedLayers(
            layers, [(weights.to(self.device), biases.to(self.device)) for weights, biases in deviations]
        )
        floats = activation_floats(network, shape) + self.sampled.floats_an_image
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
        """Train the network, take the curvature at its weights, fit the prior; see `Estimator.fit`.

        The likelihood of the curvature is the plain cross entropy of the labelled images as they are: no augmentation,
        no label smoothing, every image once.
        """
        return cls.around(fit_network(pool, positions, labels, config, report), pool, positions, labels, config, report)

    @classmethod
    def around(
        cls,
        fitted: Fitted,
        pool: Pool,
        positions: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        config: RoundConfig,
        report: Report,
    ) -> Self:
        """The approximation around a network that was trained before, on the same images or others."""
        network = fitted.network
        layers, notes = linear_layers(network), []
        if not covers_all_weights(network, config.posterior_samples):
            if is_linear(network):
                count = sum(weights.numel() for weights in network.parameters())
                notes.append(
                    f"only the last layer has a distribution: {config.posterior_samples:,} samples of all {count:,} "
                    "weights are too many"
                )
            layers = layers[-1:]

        def inputs(some: npt.NDArray[np.int64]) -> Tensor:
            with torch.no_grad():
                return inputs_of(network, network.tensor_of(pool.inputs(some)), len(layers))

        factors = kronecker_factors(layers, Batches(inputs, positions, labels, report))
        saved = {**facts_of(fitted, pool.shape), "notes": notes, "files": [cls.WEIGHTS, cls.FACTORS]}
        return in_background(  # the prior is searched and K samples are drawn: seconds for all weights
            lambda: cls(
                network,
                factors,
                config,
                pool.shape,
                {**saved, "prior_precisions": prior_precisions(config.laplace_prior, layers, factors)},
            ),
            partial(report, "curvature", len(positions), len(positions)),
        )

    def save(self, directory: Path) -> dict[str, Any]:
        """Write weights and curvature; the samples are drawn again from the seed. See `Estimator.save`."""
        write_network(directory / self.WEIGHTS, self.network)
        parts = {f"{i}.{name}": part for i, each in enumerate(self.factors) for name, part in each.tensors().items()}
        write_tensors(directory / self.FACTORS, parts)
        return self.saved

    @classmethod
    def load(cls, directory: Path, saved: dict[str, Any], config: RoundConfig) -> Self:
        """Read weights and curvature, and draw the same samples; see `Estimator.load`."""
        shape = tuple(saved["shape"])
        network = read_network(directory / cls.WEIGHTS, saved, config)
        parts = load_file(directory / cls.FACTORS)
        names = KroneckerFactors.NAMES
        factors = [
            KroneckerFactors(*(parts[f"{i}.{name}"] for name in names)) for i in range(len(saved["prior_precisions"]))
        ]
        return cls(network, factors, config, shape, saved)

    def sample_log_probs(self, inputs_M_X: Inputs) -> Tensor:
        """The deterministic layers once, the others for all samples; see `Estimator.sample_log_probs`."""
        with torch.inference_mode():
            return self.log_probs_of(self.network.tensor_of(inputs_M_X))

    def log_probs_of(self, inputs_M_X: Tensor) -> Tensor:
        """See `Estimator.log_probs_of`."""
        inputs_M_D = inputs_of(self.network, inputs_M_X, len(self.factors))
        return self.sampled.logits(inputs_M_D).log_softmax(1).permute(2, 0, 1)


def inputs_of(network: Network, inputs_M_X: Tensor, n_layers: int) -> Tensor:
    """What goes into the last `n_layers` linear layers, `[M, D]`: those of the head, or all that there are."""
    head = network.head.linears
    if n_layers > len(head):
        return network.normalise(inputs_M_X).flatten(1)
    x_M_D = network.features(inputs_M_X)
    for layer in head[: len(head) - n_layers]:
        x_M_D = layer(x_M_D).relu()
    return x_M_D


def prior_precisions(name: str, layers: Sequence[nn.Linear], factors: Sequence[KroneckerFactors]) -> list[float]:
    """The precision of the prior of each layer's weights, a Gaussian around 0.

    Args:
        name: `"initial_weights"`: as the weights were drawn before training, 3 fan-in. `"marginal_likelihood"`: one for
            all layers, the one that makes the answers most likely. On few answers the latter is far too small (a
            network whose training fits every answer says little about its weights): see docs/log.md.
        layers: At their trained weights.
        factors: Their curvature.

    Raises:
        UnknownNameError: If the name is not known.
        LearnerError: If the marginal likelihood is nowhere finite.
    """
    check_known("prior of Laplace", name, LAPLACE_PRIORS)
    if name == "initial_weights":
        return [3.0 * layer.in_features for layer in layers]
    return [best_precision(layers, factors)] * len(layers)


def covers_all_weights(network: Network, n_samples: int) -> bool:
    """Whether all weights get a distribution: linear layers only, and few enough weights to hold K samples of them."""
    count = sum(weights.numel() for weights in network.parameters())
    return is_linear(network) and count <= MOST_PARAMETERS and count * n_samples <= MOST_SAMPLED_FLOATS


def is_linear(network: Network) -> bool:
    """Whether all layers with weights are linear ones."""
    return not any(isinstance(module, nn.Conv2d) for module in network.modules())
