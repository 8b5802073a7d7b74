"""The parts of the graph that hang together, fine ones first, and the tree that they join into."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import ctypes
import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from learner.graph.neighbours import Affinity
from learner.seeds import derive

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

FINE = 20.0
"""The resolution of the tree's leaves: some hundred communities of MNIST."""

LEAST_TIE = 1e-6

ROWS = 65_536
"""Images whose ties are looked at together."""


def leiden(affinity: Affinity, resolution: float, seed: int) -> Integers:
    """Communities by modularity.

    Args:
        affinity: Of the pool, `[N, N]`.
        resolution: gamma, greater than 0; larger makes more and smaller communities.
        seed: Of the order in which images are moved; the same seed, the same communities.

    Returns:
        int64 `[N]`, 0 and up, the largest community 0. Images of different connected parts are never together; an
        isolated image is a community by itself.

    Reference:
        Traag, Waltman, van Eck, 2019, From Louvain to Leiden, equation 1 with the configuration model.
    """
    from scipy.sparse.csgraph import connected_components
    from sknetwork.clustering import Leiden

    if not affinity.nnz:
        return np.arange(affinity.shape[0])
    ctypes.CDLL(None).srand(seed % 2**32)  # the refinement draws by C's rand(), which `random_state` does not reach
    method = Leiden(resolution, shuffle_nodes=True, random_state=seed % 2**32, return_probs=False,
                    return_aggregate=False)  # fmt: skip
    found = np.asarray(method.fit_predict(affinity), np.int64)
    _, parts = connected_components(affinity, directed=False)
    _, both = np.unique(found * (int(parts.max()) + 1) + parts, return_inverse=True)
    rank = np.empty(int(both.max()) + 1, np.int64)
    rank[np.argsort(-np.bincount(both), kind="stable")] = np.arange(len(rank))
    return rank[both]


