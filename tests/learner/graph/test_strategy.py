"""Whom to ask: the largest group without a name first, never one twice before all have one, none beside another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from learner.errors import LabelError
from learner.graph.communities import Tree
from learner.graph.hypotheses import Answers
from learner.graph.model import Graph, predict
from learner.graph.strategy import ask

ALL = np.ones(600, bool)
NOTHING = Answers(np.array([], int), np.array([], int), 6)


def loop(graph, truth_N, steps: int, batch: int = 1, n_classes: int = 6):
    """Ask and answer, `batch` at a time: all questions, and the last prediction."""
    questions, prediction = [], predict(graph, Answers(np.array([], int), np.array([], int), n_classes))
    for step in range(steps):
        is_open = np.ones(len(graph), bool)
        is_open[[each.position for each in questions]] = False
        questions += ask(prediction, is_open, batch, seed=step)
        positions = np.array([each.position for each in questions])
        prediction = predict(graph, Answers(positions, truth_N[positions], n_classes))
    return questions, prediction


def test_six_answers_name_six_groups(planted, graph):
    questions, prediction = loop(graph, planted[1], steps=6)
    asked = planted[1][[each.position for each in questions]]
    assert sorted(asked.tolist()) == [0, 1, 2, 3, 4, 5]
    assert (prediction.best() == planted[1]).mean() > 0.99


def test_the_largest_is_first(planted, graph):
    questions, _ = loop(graph, planted[1], steps=6)
    sizes = np.bincount(planted[1])[planted[1][[each.position for each in questions]]]
    assert sizes[0] == sizes.max()
    assert sizes[-1] == sizes.min()


def test_a_batch_spreads_over_the_groups(planted, graph):
    questions, prediction = loop(graph, planted[1], steps=1, batch=6)
    assert len({int(planted[1][each.position]) for each in questions}) >= 5
    _, prediction = loop(graph, planted[1], steps=2, batch=6)
    assert (prediction.best() == planted[1]).mean() > 0.99


def test_a_part_whose_answer_is_on_its_way_is_not_asked_about_once_more(planted, graph):
    nothing = predict(graph, NOTHING)
    pending = [each.position for each in ask(nothing, ALL, 3, seed=0)]
    is_open = ALL.copy()
    is_open[pending] = False
    batch = [each.position for each in ask(nothing, is_open, 3, pending=pending, seed=1)]
    assert sorted(planted[1][[*pending, *batch]].tolist()) == [0, 1, 2, 3, 4, 5]
    assert graph.affinity[pending][:, batch].nnz == 0
    forgotten = [each.position for each in ask(nothing, is_open, 3, seed=1)]
    assert set(planted[1][forgotten].tolist()) & set(planted[1][pending].tolist())


def test_no_two_of_a_batch_are_neighbours_while_there_are_others(planted, graph):
    batch = [each.position for each in ask(predict(graph, NOTHING), ALL, 20, seed=0)]
    assert len(set(batch)) == 20
    assert graph.affinity[batch][:, batch].nnz == 0


def test_a_batch_takes_all_that_there_is(planted, graph):
    few = np.zeros(600, bool)
    few[[3, 7, 500]] = True
    batch = ask(predict(graph, NOTHING), few, 10, seed=0)
    assert sorted(each.position for each in batch) == [3, 7, 500]


def test_a_gain_is_how_many_images_an_answer_puts_right(planted, graph):
    """It falls as groups get their names, and is small where all is known."""
    questions, _ = loop(graph, planted[1], steps=14)
    gains = [each.gain for each in questions]
    assert gains[0] > 30
    assert max(gains[-3:]) < 10
    assert all(gain >= 0 for gain in gains)
    assert {each.reason for each in questions[:6]} >= {"unnamed"}


def test_what_two_parts_dispute_is_asked_about_as_a_whole():
    """Ten leaves of 8 images are node 12. With leaf 10, of 80 and of class 0, they are node 13. The one answer about
    the ten says 1: that is odd, or all of them are of class 1, and another answer decides about all 80 at once."""
    leaf_N = np.concatenate([np.repeat(np.arange(10), 8), np.full(80, 10), np.full(40, 11)])
    weights = np.triu(np.equal.outer(leaf_N, leaf_N) * 1.0, 1)
    weights[np.arange(0, 80, 8)[:, None], np.arange(1, 80, 8)] = weights[0:40:8, 80] = 0.05
    parent_V, tie_V = np.array([*[12] * 10, 13, 14, 13, 14, -1]), np.array([*[8.0] * 12, 3.0, 1.0, 0.01])
    tree = Tree(leaf_N, parent_V, tie_V, np.array([*[8] * 10, 80, 40, 80, 160, 200]))
    graph = Graph(csr_matrix(np.maximum(weights, weights.T)), tree)
    answers = Answers(np.array([85, 90, 3, 165, 170]), np.array([0, 0, 1, 2, 2]), 3)
    prediction, is_open = predict(graph, answers), np.ones(200, bool)
    is_open[answers.positions_A] = False
    first, second = ask(prediction, is_open, 2, seed=0)
    assert tree.leaf_N[first.position] < 10
    assert first.size == 80
    assert first.gain > 2 * 8  # more than any one leaf has to win
    assert second.gain < first.gain / 2  # one answer is asked for, not one a leaf


def test_a_group_of_two_classes_is_found_out(make_graph):
    """Two groups that touch, and are one community: the second answer in it is where it hangs together least."""
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [3.2, 0], [30, 0], [60, 0]])
    truth_N = np.repeat([0, 1, 2, 3], 150)
    graph = make_graph(centres[truth_N] + rng.normal(0, 0.8, (600, 2)))
    _, prediction = loop(graph, truth_N, steps=10, n_classes=4)
    assert (prediction.best() == truth_N).mean() > 0.95


def test_what_is_drawn_varies_with_the_seed_and_its_chance_is_told(planted, graph):
    prediction = predict(graph, NOTHING)
    drawn = [ask(prediction, ALL, 1, seed=seed)[0] for seed in range(20)]
    assert len({each.position for each in drawn}) > 5
    assert ask(prediction, ALL, 1, seed=4) == ask(prediction, ALL, 1, seed=4)
    assert 1 / 150 <= drawn[0].probability < 1 / 5


def test_where_nothing_hangs_together_it_asks_all_the_same(make_graph):
    noise = make_graph(np.random.default_rng(0).normal(0, 1, (300, 20)))
    questions, prediction = loop(noise, np.random.default_rng(1).integers(0, 4, 300), steps=30, n_classes=4)
    assert len({each.position for each in questions}) == 30
    assert np.isfinite(prediction.class_probs()).all()


@pytest.mark.parametrize("n", [2, 3, 40])
def test_equal_images_can_be_asked_about_and_are_all_the_same_then(make_graph, n):
    graph = make_graph(np.ones((n, 3)))
    questions, prediction = loop(graph, np.zeros(n, int), steps=1, n_classes=2)
    assert 0 <= questions[0].position < n
    assert (prediction.best() == 0).all()


def test_hundreds_of_classes_are_nothing_special(make_graph):
    rng = np.random.default_rng(0)
    truth_N = np.repeat(np.arange(100), 12)
    graph = make_graph(rng.normal(0, 9, (100, 8))[truth_N] + rng.normal(0, 0.1, (1200, 8)))
    questions, prediction = loop(graph, truth_N, steps=25, batch=4, n_classes=500)
    assert len(set(truth_N[[each.position for each in questions]].tolist())) > 85
    assert prediction.class_probs().shape == (1200, 500)


def test_nobody_left_to_ask_about_is_said(planted, graph):
    with pytest.raises(LabelError, match="no image is left"):
        ask(predict(graph, NOTHING), np.zeros(600, bool), 1, seed=0)


def test_choosing_can_be_given_up(graph, abort_at):
    report = abort_at("acquire", 2)
    with pytest.raises(report.error):
        ask(predict(graph, NOTHING), ALL, 5, seed=0, report=report)


def test_what_is_not_worth_it_is_left_out(planted, graph):
    questions, prediction = loop(graph, planted[1], steps=14)
    assert ask(prediction, ALL, 5, seed=0, least_gain=50) == []
    worth = ask(predict(graph, NOTHING), ALL, 50, seed=0, least_gain=10)
    assert 6 <= len(worth) < 50
    assert all(question.gain >= 10 for question in worth)
    assert len(questions) == 14


def test_a_group_that_people_reject_is_asked_about_twice_and_no_more(planted, graph):
    truth_N, asked, bad = planted[1], [], 0  # the largest group is of bad images
    for step in range(12):
        positions = np.array(asked, int)
        is_bad = truth_N[positions] == bad
        labelled = positions[~is_bad]
        prediction = predict(graph, Answers(labelled, truth_N[labelled], 6, positions[is_bad]))
        is_open = ~np.isin(np.arange(600), asked)
        asked.append(ask(prediction, is_open, 1, seed=step)[0].position)
    groups = truth_N[asked].tolist()
    assert set(groups) == {0, 1, 2, 3, 4, 5}
    assert groups.count(bad) <= 3
    probs = prediction.class_probs()
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    assert (probs.argmax(1) == truth_N)[truth_N != bad].mean() > 0.98
