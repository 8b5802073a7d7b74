"""Whom to ask about next: always the image whose answer is expected to put most images right.

One figure decides everything. A community without a name has all its images to win, so the largest is first. Once it
is named, what is left to win are the parts that may be of another class after all, those most loosely tied first; and
where communities mean nothing, the images that the model is least sure of, each for the few around it.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.config import Report, ignore
from learner.errors import LabelError
from learner.graph.model import Prediction
from learner.graph.neighbours import Affinity
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

TYPICAL, STAYS = 0.2, 10
"""An image is drawn from this share of its part: those from which a random walk of so many steps most often stays
inside. On folds of MNIST's training part one in a thousand of them is of another class than its part, of the images
with the largest degree or the nearest neighbours one in fifty (docs/log.md)."""

AS_GOOD = 0.9
"""Leaves of a part whose gain is at least this share of the best one's may be drawn from, too."""

REACH = 3.0
"""How many images an answer puts right where every image stands for itself."""


@dataclass(frozen=True)
class Question:
    """An image to ask about, and why.

    Args:
        position: In the pool.
        gain: How many images its answer is expected to put right, at least 0.
        reason: `"unnamed"`, `"named"` (a part of a community that has a name), `"doubted"` (a part that a model doubts,
            see `learner.graph.second_opinion`) or `"unsure"`.
        size: Images of the part that is asked about.
        probability: That it was drawn from its part, in (0, 1].

    Of questions that cover the pool gain, size and probability are what `learner.graph.covering.cover` says.
    """

    position: int
    gain: float
    reason: str
    size: int
    probability: float


def ask(
    prediction: Prediction,
    eligible_N: npt.NDArray[np.bool_],
    count: int,
    *,
    pending: npt.ArrayLike = (),
    least_gain: float = 0.0,
    seed: int,
    report: Report = ignore,
) -> list[Question]:
    """Choose a batch.

    Args:
        prediction: From all answers so far, none at the start.
        eligible_N: bool, which images may be asked about; those with answers may.
        count: b; fewer come where fewer are eligible or worth it.
        pending: int64, images that people were asked about already and have not answered yet, such as those on their
            screens: their parts are not asked about once more.
        least_gain: Questions that are expected to put fewer images right are left out.
        seed: Of the draws.
        report: Called every question with the phase `"acquire"`.

    Returns:
        The questions, the largest gain first. Parts that have a question in the batch count as answered, and no two
        images are direct neighbours while there are others.

    Raises:
        LabelError: If nothing is eligible.
    """
    if not eligible_N.any():
        raise LabelError("no image is left to ask about")
    rng = np.random.default_rng(derive(seed, "questions"))
    gains, is_open_N = Gains.of(prediction), eligible_N.copy()
    for position in np.asarray(pending, np.int64).tolist():
        gains.settle(prediction, position)
    questions: list[Question] = []
    while len(questions) < count and is_open_N.any():
        question = _best(prediction, gains, is_open_N, rng)
        if question.gain < least_gain:
            break
        questions.append(question)
        is_open_N[question.position] = False
        gains.settle(prediction, question.position)
        report("acquire", len(questions), count)
    return questions


@dataclass(frozen=True)
class Gains:
    """How many images an answer is expected to put right, by what it tells about. Questions of a batch lower them.

    Args:
        part_V: The class of a node, if it is of one class.
        dispute_V: To which of the parts around it, which are of different classes, a node belongs.
        image_N: The image itself, and the few around it where parts mean nothing.
        near_N: bool, direct neighbours of questions: left for when nothing else is.
    """

    part_V: Doubles
    dispute_V: Doubles
    image_N: Doubles
    near_N: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, prediction: Prediction) -> Gains:
        """Those of a prediction."""
        n = len(prediction.graph)
        near_N = np.zeros(n, np.bool_)
        return cls(part_gains(prediction), dispute_gains(prediction), image_gains(prediction), near_N)

    def settle(self, prediction: Prediction, position: int) -> None:
        """Take an answer about an image for given: with the largest dispute that it tells about, those inside end."""
        tree = prediction.graph.tree
        path = tree.path(int(tree.leaf_N[position]))
        self.part_V[path] = 0
        is_settled_V = np.zeros(len(tree.parent_V), np.bool_)
        is_settled_V[path[self.dispute_V[path].argmax()]] = True
        for nodes in tree.levels[1:]:
            is_settled_V[nodes] |= is_settled_V[tree.parent_V[nodes]]
        self.dispute_V[is_settled_V] = 0
        self.dispute_V[path] = 0
        self.near_N[prediction.graph.affinity[position].indices] = True


def part_gains(prediction: Prediction) -> Doubles:
    """How many images it puts right to know a node's class, if the node is of one class, times that it is: `[V]`.

    What spreading makes of single images is left out: an answer about the part hardly changes it.
    """
    tree, beliefs = prediction.graph.tree, prediction.beliefs
    if not len(beliefs.classes_K):
        return np.asarray(beliefs.hold_V * tree.size_V)
    unknown_V = beliefs.hold_V - beliefs.mass_V_K1[:, :-1].max(1)  # that it is none of the named is no name
    return np.asarray((1 - beliefs.error_rate) * tree.size_V * np.maximum(unknown_V, 0))


