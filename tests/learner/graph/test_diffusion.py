"""Coordinates of the graph: those of a group agree, whatever its images look like."""

from __future__ import annotations

import numpy as np
import pytest

from learner.graph import diffusion
from learner.graph.diffusion import diffusion_map


def test_images_of_a_group_have_one_direction_and_groups_have_others(planted, graph):
    coordinates_N_m = diffusion_map(graph)
    assert coordinates_N_m.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(coordinates_N_m, axis=1), 1, atol=1e-5)
    centres = np.stack([coordinates_N_m[planted[1] == group].mean(0) for group in range(6)])
    similarity_N_6 = coordinates_N_m @ centres.T
    np.testing.assert_array_equal(similarity_N_6.argmax(1), planted[1])
    assert (centres @ centres.T)[~np.eye(6, dtype=bool)].max() < 0 < similarity_N_6.max(1).min()


def test_it_is_the_exact_map_though_it_looks_at_leaves_first(make_graph):
    """Against all eigenvectors by brute force, on groups that run into each other: the same angles between images."""
    rng = np.random.default_rng(0)
    centres_N = rng.normal(0, 5, (6, 5))[rng.integers(0, 6, 600)]
    graph = make_graph(centres_N + rng.normal(0, 2.5, (600, 5)))
    affinity = graph.affinity.toarray()
    degree_N = affinity.sum(1)
    values, vectors = np.linalg.eigh(affinity / np.sqrt(np.outer(degree_N, degree_N)))
    exact = vectors[:, :-1] * np.maximum(values[:-1], 0) ** diffusion.WALK / np.sqrt(degree_N)[:, None]
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = diffusion_map(graph)
    assert graph.tree.n_leaves < 200
    np.testing.assert_allclose(found @ found.T, exact @ exact.T, atol=0.06)


@pytest.fixture
def strip(make_graph, monkeypatch):
    """A band of images without groups: more leaves than are solved as a whole here."""
    monkeypatch.setattr(diffusion, "COORDINATES", 6)
    monkeypatch.setattr(diffusion, "SPARE", 4)
    return make_graph(np.random.default_rng(1).uniform(0, 1, (1500, 2)) * [8, 1])


def test_many_leaves_are_solved_without_a_matrix_of_them_all(strip, monkeypatch):
    """The same angles as from the dense matrix."""
    whole = diffusion_map(strip)
    monkeypatch.setattr(diffusion, "MOST_PARTS", strip.tree.n_leaves - 1)
    found = diffusion_map(strip)
    np.testing.assert_allclose(found @ found.T, whole @ whole.T, atol=0.02)
    np.testing.assert_array_equal(found, diffusion_map(strip))


def test_where_they_are_not_found_parts_of_the_tree_take_their_place(strip, monkeypatch):
    whole = diffusion_map(strip)
    for name, value in (("MOST_PARTS", strip.tree.n_leaves // 2), ("RESTARTS", 1), ("TOLERANCE", 1e-15)):
        monkeypatch.setattr(diffusion, name, value)
    monkeypatch.setattr(diffusion, "KRYLOV", 1.2)
    part_N = strip.tree.parts(diffusion.MOST_PARTS)[strip.tree.leaf_N]
    assert len(np.unique(part_N)) == diffusion.MOST_PARTS
    found = diffusion_map(strip)
    assert np.corrcoef((found @ found.T).ravel(), (whole @ whole.T).ravel())[0, 1] > 0.9


def test_no_more_than_asked_for(planted, graph, monkeypatch):
    monkeypatch.setattr(diffusion, "COORDINATES", 3)
    assert diffusion_map(graph).shape == (600, 3)


def test_the_same_graph_the_same_coordinates(graph):
    np.testing.assert_array_equal(diffusion_map(graph), diffusion_map(graph))


@pytest.mark.parametrize("vectors", [np.zeros((30, 3)), np.eye(2), np.r_[np.zeros((20, 2)), np.full((1, 2), 1e6)]])
def test_little_to_tell_apart_gives_finite_coordinates(make_graph, vectors):
    coordinates = diffusion_map(make_graph(vectors))
    assert len(coordinates) == len(vectors)
    assert np.isfinite(coordinates).all()


def test_it_reports_and_can_be_given_up(graph):
    class GivenUp(Exception):
        pass

    def give_up(phase: str, done: int, _total: int) -> None:
        assert phase == "spread"
        if done == 2:
            raise GivenUp

    with pytest.raises(GivenUp):
        diffusion_map(graph, report=give_up)
