"""The graph as a file: read back it is the same, and what is no graph is refused in words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from learner.errors import ArtifactError, LearnerError
from learner.folder import write_chunks
from learner.graph import pool_graph
from learner.graph.hypotheses import Answers
from learner.graph.model import predict
from learner.graph.pool_graph import (
    COHESIVE,
    VERSION,
    WHOLE,
    PoolGraph,
    is_cohesive,
    is_readable,
    make_pool_graph,
    questions_about_parts,
)


@pytest.fixture
def chunks(digits, make_chunks):
    return make_chunks(digits[0][:500])


def save(graph: PoolGraph, path: Path) -> Path:
    file = io.BytesIO()
    graph.save(file)
    path.write_bytes(file.getvalue())
    return path


def test_it_is_the_same_when_it_is_read_back(chunks, digits, tmp_path):
    made = make_pool_graph(chunks, range(500), seed=1, first=20).pool_graph
    read = PoolGraph.load(save(made, tmp_path / "graph.npz"))
    assert (read.first, read.n_groups, read.reason) == (made.first, made.n_groups, made.reason)
    assert read.cohesion == made.cohesion
    np.testing.assert_array_equal(read.graph.tree.parent_V, made.graph.tree.parent_V)
    answers = Answers(np.arange(30), digits[1][:30], 10)
    np.testing.assert_allclose(
        predict(read.graph, answers).class_probs(), predict(made.graph, answers).class_probs(), atol=1e-5
    )


def test_the_first_questions_find_the_classes(chunks, digits):
    first = make_pool_graph(chunks, range(500), seed=0, first=20).pool_graph.first
    truth = digits[1][[question.position for question in first]]
    assert len(set(truth[:12].tolist())) >= 9  # twelve at random find 7 of 10 classes
    assert first[0].gain >= first[5].gain >= first[15].gain


@pytest.fixture
def loose(tmp_path):
    """Vectors that lie everywhere alike, more of them in the middle: no groups."""
    return write_chunks(np.random.default_rng(0).normal(size=(600, 12)).astype(np.float32), tmp_path / "loose")


def test_where_groups_hang_together_they_are_asked_about_and_else_images_that_cover_the_pool(chunks, loose, tmp_path):
    assert make_pool_graph(chunks, range(500), seed=0, first=3).pool_graph.is_cohesive
    made = make_pool_graph(loose, range(600), seed=0, first=30)
    assert not made.pool_graph.is_cohesive
    asked = [question.position for question in made.pool_graph.first]
    vectors = made.vectors_N_D[:, made.pool_graph.n_coordinates :].astype(float)

    def reached(positions):
        """How near an image is to the nearest of some, on average."""
        return np.square(vectors[:, None] - vectors[positions][None]).sum(2).min(1).mean()

    at_random = [reached(np.random.default_rng(seed).permutation(600)[:30]) for seed in range(20)]
    assert reached(asked) < min(at_random)
    path = save(made.pool_graph, tmp_path / "graph.npz")
    answers = Answers(np.array(asked[:4]), np.array([0, 1, 0, 1]), 2)
    assert questions_about_parts(path, answers, np.arange(600), 5, seed=0).questions == ()


def test_less_is_asked_of_small_pools_before_they_count_as_hanging_together():
    assert is_cohesive(COHESIVE, WHOLE) and is_cohesive(COHESIVE, 60_000)
    assert not is_cohesive(COHESIVE - 0.01, 60_000) and not is_cohesive(COHESIVE - 0.01, WHOLE)
    assert is_cohesive(COHESIVE - 0.01, WHOLE // 2) and not is_cohesive(COHESIVE - 0.1, WHOLE // 2)
    assert is_cohesive(1.0, 2)


def test_of_a_pool_without_groups_only_eligible_images_are_asked_about(loose):
    eligible = np.arange(0, 600, 9)
    first = make_pool_graph(loose, eligible, seed=0, first=100).pool_graph.first
    assert sorted(question.position for question in first) == eligible.tolist()
    assert all(question.size >= 1 and question.gain >= 0 for question in first)
    assert sum(question.gain for question in first) <= 600


def test_only_eligible_images_are_asked_about(chunks):
    eligible = np.arange(0, 500, 7)
    first = make_pool_graph(chunks, eligible, seed=0, first=100).pool_graph.first
    assert sorted(question.position for question in first) == eligible.tolist()
    assert make_pool_graph(chunks, [], seed=0).pool_graph.first == ()


def test_two_images_make_a_graph_and_one_makes_none(digits, make_chunks):
    assert len(make_pool_graph(make_chunks(digits[0][:2]), [0, 1], seed=0).pool_graph.first) == 2
    with pytest.raises(LearnerError, match="at least 2 images"):
        make_pool_graph(make_chunks(digits[0][:1]), [0], seed=0)


def test_making_it_can_be_given_up_everywhere(chunks, abort_at):
    for least in (0, 500, 1000, 1010):
        report = abort_at("graph", least)
        with pytest.raises(report.error):
            make_pool_graph(chunks, range(500), seed=0, first=20, report=report)


def right_by_means(vectors, labels, of_known, known):
    """The share whose nearest mean is that of their class; means are of ten images each."""
    means = np.stack([of_known[np.flatnonzero(known == c)[:10]].mean(0) for c in range(10)])
    return (((vectors[:, None] - means) ** 2).sum(2).argmin(1) == labels).mean()


def test_vectors_tell_classes_apart_better_than_pixels_in_the_pool_and_outside(chunks, digits):
    made, truth = make_pool_graph(chunks, [], seed=0), digits[1]
    inside, outside = made.vectors_N_D.astype(float), made.vectors_of(digits[0][500:900]).astype(float)
    flat = digits[0][:900].reshape(900, -1).astype(float)
    for vectors, part in ((inside, slice(0, 500)), (outside, slice(500, 900))):
        by_likeness = right_by_means(vectors, truth[part], inside, truth[:500])
        assert by_likeness > right_by_means(flat[part], truth[part], flat[:500], truth[:500]) + 0.05
        assert by_likeness > 0.9


def test_an_image_of_the_pool_that_comes_from_outside_stands_where_it_stood(chunks, digits):
    made = make_pool_graph(chunks, [], seed=0)
    again = made.vectors_of(digits[0][:100]).astype(float)
    similarity = (again * made.vectors_N_D[:100]).sum(1) / 2  # both halves have length 1
    assert np.median(similarity) > 0.98


def test_images_of_another_shape_are_refused(chunks):
    with pytest.raises(LearnerError, match="the graph was built on"):
        make_pool_graph(chunks, [], seed=0).vectors_of(np.zeros((2, 1, 9, 9), np.uint8))


def test_what_is_no_graph_is_refused(chunks, tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        PoolGraph.load(tmp_path / "nothing.npz")
    path = save(make_pool_graph(chunks, range(500), seed=0, first=3).pool_graph, tmp_path / "graph.npz")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="cannot be read"):
        PoolGraph.load(path)
    np.savez(tmp_path / "part.npz", version=np.array(VERSION))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("part.npz", "array.npy"):
        with pytest.raises(ArtifactError, match="cannot be read"):
            PoolGraph.load(tmp_path / name)
    assert not is_readable(tmp_path / "array.npy")
    np.savez(tmp_path / "other.npz", version=np.array(99))
    with pytest.raises(ArtifactError, match="another version"):
        PoolGraph.load(tmp_path / "other.npz")


def test_what_a_network_was_taught_wrongly_is_in_doubt_beside_pixels(chunks, digits, tmp_path):
    """A network that was taught that some ones are eights sees them among the eights; their pixels know better."""
    truth, rng = digits[1][:500], np.random.default_rng(0)
    ones = np.flatnonzero(truth == 1)
    taught = truth.copy()
    taught[ones[: len(ones) // 3]] = 8
    features = np.eye(10)[taught] + 0.2 * rng.normal(size=(500, 10))
    seen = write_chunks(features.astype(np.float32), tmp_path / "features")
    answered = np.array([np.flatnonzero((truth == c) & (taught == c))[0] for c in range(10)])
    answers, wrong = Answers(answered, truth[answered], 10), {}
    for name, beside in (("alone", ()), ("beside", chunks)):
        graph = make_pool_graph(seen, (), seed=0, beside=beside).pool_graph.graph
        probs = predict(graph, answers).class_probs(ones[: len(ones) // 3])
        wrong[name] = float((probs[:, 8] > 0.8).mean())
    assert wrong["alone"] > 0.9 and wrong["beside"] < 0.1


def test_what_is_beside_is_of_the_same_images(chunks, digits, tmp_path):
    made = make_pool_graph(chunks, (), seed=0, beside=chunks)
    assert made.pool_graph.reason.count("principal components") == 2
    with pytest.raises(LearnerError, match="500 images, and 400 beside"):
        make_pool_graph(chunks, (), seed=0, beside=write_chunks(digits[0][:400], tmp_path / "fewer"))


def test_of_too_many_images_there_is_memory_for_ties_of_one_kind(chunks, monkeypatch):
    alone = make_pool_graph(chunks, (), seed=0).pool_graph.reason
    assert make_pool_graph(chunks, (), seed=0, beside=chunks).pool_graph.reason != alone
    monkeypatch.setattr(pool_graph, "MOST_BESIDE", 499)
    assert make_pool_graph(chunks, (), seed=0, beside=chunks).pool_graph.reason == alone


def test_progress_never_goes_back_with_both(chunks):
    told = []
    make_pool_graph(
        chunks, range(500), seed=0, first=20, beside=chunks, report=lambda _, done, total: told.append((done, total))
    )
    done = [done for done, _ in told]
    assert done == sorted(done) and done[-1] == told[-1][1] and len({total for _, total in told}) == 1
