"""The k nearest of each image: the right ones, never itself, near enough where the search is approximate."""

from __future__ import annotations

import numpy as np
import pytest

from learner.errors import LearnerError
from learner.graph.neighbours import Neighbours, Searcher, affinity, near_duplicates


def by_hand(vectors_N_D: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    squares = np.square(vectors_N_D[:, None].astype(np.float64) - vectors_N_D[None]).sum(2)
    np.fill_diagonal(squares, np.inf)
    index = squares.argsort(1)[:, :k]
    return index, np.take_along_axis(squares, index, 1)


def test_they_are_the_nearest_ones(planted):
    found = Searcher(planted[0]).neighbours(7)
    index, squares = by_hand(planted[0], 7)
    assert found.is_exact
    np.testing.assert_array_equal(found.index_N_k, index)
    np.testing.assert_allclose(found.squares_N_k, squares, rtol=1e-3, atol=1e-4)


def test_an_approximate_search_misses_few(planted):
    found = Searcher(planted[0], exact_limit=100).neighbours(10)
    index, _ = by_hand(planted[0], 10)
    hits = [len(set(a) & set(b)) for a, b in zip(found.index_N_k.tolist(), index.tolist(), strict=True)]
    assert not found.is_exact
    assert np.mean(hits) > 9.5


def test_an_approximate_search_is_the_same_again(planted):
    first, again = (Searcher(planted[0], exact_limit=100, seed=3).neighbours(5) for _ in range(2))
    np.testing.assert_array_equal(first.index_N_k, again.index_N_k)


def test_an_approximate_search_that_finds_too_few_says_so():
    vectors = np.array([[0.0, 0.0]] * 3 + [[100.0, 100.0]] * 300, np.float32)
    vectors[3:] += np.random.default_rng(0).normal(0, 1, (300, 2)).astype(np.float32)
    searcher = Searcher(vectors, exact_limit=10)
    searcher._index.nprobe = 1
    found = searcher.neighbours(10)
    is_none = found.index_N_k < 0
    assert is_none[:3].any()
    assert np.isinf(found.squares_N_k[is_none]).all()
    weights = affinity(found)  # takes those that there are
    assert np.isfinite(weights.data).all()
    assert (weights != weights.T).nnz == 0


@pytest.mark.parametrize("exact_limit", [1000, 10])
def test_no_image_is_its_own_neighbour_though_all_are_equal(exact_limit):
    found = Searcher(np.ones((40, 3), np.float32), exact_limit=exact_limit).neighbours(5)
    assert not (found.index_N_k == np.arange(40)[:, None]).any()
    assert (affinity(found).data > 0).all()


def test_two_images_are_each_others_neighbours():
    found = Searcher(np.array([[0.0], [2.0]], np.float32)).neighbours()
    np.testing.assert_array_equal(found.index_N_k, [[1], [0]])
    np.testing.assert_allclose(found.squares_N_k, [[4], [4]])


def test_one_image_makes_no_graph():
    with pytest.raises(LearnerError, match="at least 2 images, the pool has 1"):
        Searcher(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_broken_vector_is_named(value):
    vectors = np.ones((9, 3), np.float32)
    vectors[4, 1] = value
    with pytest.raises(LearnerError, match="1 of 9 vectors hold NaN or infinite features, the first at position 4"):
        Searcher(vectors)


def test_a_search_can_be_given_up(planted, abort_at):
    report = abort_at("neighbours", 0)
    with pytest.raises(report.error):
        Searcher(planted[0]).neighbours(report=report)


def test_weights_fall_with_the_distance_against_that_of_the_kth():
    neighbours = Neighbours(
        np.array([[1, 2], [0, 2], [1, 0]]), np.array([[1.0, 4.0], [1.0, 2.0], [2.0, 4.0]], np.float32), True
    )
    w = affinity(neighbours).toarray()
    far, near = np.exp(-4), np.exp(-4 / 4)  # of image 0: at its k-th, and at half the distance of it
    assert w[0, 2] == pytest.approx((far + far) / 2)
    assert w[0, 1] == pytest.approx((near + np.exp(-4 * 1 / 2)) / 2)
    assert w[1, 2] == pytest.approx((np.exp(-4) + np.exp(-4 * 2 / 4)) / 2)
    np.testing.assert_array_equal(w, w.T)
    assert (w.diagonal() == 0).all()


def test_near_duplicates_are_those_that_were_planted(planted):
    vectors = planted[0].copy()
    vectors[[10, 200]] = vectors[[400, 50]] + 1e-3
    found = near_duplicates(Searcher(vectors).neighbours(), vectors, share=1e-5)
    np.testing.assert_array_equal(found, [[10, 400], [50, 200]])
