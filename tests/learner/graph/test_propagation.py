"""Labels that the graph passes on: right ones, to images that may get one, few where the graph knows little."""

from __future__ import annotations

import numpy as np
import pytest

from learner.graph import propagation
from learner.graph.hypotheses import Answers
from learner.graph.propagation import propagate


def told(groups_N: np.ndarray, groups: list[int], each: int = 2) -> Answers:
    positions = np.concatenate([np.flatnonzero(groups_N == group)[:each] for group in groups])
    return Answers(positions, groups_N[positions], 6)


def test_a_group_gets_the_label_of_its_answers(planted, graph):
    answers = told(planted[1], [0, 1, 2])
    found = propagate(graph, answers, np.arange(600), seed=0)
    np.testing.assert_array_equal(found.labels, planted[1][found.positions])
    assert len(found.positions) > 300  # of 390 in the three groups
    assert not set(found.positions.tolist()) & set(answers.positions_A.tolist())


def test_only_to_images_that_may_get_one(planted, graph):
    some = np.arange(0, 600, 5)
    found = propagate(graph, told(planted[1], [0, 1]), some, seed=0)
    assert set(found.positions.tolist()) <= set(some.tolist())


def test_less_is_passed_on_where_answers_contradict_each_other(planted, graph):
    """Group 0 is of two classes at random, so hardly anything is known of its others."""
    positions = np.flatnonzero(planted[1] == 0)[:24]
    agreed, contradicting = (
        propagate(graph, Answers(positions, labels, 6), np.arange(600), seed=0).n_sure
        for labels in (np.zeros(24, int), np.random.default_rng(0).integers(0, 2, 24))
    )
    assert contradicting < agreed / 2


def test_too_many_are_drawn_from_by_the_seed(planted, graph, monkeypatch):
    monkeypatch.setattr(propagation, "MOST", 50)
    answers = told(planted[1], [0, 1, 2, 3])
    found, again, other = (propagate(graph, answers, np.arange(600), seed=seed) for seed in (1, 1, 2))
    assert len(found.positions) == 50 < found.n_sure
    np.testing.assert_array_equal(found.positions, again.positions)
    assert set(found.positions.tolist()) != set(other.positions.tolist())


@pytest.mark.parametrize(("answers", "to"), [([], range(600)), ([5], []), ([700], range(600)), ([5], [650])])
def test_where_there_is_nothing_to_pass_on_nothing_is(graph, answers, to):
    positions = np.array(answers, int)
    found = propagate(graph, Answers(positions, np.zeros(len(positions), int), 6), to, seed=0)
    assert (len(found.positions), len(found.labels), found.n_sure) == (0, 0, 0)


def test_a_class_that_few_sure_labels_are_of_gets_others_of_its_images(planted, graph, monkeypatch):
    """As where the graph has begun to doubt one community: without, a network would forget the class."""
    answers = told(planted[1], [0, 1, 2, 3])
    plain = propagate(graph, answers, np.arange(600), seed=0)
    sure = np.bincount(plain.labels, minlength=4)
    seen = propagation.predict

    def doubtful(*args, **kwargs):
        prediction = seen(*args, **kwargs)
        column = int(np.flatnonzero(prediction.beliefs.classes_K == 3)[0])
        is_3 = prediction.best() == 3
        prediction.probs_N_K1[is_3, -1] += 0.4 * prediction.probs_N_K1[is_3, column]
        prediction.probs_N_K1[is_3, column] *= 0.6
        return prediction

    monkeypatch.setattr(propagation, "predict", doubtful)
    found = propagate(graph, answers, np.arange(600), seed=0)
    assert found.n_sure < plain.n_sure
    labels = np.bincount(found.labels, minlength=4)
    assert labels[3] == min(sure[3], propagation.FEW, int(sure[:3].mean()))
    np.testing.assert_array_equal(planted[1][found.positions], found.labels)
    monkeypatch.setattr(propagation, "LIKELY", 0.7)
    assert not (propagate(graph, answers, np.arange(600), seed=0).labels == 3).any()


def unsure_of_3(monkeypatch, share):
    """Have the graph believe half as much in class 3, and give the rest to others: `share` divides it over columns."""
    seen = propagation.predict

    def doubtful(*args, **kwargs):
        prediction = seen(*args, **kwargs)
        column = int(np.flatnonzero(prediction.beliefs.classes_K == 3)[0])
        is_3 = prediction.best() == 3
        rest = prediction.probs_N_K1[is_3, column] / 2
        prediction.probs_N_K1[is_3, column] -= rest
        prediction.probs_N_K1[is_3] += rest[:, None] * share
        return prediction

    monkeypatch.setattr(propagation, "predict", doubtful)


@pytest.mark.parametrize(
    ("each", "share", "gets_labels"),
    [
        (2, [0.2, 0.2, 0.2, 0, 0.2], True),  # what is missing is spread over all
        (2, [0.8, 0, 0, 0, 0], False),  # another class is nearly as likely
        (2, [0, 0, 0, 0, 0.8], False),  # or one that nobody has named
        (3, [0.2, 0.2, 0.2, 0, 0.2], False),  # it has answers enough to be sure
    ],
)
def test_of_a_class_with_few_answers_it_is_enough_to_be_clearly_ahead(
    planted, graph, monkeypatch, each, share, gets_labels
):
    monkeypatch.setattr(propagation, "FEW", 0)
    unsure_of_3(monkeypatch, np.array(share))
    found = propagate(graph, told(planted[1], [0, 1, 2, 3], each), np.arange(600), seed=0)
    assert (found.labels == 3).any() == gets_labels
    assert {0, 1, 2} <= set(found.labels.tolist())


def test_what_looks_like_rejected_images_gets_no_label_and_is_named(planted, graph):
    some = told(planted[1], [0, 1])
    bad = np.flatnonzero(planted[1] == 2)
    answers = Answers(some.positions_A, some.labels_A, 6, bad[:2])
    found = propagate(graph, answers, np.arange(600), seed=0)
    assert set(planted[1][found.positions].tolist()) == {0, 1}
    assert found.n_rejected == pytest.approx(len(bad) - 2, abs=10)
    assert propagate(graph, some, np.arange(600), seed=0).n_rejected == 0
