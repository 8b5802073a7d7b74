"""How right a round's model is by the labels that came with the images.

People and learner are not told these labels, so they are a measure of the model from its first round on, where the
holdout takes some fifty answers. But nobody has checked them: what they say is shown beside the holdout, and nothing is
decided by it.
"""

from __future__ import annotations

import numpy as np

from labeler.intervals import wilson
from labeler.learning.kept import read_training
from labeler.models import Round
from labeler.selectors.offered import offered_classes
from labeler.selectors.scores import meanings_of, summary_of

MOST = 100_000  # labels that are compared: one in so many of the others, whose interval is .3 points wide at most


def compare_with_offered(round_: Round) -> None:
    """Write down the share of right predictions, of images that have such a label, and none that the round learned
    from. Nothing where no image has one. Raises NoScores, CannotLearn.
    """
    offered = offered_classes(round_.project, most=MOST)
    if not offered:
        return
    predicted_N, learned = summary_of(round_).predicted_N, read_training(round_).training.positions
    positions = np.array([position for position, _ in offered], np.int64)
    classes = np.array([pk for _, pk in offered], np.int64)
    counts = (positions < len(predicted_N)) & ~np.isin(positions, learned)
    meanings_C = np.array(meanings_of(round_), np.int64)
    is_right = meanings_C[predicted_N[positions[counts]]] == classes[counts]
    share = wilson(int(is_right.sum()), len(is_right))
    if share is not None:
        found = {"value": share.value, "low": share.low, "high": share.high, "n": share.n, "method": "wilson"}
        Round.objects.filter(pk=round_.pk).update(offered=found)
