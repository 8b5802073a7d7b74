"""Estimators: a network and an approximation of the posterior over its weights, all under one contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from learner.config import ESTIMATORS, Report, RoundConfig
from learner.errors import check_known
from learner.pool import Inputs, Pool

if TYPE_CHECKING:
    from torch import Tensor


class Estimator(Protocol):
    """What a round needs of an estimator.

    The posterior samples are consistent: sample k is the same function for every image, every minibatch and every
    worker that loads the same files. Only so are scores comparable and joint entropies possible.
    """

    minibatch: int
    """Images that `sample_log_probs` should be given at once, so that its memory stays under about 64 MiB."""

    @classmethod
    def fit(
        cls,
        pool: Pool,
        positions: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        config: RoundConfig,
        report: Report,
    ) -> Self:
        """Fit on labelled images; `positions` and `labels` are int64 `[M]`."""
        ...

    def save(self, directory: Path) -> dict[str, Any]:
        """Write what `load` needs as safetensors files.

        Returns:
            What else it needs, as JSON values. `"steps"`, `"loss"` and `"files"` (names) must be among them; `"notes"`,
            where there are any, are sentences for people about what it had to do otherwise than it usually does.
        """
        ...

    @classmethod
    def load(cls, directory: Path, saved: dict[str, Any], config: RoundConfig) -> Self:
        """Read what `save` wrote; `saved` is what it returned."""
        ...

    def sample_log_probs(self, inputs_M_X: Inputs) -> Tensor:
        """The posterior samples `log_probs_M_K_C` of some images, natural logarithms, on the estimator's device."""
        ...

    def log_probs_of(self, inputs_M_X: Tensor) -> Tensor:
        """The same of inputs that are on the estimator's device; in torch alone, so that it can be exported."""
        ...


def estimator_class(name: str) -> type[Estimator]:
    """The estimator of a name of `learner.config.ESTIMATORS`.

    Raises:
        UnknownNameError: If the name is not known.
    """
    from learner.estimators.gaussian_process import GaussianProcess
    from learner.estimators.laplace import Laplace
    from learner.estimators.mc_dropout import MCDropout
    from learner.estimators.members import Bootstrap, Ensemble
    from learner.estimators.swag import Swag

    classes: dict[str, type[Estimator]] = {
        "bootstrap": Bootstrap,
        "ensemble": Ensemble,
        "gaussian_process": GaussianProcess,
        "laplace": Laplace,
        "mc_dropout": MCDropout,
        "swag": Swag,
    }
    assert set(classes) == set(ESTIMATORS)
    check_known("estimator", name, classes)
    return classes[name]
