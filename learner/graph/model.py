"""Class probabilities of every image: what is believed of its community, what its neighbours say, what people said."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import LearnerError
from learner.graph.communities import Tree, grow
from learner.graph.hypotheses import Answers, Beliefs, believe
from learner.graph.neighbours import Affinity, Floats, Neighbours, affinity, closeness

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

SPREADING = 0.8
"""alpha, the share that neighbours have in what is believed of an image."""

STEPS = 12
"""Of spreading; what is left to come is below alpha to that power, 7 %."""

OWN_ANSWER = 10.0
"""What an answer weighs in its image, beside the belief in a community that is sure to hold."""

MOST_BELIEFS = 2**28
"""Images times classes that beliefs are held for: 1 GiB, and as much again while they spread. A million images have 267
classes."""

FLOOR = 1e-6
"""Of every class, so that no logarithm is infinite."""


@dataclass(frozen=True)
class Graph:
    """The pool's graph and its tree: everything that is known before the first answer.

    Args:
        affinity: `[N, N]`, sparse and symmetric.
        tree: Of the same images.
    """

    affinity: Affinity
    tree: Tree

    def __len__(self) -> int:
        """N."""
        return len(self.tree.leaf_N)


def build(neighbours: Neighbours, *, seed: int, beside: Neighbours | None = None) -> Graph:
    """Make the graph of a pool.

    Args:
        neighbours: Of the pool.
        seed: Of the communities.
        beside: Of the same images by other vectors: a tie's weight is the mean of both.

    Returns:
        The graph; the same neighbours and seed, the same graph.
    """
    weights = affinity(neighbours)
    if beside is not None:
        weights = ((weights + affinity(beside)) / 2).tocsr()
    return Graph(weights, grow(weights, seed))


@dataclass(frozen=True)
class Prediction:
    """What is believed of every image.

    Args:
        graph: What it was made with.
        answers: What it was made from.
        beliefs: In the parts of the tree.
        probs_N_K1: float32, the classes in the order of `beliefs.classes_K`, among them that an image is to be rejected
            where some are, then that none of them is right. Rows sum up to 1.
    """

    graph: Graph
    answers: Answers
    beliefs: Beliefs
    probs_N_K1: Floats

    def class_probs(self, positions: Integers | slice = slice(None)) -> Floats:
        """Probabilities of all C classes.

        Args:
            positions: Of which images; all by default.

        Returns:
            float32 `[n, C]`, rows sum up to 1: what is left for a class that nobody has named is spread over those, or,
            where all are named, over all. Of an image that is to be rejected they are what it is if it is not.
        """
        probs_n_K1 = self.probs_N_K1[positions]
        classes_K, n_classes = self.answers.classes_K, self.answers.n_classes
        full_n_C = np.zeros((len(probs_n_K1), n_classes), np.float32)
        full_n_C[:, classes_K] = probs_n_K1[:, : len(classes_K)]
        is_unnamed = np.ones(n_classes, np.bool_)
        is_unnamed[classes_K] = False
        heirs = np.flatnonzero(is_unnamed) if is_unnamed.any() else classes_K
        full_n_C[:, heirs] += probs_n_K1[:, -1:] / len(heirs)
        return full_n_C / full_n_C.sum(1, keepdims=True) if len(self.answers.rejected_R) else full_n_C

    def best(self) -> Integers:
        """int64 `[N]`, the likeliest named class; C, if it is to be rejected; -1 if none is named."""
        if self.probs_N_K1.shape[1] == 1:
            return np.full(len(self.probs_N_K1), -1)
        return np.asarray(self.beliefs.classes_K[self.probs_N_K1[:, :-1].argmax(1)])

    def looks_rejected(self, positions: Integers) -> npt.NDArray[np.bool_]:
        """bool `[n]`, which of some images are to be rejected, rather than not; none as long as no image is."""
        if not len(self.answers.rejected_R):
            return np.zeros(len(positions), np.bool_)
        return np.asarray(self.probs_N_K1[positions, len(self.answers.classes_K)] > 0.5)


def predict(graph: Graph, answers: Answers, *, report: Report = ignore) -> Prediction:
    """Learn from all answers, from scratch.

    The belief in each leaf is where images start; it spreads over the graph, so that an image between two communities
    goes with its neighbours, and one whose community means nothing has the class of the answers near it.

    Args:
        graph: Of the pool.
        answers: All that count; none is allowed.
        report: Called with the phase `"spread"`, in steps.

    Returns:
        The prediction. The cost is linear in N, k and K.

    Raises:
        LabelError: If a position is not in the pool.
        LearnerError: If there are more images times classes than `MOST_BELIEFS`.

    Reference:
        Zhou, Bousquet, Lal, Weston, Schölkopf, 2004, Learning with local and global consistency, section 2, with
        random-walk weights and beliefs where it has labels.
    """
    from scipy.sparse import diags

    if not is_bearable(graph, answers):
        raise LearnerError(
            f"{len(graph):,} images of {len(answers.kinds_K):,} classes are too many to pass answers on: at most "
            f"{MOST_BELIEFS:,} together"
        )
    beliefs = believe(graph.tree, answers, graph.affinity)
    start_N_K1 = leaf_masses(graph.tree, beliefs)[graph.tree.leaf_N].astype(np.float32)
    start_N_K1[beliefs.images_I] = OWN_ANSWER * beliefs.image_I_K1
    degree_N = np.asarray(graph.affinity.sum(1)).ravel()
    walk = (diags(1 / np.maximum(degree_N, 1e-12)) @ graph.affinity).tocsr().astype(np.float32)
    spread_N_K1 = start_N_K1.copy()
    for step in range(STEPS):
        report("spread", step, STEPS)
        spread_N_K1 = SPREADING * (walk @ spread_N_K1) + (1 - SPREADING) * start_N_K1
    report("spread", STEPS, STEPS)
    spread_N_K1[beliefs.images_I] = beliefs.image_I_K1
    spread_N_K1 += FLOOR
    return Prediction(graph, answers, beliefs, spread_N_K1 / spread_N_K1.sum(1, keepdims=True))


def is_bearable(graph: Graph, answers: Answers) -> bool:
    """Whether there is memory for what is to be believed of every image."""
    return len(graph) * (len(answers.kinds_K) + 1) <= MOST_BELIEFS


def inductive(prediction: Prediction, index_M_k: Integers, squares_M_k: Floats) -> Floats:
    """Probabilities of images that are not in the pool: those of their neighbours, the nearer the more.

    Args:
        prediction: Of the pool.
        index_M_k: int64, positions in the pool, the nearest first.
        squares_M_k: float32, squared distances.

    Returns:
        float32 `[M, C]`, rows sum up to 1.

    Raises:
        LearnerError: If an image has no neighbour.
    """
    if (lonely := int((index_M_k < 0).all(1).sum())) > 0:
        raise LearnerError(f"{lonely} images have no neighbour in the pool")
    weights_M_k = closeness(squares_M_k)
    out_M_C = np.zeros((len(index_M_k), prediction.answers.n_classes), np.float32)
    for weights_M, index_M in zip(weights_M_k.T, index_M_k.T, strict=True):
        out_M_C += weights_M[:, None] * prediction.class_probs(index_M)
    return np.asarray(out_M_C / out_M_C.sum(1, keepdims=True))


def leaf_masses(tree: Tree, beliefs: Beliefs) -> Doubles:
    """What a leaf's images are believed to be, by the leaf and all above it: `[L, K + 1]`, rows sum up to at most 1."""
    mass_L_K1 = tree.sums_above(beliefs.mass_V_K1)
    mass_L_K1[beliefs.leaves_M] += beliefs.moved_M_K1
    return mass_L_K1
