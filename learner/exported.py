"""A round's model as one ONNX file: from the pixels of any images to mean and deviation of each class, and measures.

Everything that is random stands inside as K fixed functions, the same that scored the pool, so that the file says of an
image what the round says. What a round learned from is made of the pixels inside the file, too: features of a backbone
or of the pool's own network, and where the image stands among those of the pool. Loads torch.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learner.backbones import Backbone
from learner.config import OWN_MEASURES
from learner.errors import LearnerError
from learner.estimators import Estimator
from learner.estimators.weights import write_tensors
from learner.files import write_bytes
from learner.graph.newcomers import Newcomers, weights_in_pixels
from learner.model import Model, load_model
from learner.network import Network

MOST_BYTES = 2**30
"""Of a file. ONNX holds at most twice as much in one."""

OPSET = 18


class Look(nn.Module):
    """What a backbone, or the trunk of a pool's own network, makes of pixels of 0 to 255.

    Features pass through float16, as those of the pool did on their way through a file.

    Args:
        module: From normalised images to `[M, D]`.
        mean: Of each channel, 0 to 255.
        std: In the same unit, above 0.
    """

    mean_C_1_1: Tensor
    std_C_1_1: Tensor

    def __init__(self, module: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("mean_C_1_1", mean.view(-1, 1, 1))
        self.register_buffer("std_C_1_1", std.view(-1, 1, 1))

    @classmethod
    def of_backbone(cls, backbone: Backbone) -> Look:
        """Of pictures of its side."""
        return cls(backbone.module, torch.tensor(backbone.mean), torch.tensor(backbone.std))

    @classmethod
    def of_network(cls, network: Network) -> Look:
        """Of what the learner sees."""
        return cls(network.trunk, network.mean_X, network.std_X)

    def forward(self, pixels_M_C_H_W: Tensor) -> Tensor:
        """Features `[M, D]`."""
        features_M_D: Tensor = self.module((pixels_M_C_H_W - self.mean_C_1_1) / self.std_C_1_1)
        return features_M_D.half().float()


class Standing(nn.Module):
    """Where images stand in the graph, then what they were compared by: what a round by likeness learns from.

    Args:
        found: Of the pool.
        shape: Of the pixels or features that come in.
    """

    weights_d_D: Tensor
    biases_D: Tensor
    places_D_N: Tensor
    squares_N: Tensor
    coordinates_N_m: Tensor

    def __init__(self, found: Newcomers, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.is_of_features, self.nearest = found.kind == "features", found.nearest
        weights, biases = weights_in_pixels(found, shape)
        places = torch.from_numpy(np.ascontiguousarray(found.vectors_N_D.T))
        for name, tensor in (
            ("weights_d_D", torch.from_numpy(weights)),
            ("biases_D", torch.from_numpy(biases)),
            ("places_D_N", places),
            ("squares_N", places.square().sum(0)),
            ("coordinates_N_m", torch.from_numpy(np.array(found.coordinates_N_m))),
        ):
            self.register_buffer(name, tensor)

    def forward(self, inputs_M_X: Tensor) -> Tensor:
        """Vectors `[M, m + D]`; see `learner.graph.newcomers.inputs_of`."""
        flat_M_d = inputs_M_X.flatten(1)
        if self.is_of_features:
            flat_M_d = _of_length_1(flat_M_d)
        vectors_M_D = flat_M_d @ self.weights_d_D + self.biases_D
        squares_M_N = vectors_M_D.square().sum(1, keepdim=True) + self.squares_N - 2 * (vectors_M_D @ self.places_D_N)
        squares_M_k, index_M_k = squares_M_N.clamp_min(0).topk(self.nearest, dim=1, largest=False)
        far_M_1 = squares_M_k.amax(1, keepdim=True)
        weights_M_k = (-4 * squares_M_k / torch.where(far_M_1 > 0, far_M_1, torch.ones_like(far_M_1))).exp()
        near_M_k_m = self.coordinates_N_m[index_M_k].float()
        coordinates_M_m = (weights_M_k.unsqueeze(2) * near_M_k_m).sum(1)
        return torch.cat([_of_length_1(coordinates_M_m), _of_length_1(vectors_M_D)], 1).half().float()


class Whole(nn.Module):
    """From pixels to what is said of them.

    Args:
        look: None where the model learned from pixels.
        standing: None where it did not learn from likeness.
        estimator: On the CPU.
    """

    def __init__(self, look: Look | None, standing: Standing | None, estimator: Estimator) -> None:
        super().__init__()
        self.look, self.standing, self.estimator = look, standing, estimator

    def forward(self, pixels_M_C_H_W: Tensor) -> tuple[Tensor, ...]:
        """Mean and deviation `[M, C]`, then the measures `[M]` of `OWN_MEASURES`; pixels are uint8."""
        x = pixels_M_C_H_W.float()
        for part in (self.look, self.standing):
            x = x if part is None else part(x)
        return summary(self.estimator.log_probs_of(x))


def summary(log_probs_M_K_C: Tensor) -> tuple[Tensor, ...]:
    """As `learner.uncertainty.summarise` and `measure`, of operations that ONNX has; no value is looked at."""
    probs_M_K_C = log_probs_M_K_C.exp()
    mean_M_C = probs_M_K_C.mean(1)
    std_M_C = (probs_M_K_C - mean_M_C.unsqueeze(1)).square().mean(1).sqrt()
    most = float(np.log(mean_M_C.shape[1]))
    expected_M = (-(probs_M_K_C * log_probs_M_K_C.clamp_min(-1e6)).sum(2).mean(1)).clamp(0.0, most)
    predictive_M = _entropy(mean_M_C).clamp(0.0, most)
    is_best = (log_probs_M_K_C >= log_probs_M_K_C.amax(2, keepdim=True)).float()
    votes_M_C = (is_best / is_best.sum(2, keepdim=True)).mean(1)
    ordered_M_C = mean_M_C.sort(1, descending=True).values
    measures = {
        "predictive_entropy": predictive_M,
        "expected_entropy": expected_M,
        "mutual_information": (predictive_M - expected_M).clamp_min(0.0),
        "variation_ratio": 1 - votes_M_C.amax(1).clamp_max(1.0),
        "mean_std": std_M_C.mean(1),
        "margin": (1 - ordered_M_C[:, 0] + ordered_M_C[:, 1]).clamp(0.0, 1.0),
        "least_confidence": (1 - ordered_M_C[:, 0]).clamp_min(0.0),
        "std_entropy": _entropy(std_M_C).clamp_min(0.0),
    }
    return mean_M_C, std_M_C, *(measures[name] for name in OWN_MEASURES)


def _entropy(values_M_C: Tensor) -> Tensor:
    """`-(x log x).sum(1)`, 0 where x is."""
    return -(values_M_C * values_M_C.clamp_min(1e-30).log()).sum(1)


def _of_length_1(vectors_M_D: Tensor) -> Tensor:
    lengths_M_1 = vectors_M_D.square().sum(1, keepdim=True).sqrt()
    return vectors_M_D / torch.where(lengths_M_1 > 0, lengths_M_1, torch.ones_like(lengths_M_1))


@dataclass(frozen=True)
class Export:
    """What is to be one file.

    Args:
        directory: The round's.
        shape: Channels, height, width of the pixels that the file takes.
        look: See `Whole`.
        newcomers: Of the pool, for a model that learned from likeness.
    """

    directory: Path
    shape: tuple[int, ...]
    look: Look | None = None
    newcomers: Newcomers | None = None

    def whole(self) -> tuple[Whole, Model]:
        """All parts on the CPU.

        Raises:
            ArtifactError: If the model is missing or damaged.
            LearnerError: If the parts do not fit together.
        """
        estimator, model = load_model(self.directory, "cpu")
        shape = self.shape
        if self.look is not None:
            with torch.no_grad():
                shape = tuple(self.look(torch.zeros((1, *shape))).shape[1:])
        standing = None if self.newcomers is None else Standing(self.newcomers, shape)
        whole = Whole(self.look, standing, estimator).eval()
        expected = tuple(model.saved["shape"])
        if standing is not None:
            shape = (standing.coordinates_N_m.shape[1] + standing.biases_D.shape[0],)
        if shape != expected:
            raise LearnerError(
                f"the model learned from inputs of shape {list(expected)}, new images give {list(shape)}"
            )
        return whole, model

    def write(self, path: Path, about: Mapping[str, Any]) -> int:
        """Write the file.

        Args:
            path: Where to; it appears whole or not at all.
            about: JSON values that the file carries along, as the property `plusminus`.

        Returns:
            Its size in bytes.

        Raises:
            LearnerError: If it would be larger than `MOST_BYTES`.
        """
        whole, _model = self.whole()
        content = _onnx(whole, self.shape, json.dumps(dict(about), ensure_ascii=False))
        write_bytes(path, content)
        return len(content)

    def write_arrays(self, path: Path) -> None:
        """Write, as safetensors, what the file has and the round's own files have not: what looks at pixels, where the
        pool's images stand, and the samples of the posterior that are drawn from a seed (of Laplace their deviation
        from the trained weights)."""
        whole, _model = self.whole()
        tensors = _drawn(whole.estimator)
        for name, part in (("look", whole.look), ("standing", whole.standing)):
            if part is not None:
                tensors |= {f"{name}.{key}": tensor for key, tensor in part.state_dict().items()}
        write_tensors(path, tensors or {"nothing": torch.zeros(1)})


def _drawn(estimator: Estimator) -> dict[str, Tensor]:
    """The samples of the posterior that were drawn from a seed and stand in no file of the round."""
    from learner.estimators.laplace import Laplace
    from learner.estimators.swag import Swag

    layers: Sequence[tuple[Tensor, Tensor]] = ()
    if isinstance(estimator, Laplace):
        layers = estimator.sampled.deviations
    elif isinstance(estimator, Swag):
        layers = estimator.sampled.samples
    return {
        f"samples.{i}.{name}": tensor
        for i, both in enumerate(layers)
        for name, tensor in zip(("weights", "biases"), both, strict=True)
    }


def _onnx(whole: Whole, shape: tuple[int, ...], about: str) -> bytes:
    for weights in _weights_of(whole):
        weights.requires_grad_(False)  # constants of the file
    example = torch.zeros((2, *shape), dtype=torch.uint8)
    names = ["mean", "std", *OWN_MEASURES]
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                whole, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("images")},),
                input_names=["pixels"], output_names=names, opset_version=OPSET, verbose=False,
            )  # fmt: skip
    finally:
        quiet.setLevel(level)
    assert program is not None
    program.model.metadata_props["plusminus"] = about
    said = set(program.model.graph.outputs)
    for value in (each for node in program.model.graph for each in node.outputs if each not in said):
        if value.name in names:  # the exporter names what is inside by what it does: a mean is called `mean`
            value.name = f"inner_{value.name}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path), external_data=False)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise LearnerError(
                f"the model needs {size / 2**30:.1f} GiB in one file, and {MOST_BYTES / 2**30:.0f} GiB are the most: "
                "take fewer posterior samples, or another posterior in the settings, and fit a round again"
            )
        return path.read_bytes()


def _weights_of(whole: Whole) -> list[nn.Parameter]:
    """Those of networks that the estimator holds included."""
    networks: list[nn.Module] = getattr(whole.estimator, "networks", None) or [whole.estimator.network]  # type: ignore[attr-defined]
    return [weights for module in (whole, *networks) for weights in module.parameters()]
