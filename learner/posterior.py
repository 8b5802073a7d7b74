"""A round's fitted model, asked about single images: joint posterior samples and features. Loads torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from learner.config import Report
from learner.errors import ChunkError, LearnerError
from learner.estimators import Estimator
from learner.model import load_model
from learner.network import Network
from learner.pool import Inputs, Pool, describe

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Posterior:
    """The model that `learner.round.fit` wrote, and the pool that it is asked about.

    Args:
        directory: The round's.
        pool: Images of the shape that the model was trained on.
        report: Called every minibatch with the phase `"acquire"`.

    Raises:
        ArtifactError: If the model is missing or damaged.
        ChunkError: If the images are of another shape.
    """

    def __init__(self, directory: Path, pool: Pool, report: Report) -> None:
        self.pool, self.report = pool, report
        self.estimator, self.model = load_model(directory)
        if list(pool.shape) != list(self.model.saved["shape"]):
            raise ChunkError(f"{describe(pool.shape)}, the model knows {describe(self.model.saved['shape'])}")

    def log_probs(self, positions_n: Integers) -> Floats:
        """Joint samples `[n, K, C]`, natural logarithms: k is the same function for all of them."""
        return self._all(positions_n, self.estimator.sample_log_probs)

    def features(self, positions_n: Integers) -> Floats:
        """What goes into the last layer, `[n, D]`; see `penultimate`."""
        return self._all(positions_n, lambda inputs: penultimate(self.estimator, inputs))

    def _all(self, positions_n: Integers, function: Callable[[Inputs], Tensor]) -> Floats:
        """Minibatch by minibatch in the order of the pool's files, so that each is read once."""
        out: Floats | None = None
        order, n = np.argsort(positions_n, kind="stable"), len(positions_n)
        for start in range(0, n, self.estimator.minibatch):
            part = order[start : start + self.estimator.minibatch]
            values = function(self.pool.inputs(positions_n[part])).float().cpu().numpy()
            if out is None:
                out = np.empty((n, *values.shape[1:]), np.float32)
            out[part] = values
            self.report("acquire", start + len(part), n)
        return np.empty((0, 0), np.float32) if out is None else out


def penultimate(estimator: Estimator, inputs_M_X: Inputs) -> Tensor:
    """What goes into the last layer without dropout, `[M, D]`; of several networks, all of theirs side by side.

    Raises:
        LearnerError: If the estimator has no network, in `network` or `networks`.
    """
    networks: list[Network] = getattr(estimator, "networks", None) or [getattr(estimator, "network", None)]
    if networks == [None]:
        raise LearnerError(f"{type(estimator).__name__} has no features; take another acquisition function")
    with torch.inference_mode():
        return torch.cat([_hidden(network, inputs_M_X) for network in networks], 1)


def _hidden(network: Network, inputs_M_X: Inputs) -> Tensor:
    inputs = network.tensor_of(inputs_M_X)
    x_M_D = network.features(inputs)
    for layer in network.head.linears[:-1]:
        x_M_D = layer(x_M_D).relu()
    return x_M_D
