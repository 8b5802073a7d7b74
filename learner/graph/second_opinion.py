"""Which parts of the pool a model doubts: whose images it finds to be of another class than the graph says.

An answer about an image tells about the part around it. So what counts is not the image that the model is least sure
of, but the part of which it would give most images to another class. That it is not sure of what it says itself is no
doubt: one that is right about nearly all of a pool may leave six parts in a hundred to other classes (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from learner.graph.model import Prediction
from learner.graph.strategy import REACH, Question, draw_typical
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]

Opinion = Callable[[Integers, Integers], tuple[Integers, Floats]]
"""Of images, by their positions, and a class for each: the likeliest classes, as a model has it, and how likely it
finds the given ones."""

DOUBTED = "doubted"
"""The reason of such questions."""


def share_of_doubts(count: int, seed: int) -> int:
    """How many of some questions may be about what is in doubt: half; of an odd one a coin decides.

    What neither graph nor model knows, such as a class without an answer inside another one's group, neither doubts.
    The rest of a batch goes to what is like nothing answered yet (docs/log.md).
    """
    coin = int(np.random.default_rng(derive(seed, "share of doubts")).integers(2))
    return (count + coin) // 2


def ask_what_is_doubted(
    prediction: Prediction, opinion: Opinion, is_eligible_N: npt.NDArray[np.bool_], count: int, *,
    pending: Integers, seed: int,
) -> list[Question]:  # fmt: skip
    """Choose images of the leaves that a model doubts most.

    Args:
        prediction: From the answers that the model has learned from: what people have said since is no doubt.
        opinion: Of a model that sees more of an image than the graph does.
        is_eligible_N: bool, which images may be asked about. The model is asked about these alone.
        count: b.
        pending: int64, images that people are being asked about, or have answered since: each counts as an answer.
        seed: Of the draws.

    Returns:
        At most b questions about as many leaves, the largest gain first: how many of its images the model would give to
        another class than the graph does, each as far as it does not believe the graph, divided by one more than the
        answers there; at least as many as an answer puts right where every image stands for itself. The image is drawn
        from those in doubt that are typical of the leaf.

    Reference:
        Seung, Opper, Sompolinsky, 1992, Query by committee, section 2, with a committee of graph and model; Northcutt,
        Jiang, Chuang, 2021, Confident learning, section 3, without its thresholds by class; both for parts of the pool
        in place of single images.
    """
    tree, said_N = prediction.graph.tree, prediction.best()
    asked_n = np.flatnonzero(is_eligible_N & (said_N >= 0) & (said_N < prediction.answers.n_classes))
    if count <= 0 or not len(asked_n):
        return []
    best_n, believed_n = opinion(asked_n, said_N[asked_n])
    is_other_n = best_n != said_N[asked_n]
    doubted_d, doubt_d = asked_n[is_other_n], 1 - believed_n[is_other_n].astype(np.float64)
    answered = np.concatenate([prediction.answers.said_of, pending])
    answers_L = np.bincount(tree.leaf_N[answered], minlength=tree.n_leaves)
    gain_L = np.bincount(tree.leaf_N[doubted_d], doubt_d, tree.n_leaves) / (1 + answers_L)
    is_doubted_N = np.zeros(len(said_N), np.bool_)
    is_doubted_N[doubted_d] = True
    is_any_L = np.ones(tree.n_leaves, np.bool_)
    rng, questions = np.random.default_rng(derive(seed, "doubted")), list[Question]()
    for leaf in np.argsort(-gain_L, kind="stable")[:count].tolist():
        if gain_L[leaf] < REACH:
            break
        position, probability = draw_typical(prediction, leaf, is_any_L, is_doubted_N, rng)
        questions.append(Question(position, float(gain_L[leaf]), DOUBTED, int(tree.size_V[leaf]), probability))
    return questions
