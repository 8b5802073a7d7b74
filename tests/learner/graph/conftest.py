from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from learner.graph.communities import Tree
from learner.graph.model import Graph, build
from learner.graph.neighbours import Searcher

Planted = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def planted() -> Planted:
    """600 vectors of 5 in six groups that lie well apart, of 50 to 150, in random order, and the group of each."""
    rng = np.random.default_rng(0)
    group_N = rng.permutation(np.repeat(np.arange(6), [150, 130, 110, 90, 70, 50]))
    centres = rng.normal(0, 5, (6, 5))
    return (centres[group_N] + rng.normal(0, 0.5, (600, 5))).astype(np.float32), group_N


@pytest.fixture(scope="session")
def graph(planted: Planted) -> Graph:
    return graph_of(planted[0])


@pytest.fixture(scope="session")
def make_graph() -> Callable[[np.ndarray], Graph]:
    return graph_of


def graph_of(vectors_N_D: np.ndarray, seed: int = 0) -> Graph:
    return build(Searcher(vectors_N_D.astype(np.float32)).neighbours(), seed=seed)


@pytest.fixture
def clump() -> Graph:
    """Leaves 0 and 1 of 40 images and 2, of 5, are node 4; leaf 3 of 30 is apart. The five are tied to each other, and
    by a little to leaf 0 and as much to leaf 3."""
    leaf_N = np.repeat([0, 1, 2, 3], [40, 40, 5, 30])
    weights = np.equal.outer(leaf_N, leaf_N) * 1.0
    weights[0, 40] = weights[80, 1] = weights[81, 2] = weights[80, 85] = weights[82, 86] = 0.05
    weights = np.triu(weights, 1)
    tree = Tree(leaf_N, np.array([4, 4, 4, 5, 5, -1]), np.array([4.0, 4.0, 4.0, 4.0, 0.9, 0.02]),
                np.array([40, 40, 5, 30, 85, 115]))  # fmt: skip
    return Graph(csr_matrix(np.maximum(weights, weights.T)), tree)
