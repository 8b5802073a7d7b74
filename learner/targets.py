"""EPIG's targets: posterior samples of a few images drawn at random, once a round, for all who score it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.config import Report, RoundConfig, RoundRequest
from learner.errors import ArtifactError
from learner.estimators import Estimator
from learner.files import digest, write_arrays
from learner.pool import Pool
from learner.seeds import derive

TARGETS_FILE = "targets.npz"


def draw_targets(request: RoundRequest) -> npt.NDArray[np.int64]:
    """Positions of `RoundConfig.epig_targets` images of the pool, uniform and rising; none that is trained on, unless
    there is no other image."""
    rng = np.random.default_rng(derive(request.config.seed, "targets"))
    everyone = np.concatenate([chunk.positions for chunk in request.chunks])
    others = np.setdiff1d(everyone, request.train_positions)
    among = others if len(others) else everyone
    return np.sort(rng.choice(among, min(request.config.epig_targets, len(among)), replace=False))


def write_targets(estimator: Estimator, pool: Pool, request: RoundRequest, trained_on: str, report: Report) -> Path:
    """Draw the targets of a round and write their posterior samples, float32 `[T, K, C]`.

    Args:
        estimator: The fitted one.
        pool: The request's.
        request: The round.
        trained_on: SHA-256 of what the estimator was trained on.
        report: Called every minibatch with the phase `"targets"`.
    """
    positions_T, parts = draw_targets(request), []
    for start in range(0, len(positions_T), estimator.minibatch):
        some = positions_T[start : start + estimator.minibatch]
        parts.append(estimator.sample_log_probs(pool.inputs(some)).float().cpu().numpy())
        report("targets", start + len(some), len(positions_T))
    arrays = {"positions_T": positions_T, "log_probs_T_K_C": np.concatenate(parts)}
    return write_arrays(
        request.directory / TARGETS_FILE, {**arrays, "fit": np.array(_fit_digest(request.config, trained_on))}
    )


def read_targets(directory: Path, config: RoundConfig, trained_on: str) -> npt.NDArray[np.float32]:
    """The targets' posterior samples `[T, K, C]`.

    Raises:
        ArtifactError: If the file is missing, damaged, or of another fit.
    """
    path = directory / TARGETS_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            fit, log_probs_T_K_C = str(file["fit"]), file["log_probs_T_K_C"]
    except FileNotFoundError:
        raise ArtifactError(f"the targets of EPIG are missing ({path}); fit the round again") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} is damaged ({error}); fit the round again") from error
    if fit != _fit_digest(config, trained_on):
        raise ArtifactError(f"{path} is of another fit; fit the round again")
    samples: npt.NDArray[Any] = log_probs_T_K_C
    return samples


def _fit_digest(config: RoundConfig, trained_on: str) -> str:
    return digest(config.to_json().encode(), trained_on.encode())