def dispute_gains(prediction: Prediction) -> Doubles:
    """How many images of a node are wrong because it belongs to another one of the parts around it, itself among them,
    which are of different classes: `[V]`."""
    tree, beliefs = prediction.graph.tree, prediction.beliefs
    if not len(beliefs.classes_K):
        return np.zeros(len(tree.parent_V))
    mass_V_K = beliefs.mass_V_K1[:, :-1]
    best_V, around_V_K = mass_V_K.argmax(1), np.zeros_like(mass_V_K)
    is_known_V = mass_V_K.max(1) > beliefs.hold_V / 2
    around_V_K[np.arange(len(best_V)), best_V] = np.where(is_known_V, mass_V_K.max(1), 0)
    for nodes in tree.levels[1:]:
        around_V_K[nodes] += around_V_K[tree.parent_V[nodes]]
    disputed_V = around_V_K.sum(1) - around_V_K.max(1)
    return np.asarray((1 - beliefs.error_rate) * tree.size_V * disputed_V)


def image_gains(prediction: Prediction) -> Doubles:
    """How many images an answer puts right where images stand for themselves: `[N]`."""
    probs_N_K1, beliefs = prediction.probs_N_K1, prediction.beliefs
    wrong_N = 1 - (probs_N_K1[:, :-1].max(1) if probs_N_K1.shape[1] > 1 else 0)
    apart_N = beliefs.apart_L[prediction.graph.tree.leaf_N]
    gain_N = np.asarray((1 - beliefs.error_rate) * wrong_N * (1 + (REACH - 1) * apart_N), np.float64)
    gain_N[beliefs.images_I] /= REACH  # its neighbours know of the first answer already
    return gain_N


def _best(prediction: Prediction, gains: Gains, is_open_N: npt.NDArray[np.bool_], rng: np.random.Generator) -> Question:
    """The best question. The gain of a leaf is that of all parts that it may belong to, and of the largest dispute."""
    tree = prediction.graph.tree
    is_apart_N = is_open_N & ~gains.near_N
    if not is_apart_N.any():
        is_apart_N = is_open_N
    is_open_L = np.bincount(tree.leaf_N[is_apart_N], minlength=tree.n_leaves) > 0
    largest_V = gains.dispute_V.copy()
    for nodes in tree.levels[1:]:
        largest_V[nodes] = np.maximum(largest_V[nodes], largest_V[tree.parent_V[nodes]])
    gain_L = np.where(is_open_L, tree.sums_above(gains.part_V) + largest_V[: tree.n_leaves], -1.0)
    leaf = int(gain_L.argmax())
    gain_N = np.where(is_apart_N, gains.image_N, -1.0)
    position = int(gain_N.argmax())
    if gain_N[position] > gain_L[leaf]:
        return Question(position, float(gain_N[position]), "unsure", 1, 1.0)
    path = tree.path(leaf)
    part = int(path[gains.part_V[path].argmax()])
    disputed = int(path[gains.dispute_V[path].argmax()])
    if gains.dispute_V[disputed] > gains.part_V[part]:
        part = disputed
    position, probability = draw_typical(prediction, part, gain_L >= AS_GOOD * gain_L[leaf], is_apart_N, rng)
    is_named = prediction.probs_N_K1[position, :-1].max(initial=0.0) > 0.5
    return Question(
        position, float(gain_L[leaf]), "named" if is_named else "unnamed", int(tree.size_V[part]), probability
    )


def draw_typical(
    prediction: Prediction, part: int, is_good_L: npt.NDArray[np.bool_], is_open_N: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[int, float]:  # fmt: skip
    """An image that is typical of a part's good leaves, and how likely it was drawn."""
    is_drawn_from_L = np.zeros(prediction.graph.tree.n_leaves, np.bool_)
    is_drawn_from_L[prediction.graph.tree.leaves_below(part)] = True
    members = np.flatnonzero((is_drawn_from_L & is_good_L)[prediction.graph.tree.leaf_N])
    stays = _stays(prediction.graph.affinity, members)[is_open_N[members]]
    typical = members[is_open_N[members]][stays >= np.quantile(stays, 1 - TYPICAL)]
    return int(rng.choice(typical)), 1 / len(typical)


def _stays(affinity: Affinity, members: Integers) -> Doubles:
    """How likely a random walk over the graph from each member is still among them after `STAYS` steps, never once
    outside: `[m]`."""
    rows = affinity[members]
    inside, degree = rows[:, members], np.asarray(rows.sum(1)).ravel()
    stays = np.ones(len(members))
    for _ in range(STAYS):
        stays = inside @ stays / np.maximum(degree, 1e-12)
    return stays
