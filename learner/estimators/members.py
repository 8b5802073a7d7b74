"""Several networks, each trained by itself: deep ensembles and the bootstrap. Where they disagree, nobody knows.

Each network is a sample of the posterior; with dropout masks inside, each gives several.

Reference:
    Lakshminarayanan, Pritzel, Blundell, 2017, Simple and scalable predictive uncertainty estimation using deep
    ensembles; Efron, 1979, Bootstrap methods; Osband et al., 2016, Deep exploration via bootstrapped DQN; temperature:
    Guo et al., 2017, On calibration of modern neural networks, section 4.2; after averaging: Rahaman and Thiery, 2021,
    Uncertainty quantification and deep ensembles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from learner.config import Report, RoundConfig
from learner.errors import LearnerError
from learner.estimators.mc_dropout import FoldedHead
from learner.estimators.weights import with_weights, write_tensors
from learner.fit import Fitted, fit_network, prepare
from learner.fit_together import fit_together
from learner.network import Network, activation_floats
from learner.pool import Inputs, Pool
from learner.seeds import derive

MEMORY_FLOATS = 64 * 2**20 // 4
BATCH = 256
TEMPERATURES = (0.05, 20.0)
TEMPERATURE_SPREAD = 0.15  # of the logarithm of the temperature, before any answer
TOGETHER_FLOATS = 8 * 2**20  # weights that are trained at once
LEAST_FOLD = 2  # answers of a class that are needed to leave some of them out


class Members:
    """S networks; sample k is member k, or mask k of its member.

    Args:
        networks: The members.
        masks: For each member a mask for each layer of its head, `[its samples, features in]`; empty without dropout.
        temperature: All logits are divided by it.
        saved: What `save` shall return.
    """

    WEIGHTS = "members.safetensors"

    def __init__(
        self,
        networks: Sequence[Network],
        masks: Sequence[Sequence[Tensor]],
        temperature: float,
        saved: dict[str, Any],
    ) -> None:
        self.networks, self.masks, self.temperature, self.saved = list(networks), list(masks), temperature, saved
        self.device = next(networks[0].parameters()).device
        self.heads = [
            FoldedHead(network.head, [mask.to(self.device) for mask in member_masks] or _whole(network))
            for network, member_masks in zip(networks, masks, strict=True)
        ]
        floats = activation_floats(networks[0], tuple(saved["shape"])) + sum(h.floats_an_image for h in self.heads)
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
        """Train the members; see `Estimator.fit`. The phase is `"fit"` over all of their steps."""
        rng = np.random.default_rng(derive(config.seed, "members"))
        chosen = cls.training_sets(labels, config, rng)
        fitted = fit_members(pool, positions, labels, chosen, config, report)
        networks = [each.network for each in fitted]
        temperature = 1.0
        if config.temperature_scaling:
            temperature = fit_temperature(*_left_out(networks, chosen, pool, positions, labels, report))
        saved = {
            "shape": list(pool.shape),
            "input_means": [each.input_mean for each in fitted],
            "input_stds": [each.input_std for each in fitted],
            "temperature": temperature,
            "steps": sum(each.steps for each in fitted),
            "loss": float(np.mean([each.loss for each in fitted])),
            "files": [cls.WEIGHTS],
        }
        return cls(networks, draw_masks(networks, config), temperature, saved)

    @staticmethod
    def training_sets(
        labels: npt.NDArray[np.int64], config: RoundConfig, rng: np.random.Generator
    ) -> list[npt.NDArray[np.int64]]:
        """For each member the rows of the answers that it learns from."""
        raise NotImplementedError

    def save(self, directory: Path) -> dict[str, Any]:
        """Write all weights; masks are drawn again from the seed. See `Estimator.save`."""
        weights = {
            f"{number}.{name}": tensor
            for number, network in enumerate(self.networks)
            for name, tensor in network.state_dict().items()
        }
        write_tensors(directory / self.WEIGHTS, weights)
        return self.saved

    @classmethod
    def load(cls, directory: Path, saved: dict[str, Any], config: RoundConfig) -> Self:
        """Read all weights; see `Estimator.load`."""
        shape = tuple(saved["shape"])
        weights, networks = load_file(directory / cls.WEIGHTS), []
        for number, (mean, std) in enumerate(zip(saved["input_means"], saved["input_stds"], strict=True)):
            start = f"{number}."
            own = {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
            networks.append(with_weights(own, mean, std, shape, config))
        return cls(networks, draw_masks(networks, config), saved["temperature"], saved)

    def sample_log_probs(self, inputs_M_X: Inputs) -> Tensor:
        """Each member's trunk once, its head for each of its masks; see `Estimator.sample_log_probs`."""
        with torch.inference_mode():
            inputs = self.networks[0].tensor_of(inputs_M_X)
            parts = [
                head.log_probs(network.features(inputs))
                for network, head in zip(self.networks, self.heads, strict=True)
            ]
            log_probs_M_K_C = torch.cat(parts, 1)
            if self.temperature == 1.0:
                return log_probs_M_K_C
            return (log_probs_M_K_C / self.temperature).log_softmax(2)


class Ensemble(Members):
    """All members learn from all answers and differ in their initial weights and minibatches.

    To scale the temperature, each leaves out a fold of the answers, on which it is then measured.
    """

    @staticmethod
    def training_sets(
        labels: npt.NDArray[np.int64], config: RoundConfig, rng: np.random.Generator
    ) -> list[npt.NDArray[np.int64]]:
        """All rows; or all but a fold, by class, for each member."""
        everything = np.arange(len(labels))
        if not config.temperature_scaling:
            return [everything] * config.members
        fold = np.full(len(labels), -1)  # of classes with a single answer nothing is left out
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            if len(rows) >= LEAST_FOLD:
                fold[rows] = (np.arange(len(rows)) + rng.integers(config.members)) % config.members
        return [everything[fold != number] for number in range(config.members)]


