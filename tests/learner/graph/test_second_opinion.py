"""Parts of the pool that a model doubts: the one with most wrong images first, each part once, none without doubt."""

from __future__ import annotations

import numpy as np
import pytest

from learner.graph import second_opinion
from learner.graph.hypotheses import Answers
from learner.graph.model import predict
from learner.graph.pool_graph import PoolGraph, questions_about_parts
from learner.graph.second_opinion import DOUBTED, ask_what_is_doubted, share_of_doubts
from learner.graph.strategy import REACH

ALL = np.ones(600, bool)
NONE = np.empty(0, np.int64)


@pytest.fixture
def prediction(planted, graph):
    """Each of the six groups has an answer, and is believed to be what it is."""
    positions = np.array([np.flatnonzero(planted[1] == group)[0] for group in range(6)])
    return predict(graph, Answers(positions, np.arange(6), 6))


def doubting(prediction, doubts: dict[int, float], *, softness: float = 0.3):
    """A model that gives all images of some leaves to the next class, and does not believe the graph as far as said.
    Of all others it is of the graph's opinion, and not sure of it."""
    leaf_N, said_N = prediction.graph.tree.leaf_N, prediction.best()

    def opinion(positions, classes):
        assert (classes == said_N[positions]).all()
        doubts_n = np.array([doubts.get(int(leaf_N[position]), 0.0) for position in positions])
        best = np.where(doubts_n > 0, (classes + 1) % 6, classes)
        return best, np.where(doubts_n > 0, 1 - doubts_n, 1 - softness).astype(np.float16)

    return opinion


def nothing_believed(positions, classes):
    """A model that contradicts the graph everywhere."""
    return (classes + 1) % 6, np.zeros(len(positions), np.float16)


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
        assert each.gain == pytest.approx(doubts[leaf] * tree.size_V[leaf], rel=0.01) and each.gain >= REACH
        assert (each.reason, each.size) == (DOUBTED, tree.size_V[leaf]) and 0 < each.probability <= 1
    one = ask_what_is_doubted(prediction, doubting(prediction, doubts), ALL, 1, pending=NONE, seed=0)
    assert [each.position for each in one] == [questions[0].position]


def test_where_the_model_agrees_nothing_is_asked_however_soft_it_is(prediction):
    assert ask_what_is_doubted(prediction, doubting(prediction, {}), ALL, 5, pending=NONE, seed=0) == []


def test_a_part_that_somebody_is_asked_about_counts_half(prediction):
    tree, (first, second, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9, second: 0.8})
    pending = np.flatnonzero(tree.leaf_N == first)[:1]
    (before, *_), (after, *_) = (
        ask_what_is_doubted(prediction, opinion, ALL, 2, pending=some, seed=0) for some in (NONE, pending)
    )
    assert (tree.leaf_N[before.position], tree.leaf_N[after.position]) == (first, second)


def test_a_part_that_has_an_answer_counts_half(graph, planted, prediction):
    """Else a part that stays in doubt would be asked about for ever."""
    tree, (first, second, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    doubts = {first: 0.9, second: 0.8}
    answered = np.append(prediction.answers.positions_A, np.flatnonzero(tree.leaf_N == first)[0])
    again = predict(graph, Answers(answered, planted[1][answered], 6))
    (question, *_) = ask_what_is_doubted(again, doubting(again, doubts), ALL, 2, pending=NONE, seed=0)
    assert tree.leaf_N[question.position] == second


def test_only_what_may_be_asked_about_is_asked_or_doubted(prediction):
    tree, (first, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9})
    few = np.isin(np.arange(600), np.flatnonzero(tree.leaf_N == first)[:8]) | (tree.leaf_N != first)
    (question,) = ask_what_is_doubted(prediction, opinion, few, 5, pending=NONE, seed=0)
    assert few[question.position] and tree.leaf_N[question.position] == first
    assert question.gain == pytest.approx(0.9 * 8, rel=0.01)
    assert ask_what_is_doubted(prediction, opinion, tree.leaf_N != first, 5, pending=NONE, seed=0) == []
    assert ask_what_is_doubted(prediction, opinion, ~ALL, 5, pending=NONE, seed=0) == []


def test_asked_about_is_what_is_in_doubt_of_a_leaf(prediction):
    """The rest of it would only confirm what the graph says."""
    tree, (first, *_) = prediction.graph.tree, leaves_by_size(prediction).tolist()
    some = np.flatnonzero(tree.leaf_N == first)[:5]

    def opinion(positions, classes):
        is_doubted = np.isin(positions, some)
        return np.where(is_doubted, (classes + 1) % 6, classes), np.where(is_doubted, 0.1, 0.6).astype(np.float16)

    for seed in range(5):
        (question,) = ask_what_is_doubted(prediction, opinion, ALL, 5, pending=NONE, seed=seed)
        assert question.position in some and question.gain == pytest.approx(4.5, rel=0.01)


