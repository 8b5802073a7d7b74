"""A trained network as a file of weights and the facts that it takes to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from learner.config import RoundConfig
from learner.files import write_bytes
from learner.fit import Fitted, choose_device
from learner.network import Network, build
from learner.pool import Shape


def facts_of(fitted: Fitted, shape: Shape) -> dict[str, Any]:
    """What `read_network` needs beside the weights, and how the fit went; plain JSON values."""
    return {
        "shape": list(shape),
        "input_mean": fitted.input_mean,
        "input_std": fitted.input_std,
        "steps": fitted.steps,
        "loss": fitted.loss,
    }


def write_network(path: Path, network: Network) -> None:
    """Write the weights, as safetensors."""
    write_tensors(path, network.state_dict())


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write some tensors by name, as safetensors, from whatever device."""
    write_bytes(path, save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}))


def read_network(path: Path, facts: Mapping[str, Any], config: RoundConfig) -> Network:
    """The network that `write_network` wrote, on the config's device.

    Raises:
        ConfigError: If the device is not there.
    """
    return with_weights(load_file(path), facts["input_mean"], facts["input_std"], tuple(facts["shape"]), config)


def with_weights(
    weights: Mapping[str, Tensor], mean: list[float], std: list[float], shape: Shape, config: RoundConfig
) -> Network:
    """A network of the config's architecture with these weights, on its device."""
    network = build(config.architecture, shape, config.n_classes, input_mean=mean, input_std=std)
    network.load_state_dict(weights)
    return network.to(choose_device(config.device))
