"""K samples of linear layers, evaluated for all images at once: a few large products instead of K passes.

Images stand last in memory, so that no result is ever transposed and all sums over classes and samples run along
contiguous images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SampledLayers:
    """Linear layers with ReLUs between, of each K samples.

    Args:
        samples: For each layer `[K, out, in]` and `[K, out]`.
    """

    samples: Sequence[tuple[Tensor, Tensor]]

    @property
    def floats_an_image(self) -> int:
        """What `logits` holds for one image, at most."""
        widths = [biases_K_H.shape[1] for _, biases_K_H in self.samples]
        return len(self.samples[0][1]) * (2 * max(widths) + 5 * widths[-1])

    def logits(self, inputs_M_D: Tensor) -> Tensor:
        """`logits_K_C_M` of `inputs_M_D`."""
        (weights_K_H_D, biases_K_H), *later = self.samples
        n_samples, width, _ = weights_K_H_D.shape
        x_K_H_M = (weights_K_H_D.flatten(0, 1) @ inputs_M_D.T).view(n_samples, width, -1)
        x_K_H_M += biases_K_H.unsqueeze(2)
        for weights_K_H_H, biases_K_H in later:
            x_K_H_M = (biases_K_H.unsqueeze(2)).baddbmm(weights_K_H_H, x_K_H_M.relu_())
        return x_K_H_M


@dataclass(frozen=True)
class LinearisedLayers:
    """Linear layers with ReLUs between, and K deviations from their weights: f(x) + J(x) (w_k - w).

    The logits are linear in the deviations, and sample k is the same function for every image. Of the last layer alone
    this is the network with the sampled weights itself.

    Args:
        layers: At their trained weights.
        deviations: For each layer `[K, out, in]` and `[K, out]`.
    """

    layers: Sequence[nn.Linear]
    deviations: Sequence[tuple[Tensor, Tensor]]

    @property
    def floats_an_image(self) -> int:
        """What `logits` holds for one image, at most."""
        return SampledLayers(self.deviations).floats_an_image + sum(layer.out_features for layer in self.layers)

    def logits(self, inputs_M_D: Tensor) -> Tensor:
        """`logits_K_C_M` of `inputs_M_D`."""
        x_D_M, tangent_K_D_M = inputs_M_D.T, None
        for i, (layer, (weights_K_H_D, biases_K_H)) in enumerate(zip(self.layers, self.deviations, strict=True)):
            n_samples, width, _ = weights_K_H_D.shape
            change_K_H_M = (weights_K_H_D.flatten(0, 1) @ x_D_M).view(n_samples, width, -1)
            change_K_H_M += biases_K_H.unsqueeze(2)
            if tangent_K_D_M is not None:
                change_K_H_M += layer.weight @ tangent_K_D_M
            x_D_M = torch.addmm(layer.bias.unsqueeze(1), layer.weight, x_D_M)
            if i + 1 < len(self.layers):
                change_K_H_M *= x_D_M > 0
                x_D_M = x_D_M.relu()
            tangent_K_D_M = change_K_H_M
        assert tangent_K_D_M is not None
        return tangent_K_D_M.add_(x_D_M)
