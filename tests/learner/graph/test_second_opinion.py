"""Parts of the pool that a model doubts: the one with most wrong images first, each part once, none without doubt."""

from __future__ import annotations

import numpy as np
import pytest

from learner.graph import second_opinion
from learner.graph.hypotheses import Answers
from learner.graph.model import predict
from learner.graph.pool_graph import PoolGraph, questions_about_parts
from learner.graph.second_opinion import DOUBTED, ask_what_is_doubted

ALL = np.ones(600, bool)
NONE = np.empty(0, np.int64)
LEAST = 3.0


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """Leaves of 600 images have some fifteen."""
    monkeypatch.setattr(second_opinion, "LEAST", LEAST)


@pytest.fixture
def prediction(planted, graph):
    """Each of the six groups has an answer, and is believed to be what it is."""
    positions = np.array([np.flatnonzero(planted[1] == group)[0] for group in range(6)])
    return predict(graph, Answers(positions, np.arange(6), 6))


def doubting(prediction, doubts: dict[int, float]):
    """A model that expects some share of each of some leaves to be of another class than the graph says."""
    leaf_N, said_N = prediction.graph.tree.leaf_N, prediction.best()

    def opinion(positions, classes):
        assert (classes == said_N[positions]).all()
        return np.array([1 - doubts.get(int(leaf_N[position]), 0.0) for position in positions], np.float16)

    return opinion


def leaves_by_size(prediction) -> np.ndarray:
    """Without those that have answers."""
    tree = prediction.graph.tree
    sizes = tree.size_V[: tree.n_leaves].astype(float)
    sizes[tree.leaf_N[prediction.answers.positions_A]] = 0
    return np.argsort(-sizes)


def test_the_part_with_most_wrong_images_is_first_and_each_has_one_question(prediction):
    tree, (first, second, third, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    doubts = {first: 0.5, second: 0.95, third: 0.02}
    questions = ask_what_is_doubted(prediction, doubting(prediction, doubts), ALL, 5, pending=NONE, seed=0)
    assert [tree.leaf_N[each.position] for each in questions] == [second, first]
    for each, leaf in zip(questions, (second, first), strict=True):
        assert each.gain == pytest.approx(doubts[leaf] * tree.size_V[leaf], rel=0.01) and each.gain >= LEAST
        assert (each.reason, each.size) == (DOUBTED, tree.size_V[leaf]) and 0 < each.probability <= 1
    one = ask_what_is_doubted(prediction, doubting(prediction, doubts), ALL, 1, pending=NONE, seed=0)
    assert [each.position for each in one] == [questions[0].position]


def test_in_a_large_pool_more_have_to_be_wrong(prediction, monkeypatch):
    first, *_ = leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9})
    monkeypatch.setattr(second_opinion, "LEAST_SHARE", 4 / 600)  # as if leaves were a part of a larger pool
    assert len(ask_what_is_doubted(prediction, opinion, ALL, 5, pending=NONE, seed=0)) == 1
    monkeypatch.setattr(second_opinion, "LEAST_SHARE", 40 / 600)
    assert ask_what_is_doubted(prediction, opinion, ALL, 5, pending=NONE, seed=0) == []


def test_where_the_model_agrees_nothing_is_asked(prediction):
    assert ask_what_is_doubted(prediction, doubting(prediction, {}), ALL, 5, pending=NONE, seed=0) == []


def test_a_part_that_somebody_is_asked_about_counts_half(prediction):
    tree, (first, second, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9, second: 0.8})
    pending = np.flatnonzero(tree.leaf_N == first)[:1]
    (before, *_), (after, *_) = (
        ask_what_is_doubted(prediction, opinion, ALL, 2, pending=some, seed=0) for some in (NONE, pending)
    )
    assert (tree.leaf_N[before.position], tree.leaf_N[after.position]) == (first, second)


def test_only_what_may_be_asked_about_is_asked_or_doubted(prediction):
    tree, (first, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9})
    few = np.isin(np.arange(600), np.flatnonzero(tree.leaf_N == first)[:8])
    (question,) = ask_what_is_doubted(prediction, opinion, few, 5, pending=NONE, seed=0)
    assert few[question.position] and question.gain == pytest.approx(0.9 * 8, rel=0.01)
    assert ask_what_is_doubted(prediction, opinion, tree.leaf_N != first, 5, pending=NONE, seed=0) == []
    assert ask_what_is_doubted(prediction, opinion, ~ALL, 5, pending=NONE, seed=0) == []


def test_before_a_class_is_named_nobody_doubts(graph):
    nothing = predict(graph, Answers(NONE, NONE, 6))
    assert ask_what_is_doubted(nothing, lambda some, _: np.zeros(len(some)), ALL, 5, pending=NONE, seed=0) == []


def test_bad_images_are_not_doubted(prediction, graph, planted):
    """What looks like them has no class that a model could doubt."""
    answers = prediction.answers
    last = answers.positions_A[5:]
    rejecting = predict(graph, Answers(answers.positions_A[:5], answers.labels_A[:5], 6, last))
    looks_bad = rejecting.best() == 6
    assert looks_bad.sum() > 30
    questions = ask_what_is_doubted(rejecting, lambda some, _: np.zeros(len(some)), ALL, 50, pending=NONE, seed=0)
    assert questions and not looks_bad[[each.position for each in questions]].all()
    only = ask_what_is_doubted(rejecting, lambda some, _: np.zeros(len(some)), looks_bad, 50, pending=NONE, seed=0)
    assert only == []


def test_it_follows_the_questions_of_the_graph(prediction, tmp_path):
    """As long as the graph has some that are worth it, those come first, and no image is asked about twice."""
    path = tmp_path / "graph.npz"
    with path.open("wb") as file:
        PoolGraph(prediction.graph, (), 6, "").save(file)
    first, *_ = leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9})

    def asked(answers, opinion):
        return questions_about_parts(path, answers, np.arange(600), 8, opinion=opinion, seed=0).questions

    named, half = prediction.answers, Answers(prediction.answers.positions_A[:3], np.arange(3), 6)
    assert DOUBTED not in {each.reason for each in asked(named, None)}
    assert DOUBTED in {each.reason for each in asked(named, opinion)}
    reasons = [each.reason for each in asked(half, lambda some, _: np.zeros(len(some)))]
    assert reasons[:3] == ["unnamed"] * 3 and reasons[-1] == DOUBTED
    positions = [each.position for each in asked(half, lambda some, _: np.zeros(len(some)))]
    assert len(set(positions)) == len(positions)
