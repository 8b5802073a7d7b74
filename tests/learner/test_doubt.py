"""Answers may show that what passes labels on misleads: then a round does without it."""

from __future__ import annotations

import numpy as np
import pytest

from learner import teachers
from learner.config import RoundConfig, RoundRequest, ignore
from learner.doubt import AHEAD, LEAST, put_to_the_test
from learner.graph.hypotheses import Answers
from learner.graph.pool_graph import PoolGraph, make_pool_graph
from learner.pool import Chunk
from learner.round import fit
from learner.scores import scores_at
from learner.scoring import Scorer
from learner.teachers import ByGraph

N, CLASSES = 600, 3


def pool(misleads: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images in six tight groups. The class is the group's, or a small direction that has nothing to do with groups."""
    rng = np.random.default_rng(0)
    group, other = rng.integers(0, 6, N), rng.integers(0, CLASSES, N)
    vectors = np.eye(6)[group] + rng.normal(0, 0.2 if misleads else 0.02, (N, 6))
    vectors = np.hstack([vectors, 0.15 * np.eye(CLASSES)[other] + rng.normal(0, 0.02, (N, CLASSES))])
    return vectors.astype(np.float32), (other if misleads else group % CLASSES).astype(np.int64)


@pytest.fixture(params=[True, False], ids=["misleads", "tells"])
def made(request, tmp_path, make_chunks):
    vectors, labels = pool(request.param)
    graph = make_pool_graph(make_chunks(vectors), np.arange(N), seed=0)
    paths = tmp_path / "graph.npz", tmp_path / "vectors.npy"
    with paths[0].open("wb") as file:
        graph.pool_graph.save(file)
    with paths[1].open("wb") as file:
        graph.save_vectors(file)
    return request.param, vectors, labels, graph.pool_graph, paths


def by_graph(pool_graph: PoolGraph, chosen: np.ndarray, labels: np.ndarray, *rejected: np.ndarray) -> ByGraph:
    return ByGraph(pool_graph.graph, Answers(chosen, labels[chosen], CLASSES, *rejected), np.arange(N), 0)


def test_bad_images_stay_known_while_answers_are_kept_back(made, monkeypatch) -> None:
    _, vectors, labels, pool_graph, _ = made
    chosen, seen = np.random.default_rng(1).permutation(N)[:80], []
    predict = teachers.predict
    monkeypatch.setattr(teachers, "predict", lambda *args, **kwargs: seen.append(args[1]) or predict(*args, **kwargs))
    teacher = by_graph(pool_graph, chosen[:60], labels, np.sort(chosen[60:]))
    assert put_to_the_test(teacher.tell, labels[chosen[:60]], vectors[chosen[:60]], seed=0) is not None
    assert seen and all(known.rejected_R.tolist() == sorted(chosen[60:].tolist()) for known in seen)


def test_it_is_doubted_where_it_misleads_and_only_there(made) -> None:
    misleads, vectors, labels, pool_graph, _ = made
    chosen = np.random.default_rng(1).permutation(N)[:80]
    teacher = by_graph(pool_graph, chosen, labels)
    trial = put_to_the_test(teacher.tell, labels[chosen], vectors[chosen], seed=0)
    assert trial is not None and trial.n == 80
    assert trial.is_doubted is misleads
    assert trial.told_right - trial.vectors_right == trial.only_told - trial.only_vectors
    few = chosen[: LEAST - 1]
    assert put_to_the_test(by_graph(pool_graph, few, labels).tell, labels[few], vectors[few], seed=0) is None


def test_once_it_is_ahead_the_rest_is_not_tried() -> None:
    """Of a large pool every fold delays the round."""
    rng = np.random.default_rng(1)
    labels, asked = rng.integers(0, CLASSES, 80), []

    def knows_all(_known: np.ndarray, tried: np.ndarray) -> np.ndarray:
        asked.append(tried)
        return labels[tried]

    trial = put_to_the_test(knows_all, labels, rng.normal(size=(80, 9)).astype(np.float32), seed=0)
    assert trial is not None and trial.n == 20 and len(asked) == 1 and not trial.is_doubted
    assert trial.told_right - trial.vectors_right > AHEAD


def test_what_is_tried_is_never_known(made) -> None:
    _, vectors, labels, _, _ = made
    seen: list[int] = []

    def says_nothing(known: np.ndarray, tried: np.ndarray) -> np.ndarray:
        assert not np.intersect1d(known, tried).size and len(known) + len(tried) == 80
        seen.extend(tried.tolist())
        return np.full(len(tried), -1)

    assert put_to_the_test(says_nothing, labels[:80], vectors[:80], seed=0) is not None
    assert sorted(seen) == list(range(80))


@pytest.mark.parametrize("is_bearable", [True, False], ids=["", "too many classes for the other"])
def test_a_round_does_without_the_graph_where_it_misleads(made, tmp_path, monkeypatch, is_bearable) -> None:
    misleads, _, labels, pool_graph, (graph, vectors) = made
    if not is_bearable:
        monkeypatch.setattr("learner.transduction.MOST_PRODUCTS", 0)
    chosen = np.random.default_rng(1).permutation(N)[:80]
    chunks = (Chunk(0, vectors, N, row=0),)
    config = RoundConfig(n_classes=CLASSES, architecture="head", posterior_samples=8, seed=1)
    others = np.setdiff1d(np.arange(N), chosen)
    request = RoundRequest(chunks, chosen, labels[chosen], config, tmp_path / "round", graph=graph, propagate_to=others)
    result = fit(request, ignore)
    assert result.doubts_graph is misleads and result.ignored == (pool_graph.n_coordinates if misleads else 0)
    assert any("images that look alike mislead" in note for note in result.notes) is misleads
    assert any("answers alone" in note for note in result.notes) is (misleads and not is_bearable)
    Scorer(tmp_path / "round").score(chunks[0], ignore)
    predicted = scores_at(tmp_path / "round", others, "mean_probs_N_C").argmax(1)
    assert (predicted == labels[others]).mean() > 0.9
    assert pool_graph.n_coordinates > 0


@pytest.mark.parametrize("made", [True], indirect=True, ids=["misleads"])
def test_of_what_is_ignored_nothing_is_left(made, tmp_path) -> None:
    _, _, labels, pool_graph, (graph, vectors) = made
    chosen = np.random.default_rng(1).permutation(N)[:80]
    config = RoundConfig(n_classes=CLASSES, architecture="head", posterior_samples=8, seed=1)
    request = RoundRequest(
        (Chunk(0, vectors, N, row=0),), chosen, labels[chosen], config, tmp_path / "round", graph=graph
    )
    fit(request, ignore)
    changed = np.load(vectors)
    changed[:, : pool_graph.n_coordinates] = 1
    np.save(tmp_path / "changed.npy", changed)
    scores = []
    for path in (vectors, tmp_path / "changed.npy"):
        scorer = Scorer(tmp_path / "round")
        scores.append(scorer.estimator.sample_log_probs(np.load(path)[:50]).numpy())
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
