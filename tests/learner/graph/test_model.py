"""What is believed of every image: groups go with their answer, strangers with their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from learner.errors import LearnerError
from learner.graph import model
from learner.graph.hypotheses import Answers
from learner.graph.model import build, inductive, predict
from learner.graph.neighbours import Searcher
from learner.graph.propagation import propagate


def told(groups_N: np.ndarray, groups: list[int], each: int = 1, n_classes: int = 6) -> Answers:
    """Answers about the first images of some groups; the class of a group is its number."""
    positions = np.concatenate([np.flatnonzero(groups_N == group)[:each] for group in groups])
    return Answers(positions, groups_N[positions], n_classes)


def test_one_answer_names_a_group(planted, graph):
    prediction = predict(graph, told(planted[1], [0, 1, 2, 3, 4, 5]))
    assert (prediction.best() == planted[1]).mean() > 0.99
    assert (prediction.class_probs().argmax(1) == planted[1]).mean() > 0.99


def test_probabilities_add_up_whatever_is_named(planted, graph):
    for groups in ([], [3], [0, 5], [0, 1, 2, 3, 4, 5]):
        answers = told(planted[1], groups) if groups else Answers(np.array([], int), np.array([], int), 6)
        probs_N_C = predict(graph, answers).class_probs()
        assert probs_N_C.shape == (600, 6)
        np.testing.assert_allclose(probs_N_C.sum(1), 1, rtol=1e-5)
        assert (probs_N_C >= 0).all()


def test_without_answers_nothing_is_known(graph):
    prediction = predict(graph, Answers(np.array([], int), np.array([], int), 6))
    assert (prediction.best() == -1).all()
    np.testing.assert_allclose(prediction.class_probs(), 1 / 6)


def test_a_group_without_an_answer_is_left_to_the_classes_without_one(planted, graph):
    probs_N_C = predict(graph, told(planted[1], [0, 1])).class_probs()
    others = probs_N_C[planted[1] > 1]
    assert (others[:, :2].sum(1) < others[:, 2:].sum(1)).all()
    np.testing.assert_allclose(others[:, 2:], others[:, 2:3].repeat(4, 1), rtol=1e-5)


def test_an_answer_stands_against_its_community_for_the_image_itself(planted, graph):
    answers = told(planted[1], [0, 1, 2, 3, 4, 5], each=3)
    odd = int(np.flatnonzero(planted[1] == 0)[10])
    prediction = predict(graph, Answers(np.append(answers.positions_A, odd), np.append(answers.labels_A, 4), 6))
    assert prediction.best()[odd] == 4
    rest = (planted[1] == 0) & (np.arange(600) != odd)
    assert (prediction.best()[rest] == 0).mean() > 0.95


def test_images_of_a_leaf_that_is_of_another_class_than_its_part_go_with_the_leaf(clump):
    answers = Answers(np.array([5, 80, 81, 90]), np.array([1, 2, 2, 2]), 4)
    prediction, some = predict(clump, answers), np.array([20, 60, 82, 84, 100])
    assert prediction.class_probs(some).argmax(1).tolist() == [1, 1, 2, 2, 2]


def test_an_image_from_outside_goes_with_its_neighbours(planted, graph):
    vectors, groups = planted
    index, squares = Searcher(vectors).search(vectors + 0.01, 10)
    probs_M_C = inductive(predict(graph, told(groups, [0, 1, 2, 3, 4, 5])), index, squares)
    np.testing.assert_allclose(probs_M_C.sum(1), 1, rtol=1e-5)
    assert (probs_M_C.argmax(1) == groups).mean() > 0.99


def test_an_image_without_a_neighbour_is_refused(planted, graph):
    prediction = predict(graph, told(planted[1], [0, 1]))
    with pytest.raises(LearnerError, match="1 images have no neighbour"):
        inductive(prediction, np.array([[-1, -1]]), np.full((1, 2), np.inf, np.float32))


def test_learning_can_be_given_up(planted, graph, abort_at):
    report = abort_at("spread", 3)
    with pytest.raises(report.error):
        predict(graph, told(planted[1], [0, 1]), report=report)


def test_more_beliefs_than_memory_are_refused_and_nothing_is_passed_on(planted, graph, monkeypatch):
    answers = told(planted[1], [0, 1, 2])
    monkeypatch.setattr(model, "MOST_BELIEFS", 600 * 4)
    predict(graph, answers)
    monkeypatch.setattr(model, "MOST_BELIEFS", 600 * 4 - 1)
    with pytest.raises(LearnerError, match="600 images of 3 classes are too many"):
        predict(graph, answers)
    assert propagate(graph, answers, np.arange(600), seed=0).n_sure == 0


def test_ties_of_two_kinds_count_alike(planted):
    """Those by other vectors beside: a weight is the mean of both."""
    one, other = (Searcher(vectors).neighbours() for vectors in (planted[0], planted[0][:, ::-1] ** 2))
    both = build(one, seed=0, beside=other)
    mean = (build(one, seed=0).affinity + build(other, seed=0).affinity) / 2
    assert abs(both.affinity - mean).max() < 1e-9 and both.affinity.max() <= 1
