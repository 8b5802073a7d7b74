"""Monte-Carlo dropout: each dropout mask is one sample of the network's weights.

Reference:
    Gal and Ghahramani, 2016, Dropout as a Bayesian approximation, equation 6; consistent masks: Kirsch, van
    Amersfoort, Gal, 2019, BatchBALD, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from learner.config import Report, RoundConfig
from learner.estimators.weights import facts_of, read_network, write_network, write_tensors
from learner.fit import Fitted, fit_network
from learner.network import Head, Network, activation_floats
from learner.pool import Inputs, Pool, Shape
from learner.seeds import derive

MEMORY_FLOATS = 64 * 2**20 // 4
FOLDED_FLOATS = 16 * 2**20 // 4


class MCDropout:
    """A network with K dropout masks, drawn once and shared by the whole pool.

    Args:
        network: The trained network.
        masks: For each layer of its head a bool tensor `[K, features in]`.
        shape: X, of one input.
        saved: What `save` shall return.
    """

    WEIGHTS = "model.safetensors"
    MASKS = "masks.safetensors"

    def __init__(self, network: Network, masks: Sequence[Tensor], shape: Shape, saved: dict[str, Any]) -> None:
        self.network, self.masks, self.saved = network, list(masks), saved
        self.device = next(network.parameters()).device
        self.folded = FoldedHead(network.head, [mask.to(self.device) for mask in masks])
        floats = activation_floats(network, shape) + self.folded.floats_an_image
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
        """Train the network and draw its masks; see `Estimator.fit`."""
        return cls.around(fit_network(pool, positions, labels, config, report), pool, config)

    @classmethod
    def around(cls, fitted: Fitted, pool: Pool, config: RoundConfig) -> Self:
        """K masks for a network that was trained before."""
        generator = torch.Generator().manual_seed(derive(config.seed, "masks"))
        masks = fitted.network.head.draw_masks(config.posterior_samples, generator)
        saved = {
            **facts_of(fitted, pool.shape),
            "files": [cls.WEIGHTS, cls.MASKS],
        }
        return cls(fitted.network, masks, pool.shape, saved)

    def save(self, directory: Path) -> dict[str, Any]:
        """Write weights and masks; see `Estimator.save`."""
        write_network(directory / self.WEIGHTS, self.network)
        write_tensors(directory / self.MASKS, {f"mask_{i}": mask for i, mask in enumerate(self.masks)})
        return self.saved

    @classmethod
    def load(cls, directory: Path, saved: dict[str, Any], config: RoundConfig) -> Self:
        """Read weights and masks; see `Estimator.load`."""
        shape = tuple(saved["shape"])
        network = read_network(directory / cls.WEIGHTS, saved, config)
        masks = load_file(directory / cls.MASKS)
        return cls(network, [masks[f"mask_{i}"] for i in range(len(masks))], shape, saved)

    def sample_log_probs(self, inputs_M_X: Inputs) -> Tensor:
        """The trunk once, the head K times; see `Estimator.sample_log_probs`."""
        with torch.inference_mode():
            return self.log_probs_of(self.network.tensor_of(inputs_M_X))

    def log_probs_of(self, inputs_M_X: Tensor) -> Tensor:
        """See `Estimator.log_probs_of`."""
        return self.folded.log_probs(self.network.features(inputs_M_X))


class FoldedHead:
    """A head whose K dropout masks are folded into its weights, so that K passes are a few large products.

    A mask in front of a linear layer is a diagonal matrix: W (m * x) = (W diag m) x. Stacked over the samples, the
    first layer is one product of `[K H, D]` with `[D, M]`, each later one a batched product. Where features are dropped
    in G groups (`Head.group`), what each group adds to the first layer is computed once, and the K masks only choose
    among G parts. Images stand last in memory, so that no result is ever transposed and all sums over classes and
    samples run along contiguous images.

    Args:
        head: The head.
        masks: For each layer a bool tensor `[K, features in]`, on the head's device.
    """

    def __init__(self, head: Head, masks: Sequence[Tensor]) -> None:
        self.head, self.masks = head, list(masks)
        self.n_samples = len(masks[0])
        outputs = [layer.out_features for layer in head.linears]
        self.floats_an_image = self.n_samples * (sum(outputs) + 5 * outputs[-1])
        if head.group > 1:
            self.floats_an_image += outputs[0] * head.linears[0].in_features // head.group
        first, *later = (layer.weight.numel() for layer in head.linears)
        a_sample = sum(later) + (first if head.group == 1 else 0)
        self.group = max(1, min(self.n_samples, FOLDED_FLOATS // max(1, a_sample)))  # samples folded at a time
        self._whole = self._fold(slice(None)) if self.group == self.n_samples else None

    def log_probs(self, features_M_D: Tensor) -> Tensor:
        """`log_probs_M_K_C` of `features_M_D`."""
        return self.logits(features_M_D).log_softmax(1).permute(2, 0, 1)

    def logits(self, features_M_D: Tensor) -> Tensor:
        """`logits_K_C_M` of `features_M_D`."""
        starts = range(0, self.n_samples, self.group)
        parts_K_C_M = [self._logits(features_M_D, slice(start, start + self.group)) for start in starts]
        return parts_K_C_M[0] if len(parts_K_C_M) == 1 else torch.cat(parts_K_C_M)

    def _fold(self, samples: slice) -> list[Tensor]:
        """For each layer `[k, out, in]`; of grouped features, for the first layer, `[k, G]` instead."""
        folded = []
        with torch.inference_mode():
            for i, (layer, mask, rate) in enumerate(zip(self.head.linears, self.masks, self.head.rates, strict=True)):
                kept = mask[samples].to(layer.weight) / (1 - rate)
                is_grouped = i == 0 and self.head.group > 1
                folded.append(kept[:, :: self.head.group] if is_grouped else layer.weight * kept.unsqueeze(1))
        return folded

    def _first(self, features_M_D: Tensor, folded: Tensor) -> Tensor:
        """The first layer without its biases, `[k, H, M]`."""
        layer, group = self.head.linears[0], self.head.group
        if group == 1:
            return (folded.flatten(0, 1) @ features_M_D.T).view(len(folded), layer.out_features, -1)
        features_G_S_M = features_M_D.T.reshape(-1, group, features_M_D.shape[0])
        weights_G_H_S = layer.weight.view(layer.out_features, -1, group).transpose(0, 1)
        parts_G_HM = torch.bmm(weights_G_H_S, features_G_S_M).flatten(1)
        return (folded @ parts_G_HM).view(len(folded), layer.out_features, -1)

    def _logits(self, features_M_D: Tensor, samples: slice) -> Tensor:
        first, *later = self._whole or self._fold(samples)
        biases = [layer.bias.view(-1, 1) for layer in self.head.linears]
        x_K_H_M = self._first(features_M_D, first).add_(biases[0])
        for weights_K_H_H, bias in zip(later, biases[1:], strict=True):
            x_K_H_M = torch.baddbmm(bias, weights_K_H_H, x_K_H_M.relu_())
        return x_K_H_M
