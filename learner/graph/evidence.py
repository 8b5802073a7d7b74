"""What answers say of each part of the tree, taken as one class, and of leaves inside it that are of another one.

An image in a part of one class may be of another class after all, the likelier the more of its ties lead out of the
part. So may a whole leaf: what stands out comes in clumps, and the answers about a clump are one exception, not many.
Without that, two of them outvoted the one answer that the rest of a part had (docs/log.md).
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.graph.communities import Tree
from learner.graph.neighbours import Affinity

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

EXCEPTIONS, MOST_EXCEPTIONS = 0.02, 0.5
"""rho, the chance that an image in a community of one class is of another one after all: for images all of whose ties
are inside, and at most, where hardly any is. Images that a model is unsure of are mostly such: they say little about
the community."""

LEAF_EXCEPTIONS = 0.001
"""The same of a leaf, at least; else the square of the share of its ties to other leaves that lead out of the part, at
most `MOST_EXCEPTIONS`. In parts of digits and MNIST of which nine in ten are of one class, of leaves with less than
half of these ties outside one in a thousand is of another class, with more than 0.6 one in twenty."""


@dataclass(frozen=True)
class Ways:
    """The ways from answered images, and from their leaves, up to the root: P and S steps in all.

    Args:
        image_P: int64, the number of the image among the I answered ones.
        rho_P: The chance that it is of another class than the node, if the node is of one.
        step_P: int64, the step of its leaf to the same node.
        leaf_S: int64, the number of the leaf among the M that have answered images, in ascending order.
        node_S: int64, a node that the leaf is in; first the leaf itself.
        rho_S: The chance that the leaf is of another class than the node, if the node is of one; of itself 0.
    """

    image_P: Integers
    rho_P: Doubles
    step_P: Integers
    leaf_S: Integers
    node_S: Integers
    rho_S: Doubles

    @classmethod
    def of(cls, tree: Tree, images_I: Integers, affinity: Affinity | None) -> Ways:
        """Those of some images. Without an affinity all ties are inside."""
        leaves_M, leaf_I = np.unique(tree.leaf_N[images_I], return_inverse=True)
        paths = [tree.path(leaf) for leaf in leaves_M.tolist()]
        length_M = np.array([len(path) for path in paths], np.int64)
        node_S = np.concatenate([*paths, np.empty(0, np.int64)])
        leaf_S = np.repeat(np.arange(len(leaves_M)), length_M)
        image_P = np.repeat(np.arange(len(images_I)), length_M[leaf_I])
        step_P = _runs((np.cumsum(length_M) - length_M)[leaf_I], length_M[leaf_I])
        inside_P, inside_S = np.ones(len(image_P)), np.ones(len(node_S))
        if affinity is not None:
            inside_P = _inside(tree, tree.leaf_N[images_I], *_ties(tree, images_I, affinity))
            inside_S = _inside(tree, leaves_M, *_ties_of_leaves(tree, leaves_M, affinity))
        rho_S = np.clip((1 - inside_S) ** 2, LEAF_EXCEPTIONS, MOST_EXCEPTIONS)
        rho_S[node_S == leaves_M[leaf_S]] = 0
        return cls(image_P, np.clip(1 - inside_P, EXCEPTIONS, MOST_EXCEPTIONS), step_P, leaf_S, node_S, rho_S)


def _runs(first_N: Integers, length_N: Integers) -> Integers:
    """Numbers that follow one another: from each first one as many as its length says."""
    return np.arange(length_N.sum()) + np.repeat(first_N - np.cumsum(length_N) + length_N, length_N)


def _ties(tree: Tree, images_I: Integers, affinity: Affinity) -> tuple[Integers, Integers, Doubles]:
    """Ties of images: whose, to which leaf, how strong."""
    rows = affinity[images_I].tocoo()
    return rows.row.astype(np.int64), tree.leaf_N[rows.col], rows.data.astype(np.float64)


def _ties_of_leaves(tree: Tree, leaves_M: Integers, affinity: Affinity) -> tuple[Integers, Integers, Doubles]:
    """Ties of leaves to other leaves."""
    members = np.flatnonzero(np.isin(tree.leaf_N, leaves_M))
    image, to, weight = _ties(tree, members, affinity)
    own = tree.leaf_N[members][image]
    return np.searchsorted(leaves_M, own[own != to]), to[own != to], weight[own != to]


def _inside(tree: Tree, leaf_R: Integers, row: Integers, to: Integers, weight: Doubles) -> Doubles:
    """The share of the ties of each row that is inside each node on the way up from its leaf, one way after another: 1
    of rows without ties."""
    depth_V = np.empty(len(tree.parent_V), np.int64)
    for depth, nodes in enumerate(tree.levels):
        depth_V[nodes] = depth
    one, other = leaf_R[row], to.copy()
    while (apart := one != other).any():  # up to the first node that holds both: a parent's number is the larger
        is_lower = apart & (one < other)
        one = np.where(is_lower, tree.parent_V[one], one)
        is_lower = apart & ~is_lower
        other = np.where(is_lower, tree.parent_V[other], other)
    length_R = depth_V[leaf_R] + 1
    first_R = np.cumsum(length_R) - length_R
    met = first_R[row] + depth_V[leaf_R[row]] - depth_V[one]
    sum_P = np.cumsum(np.bincount(met, weight, length_R.sum()))
    before_R = np.concatenate([[0.0], sum_P])[first_R]
    total_R = np.bincount(row, weight, len(leaf_R))
    inside_P = (sum_P - np.repeat(before_R, length_R)) / np.repeat(np.where(total_R > 0, total_R, 1), length_R)
    return np.where(np.repeat(total_R > 0, length_R), inside_P, 1.0)


@dataclass(frozen=True)
class Evidence:
    """Of each node as one class, and of the leaves in it that are of another one all the same.

    Args:
        post_V_K1: The class of the node, probabilities.
        one_V: Natural log of the probability of all answers about its images.
        other_S: The chance, given the answers, that a leaf is of another class than the node above it, where that is of
            a class that none of the leaf's answers names. `Ways` has the leaves and nodes.
        step_U, column_U: int64, steps and classes, by column, that answers of the step's leaf name.
        more_U: What is to be added to `other_S` there.
        class_M_K1: Of what class the leaf is then, probabilities.
    """

    post_V_K1: Doubles
    one_V: Doubles
    other_S: Doubles
    step_U: Integers
    column_U: Integers
    more_U: Doubles
    class_M_K1: Doubles

    def moved(self, ways: Ways, mass_V_K1: Doubles) -> Doubles:
        """What leaves believe otherwise than the parts around them: `[M, K + 1]`, rows sum up to 0.

        Args:
            ways: As the evidence has them.
            mass_V_K1: How likely each node is of one class and its parent is not, by class.
        """
        from scipy.sparse import csr_matrix

        shape = (len(self.class_M_K1), len(mass_V_K1))
        taken_M_K1 = csr_matrix((self.other_S, (ways.leaf_S, ways.node_S)), shape) @ mass_V_K1
        more_U = self.more_U * mass_V_K1[ways.node_S[self.step_U], self.column_U]
        np.add.at(taken_M_K1, (ways.leaf_S[self.step_U], self.column_U), more_U)
        return np.asarray(taken_M_K1.sum(1, keepdims=True) * self.class_M_K1 - taken_M_K1)


def evidence(ways: Ways, image_I_K1: Doubles, prior_K1: Doubles, exception_K1: Doubles, n_nodes: int) -> Evidence:
    """Weigh all answers.

    Args:
        ways: Of the images that they are about.
        image_I_K1: `p(answers on an image | its class)`; the last column is that of all classes which nobody named.
        prior_K1: Of a node's class.
        exception_K1: Of the class of an image, or leaf, that is of another class than its part.
        n_nodes: V.
    """
    k1 = len(prior_K1)
    # Of all classes but the few that were named of it, an image says the same: those are added once for all.
    unnamed_S, step_U, column_U, more_U = _by_leaf(ways, image_I_K1, exception_K1)
    is_leaf_S = ways.rho_S == 0
    whole_M_K1 = np.tile(np.log(exception_K1), (int(is_leaf_S.sum()), 1))
    is_leaf_U = is_leaf_S[step_U]
    whole_M_K1[ways.leaf_S[step_U[is_leaf_U]], column_U[is_leaf_U]] += more_U[is_leaf_U]
    top_M = whole_M_K1.max(1, initial=-np.inf)
    class_M_K1 = np.exp(whole_M_K1 - top_M[:, None])
    whole_M = unnamed_S[is_leaf_S] + top_M + np.log(class_M_K1.sum(1))
    with np.errstate(divide="ignore"):
        exception_S = np.log(ways.rho_S) + whole_M[ways.leaf_S]
    stays_S = np.log1p(-ways.rho_S) + unnamed_S
    log_S = np.logaddexp(stays_S, exception_S)
    log_U = np.logaddexp(stays_S[step_U] + more_U, exception_S[step_U])
    other_S = np.exp(exception_S - log_S)
    log_V_K1 = np.zeros((n_nodes, k1)) + np.bincount(ways.node_S, log_S, n_nodes)[:, None]
    np.add.at(log_V_K1, (ways.node_S[step_U], column_U), log_U - log_S[step_U])
    top_V = log_V_K1.max(1)
    scaled_V_K1 = np.exp(log_V_K1 - top_V[:, None]) * prior_K1
    total_V = scaled_V_K1.sum(1)
    return Evidence(
        scaled_V_K1 / total_V[:, None], top_V + np.log(total_V),
        other_S, step_U, column_U, np.exp(exception_S[step_U] - log_U) - other_S[step_U],
        class_M_K1 / class_M_K1.sum(1, keepdims=True),
    )  # fmt: skip


def _by_leaf(ways: Ways, image_I_K1: Doubles, exception_K1: Doubles) -> tuple[Doubles, Integers, Integers, Doubles]:
    """The log likelihood of each leaf's answers, images being exceptions one by one: of a node whose class none of them
    names, by step; and at which steps and columns it is more by how much."""
    mean_I, base_I = image_I_K1 @ exception_K1, image_I_K1[:, -1]
    other_P = np.log((1 - ways.rho_P) * base_I[ways.image_P] + ways.rho_P * mean_I[ways.image_P])
    image_N, column_N = np.nonzero(image_I_K1 != base_I[:, None])
    length_I = np.bincount(ways.image_P, minlength=len(base_I))
    length_N = length_I[image_N]
    way_Q = _runs((np.cumsum(length_I) - length_I)[image_N], length_N)
    image_Q, column_Q, rho_Q = np.repeat(image_N, length_N), np.repeat(column_N, length_N), ways.rho_P[way_Q]
    named_Q = np.log((1 - rho_Q) * image_I_K1[image_Q, column_Q] + rho_Q * mean_I[image_Q])
    k1 = image_I_K1.shape[1]
    key_U, of_Q = np.unique(ways.step_P[way_Q] * k1 + column_Q, return_inverse=True)
    unnamed_S, more_U = np.zeros(len(ways.node_S)), np.zeros(len(key_U))
    np.add.at(unnamed_S, ways.step_P, other_P)
    np.add.at(more_U, of_Q, named_Q - other_P[way_Q])
    return unnamed_S, key_U // k1, key_U % k1, more_U