def test_before_a_class_is_named_nobody_doubts(graph):
    nothing = predict(graph, Answers(NONE, NONE, 6))
    assert ask_what_is_doubted(nothing, nothing_believed, ALL, 5, pending=NONE, seed=0) == []


def test_bad_images_are_not_doubted(prediction, graph, planted):
    """What looks like them has no class that a model could doubt."""
    answers = prediction.answers
    last = answers.positions_A[5:]
    rejecting = predict(graph, Answers(answers.positions_A[:5], answers.labels_A[:5], 6, last))
    looks_bad = rejecting.best() == 6
    assert looks_bad.sum() > 30
    questions = ask_what_is_doubted(rejecting, nothing_believed, ALL, 50, pending=NONE, seed=0)
    assert questions and not looks_bad[[each.position for each in questions]].any()
    only = ask_what_is_doubted(rejecting, nothing_believed, looks_bad, 50, pending=NONE, seed=0)
    assert only == []


@pytest.fixture
def asked(prediction, tmp_path):
    """The questions by the graph's file."""
    with (tmp_path / "graph.npz").open("wb") as file:
        PoolGraph(prediction.graph, (), 6, "").save(file)

    def asked(answers, opinion, count=8, **rest):
        path = tmp_path / "graph.npz"
        return questions_about_parts(path, answers, np.arange(600), count, opinion=opinion, seed=0, **rest).questions

    return asked


def test_it_follows_the_questions_of_the_graph(prediction, asked, tmp_path, monkeypatch):
    """As long as the graph has some that are worth it, those come first, and no image is asked about twice."""
    path, (first, *_) = tmp_path / "graph.npz", leaves_by_size(prediction).tolist()
    opinion = doubting(prediction, {first: 0.9})
    named, half = prediction.answers, Answers(prediction.answers.positions_A[:3], np.arange(3), 6)
    assert DOUBTED not in {each.reason for each in asked(named, None)}
    assert DOUBTED in {each.reason for each in asked(named, opinion)}
    questions = asked(half, nothing_believed)
    assert [each.reason for each in questions][:3] == ["unnamed"] * 3 and questions[-1].reason == DOUBTED
    by_graph = sum(each.reason != DOUBTED for each in questions)
    assert len(questions) - by_graph == share_of_doubts(8 - by_graph, 0) >= 1
    leaves = prediction.graph.tree.leaf_N[[each.position for each in questions]].tolist()
    assert len(set(leaves)) == len(questions)  # where the graph has just asked, nobody is asked again
    monkeypatch.setattr(second_opinion, "REACH", 0.1)
    few = np.array([each.position for each in questions[:3]])  # nothing else may be asked about
    again = questions_about_parts(path, half, few, 8, opinion=nothing_believed, seed=0).questions
    assert sorted(each.position for each in again) == sorted(few.tolist())


def test_half_of_a_batch_is_left_to_what_nobody_doubts(asked, prediction):
    """A class that both graph and model miss would wait until nothing is in doubt any more."""
    by_graph = len(asked(prediction.answers, None, 20))
    assert len(asked(prediction.answers, nothing_believed, by_graph + 8)) == by_graph + 4
    of_one = [share_of_doubts(1, seed) for seed in range(40)]
    assert 8 <= sum(of_one) <= 32  # one at a time, a coin decides
    assert {share_of_doubts(3, seed) for seed in range(40)} == {1, 2} and share_of_doubts(0, 3) == 0


def test_a_part_that_the_graph_asks_about_itself_has_an_answer_on_its_way(prediction, asked):
    half = Answers(prediction.answers.positions_A[:3], np.arange(3), 6)
    tree, first = prediction.graph.tree, asked(half, None, 1)[0].position
    leaf = int(tree.leaf_N[first])
    share = 1.5 * REACH / (np.bincount(tree.leaf_N)[leaf] - 1)
    believed = predict(prediction.graph, half)
    questions = asked(half, doubting(believed, {leaf: share}), 8)
    assert questions[0].position == first and DOUBTED not in {each.reason for each in questions}
    before = ask_what_is_doubted(believed, doubting(believed, {leaf: share}), ALL, 8, pending=NONE, seed=0)
    assert [tree.leaf_N[each.position] for each in before] == [leaf]


def test_what_people_have_said_since_is_no_doubt(prediction, planted, asked):
    """A class whose answers came while the model was being fitted, and of which it knows nothing or little."""
    answers, truth = prediction.answers, planted[1]
    before = answers.without(answers.positions_A[5:])
    old = predict(prediction.graph, before).best()

    def of_then(positions, classes):
        return old[positions], (old[positions] == classes).astype(np.float16)

    assert DOUBTED in {each.reason for each in asked(answers, of_then)}
    since = answers.positions_A[5:]
    assert DOUBTED not in {each.reason for each in asked(answers, of_then, unseen=since)}
    assert (truth[since] == 5).all()
