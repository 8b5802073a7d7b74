from collections.abc import Callable

import numpy as np
import pytest

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
