"""How likely each part of the tree is of one class, and of which, given the answers.

Every node is a hypothesis: "one class inside". It holds with a probability that falls with how loosely the node's
children are tied; if it does not, its children stand for themselves, and below the leaves every image does. One pass up
the tree sums the evidence over all ways to cut it, one pass down gives the posterior: nothing is sampled or searched.

How strong a tie must be to mean one class (gamma), and how often people err (epsilon), is not known beforehand: both
are summed over, so that answers which contradict some communities make all of that strength count less.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from learner.errors import LabelError
from learner.graph.communities import Tree
from learner.graph.evidence import Evidence, Ways, evidence
from learner.graph.neighbours import Affinity

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

TIES = (0.02, 0.05, 0.12, 0.3, 0.75, 2.0, 5.0, 12.0, 30.0, 75.0, 200.0)
"""gamma, in the unit of `Tree.tie_V`."""

TIE_CENTRE, TIE_SPREAD = 0.35, 1.5
"""The prior of log gamma is normal around log 0.35. Folds of MNIST's training part and digits: halves of a class are
tied by 0.2 and more, the nearest two classes by 0.05 to 0.27."""

SHARPNESS = 3.0
"""How fast belief falls with the tie: its log odds are 3 (log tie - log gamma)."""

ERROR_RATES = (0.005, 0.02, 0.06, 0.15, 0.3)
ERROR_PRIOR = (0.35, 0.3, 0.2, 0.1, 0.05)
"""epsilon, the share of wrong answers, and how likely each rate is at first."""

REJECTED_PARTS, REJECTED_IMAGES = 0.1, 0.3
"""How likely a part is one of images to reject, as a share of how likely it is of some class; and how likely an image
that is of another kind than its part is one to reject. Bad images mostly stand by themselves: one in a large community
does not give it up, two do."""


@dataclass(frozen=True)
class Answers:
    """What people have said, in any order; an image may occur several times.

    Args:
        positions_A: int64, in the pool.
        labels_A: int64, 0 to C - 1.
        n_classes: C, the classes that there are by now; those that nobody has named yet do no harm.
        rejected_R: int64, images that people say show nothing of any class. They hang together as a class does, so
            that is what they are believed to be: one more, of number C, which is never predicted.

    Raises:
        LabelError: If the lengths differ, or a position or label is out of range.
    """

    positions_A: Integers
    labels_A: Integers
    n_classes: int
    rejected_R: Integers = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        if self.positions_A.shape != self.labels_A.shape or self.positions_A.ndim != 1:
            raise LabelError(
                f"{self.positions_A.shape} positions and {self.labels_A.shape} labels; one label an answer"
            )
        if len(self.labels_A) and not (self.labels_A.min() >= 0 and self.labels_A.max() < self.n_classes):
            raise LabelError(f"labels from {self.labels_A.min()} to {self.labels_A.max()}, of {self.n_classes} classes")
        if len(self.said_of) and self.said_of.min() < 0:
            raise LabelError(f"position {self.said_of.min()} is not in the pool")

    def within(self, n: int) -> Answers:
        """Those about the first n images."""
        is_inside_A = self.positions_A < n
        rejected_R = self.rejected_R[self.rejected_R < n]
        return Answers(self.positions_A[is_inside_A], self.labels_A[is_inside_A], self.n_classes, rejected_R)

    def without(self, positions: npt.ArrayLike) -> Answers:
        """Those about other images."""
        left = np.asarray(positions, np.int64)
        is_left_A, is_left_R = ~np.isin(self.positions_A, left), ~np.isin(self.rejected_R, left)
        return Answers(
            self.positions_A[is_left_A], self.labels_A[is_left_A], self.n_classes, self.rejected_R[is_left_R]
        )

    @cached_property
    def classes_K(self) -> Integers:  # noqa: N802
        """The classes that somebody has named, in ascending order."""
        return np.unique(self.labels_A)

    @cached_property
    def said_of(self) -> Integers:
        """Positions of all answers, int64 `[A + R]`."""
        return np.concatenate([self.positions_A, self.rejected_R])

    @cached_property
    def said(self) -> Integers:
        """What they say, int64 `[A + R]`, 0 to C; C of those that are rejected."""
        return np.concatenate([self.labels_A, np.full(len(self.rejected_R), self.n_classes)])

    @cached_property
    def kinds_K(self) -> Integers:  # noqa: N802
        """The classes that somebody has named, in ascending order, and C where images are rejected."""
        return np.unique(self.said)


@dataclass(frozen=True)
class Beliefs:
    """The posterior over the tree. The last column of classes stands for one that nobody has named yet.

    Args:
        classes_K: int64, the classes named, and C where images are rejected; see `Answers.kinds_K`.
        hold_V: The probability that a node is of one class and its parent is not, 0 to 1. Along the way from a leaf to
            the root they sum up to at most 1; the rest is that the leaf's images stand for themselves.
        mass_V_K1: `hold_V` times the class probabilities of the node, `[V, K + 1]`.
        leaves_M: int64, the leaves that have answers.
        moved_M_K1: What such a leaf is believed to be, less what the parts around it are: it may be of another class.
            Rows sum up to 0.
        apart_L: That the images of a leaf stand for themselves, 0 to 1.
        images_I: int64, the images that have answers.
        image_I_K1: What their own answers say, probabilities `[I, K + 1]`; the last column is 0.
        error_rate: The posterior mean of epsilon.
        log_evidence: Of all answers, natural log.
    """

    classes_K: Integers
    hold_V: Doubles
    mass_V_K1: Doubles
    leaves_M: Integers
    moved_M_K1: Doubles
    apart_L: Doubles
    images_I: Integers
    image_I_K1: Doubles
    error_rate: float
    log_evidence: float


def believe(tree: Tree, answers: Answers, affinity: Affinity | None = None) -> Beliefs:
    """Update every hypothesis by the answers, from scratch.

    Args:
        tree: Of the pool.
        answers: All that count.
        affinity: Of the pool, `[N, N]`: how far the ties of an answered image are inside each part. None: all of them.

    Returns:
        The posterior. The cost grows with V times K, and not with N.

    Raises:
        LabelError: If a position is not in the pool.

    Reference:
        Heller and Ghahramani, 2005, Bayesian hierarchical clustering, equation 2 (a node is one cluster, or its
        children are apart); Willems, Shtarkov, Tjalkens, 1995, The context-tree weighting method, equation 6 (the same
        sum over all prunings of a given tree).
    """
    if len(answers.said_of) and answers.said_of.max() >= len(tree.leaf_N):
        raise LabelError(f"position {answers.said_of.max()} is not in the pool of {len(tree.leaf_N)} images")
    images_I, image_A = np.unique(answers.said_of, return_inverse=True)
    named_A = np.searchsorted(answers.kinds_K, answers.said)
    leaf_I, prior_K1 = tree.leaf_N[images_I], class_prior(answers)
    priors_G_V = _hold_priors(tree)
    weights, parts = [], []
    ways = Ways.of(tree, images_I, affinity)
    for rate in ERROR_RATES:
        image_I_K1 = _image_likelihoods(image_A, named_A, len(images_I), len(answers.kinds_K), rate)
        found = evidence(ways, image_I_K1, prior_K1, exception_prior(answers), len(tree.parent_V))
        apart_L = np.zeros(tree.n_leaves)
        np.add.at(apart_L, leaf_I, np.log(image_I_K1 @ prior_K1))
        root_G, hold_G_V, apart_G_L = _prune(tree, tree.levels, priors_G_V, found.one_V, apart_L)
        weights.append(root_G)
        parts.append((found, hold_G_V, apart_G_L, image_I_K1))
    return _mixed(tree, answers, ways, images_I, np.stack(weights, 1), parts)


def _hold_priors(tree: Tree) -> Doubles:
    """`[G, V]`, that a node is of one class where its parent is not."""
    log_odds = SHARPNESS * (np.log(np.maximum(tree.tie_V, 1e-9)) - np.log(TIES)[:, None])
    prior_G_V = 1 / (1 + np.exp(-np.clip(log_odds, -12, 12)))
    prior_G_V[:, tree.size_V == 1] = 1 - 1e-6
    return prior_G_V


def _image_likelihoods(image_A: Integers, named_A: Integers, n: int, k: int, rate: float) -> Doubles:
    """`p(answers on an image | its class)`, `[I, K + 1]`: wrong answers fall on the others alike."""
    log_I_K1 = np.zeros((n, k + 1))
    np.add.at(log_I_K1, image_A, np.log(rate / k) if k else 0.0)
    np.add.at(log_I_K1, (image_A, named_A), np.log1p(-rate) - np.log(rate / k) if k else 0.0)
    return np.exp(log_I_K1)


def class_prior(answers: Answers) -> Doubles:
    """Of a part that nothing is known of, `[K + 1]`: all C classes alike, and one more where all have been named."""
    weights_K1 = np.ones(len(answers.kinds_K) + 1)
    weights_K1[-1] = max(1, answers.n_classes - len(answers.classes_K))
    if len(answers.rejected_R):
        weights_K1[-2] = REJECTED_PARTS
    return np.asarray(weights_K1 / weights_K1.sum())


def exception_prior(answers: Answers) -> Doubles:
    """Of an image in a part of another class, `[K + 1]`: the same, but that it is more often one to reject."""
    weights_K1 = class_prior(answers)
    if len(answers.rejected_R):
        weights_K1[-2] = 0
        weights_K1 *= (1 - REJECTED_IMAGES) / weights_K1.sum()
        weights_K1[-2] = REJECTED_IMAGES
    return weights_K1


def _prune(
    tree: Tree, levels: tuple[Integers, ...], prior_G_V: Doubles, one_V: Doubles, apart_L: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """The sum over all ways to cut the tree: log evidence `[G]`, where cuts fall `[G, V]`, images apart `[G, L]`."""
    n_leaves = tree.n_leaves
    split_G_V = np.zeros_like(prior_G_V)
    split_G_V[:, :n_leaves] = apart_L
    both_G_V, hold_G_V = np.empty_like(prior_G_V), np.empty_like(prior_G_V)
    for nodes in reversed(levels):
        as_one = np.log(prior_G_V[:, nodes]) + one_V[nodes]
        both = np.logaddexp(as_one, np.log1p(-prior_G_V[:, nodes]) + split_G_V[:, nodes])
        both_G_V[:, nodes], hold_G_V[:, nodes] = both, np.exp(as_one - both)
        if nodes[0] != len(tree.parent_V) - 1:
            np.add.at(split_G_V.T, tree.parent_V[nodes], both.T)
    reach_G_V = np.ones_like(prior_G_V)
    for nodes in levels[1:]:
        above = tree.parent_V[nodes]
        reach_G_V[:, nodes] = reach_G_V[:, above] * (1 - hold_G_V[:, above])
    apart_G_L = reach_G_V[:, :n_leaves] * (1 - hold_G_V[:, :n_leaves])
    return both_G_V[:, -1], reach_G_V * hold_G_V, apart_G_L


def _mixed(
    tree: Tree, answers: Answers, ways: Ways, images_I: Integers, log_G_E: Doubles,
    parts: Sequence[tuple[Evidence, Doubles, Doubles, Doubles]],
) -> Beliefs:  # fmt: skip
    """The mean over gamma and epsilon, by their posterior."""
    prior_G = np.exp(-0.5 * ((np.log(TIES) - np.log(TIE_CENTRE)) / TIE_SPREAD) ** 2)
    log_G_E = log_G_E + np.log(prior_G / prior_G.sum())[:, None] + np.log(ERROR_PRIOR)
    top = float(log_G_E.max())
    weight_G_E = np.exp(log_G_E - top)
    log_evidence = top + float(np.log(weight_G_E.sum()))
    weight_G_E /= weight_G_E.sum()
    k1 = len(answers.kinds_K) + 1
    hold_V, mass_V_K1 = np.zeros(len(tree.parent_V)), np.zeros((len(tree.parent_V), k1))
    apart_L, image_I_K1 = np.zeros(tree.n_leaves), np.zeros((len(images_I), k1))
    leaves_M = np.unique(tree.leaf_N[images_I])
    moved_M_K1 = np.zeros((len(leaves_M), k1))
    for weight_G, (found, hold_G_V, apart_G_L, likelihood_I_K1) in zip(weight_G_E.T, parts, strict=True):
        part_V = weight_G @ hold_G_V
        part_V_K1 = part_V[:, None] * found.post_V_K1
        hold_V += part_V
        mass_V_K1 += part_V_K1
        moved_M_K1 += found.moved(ways, part_V_K1)
        apart_L += weight_G @ apart_G_L
        own_I_K1 = likelihood_I_K1.copy()
        own_I_K1[:, -1] = 0  # an image with an answer is of a class that has been named
        image_I_K1 += weight_G.sum() * own_I_K1 / own_I_K1.sum(1, keepdims=True)
    return Beliefs(
        answers.kinds_K, hold_V, mass_V_K1, leaves_M, moved_M_K1, apart_L, images_I, image_I_K1,
        error_rate=float(weight_G_E.sum(0) @ np.array(ERROR_RATES)),
        log_evidence=log_evidence,
    )  # fmt: skip
