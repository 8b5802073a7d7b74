"""The plain training loop: a network from scratch on the labels there are."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from learner.augmentation import random_affine
from learner.config import Recipe, Report, RoundConfig
from learner.errors import ConfigError, DivergedError
from learner.network import Network, build
from learner.pool import Pool
from learner.seeds import derive

LEAST_STD = {4: 1e-3, 2: 0.0}  # of pixels and of features, by the dimensions of a minibatch
LEAST_FEATURE_STD = 0.1  # of the root mean square over all features


@dataclass(frozen=True)
class Fitted:
    """A trained network and how it went.

    Args:
        network: On the device that it was trained on.
        input_mean: Over the training images, of each channel, 0 to 255, or of each feature.
        input_std: As `input_mean`.
        steps: Optimiser steps taken.
        loss: Mean cross entropy over the last tenth of the steps, in nats, with smoothing and augmentation.
        seconds: Wall time.
    """

    network: Network
    input_mean: list[float]
    input_std: list[float]
    steps: int
    loss: float
    seconds: float


def choose_device(name: str) -> torch.device:
    """The device of a name of `learner.config.DEVICES`.

    Raises:
        ConfigError: If the named device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(each for each, is_there in there.items() if is_there))
    if not there[name]:
        present = ", ".join(each for each, is_there in there.items() if is_there)
        raise ConfigError(f"the device {name!r} is not on this machine; there: {present}")
    return torch.device(name)


def fit_network(
    pool: Pool,
    positions: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    config: RoundConfig,
    report: Report,
    *,
    stream: str = "fit",
) -> Fitted:
    """Train a network from scratch with AdamW on a one-cycle schedule.

    Each step draws images with replacement (see `Recipe.balance`), so that a class with one example trains as well as
    one with a thousand; each draw is its own affine view. The same arguments give the same weights on a CPU with the
    same number of threads.

    Args:
        pool: Where the pixels or features are.
        positions: int64 `[M]`.
        labels: int64 `[M]`, 0 to C - 1.
        config: Architecture, recipe, seed, device.
        report: Called every step with the phase `"fit"`.
        stream: Names the random stream; an ensemble gives each member its own.

    Raises:
        DivergedError: If loss or weights stop being finite.
        ChunkError: If images cannot be read.

    Reference:
        Loshchilov and Hutter, 2019, Decoupled weight decay regularization; Smith, 2018, Super-convergence.
    """
    started = time.perf_counter()
    recipe, device = config.recipe, choose_device(config.device)
    steps = recipe.steps_for(len(labels))
    report("fit", 0, steps)
    mean, std = input_statistics(pool, positions, config.seed)
    generator = torch.Generator().manual_seed(derive(config.seed, stream))
    network = build(
        config.architecture, pool.shape, config.n_classes, input_mean=mean, input_std=std, generator=generator
    ).to(device)
    losses = _train(network, pool, positions, labels, recipe, steps, generator, report)
    if not all(bool(weights.isfinite().all()) for weights in network.parameters()):
        raise DivergedError(_diverged(steps, "the weights are"))
    loss = float(np.mean(losses[-max(1, steps // 10) :]))
    return Fitted(network, mean, std, steps, loss, time.perf_counter() - started)


def input_statistics(
    pool: Pool, positions: npt.NDArray[np.int64], seed: int, *, most: int = 2048
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over at most `most` of the images: of each channel, 0 to 255, or of each feature.

    A channel without any contrast gets the deviation 1, so that black images are an input like any other. Of features
    none gets less than a tenth of their root mean square deviation (or 1, should that be 0): one that happens to be
    constant over ten training images would otherwise drown all others where it is not.
    """
    chosen = np.random.default_rng(derive(seed, "input statistics")).permutation(len(positions))[:most]
    inputs = pool.inputs(positions[np.sort(chosen)])
    axes = (0, *range(2, inputs.ndim))
    mean, std = inputs.mean(axis=axes, dtype=np.float64), inputs.std(axis=axes, dtype=np.float64)
    if inputs.ndim == 2:
        std = np.maximum(std, LEAST_FEATURE_STD * np.sqrt(np.square(std).mean()))
    return mean.tolist(), np.where(std > LEAST_STD[inputs.ndim], std, 1.0).tolist()


def draw_weights(labels: npt.NDArray[np.int64], balance: float) -> npt.NDArray[np.float64]:
    """The probability of each image to be drawn into a minibatch.

    Args:
        labels: int64 `[M]`.
        balance: 0 draws images alike, 1 draws the classes that occur alike.

    Returns:
        float64 `[M]`, sum 1.

    >>> draw_weights(np.array([0, 0, 0, 1]), 1.0).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    counts = np.bincount(labels)[labels]
    weights = counts.astype(np.float64) ** -balance
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Minibatches:
    """Random minibatches of labelled images, and a network's loss on them. Each image is an affine view of its own;
    feature vectors are taken as they are."""

    network: Network
    pool: Pool
    positions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    recipe: Recipe
    generator: torch.Generator

    def loss(self, step: int) -> Tensor:
        """The mean cross entropy of a new minibatch, in nats, with dropout; to be differentiated.

        Raises:
            DivergedError: If it is not finite; the message names the step.
        """
        device, recipe = next(self.network.parameters()).device, self.recipe
        weights = torch.from_numpy(draw_weights(self.labels, recipe.balance))
        drawn = torch.multinomial(weights, recipe.batch, replacement=True, generator=self.generator).numpy()
        inputs = self.network.normalise(torch.from_numpy(self.pool.inputs(self.positions[drawn])).to(device))
        masks = [mask.to(device) for mask in self.network.head.draw_masks(recipe.batch, self.generator)]
        views = random_affine(inputs, recipe, self.generator) if inputs.ndim == 4 else inputs
        features = self.network.features_of(views)
        target = torch.from_numpy(self.labels[drawn]).to(device)
        loss: Tensor = functional.cross_entropy(
            self.network.head(features, masks), target, label_smoothing=recipe.label_smoothing
        )
        if not bool(loss.isfinite()):
            raise DivergedError(_diverged(step, "loss is"))
        return loss


def _train(
    network: Network,
    pool: Pool,
    positions: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    recipe: Recipe,
    steps: int,
    generator: torch.Generator,
    report: Report,
) -> list[float]:
    minibatches = Minibatches(network, pool, positions, labels, recipe, generator)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=max(steps, 2))
    losses: list[float] = []
    for step in range(steps):
        loss = minibatches.loss(step)
        losses.append(float(loss.detach()))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        report("fit", step + 1, steps)
    return losses


def _diverged(step: int, what: str) -> str:
    return (
        f"the fit diverged at step {step}: {what} not finite; the last model stays in charge; "
        "check the images and labels, or try another network in the settings"
    )
