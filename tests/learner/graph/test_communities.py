"""Communities are what hangs together; the tree joins what is tied most first."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from learner.graph import communities
from learner.graph.communities import Tree, assortativity, grow, leiden


def test_groups_that_lie_apart_are_communities(planted, graph):
    found_N = leiden(graph.affinity, 0.3, seed=0)
    pairs = set(zip(found_N.tolist(), planted[1].tolist(), strict=True))
    assert len(pairs) == 6  # each community is a group, and each group a community
    assert np.bincount(found_N).tolist() == sorted(np.bincount(planted[1]).tolist(), reverse=True)


def test_a_higher_resolution_makes_more_of_them(graph):
    counts = [int(leiden(graph.affinity, resolution, seed=0).max()) + 1 for resolution in (0.5, 2.0, 20.0)]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_the_same_seed_makes_the_same(graph):
    np.testing.assert_array_equal(leiden(graph.affinity, 5, seed=7), leiden(graph.affinity, 5, seed=7))


def test_what_is_not_connected_is_never_together():
    one = np.ones((4, 4)) - np.eye(4)
    weights = np.zeros((9, 9))
    weights[:4, :4] = weights[4:8, 4:8] = one
    found_N = leiden(csr_matrix(weights), 1e-6, seed=0)  # so low that all of a connected part is one
    assert found_N.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_a_graph_without_ties_is_as_many_communities_as_images():
    assert leiden(csr_matrix((3, 3)), 1.0, seed=0).tolist() == [0, 1, 2]


def test_children_come_before_their_parents_and_make_them_up(graph):
    tree = graph.tree
    assert tree.parent_V[-1] == -1
    assert all(parent > node for node, parent in enumerate(tree.parent_V[:-1]))
    for node in range(tree.n_leaves, len(tree.parent_V)):
        children = np.flatnonzero(tree.parent_V == node)
        assert tree.size_V[node] == tree.size_V[children].sum()
        assert len(np.intersect1d(*[tree.leaves_below(child) for child in children[:2]])) == 0
    assert tree.size_V[-1] == 600
    np.testing.assert_array_equal(tree.size_V[: tree.n_leaves], np.bincount(tree.leaf_N))


def test_a_group_is_a_node_of_the_tree(planted, graph):
    tree = graph.tree
    below = [frozenset(np.flatnonzero(np.isin(tree.leaf_N, tree.leaves_below(v)))) for v in range(len(tree.parent_V))]
    for group in range(6):
        assert frozenset(np.flatnonzero(planted[1] == group)) in below


def test_the_tie_is_the_weight_against_what_chance_would_put_there():
    """Two triangles with one edge of weight 0.5 between them: volumes 6.5 each, 13 in all."""
    weights = np.zeros((6, 6))
    weights[:3, :3] = weights[3:, 3:] = np.ones((3, 3)) - np.eye(3)
    weights[0, 3] = weights[3, 0] = 0.5
    tree = grow(csr_matrix(weights), seed=0, resolution=1.0)
    assert tree.parent_V.tolist() == [2, 2, -1]
    np.testing.assert_allclose(tree.tie_V, [6 * 13 / 6.5**2, 6 * 13 / 6.5**2, 0.5 * 13 / 6.5**2])


@pytest.mark.parametrize("n", [2, 3, 50])
def test_equal_images_make_a_tree(make_graph, n):
    tree = make_graph(np.ones((n, 4))).tree
    assert tree.size_V[-1] == n
    assert np.isfinite(tree.tie_V).all()


def test_parts_that_are_not_connected_meet_at_the_root_alone(make_graph):
    vectors = np.random.default_rng(0).normal(0, 1, (60, 2))
    vectors[30:] += 1000
    tree = make_graph(vectors).tree
    assert sorted(tree.size_V[tree.parent_V == len(tree.parent_V) - 1].tolist()) == [30, 30]
    assert tree.tie_V[-1] < 1e-5


def test_sums_go_up_and_down(graph):
    tree = graph.tree
    up_V = tree.sums(np.ones((tree.n_leaves, 2)))
    down_L = tree.sums_above(np.ones(len(tree.parent_V)))
    for leaf in (0, tree.n_leaves - 1):
        assert down_L[leaf] == len(tree.path(leaf))
    for node in (0, len(up_V) - 1):
        assert up_V[node].tolist() == [len(tree.leaves_below(node))] * 2


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 9])
def test_parts_are_what_is_left_before_the_last_have_joined(most):
    """Five leaves: 0 and 1 join (5), then 2 and 3 (6), then those two (7); 4 hangs together with nothing (root 8)."""
    parent = np.array([5, 5, 6, 6, 8, 7, 7, 8, -1])
    tree = Tree(np.array([0, 1, 2, 3, 4]), parent, np.ones(9), np.array([1, 1, 1, 1, 1, 2, 2, 4, 5]))
    wanted = {
        1: [{0, 1, 2, 3, 4}], 2: [{0, 1, 2, 3}, {4}], 3: [{0, 1}, {2, 3}, {4}], 4: [{0, 1}, {2}, {3}, {4}],
        5: [{0}, {1}, {2}, {3}, {4}], 9: [{0}, {1}, {2}, {3}, {4}],
    }  # fmt: skip
    parts = tree.parts(most)
    assert [set(np.flatnonzero(parts == part).tolist()) for part in np.unique(parts)] == wanted[most]


def test_of_more_than_that_which_hang_together_by_nothing_the_smallest_are_one():
    sizes, parent = np.array([1, 2, 3, 4, 10]), np.array([4, 4, 4, 4, -1])
    tree = Tree(np.repeat(np.arange(4), sizes[:4]), parent, np.ones(5), sizes)
    assert tree.parts(3).tolist() == [2, 2, 1, 0]


def test_assortativity_is_that_of_networkx_and_of_simple_cases(graph, monkeypatch):
    import networkx

    rng = np.random.default_rng(0)
    weights = np.triu(rng.integers(0, 2, (12, 12)), 1)
    weights, groups = weights + weights.T, rng.integers(0, 3, 12)
    network = networkx.from_numpy_array(weights)
    networkx.set_node_attributes(network, dict(enumerate(groups.tolist())), "group")
    theirs = networkx.attribute_assortativity_coefficient(network, "group")
    assert assortativity(csr_matrix(weights * 1.0), groups) == pytest.approx(theirs)
    found_N = leiden(graph.affinity, 1.0, seed=0)
    assert assortativity(graph.affinity, found_N) > 0.95  # groups that lie apart
    assert abs(assortativity(graph.affinity, rng.permutation(found_N))) < 0.1
    assert assortativity(graph.affinity, np.zeros(len(found_N), np.int64)) == 1
    assert assortativity(csr_matrix((5, 5)), np.arange(5)) == 1
    whole = assortativity(graph.affinity, found_N)
    monkeypatch.setattr(communities, "ROWS", 7)
    assert assortativity(graph.affinity, found_N) == pytest.approx(whole)
