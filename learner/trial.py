"""What a model of some answers predicts of some images: a round without questions, to compare representations by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from learner.config import Report, RoundRequest, ignore
from learner.round import fit
from learner.scores import scores_at

Integers = npt.NDArray[np.int64]


def predict_classes(request: RoundRequest, positions: Integers, *, report: Report = ignore) -> Integers:
    """Fit a model, and score some images alone.

    Args:
        request: What to learn from; its directory gets the model's files.
        positions: int64 `[n]`, in the request's chunks, each once.
        report: As of `learner.round.fit` and `learner.scoring.Scorer`.

    Returns:
        int64 `[n]`, the likeliest class of each by the posterior's mean, in the order of `positions`.

    Raises:
        LearnerError: As a round: where labels, images or the fit do not go together.
    """
    if not len(positions):
        return np.empty(0, np.int64)
    from learner.scoring import Scorer

    fit(request, report)
    scorer, wanted = Scorer(request.directory), np.sort(positions)
    for chunk in request.chunks:
        low, high = np.searchsorted(wanted, [chunk.start, chunk.start + chunk.count])
        if high > low:
            scorer.score_some(chunk, wanted[low:high], report)
    return np.asarray(scores_at(request.directory, positions, "mean_probs_N_C").argmax(1), np.int64)
