"""The plain training loop: a network from scratch on the labels there are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from learner.augmentation import random_view
from learner.background import in_background
from learner.config import Recipe, Report, RoundConfig
from learner.errors import ConfigError, DivergedError
from learner.network import Network, build
from learner.pool import Pool
from learner.seeds import derive

LEAST_STD = {4: 1e-3, 2: 0.0}  # of pixels and of features, by the dimensions of a minibatch
NOTHING_LEFT = 1e9  # a deviation by which all of a feature is divided away
HELD_BYTES = 16 * 2**20  # training images up to this are held in memory


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
    report("fit", 0, config.recipe.steps_for(len(labels)))
    minibatches = prepare(pool, positions, labels, config, stream)
    rate = config.recipe.rate_for(pool.shape, config.architecture)
    network, losses = minibatches.network, _train(minibatches, rate, report)
    if not all(bool(weights.isfinite().all()) for weights in network.parameters()):
        raise DivergedError(diverged(len(losses), "the weights are"))
    return fitted_from(network, losses, time.perf_counter() - started)


def prepare(
    pool: Pool, positions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], config: RoundConfig, stream: str
) -> Minibatches:
    """A network at its initial weights, on its device, with the minibatches that it will learn from."""
    mean, std = input_statistics(pool, positions, config.seed, ignored=config.ignored)
    generator = torch.Generator().manual_seed(derive(config.seed, stream))
    network = build(
        config.architecture, pool.shape, config.n_classes, input_mean=mean, input_std=std, generator=generator
    ).to(choose_device(config.device))
    return Minibatches(network, pool, positions, labels, config.recipe, generator)


def fitted_from(network: Network, losses: Sequence[float], seconds: float) -> Fitted:
    """What there is to know of a network that has been trained, from its loss at each step."""
    mean, std = network.mean_X.flatten().tolist(), network.std_X.flatten().tolist()
    return Fitted(network, mean, std, len(losses), float(np.mean(losses[-max(1, len(losses) // 10) :])), seconds)


def input_statistics(
    pool: Pool, positions: npt.NDArray[np.int64], seed: int, *, most: int = 2048, ignored: int = 0
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over at most `most` of the images: of each channel, 0 to 255, or of each feature.

    A channel without any contrast gets the deviation 1, so that black images are an input like any other. All features
    get one deviation, the root of their mean variance (1, should that be 0): features come with a scale, by which they
    count, and of one that hardly varies over ten training images nobody knows how far it goes (docs/log.md). The first
    `ignored` features get a deviation so large that nothing is left of them.
    """
    chosen = np.random.default_rng(derive(seed, "input statistics")).permutation(len(positions))[:most]
    inputs = pool.inputs(positions[np.sort(chosen)])
    axes = (0, *range(2, inputs.ndim))
    mean, std = inputs.mean(axis=axes, dtype=np.float64), inputs.std(axis=axes, dtype=np.float64)
    if inputs.ndim == 2:
        std = np.full_like(std, np.sqrt(np.square(std[ignored:]).mean()))
    std = np.where(std > LEAST_STD[inputs.ndim], std, 1.0)
    std[:ignored] = NOTHING_LEFT
    return mean.tolist(), std.tolist()


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
        views_M_X, masks, target_M = self.draw()
        logits_M_C = self.network.head(self.network.features_of(views_M_X), masks)
        loss: Tensor = functional.cross_entropy(logits_M_C, target_M, label_smoothing=self.recipe.label_smoothing)
        if not bool(loss.isfinite()):
            raise DivergedError(diverged(step, "loss is"))
        return loss

    def draw(self) -> tuple[Tensor, list[Tensor], Tensor]:
        """A new minibatch: normalised views `[M, X]`, the head's dropout masks, classes `[M]`."""
        device, batch = next(self.network.parameters()).device, self.recipe.batch
        drawn = torch.multinomial(self._weights, batch, replacement=True, generator=self.generator).numpy()
        inputs = self.pool.inputs(self.positions[drawn]) if self._held is None else self._held[drawn]
        masks = [mask.to(device) for mask in self.network.head.draw_masks(batch, self.generator)]
        views_M_X = self.network.normalise(torch.from_numpy(inputs).to(device))
        if views_M_X.ndim == 4:
            views_M_X = random_view(views_M_X, self.recipe, self.generator)
        return views_M_X, masks, torch.from_numpy(self.labels[drawn]).to(device)

    @cached_property
    def _weights(self) -> Tensor:
        return torch.from_numpy(draw_weights(self.labels, self.recipe.balance))

    @cached_property
    def _held(self) -> npt.NDArray[Any] | None:
        bytes_each = math.prod(self.pool.shape) * (1 if len(self.pool.shape) == 3 else 4)
        return self.pool.inputs(self.positions) if bytes_each * len(self.positions) <= HELD_BYTES else None


def _train(minibatches: Minibatches, rate: float, report: Report) -> list[float]:
    steps = minibatches.recipe.steps_for(len(minibatches.labels))
    weights, decay = minibatches.network.parameters(), minibatches.recipe.weight_decay
    optimizer, schedule = optimisation(weights, rate, decay, steps, partial(report, "fit", 0, steps))
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


def optimisation(
    weights: Iterable[Tensor], rate: float, decay: float, steps: int, tick: Callable[[], None]
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]:
    """The optimiser of some weights and its schedule up to the rate and down, both to be stepped together.

    With the first optimiser of a process torch imports its compiler, which takes seconds: `tick` is called meanwhile.
    """
    optimizer = in_background(lambda: torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True), tick)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))


def diverged(step: int, what: str) -> str:
    """That a fit diverged, and the way out."""
    return (
        f"the fit diverged at step {step}: {what} not finite; the last model stays in charge; "
        "check the images and labels, or try another network in the settings"
    )
