"""Score the pool chunk by chunk with a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from learner.config import MEASURES, OWN_MEASURES, Report
from learner.errors import naming
from learner.estimators import Estimator
from learner.fit import choose_device
from learner.model import load_model
from learner.pool import Chunk, Inputs, open_chunk
from learner.scores import columns_of, is_scored, score_path, write_scores
from learner.targets import read_targets
from learner.uncertainty import Targets, epig, measure, summarise


class Scorer:
    """A round's model, loaded once, to score any number of chunks.

    Args:
        directory: The round's, where `learner.round.fit` wrote the model.

    Raises:
        ArtifactError: If the model is missing or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.estimator, self.model = load_model(directory)
        self.columns = columns_of(self.model.config.measures)
        self.targets: Targets | None = None
        if "epig" in self.columns:
            log_probs_T_K_C = torch.from_numpy(read_targets(directory, self.model.config, self.model.training_digest))
            self.targets = Targets.of(log_probs_T_K_C.to(choose_device(self.model.config.device)))

    def score(self, chunk: Chunk, report: Report) -> Path:
        """Write the scores of a chunk; a file that this model has written before is kept.

        Args:
            chunk: Any chunk of images of the shape that the model was trained on.
            report: Called every minibatch with the phase `"score"` and the chunk's images.

        Returns:
            The score file, whole.

        Raises:
            ChunkError: If the images are missing, damaged or of another shape.
            LearnerError: If the model's output is not finite; the message names estimator and chunk.
        """
        path = score_path(self.directory, chunk.number)
        report("score", 0, chunk.count)
        if is_scored(self.directory, chunk.number, self.model.digest, chunk.count, self.columns):
            report("score", chunk.count, chunk.count)
            return path
        inputs = open_chunk(chunk)
        self.model.check_shape(chunk, inputs.shape[1:])
        with naming(f"{self.model.config.model}, chunk {chunk.number}"):
            columns = score_inputs(self.estimator, inputs, self.model.config.n_classes, report, self.targets)
        return write_scores(self.directory, chunk.number, self.model.digest, columns)

    def score_some(self, chunk: Chunk, positions: npt.NDArray[np.int64], report: Report) -> Path:
        """Write the scores of some images of a chunk; the others' are NaN, so that no choice can be made of them.

        Args:
            chunk: Any chunk of images of the shape that the model was trained on.
            positions: int64 `[n]`, in the chunk, n at least 1.
            report: As of `score`, with n images.

        Raises:
            ChunkError: As `score`.
            LearnerError: As `score`.
        """
        inputs, offsets = open_chunk(chunk), positions - chunk.start
        self.model.check_shape(chunk, inputs.shape[1:])
        with naming(f"{self.model.config.model}, chunk {chunk.number}"):
            columns = score_inputs(self.estimator, inputs[offsets], self.model.config.n_classes, report, self.targets)
        whole = {name: np.full((chunk.count, *some.shape[1:]), np.nan, some.dtype) for name, some in columns.items()}
        for name, some in columns.items():
            whole[name][offsets] = some
        return write_scores(self.directory, chunk.number, self.model.digest, whole)


def score_inputs(
    estimator: Estimator, inputs_N_X: Inputs, n_classes: int, report: Report, targets: Targets | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Score images minibatch by minibatch; memory grows with the minibatch and the result only.

    Args:
        estimator: A fitted one.
        inputs_N_X: Pixels or features; may be a memory map.
        n_classes: C.
        report: Called every minibatch.
        targets: What EPIG wants to know more about; None leaves it out.

    Returns:
        An array for each of `learner.scores.columns_of` the measures.
    """
    n = len(inputs_N_X)
    measures = OWN_MEASURES if targets is None else MEASURES
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.empty((n, n_classes), np.float16) if name.endswith("_N_C") else np.empty(n, np.float32)
        for name in columns_of(measures)
    }
    for start in range(0, n, estimator.minibatch):
        part = slice(start, min(start + estimator.minibatch, n))
        log_probs_M_K_C = estimator.sample_log_probs(inputs_N_X[part])
        summary = summarise(log_probs_M_K_C)
        values = {
            "mean_probs_N_C": summary.mean_probs_N_C,
            "std_probs_N_C": summary.std_probs_N_C,
            **measure(summary),
        }
        if targets is not None:
            values["epig"] = epig(log_probs_M_K_C, targets)
        for name, tensor in values.items():
            columns[name][part] = tensor.cpu().numpy()
        report("score", part.stop, n)
    return columns
