"""Networks in two parts: a deterministic trunk that runs once an image, and a stochastic head that runs K times.

Dropout stands only in the head, so all that is costly is shared by the posterior samples. There is no hidden random
state: dropout masks are arguments. A network with batch normalisation goes by its running averages, as all are built in
eval mode; who trains one says `train()` before and `eval()` after.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from learner.config import ARCHITECTURES, FEATURE_ARCHITECTURES, FULL_ARCHITECTURES, IMAGE_ARCHITECTURES
from learner.errors import ConfigError, check_known
from learner.pool import Inputs, Shape, describe


class Head(nn.Module):
    """Dropout, linear, ReLU, dropout, linear, ...: the part of a network that Monte-Carlo dropout makes random.

    Args:
        widths: Features in, hidden widths, classes out.
        rates: The dropout rate in front of each linear layer, each in [0, 1).
        group: So many features of the trunk, one after another, are kept or dropped together: a whole feature map of a
            convolution, whose neighbours say nearly the same. K masks then cost hardly more than one; see `FoldedHead`.

    Raises:
        ValueError: If the features in are no multiple of `group`.

    Reference:
        Tompson et al., 2015, Efficient object localization using convolutional networks, section 3.2 (whole maps).
    """

    def __init__(self, widths: Sequence[int], rates: Sequence[float], group: int = 1) -> None:
        super().__init__()
        if widths[0] % group:
            raise ValueError(f"{widths[0]} features cannot be dropped in groups of {group}")
        self.rates, self.group = tuple(rates), group
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def draw_masks(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Draw dropout masks on the CPU.

        Args:
            n: How many independent masks: the images of a minibatch, or the posterior samples of a round.
            generator: A CPU generator.

        Returns:
            For each layer a bool tensor `[n, features in]`, True where a feature is kept.
        """
        masks = []
        for i, (layer, rate) in enumerate(zip(self.linears, self.rates, strict=True)):
            group = self.group if i == 0 else 1
            drawn = torch.rand((n, layer.in_features // group), generator=generator) >= rate
            masks.append(drawn.repeat_interleave(group, 1) if group > 1 else drawn)
        return masks

    def forward(self, features_M_D: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Logits, with dropout where masks are given.

        Args:
            features_M_D: What the trunk made.
            masks: From `draw_masks`: one row an image, or one row for all. None leaves dropout out.

        Returns:
            `logits_M_C`.
        """
        x = features_M_D
        for i, (layer, rate) in enumerate(zip(self.linears, self.rates, strict=True)):
            if i > 0:
                x = x.relu()
            if masks is not None:
                x = x * masks[i].to(x) / (1 - rate)
            x = layer(x)
        return x


class Network(nn.Module):
    """A trunk and a head, with the statistics that the inputs are normalised by.

    Args:
        trunk: From `[M, X]` to `[M, D]`, without randomness.
        head: From `[M, D]` to logits.
        shape: X.
        input_mean: Of each channel, in units of 0 to 255; of feature vectors, of each feature.
        input_std: As `input_mean`, above 0.
    """

    mean_X: Tensor
    std_X: Tensor

    def __init__(
        self, trunk: nn.Module, head: Head, shape: Shape, input_mean: Sequence[float], input_std: Sequence[float]
    ) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        per_channel = (-1, *[1] * (len(shape) - 1))
        for name, values in (("mean_X", input_mean), ("std_X", input_std)):
            self.register_buffer(name, torch.tensor(list(values), device="cpu").view(per_channel), persistent=False)

    def tensor_of(self, inputs_M_X: Inputs) -> Tensor:
        """Inputs on this network's device; a copy, for memory maps are read-only."""
        return torch.from_numpy(np.array(inputs_M_X)).to(self.mean_X.device)

    def normalise(self, inputs_M_X: Tensor) -> Tensor:
        """Pixels of 0 to 255, or features, as floats of mean 0 and deviation 1 over the training images."""
        return (inputs_M_X.float() - self.mean_X) / self.std_X

    def features_of(self, normalised_M_X: Tensor) -> Tensor:
        """The trunk's `features_M_D` of what `normalise` made."""
        is_images = normalised_M_X.ndim == 4
        features_M_D: Tensor = self.trunk(channels_last(normalised_M_X) if is_images else normalised_M_X)
        return features_M_D

    def features(self, inputs_M_X: Tensor) -> Tensor:
        """The trunk's `features_M_D` of pixels of 0 to 255, or of feature vectors."""
        return self.features_of(self.normalise(inputs_M_X))

    def forward(self, inputs_M_X: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """`logits_M_C` of pixels of 0 to 255, or of feature vectors, with dropout where masks are given."""
        logits_M_C: Tensor = self.head(self.features(inputs_M_X), masks)
        return logits_M_C


def channels_last(tensor_N_C_H_W: Tensor) -> Tensor:
    """A copy with the channels last in memory, in which convolutions on a CPU take half the time.

    Of a single channel torch cannot tell the two formats apart and keeps the old strides, by which the convolution then
    chooses its slow way; so the strides are made anew. An exported network has no say in how its memory is laid out.
    """
    if torch.onnx.is_in_onnx_export():
        return tensor_N_C_H_W
    return torch.empty_like(tensor_N_C_H_W, memory_format=torch.channels_last).copy_(tensor_N_C_H_W)


def averaged(images_M_C_H_W: Tensor, size: tuple[int, int]) -> Tensor:
    """The means of so many cells of each image, which overlap where its sides are no multiples.

    ONNX knows no such pooling: an export gets the same as a product with two matrices.
    """
    if not torch.onnx.is_in_onnx_export():
        return functional.adaptive_avg_pool2d(images_M_C_H_W, size)
    down, across = (_cells(side, most) for side, most in zip(images_M_C_H_W.shape[-2:], size, strict=True))
    return down @ images_M_C_H_W @ across.T


def _cells(side: int, count: int) -> Tensor:
    """`[count, side]`, rows of sum 1: which pixels each cell is the mean of, as `adaptive_avg_pool2d` has it."""
    cells = torch.zeros((count, int(side)))
    for i in range(count):
        start, stop = i * int(side) // count, -(-(i + 1) * int(side) // count)
        cells[i, start:stop] = 1 / (stop - start)
    return cells


class Resize(nn.Module):
    """Bring both sides of an image between two bounds: small ones get a border of zeros, large ones are averaged.

    Args:
        least: The least side.
        most: The largest side.
    """

    def __init__(self, least: int, most: int) -> None:
        super().__init__()
        self.least, self.most = least, most

    def side(self, side: int) -> int:
        """What a side becomes."""
        return min(max(side, self.least), self.most)

    def forward(self, images: Tensor) -> Tensor:
        """The image, or a padded or averaged copy."""
        height, width = images.shape[-2:]
        if max(height, width) > self.most:
            images = averaged(images, (min(height, self.most), min(width, self.most)))
        down, right = self.least - images.shape[-2], self.least - images.shape[-1]
        return functional.pad(images, (0, max(right, 0), 0, max(down, 0))) if max(down, right) > 0 else images


def build(
    architecture: str,
    shape: Shape,
    n_classes: int,
    *,
    input_mean: Sequence[float],
    input_std: Sequence[float],
    generator: torch.Generator | None = None,
) -> Network:
    """Make a network on the CPU.

    Args:
        architecture: See `learner.config.ARCHITECTURES` and `FULL_ARCHITECTURES`.
        shape: Channels, height, width of the images, any from 1 x 1; or the number of features.
        n_classes: C.
        input_mean: Of each channel, 0 to 255, or of each feature.
        input_std: As `input_mean`, above 0.
        generator: Draws the initial weights (normal, variance 1 / (3 fan-in), which is torch's own; biases 0); None
            leaves them as they come, to be loaded. He's variance, six times this, costs about a point of accuracy on
            50 labels: such networks stay near where they start and learn fewer features.

    Raises:
        UnknownNameError: If the architecture is not known.
        ConfigError: If it takes images and these are feature vectors, or the other way round.
    """
    check_known("architecture", architecture, _BUILDERS)
    fitting = FEATURE_ARCHITECTURES if len(shape) == 1 else IMAGE_ARCHITECTURES
    if architecture not in fitting and (architecture not in FULL_ARCHITECTURES or len(shape) == 1):
        raise ConfigError(f"the network {architecture!r} does not take {describe(shape)}; {', '.join(fitting)} do")
    with torch.device("meta"):  # no weights are drawn here, so torch's global generator stays untouched
        network = Network(*_BUILDERS[architecture](shape, n_classes), shape, input_mean, input_std)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.to_empty(device="cpu", recurse=False)
            if generator is not None:
                fan_in = module.weight[0].numel()
                nn.init.normal_(module.weight, std=(3 * fan_in) ** -0.5, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, nn.Conv2d):
                module.weight.data = channels_last(module.weight.data)
        elif isinstance(module, nn.BatchNorm2d):
            module.to_empty(device="cpu", recurse=False)
            module.reset_parameters()
    return network.eval()


def linear_layers(network: Network) -> list[nn.Linear]:
    """All linear layers of a network, first to last."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def activation_floats(network: Network, shape: Shape) -> int:
    """Floats that all layers of the trunk put out for one image: what a minibatch costs in memory, at most."""
    counts: list[int] = []

    def count(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        counts.append(output.numel())

    hooks = [module.register_forward_hook(count) for module in network.trunk.modules()]
    device = next(network.parameters()).device
    with torch.inference_mode():
        network.features(torch.zeros((1, *shape), dtype=torch.uint8, device=device))
    for hook in hooks:
        hook.remove()
    return sum(counts) + 2 * math.prod(shape)


def _mlp(shape: Shape, n_classes: int) -> tuple[nn.Module, Head]:
    """The essay's 784-256-64-10, for any image or vector."""
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 256), nn.ReLU())
    return trunk, Head([256, 64, n_classes], [0.5, 0.25])


def _gal_cnn(shape: Shape, n_classes: int) -> tuple[nn.Module, Head]:
    """Gal, Islam, Ghahramani, 2017, Deep Bayesian active learning with image data, section 5. Made for 28 x 28: larger
    images are averaged down to 32 x 32, smaller ones get a border up to 8 x 8. Unlike there, dropout takes whole
    feature maps, so that K masks cost what one does (docs/log.md)."""
    channels, height, width = shape
    resize = Resize(8, 32)
    trunk = nn.Sequential(
        resize, nn.Conv2d(channels, 32, 4), nn.ReLU(), nn.Conv2d(32, 32, 4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    )
    area = ((resize.side(height) - 6) // 2) * ((resize.side(width) - 6) // 2)
    return trunk, Head([32 * area, 128, n_classes], [0.25, 0.5], group=area)


def _head(shape: Shape, n_classes: int) -> tuple[nn.Module, Head]:
    """One hidden layer on features that something else has learned. It is the trunk: with dropout in front of it too,
    scoring takes four times as long, for little or nothing (docs/log.md)."""
    return nn.Sequential(nn.Linear(shape[0], 128), nn.ReLU()), Head([128, n_classes], [0.5])


def _cnn(shape: Shape, n_classes: int) -> tuple[nn.Module, Head]:
    """At least three convolutions, the later ones each with a pooling until at most four pixels a side are left, then
    128 features. Above 32 pixels the first has stride 2, which keeps a fit on 96 x 96 within a minute on one core."""
    channels, height, width = shape
    halvings = max(0, math.ceil(math.log2(max(height, width) / 4)))
    n_layers = max(3, halvings - 1)
    layers: list[nn.Module] = []
    for i in range(n_layers):
        out = (16, 32, 64)[min(i, 2)]
        kernel, stride = (5, 2 if halvings > 3 else 1) if i == 0 else (3, 1)
        layers.append(nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2))
        if i >= n_layers - min(halvings, n_layers):
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            stride *= 2
        layers.append(nn.ReLU())
        channels, height, width = out, math.ceil(height / stride), math.ceil(width / stride)
    trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, 128), nn.ReLU())
    return trunk, Head([128, 64, n_classes], [0.5, 0.25])


def _deep_cnn(shape: Shape, n_classes: int) -> tuple[nn.Module, Head]:
    """Five convolutions, each with batch normalisation (Ioffe, Szegedy, 2015), then the mean of each of 64 maps (Lin,
    Chen, Yan, 2014, Network in network, section 3.2). Above 32 pixels the first has stride 2; up to 8 pixels only one
    pooling is left."""
    channels, *sides = shape
    layers: list[nn.Module] = []
    for outer, kernel, stride, is_pooled in (
        (16, 5, 2 if max(sides) > 32 else 1, max(sides) > 8), (32, 3, 1, False), (32, 3, 1, True), (64, 3, 1, False),
        (64, 3, 1, False),
    ):  # fmt: skip
        layers += [nn.Conv2d(channels, outer, kernel, stride, padding=kernel // 2, bias=False)]
        layers += [nn.BatchNorm2d(outer), nn.ReLU(), *([nn.MaxPool2d(2, ceil_mode=True)] if is_pooled else [])]
        channels = outer
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), Head([64, n_classes], [0.3])


_BUILDERS: dict[str, Callable[[Shape, int], tuple[nn.Module, Head]]] = {
    "cnn": _cnn,
    "deep_cnn": _deep_cnn,
    "gal_cnn": _gal_cnn,
    "head": _head,
    "mlp": _mlp,
}
assert set(_BUILDERS) == {*ARCHITECTURES, *FULL_ARCHITECTURES}
