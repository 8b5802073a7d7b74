"""Several networks, each trained by itself: deep ensembles and the bootstrap. Where they disagree, nobody knows.

Each network is a sample of the posterior; with dropout masks inside, each gives several.

Reference:
    Lakshminarayanan, Pritzel, Blundell, 2017, Simple and scalable predictive uncertainty estimation using deep
    ensembles; Efron, 1979, Bootstrap methods; Osband et al., 2016, Deep exploration via bootstrapped DQN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from learner.config import Report, RoundConfig
from learner.estimators.mc_dropout import FoldedHead
from learner.estimators.temperature import LEFT_OUT_FLOATS, LeftOut, fit_temperature
from learner.estimators.weights import with_weights, write_tensors
from learner.fit import Fitted, fit_network, prepare
from learner.fit_together import fit_together
from learner.network import Network, activation_floats
from learner.pool import Inputs, Pool
from learner.seeds import derive

MEMORY_FLOATS = 64 * 2**20 // 4
TOGETHER_FLOATS = 8 * 2**20  # weights that are trained at once
LEAST_FOLD = 2  # answers of a class that are needed to leave some of them out


class Members:
    """S networks; sample k is member k, or mask k of its member.

    Args:
        networks: The members.
        masks: For each member a mask for each layer of its head, `[its samples, features in]`; empty without dropout.
        temperature: The logits of every sample are divided by it; see `learner.estimators.temperature`.
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
        saved = {
            "shape": list(pool.shape),
            "input_means": [each.input_mean for each in fitted],
            "input_stds": [each.input_std for each in fitted],
            "temperature": 1.0,
            "steps": sum(each.steps for each in fitted),
            "loss": float(np.mean([each.loss for each in fitted])),
            "files": [cls.WEIGHTS],
        }
        estimator = cls(networks, draw_masks(networks, config), 1.0, saved)
        if config.temperature_scaling:
            left_out = estimator.left_out(chosen, pool, positions, labels, rng, report)
            tick = partial(report, "temperature", len(networks), len(networks))
            estimator.temperature = saved["temperature"] = fit_temperature(left_out, tick)
        return estimator

    @staticmethod
    def training_sets(
        labels: npt.NDArray[np.int64], config: RoundConfig, rng: np.random.Generator
    ) -> list[npt.NDArray[np.int64]]:
        """For each member the rows of the answers that it learns from."""
        raise NotImplementedError

    def left_out(
        self,
        chosen: Sequence[npt.NDArray[np.int64]],
        pool: Pool,
        positions: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        rng: np.random.Generator,
        report: Report,
    ) -> LeftOut:
        """What the samples of each member say of the answers that it has not learned from, dropout included.

        Of more answers than `LEFT_OUT_FLOATS` hold, those drawn by `rng`.
        """
        every, n_classes = np.arange(len(labels)), self.networks[0].head.linears[-1].out_features
        is_out_S_N = np.stack([~np.isin(every, rows) for rows in chosen])
        samples_N = np.array([head.n_samples for head in self.heads]) @ is_out_S_N
        order = rng.permutation(np.flatnonzero(samples_N))
        fitting = int((np.cumsum(samples_N[order]) * n_classes <= LEFT_OUT_FLOATS).sum())
        kept = np.sort(order[: max(1, fitting)])
        parts, answers = [torch.empty((0, n_classes))], [np.empty(0, np.int64)]
        for number, (network, head) in enumerate(zip(self.networks, self.heads, strict=True)):
            out = np.flatnonzero(is_out_S_N[number, kept])
            for start in range(0, len(out), self.minibatch):
                part = out[start : start + self.minibatch]
                with torch.inference_mode():
                    inputs = network.tensor_of(pool.inputs(positions[kept[part]]))
                    parts.append(head.log_probs(network.features(inputs)).flatten(0, 1).cpu())
                answers.append(np.repeat(part, head.n_samples))
                report("temperature", number, len(self.networks))
            report("temperature", number + 1, len(self.networks))
        return LeftOut(torch.cat(parts), torch.from_numpy(np.concatenate(answers)), torch.from_numpy(labels[kept]))

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
            return self.log_probs_of(self.networks[0].tensor_of(inputs_M_X))

    def log_probs_of(self, inputs_M_X: Tensor) -> Tensor:
        """See `Estimator.log_probs_of`."""
        members = zip(self.networks, self.heads, strict=True)
        log_probs_M_K_C = torch.cat([head.log_probs(network.features(inputs_M_X)) for network, head in members], 1)
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


def _whole(network: Network) -> list[Tensor]:
    """Masks that leave everything in, at the rate that the head divides by: one sample without dropout."""
    return [torch.full((1, layer.in_features), 1 - rate, device=layer.weight.device)
            for layer, rate in zip(network.head.linears, network.head.rates, strict=True)]  # fmt: skip


def _part(report: Report, before: int, whole: int) -> Report:
    """A report of some steps as part of all."""
    return lambda phase, done, _total: report(phase, before + done, whole)
