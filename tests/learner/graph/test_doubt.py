"""Answers may show that the graph misleads: then a round learns from them alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learner.config import RoundConfig, RoundRequest, ignore
from learner.graph import doubt
from learner.graph.doubt import LEAST, put_to_the_test
from learner.graph.hypotheses import Answers
from learner.graph.pool_graph import make_pool_graph
from learner.pool import Chunk
from learner.round import fit
from learner.scores import scores_at
from learner.scoring import Scorer

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


def test_bad_images_stay_known_while_answers_are_kept_back(made, monkeypatch) -> None:
    _, vectors, labels, pool_graph, _ = made
    chosen, seen = np.random.default_rng(1).permutation(N)[:80], []
    predict = doubt.predict
    monkeypatch.setattr(doubt, "predict", lambda *args, **kwargs: seen.append(args[1]) or predict(*args, **kwargs))
    answers = Answers(chosen[:60], labels[chosen[:60]], CLASSES, np.sort(chosen[60:]))
    assert put_to_the_test(pool_graph.graph, answers, vectors[chosen[:60]], seed=0) is not None
    assert seen and all(known.rejected_R.tolist() == sorted(chosen[60:].tolist()) for known in seen)


def test_it_is_doubted_where_it_misleads_and_only_there(made) -> None:
    misleads, vectors, labels, pool_graph, _ = made
    chosen = np.random.default_rng(1).permutation(N)[:80]
    answers = Answers(chosen, labels[chosen], CLASSES)
    trial = put_to_the_test(pool_graph.graph, answers, vectors[chosen], seed=0)
    assert trial is not None and trial.n == 80
    assert trial.is_doubted is misleads
    assert trial.graph_right - trial.vectors_right == trial.only_graph - trial.only_vectors
    few = Answers(chosen[: LEAST - 1], labels[chosen[: LEAST - 1]], CLASSES)
    assert put_to_the_test(pool_graph.graph, few, vectors[chosen[: LEAST - 1]], seed=0) is None


@pytest.mark.parametrize("made", [False], indirect=True, ids=["tells"])
def test_once_the_graph_is_ahead_the_rest_is_not_tried(made) -> None:
    """Of a large pool every fold delays the round."""
    _, _, labels, pool_graph, _ = made
    chosen = np.random.default_rng(1).permutation(N)[:80]
    noise = np.random.default_rng(2).normal(size=(80, 9)).astype(np.float32)
    trial = put_to_the_test(pool_graph.graph, Answers(chosen, labels[chosen], CLASSES), noise, seed=0)
    assert trial is not None and trial.n == 20 and not trial.is_doubted


def test_a_round_learns_from_answers_alone_where_the_graph_misleads(made, tmp_path) -> None:
    misleads, _, labels, pool_graph, (graph, vectors) = made
    chosen = np.random.default_rng(1).permutation(N)[:80]
    chunks = (Chunk(0, vectors, N, row=0),)
    config = RoundConfig(n_classes=CLASSES, architecture="head", posterior_samples=8, seed=1)
    others = np.setdiff1d(np.arange(N), chosen)
    request = RoundRequest(chunks, chosen, labels[chosen], config, tmp_path / "round", graph=graph, propagate_to=others)
    result = fit(request, ignore)
    assert result.doubts_graph is misleads
    assert any(("answers alone" if misleads else "images besides") in note for note in result.notes)
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


def test_a_graph_that_is_not_believed_beforehand_has_to_be_ahead(made) -> None:
    misleads, vectors, labels, pool_graph, _ = made
    chosen = np.random.default_rng(1).permutation(N)[:40]
    answers = Answers(chosen, labels[chosen], CLASSES)
    trial = put_to_the_test(pool_graph.graph, answers, vectors[chosen], is_presumed=False, seed=0)
    assert trial is not None
    assert trial.is_doubted is (trial.vectors_right >= trial.graph_right)
    assert trial.is_doubted or not misleads
    level = replace(trial, graph_right=20, vectors_right=20, only_graph=2, only_vectors=2)
    assert level.is_doubted and not replace(level, is_presumed=True).is_doubted
