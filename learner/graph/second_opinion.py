"""Which parts of the pool a model doubts: of whose images it does not believe what the graph says.

An answer about an image tells about the part around it. So what counts is not the image that the model is least sure
of, but the part in which it expects most images to be of another class.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from learner.graph.model import Prediction
from learner.graph.strategy import Question, draw_typical
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

Opinion = Callable[[Integers, Integers], Floats]
"""How likely a model finds that images, by their positions, are each of some class: probabilities, in their order."""

DOUBTED = "doubted"
"""The reason of such questions."""

LEAST, LEAST_SHARE = 10.0, 1 / 6000
"""Where a model expects fewer images of a leaf to be of another class, those that it is least sure of tell more, one by
one; in a pool of more than 60,000 images, whose leaves are larger, fewer than a share of all."""


def ask_what_is_doubted(
    prediction: Prediction, opinion: Opinion, is_eligible_N: npt.NDArray[np.bool_], count: int, *,
    pending: Integers, seed: int,
) -> list[Question]:  # fmt: skip
    """Choose images that are typical of the leaves that a model doubts most.

    Args:
        prediction: From all answers so far.
        opinion: Of a model that sees more of an image than the graph does.
        is_eligible_N: bool, which images may be asked about. The model is asked about these alone.
        count: b.
        pending: int64, images that people are being asked about: each counts as an answer.
        seed: Of the draws.

    Returns:
        At most b questions about as many leaves, the largest gain first: how many of its images the model expects to be
        of another class than the graph says, divided by one more than the answers there; at least `LEAST`, and
        `LEAST_SHARE` of all.

    Reference:
        Northcutt, Jiang, Chuang, 2021, Confident learning, section 3, for parts of the pool in place of single images;
        Dasgupta, Hsu, 2008, Hierarchical sampling for active learning, section 3.
    """
    leaf_N, n_leaves = prediction.graph.tree.leaf_N, prediction.graph.tree.n_leaves
    said_N = prediction.best()
    open_n = np.flatnonzero(is_eligible_N & (said_N >= 0) & (said_N < prediction.answers.n_classes))
    doubt_n = 1 - opinion(open_n, said_N[open_n]).astype(np.float64)
    answered = np.concatenate([prediction.answers.said_of, pending])
    gain_L = np.bincount(leaf_N[open_n], doubt_n, n_leaves) / (1 + np.bincount(leaf_N[answered], minlength=n_leaves))
    least = max(LEAST, LEAST_SHARE * len(leaf_N))
    rng, questions = np.random.default_rng(derive(seed, "doubted")), list[Question]()
    for leaf in np.argsort(-gain_L, kind="stable")[:count].tolist():
        if gain_L[leaf] < least:
            break
        position, probability = draw_typical(prediction, leaf, np.arange(n_leaves) == leaf, is_eligible_N, rng)
        size = int(prediction.graph.tree.size_V[leaf])
        questions.append(Question(position, float(gain_L[leaf]), DOUBTED, size, probability))
    return questions
