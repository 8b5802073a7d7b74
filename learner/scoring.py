"""Score the pool chunk by chunk with a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.config import Report
from learner.estimators import Estimator
from learner.model import load_model
from learner.pool import Chunk, Inputs, open_chunk
from learner.scores import COLUMNS, is_scored, score_path, write_scores
from learner.uncertainty import measure, summarise


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

    def score(self, chunk: Chunk, report: Report) -> Path:
        """Write the scores of a chunk; a file that this model has written before is kept.

        Args:
            chunk: Any chunk of images of the shape that the model was trained on.
            report: Called every minibatch with the phase `"score"` and the chunk's images.

        Returns:
            The score file, whole.

        Raises:
            ChunkError: If the images are missing, damaged or of another shape.
            LearnerError: If the model's output is not finite.
        """
        path = score_path(self.directory, chunk.number)
        report("score", 0, chunk.count)
        if is_scored(self.directory, chunk.number, self.model.digest, chunk.count):
            report("score", chunk.count, chunk.count)
            return path
        inputs = open_chunk(chunk)
        self.model.check_shape(chunk, inputs.shape[1:])
        columns = score_inputs(self.estimator, inputs, self.model.config.n_classes, report)
        return write_scores(self.directory, chunk.number, self.model.digest, columns)


def score_inputs(
    estimator: Estimator, inputs_N_X: Inputs, n_classes: int, report: Report
) -> dict[str, npt.NDArray[Any]]:
    """Score images minibatch by minibatch; memory grows with the minibatch and the result only.

    Args:
        estimator: A fitted one.
        inputs_N_X: Pixels or features; may be a memory map.
        n_classes: C.
        report: Called every minibatch.

    Returns:
        An array for each of `learner.scores.COLUMNS`.
    """
    n = len(inputs_N_X)
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.empty((n, n_classes), np.float16) if name.endswith("_N_C") else np.empty(n, np.float32)
        for name in COLUMNS
    }
    for start in range(0, n, estimator.minibatch):
        part = slice(start, min(start + estimator.minibatch, n))
        summary = summarise(estimator.sample_log_probs(inputs_N_X[part]))
        values = {
            "mean_probs_N_C": summary.mean_probs_N_C,
            "std_probs_N_C": summary.std_probs_N_C,
            **measure(summary),
        }
        for name, tensor in values.items():
            columns[name][part] = tensor.cpu().numpy()
        report("score", part.stop, n)
    return columns