class Bootstrap(Members):
    """Each member learns from answers drawn with replacement, and at least one of each class that has any."""

    @staticmethod
    def training_sets(
        labels: npt.NDArray[np.int64], config: RoundConfig, rng: np.random.Generator
    ) -> list[npt.NDArray[np.int64]]:
        """As many rows as there are answers; where a class was not drawn, one of its own is added."""
        sets = []
        for _ in range(config.members):
            rows = rng.integers(len(labels), size=len(labels))
            missing = np.setdiff1d(labels, labels[rows])
            added = [rng.choice(np.flatnonzero(labels == label)) for label in missing]
            sets.append(np.concatenate([rows, np.array(added, dtype=np.int64)]))
        return sets


def fit_members(
    pool: Pool,
    positions: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    chosen: Sequence[npt.NDArray[np.int64]],
    config: RoundConfig,
    report: Report,
) -> list[Fitted]:
    """Train a network on each of some sets of rows: on feature vectors many at once, otherwise one after another.

    All take as many steps as the number of all answers asks for.
    """
    steps = config.recipe.steps_for(len(labels))
    config = replace(config, recipe=replace(config.recipe, steps=steps))
    whole = steps * len(chosen)
    if len(pool.shape) == 1:
        prepared = [prepare(pool, positions[r], labels[r], config, f"member {i}") for i, r in enumerate(chosen)]
        size = max(1, TOGETHER_FLOATS // sum(w.numel() for w in prepared[0].network.parameters()))
        groups = [(start, prepared[start : start + size]) for start in range(0, len(prepared), size)]
        rate = config.recipe.rate_for(pool.shape, config.architecture)
        return [
            each
            for start, group in groups
            for each in fit_together(group, steps, rate, _part(report, start * steps, whole))
        ]
    return [
        fit_network(pool, positions[r], labels[r], config, _part(report, i * steps, whole), stream=f"member {i}")
        for i, r in enumerate(chosen)
    ]


def draw_masks(networks: Sequence[Network], config: RoundConfig) -> list[list[Tensor]]:
    """K masks spread over the members, the first ones having one more where K is no multiple; none without dropout."""
    if not config.member_dropout:
        return [[] for _ in networks]
    generator = torch.Generator().manual_seed(derive(config.seed, "masks"))
    each, more = divmod(max(config.posterior_samples, len(networks)), len(networks))
    return [network.head.draw_masks(each + (number < more), generator) for number, network in enumerate(networks)]


def fit_temperature(logits_N_C: Tensor, labels_N: Tensor) -> float:
    """The most probable temperature given some answers, 0.05 to 20; before them it is log-normal around 1.

    Without the prior a dozen answers that all happen to be right would make the model sure of everything: they are of
    classes that have several answers, and the images to come are of the others too (docs/log.md).

    Args:
        logits_N_C: Of images that the model has not learned from.
        labels_N: Their classes.

    Raises:
        LearnerError: If there is no such image, or the logits are not finite.
    """
    if not len(labels_N):
        raise LearnerError(
            "temperature scaling: no class has two answers, so none can be left out to measure on; "
            "take more answers, or leave the temperature as it is"
        )
    if not bool(logits_N_C.isfinite().all()):
        raise LearnerError("temperature scaling: the members' outputs are not finite; fit the round again")
    low, high = np.log(TEMPERATURES)
    for _ in range(3):
        grid = np.linspace(low, high, 41)
        priors = np.square(grid / TEMPERATURE_SPREAD) / (2 * len(labels_N))
        likelihoods = [float(functional.cross_entropy(logits_N_C / float(np.exp(each)), labels_N)) for each in grid]
        costs = priors + np.array(likelihoods)
        best = int(np.argmin(costs))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 40)]
    return float(np.exp(grid[best]))


def _left_out(
    networks: Sequence[Network],
    chosen: Sequence[npt.NDArray[np.int64]],
    pool: Pool,
    positions: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    report: Report,
) -> tuple[Tensor, Tensor]:
    """For each answer that some members have not learned from the logarithm of their mean prediction, and its class."""
    probs_N_C = torch.zeros((len(labels), networks[0].head.linears[-1].out_features))
    counts_N = torch.zeros(len(labels))
    for number, (network, rows) in enumerate(zip(networks, chosen, strict=True)):
        out = np.setdiff1d(np.arange(len(labels)), rows)
        for start in range(0, len(out), BATCH):
            part = out[start : start + BATCH]
            with torch.inference_mode():
                inputs = torch.from_numpy(pool.inputs(positions[part])).to(next(network.parameters()).device)
                probs_N_C[part] += network(inputs).softmax(1).cpu()
            counts_N[part] += 1
            report("temperature", number, len(networks))
        report("temperature", number + 1, len(networks))
    seen = counts_N > 0
    return (probs_N_C[seen] / counts_N[seen].unsqueeze(1)).clamp_min(1e-12).log(), torch.from_numpy(labels)[seen]


def _whole(network: Network) -> list[Tensor]:
    """Masks that leave everything in, at the rate that the head divides by: one sample without dropout."""
    return [torch.full((1, layer.in_features), 1 - rate, device=layer.weight.device)
            for layer, rate in zip(network.head.linears, network.head.rates, strict=True)]  # fmt: skip


def _part(report: Report, before: int, whole: int) -> Report:
    """A report of some steps as part of all."""
    return lambda phase, done, _total: report(phase, before + done, whole)