def assortativity(affinity: Affinity, groups_N: Integers) -> float:
    """How much of the ties lies inside groups beyond chance, of what could: 1 if all does, 0 if no more than chance.

    Args:
        affinity: Of the pool, `[N, N]`.
        groups_N: int64, the group of each image, 0 and up.

    Reference:
        Newman, 2003, Mixing patterns in networks, equation 2.
    """
    total = float(affinity.sum())
    if not total:
        return 1.0
    shares_G = np.bincount(groups_N, weights=np.asarray(affinity.sum(1)).ravel()) / total
    by_chance, inside = float(np.square(shares_G).sum()), 0.0
    for start in range(0, len(groups_N), ROWS):  # a pool of a million has some fifteen million ties
        ties = affinity[start : start + ROWS].tocoo()
        inside += float(ties.data[groups_N[start + ties.row] == groups_N[ties.col]].sum()) / total
    return (inside - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0


@dataclass(frozen=True)
class Tree:
    """Communities within communities. Children come before their parents; the last node is the root.

    Args:
        leaf_N: int64, the leaf of each image, 0 to L - 1.
        parent_V: int64, -1 of the root.
        tie_V: float64, at least 0: how many times the weight that chance would put between a node's children, or inside
            a leaf, there is. Falls from child to parent, as a rule.
        size_V: int64, images.
    """

    leaf_N: Integers
    parent_V: Integers
    tie_V: Doubles
    size_V: Integers

    @property
    def n_leaves(self) -> int:
        """L; the leaves are the nodes 0 to L - 1."""
        return int(self.leaf_N.max()) + 1

    @cached_property
    def levels(self) -> tuple[Integers, ...]:
        """Nodes by depth, the root first."""
        depth = np.zeros(len(self.parent_V), np.int64)
        for node in range(len(depth) - 2, -1, -1):
            depth[node] = depth[self.parent_V[node]] + 1
        order = np.argsort(depth, kind="stable")
        return tuple(np.split(order, np.flatnonzero(np.diff(depth[order])) + 1))

    def sums(self, per_leaf: npt.NDArray[np.float64]) -> Doubles:
        """What is counted at leaves, `[L, ...]`, summed up for every node, `[V, ...]`."""
        total = np.zeros((len(self.parent_V), *per_leaf.shape[1:]))
        total[: self.n_leaves] = per_leaf
        for node in range(len(total) - 1):
            total[self.parent_V[node]] += total[node]
        return total

    def sums_above(self, per_node: Doubles) -> Doubles:
        """What is counted at nodes, `[V, ...]`, summed up from the root to every leaf, `[L, ...]`."""
        total = per_node.astype(np.float64)
        for nodes in self.levels[1:]:
            total[nodes] += total[self.parent_V[nodes]]
        return total[: self.n_leaves]

    def path(self, leaf: int) -> Integers:
        """The nodes from a leaf to the root."""
        nodes = [leaf]
        while self.parent_V[nodes[-1]] >= 0:
            nodes.append(int(self.parent_V[nodes[-1]]))
        return np.array(nodes)

    def parts(self, most: int) -> Integers:
        """The leaves in at most so many parts: those that are left while the last ones to join have not joined yet.

        Returns:
            int64 `[L]`, 0 and up. Where more parts than that hang together by nothing, the smallest are one.
        """
        n_nodes = len(self.parent_V)
        if self.n_leaves <= most:
            return np.arange(self.n_leaves)
        first = max(
            self.n_leaves, n_nodes - most + 1
        )  # nodes from here on have not joined: each splits one part in two
        of_V = np.arange(n_nodes)
        for node in range(first - 1, -1, -1):
            if self.parent_V[node] < first:
                of_V[node] = of_V[self.parent_V[node]]
        found, part_L = np.unique(of_V[: self.n_leaves], return_inverse=True)
        rank_P = np.empty(len(found), np.int64)
        rank_P[np.argsort(-self.size_V[found], kind="stable")] = np.arange(len(found))
        return np.minimum(rank_P, most - 1)[part_L]

    def leaves_below(self, node: int) -> Integers:
        """The leaves of a node."""
        is_below = np.zeros(len(self.parent_V), np.bool_)
        is_below[node] = True
        for child in range(node - 1, -1, -1):
            is_below[child] = is_below[self.parent_V[child]]
        return np.flatnonzero(is_below[: self.n_leaves])


def grow(affinity: Affinity, seed: int, resolution: float = FINE) -> Tree:
    """Join fine communities, always the two that are tied most beyond chance, until each connected part is one.

    To stop at a tie of gamma would be to maximise modularity at resolution gamma: the tree holds all resolutions.

    Args:
        affinity: Of the pool.
        seed: Of the fine communities.
        resolution: Theirs.

    Returns:
        The tree; connected parts are children of the root.

    Reference:
        Bonald, Charpentier, Galland, Hollocou, 2018, Hierarchical graph clustering using node pair sampling,
        algorithm 1 (Paris): the tie is the inverse of their distance.
    """
    from scipy.sparse import csr_matrix

    leaf_N = leiden(affinity, resolution, derive(seed, "leaves"))
    n, n_leaves = len(leaf_N), int(leaf_N.max()) + 1
    member = csr_matrix((np.ones(n), (np.arange(n), leaf_N)), shape=(n, n_leaves))
    between = (member.T @ affinity @ member).tocoo()
    weights: list[dict[int, float]] = [{} for _ in range(n_leaves)]
    for a, b, weight in zip(between.row.tolist(), between.col.tolist(), between.data.tolist(), strict=True):
        weights[a][b] = weight
    volume = [sum(each.values()) for each in weights]
    total = sum(volume) or 1.0
    tie = [each.pop(node, 0.0) * total / max(volume[node], 1e-300) ** 2 for node, each in enumerate(weights)]
    parent = _join(weights, volume, tie, total)
    size = np.bincount(leaf_N).tolist() + [0] * (len(parent) - n_leaves)
    for node, above in enumerate(parent[:-1]):
        size[above] += size[node]
    return Tree(leaf_N, np.array(parent), np.array(tie), np.array(size))


def _join(weights: list[dict[int, float]], volume: list[float], tie: list[float], total: float) -> list[int]:
    """The parents; `volume` and `tie` grow with the nodes. Stale entries of the heap name a node that is joined."""
    parent = [-1] * len(weights)
    heap = [
        (-w * total / (volume[a] * volume[b]), a, b) for a, each in enumerate(weights) for b, w in each.items() if a < b
    ]
    heapq.heapify(heap)
    while heap:
        negative, a, b = heapq.heappop(heap)
        if parent[a] >= 0 or parent[b] >= 0:
            continue
        new = len(parent)
        parent[a] = parent[b] = new
        joined = weights[a]
        for other, weight in weights[b].items():
            joined[other] = joined.get(other, 0.0) + weight
        del joined[a], joined[b]
        parent.append(-1)
        weights.append(joined)
        volume.append(volume[a] + volume[b])
        tie.append(-negative)
        for other, weight in joined.items():
            weights[other].pop(a, None), weights[other].pop(b, None)
            weights[other][new] = weight
            heapq.heappush(heap, (-weight * total / (volume[new] * volume[other]), other, new))
    parts = [node for node, above in enumerate(parent) if above < 0]
    if len(parts) > 1:  # nothing ties connected parts to each other
        for node in parts:
            parent[node] = len(parent)
        parent.append(-1)
        tie.append(LEAST_TIE)
    return parent
