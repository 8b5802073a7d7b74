"""Dawid and Skene's model against a plain reimplementation, tables worked by hand, and simulated people."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from learner.dawid_skene import Answers, People, fit_people, posterior, posterior_of_answered
from learner.errors import LearnerError


def plain_em(answers: Answers, steps: int = 100) -> tuple[list[list[float]], list[float]]:
    """Equations 2.3 to 2.5 by loops over lists, no priors on the matrices; class shares with one image of each more."""
    N, P, C = answers.n_images, answers.n_people, answers.n_classes
    rows = list(zip(answers.image_n.tolist(), answers.person_n.tolist(), answers.class_n.tolist(), strict=True))
    T = [[0.0] * C for _ in range(N)]
    for i, _, c in rows:
        T[i][c] += 1
    T = [[each / sum(row) for each in row] for row in T]
    for _ in range(steps):
        share = [(sum(T[i][c] for i in range(N)) + 1) / (N + C) for c in range(C)]
        pi = [[[1e-300] * C for _ in range(C)] for _ in range(P)]
        for i, p, c in rows:
            for truth in range(C):
                pi[p][truth][c] += T[i][truth]
        for p in range(P):
            for truth in range(C):
                total = sum(pi[p][truth])
                pi[p][truth] = [each / total for each in pi[p][truth]]
        newer = [list(share) for _ in range(N)]
        for i, p, c in rows:
            for truth in range(C):
                newer[i][truth] *= max(pi[p][truth][c], 1e-12)
        T = [[each / sum(row) for each in row] for row in newer]
    return T, share


def simulated(
    rng: np.random.Generator, rights: list[float], n_images: int, n_classes: int, each: int = 3
) -> tuple[Answers, np.ndarray]:
    truth = rng.integers(0, n_classes, n_images)
    image_n = np.repeat(np.arange(n_images), each)
    person_n = np.concatenate([rng.choice(len(rights), each, replace=False) for _ in range(n_images)])
    is_right = rng.random(len(image_n)) < np.array(rights)[person_n]
    wrong = (truth[image_n] + rng.integers(1, n_classes, len(image_n))) % n_classes
    class_n = np.where(is_right, truth[image_n], wrong)
    return Answers(image_n, person_n, class_n, n_images, len(rights), n_classes), truth


def test_it_is_what_plain_loops_find(monkeypatch) -> None:
    monkeypatch.setattr("learner.dawid_skene.CLOSE", 1e-8)  # as far as the loops go
    answers, _ = simulated(np.random.default_rng(1), [0.9, 0.8, 0.7, 0.75], 80, 3)
    people = fit_people(answers, prior=0.0)
    shares, prior = plain_em(answers, steps=300)
    assert posterior(answers, people) == pytest.approx(np.array(shares), abs=1e-3)
    assert people.prior_C == pytest.approx(np.array(prior), abs=1e-3)


def test_bayes_by_hand() -> None:
    """Two people say 0, one says 1. Prior 0.6, 0.4; right 0.9, 0.8, 0.7: 0.6*.9*.8*.3 against 0.4*.1*.2*.7."""
    answers = Answers(np.array([0, 0, 0]), np.array([0, 1, 2]), np.array([0, 0, 1]), 1, 3, 2)
    people = People(np.array([0.6, 0.4]), 0.8, np.array([0.9, 0.8, 0.7]), None)
    by_hand = 0.1296 / (0.1296 + 0.0056)
    assert posterior(answers, people)[0, 0] == pytest.approx(by_hand)
    assert posterior_of_answered(answers, people) == pytest.approx([by_hand, by_hand, 1 - by_hand])


def test_bayes_by_hand_with_matrices() -> None:
    """Someone who calls every dog a cat: their `cat` says little, their `dog` all."""
    confusion = np.array([[[0.95, 0.05], [0.6, 0.4]]])
    people = People(np.array([0.5, 0.5]), 0.7, np.array([0.675]), confusion)
    cat = Answers(np.array([0]), np.array([0]), np.array([0]), 1, 1, 2)
    dog = Answers(np.array([0]), np.array([0]), np.array([1]), 1, 1, 2)
    assert posterior(cat, people)[0, 0] == pytest.approx(0.95 / 1.55)
    assert posterior(dog, people)[0, 1] == pytest.approx(0.40 / 0.45)


def test_a_class_that_nobody_named_keeps_its_share() -> None:
    """One answer of four classes, right 0.7: the other three share 0.3 evenly where priors are even."""
    answers = Answers(np.array([0]), np.array([0]), np.array([2]), 1, 1, 4)
    people = People(np.full(4, 0.25), 0.7, np.array([0.7]), None)
    assert posterior(answers, people)[0] == pytest.approx([0.1, 0.1, 0.7, 0.1])
    assert posterior_of_answered(answers, people) == pytest.approx([0.7])


@pytest.mark.parametrize("most_confused", [30, 2], ids=["matrices", "rates"])
def test_it_finds_how_often_people_are_right(most_confused) -> None:
    rights = [0.95, 0.9, 0.8, 0.6, 0.5]
    answers, truth = simulated(np.random.default_rng(2), rights, 1500, 4)
    people = fit_people(answers, most_confused=most_confused)
    assert people.right_P == pytest.approx(rights, abs=0.05)
    assert people.right == pytest.approx(np.mean(rights), abs=0.06)
    shares = posterior(answers, people)
    votes = np.zeros((1500, 4))
    np.add.at(votes, (answers.image_n, answers.class_n), 1)
    by_votes, by_model = (votes.argmax(1) == truth).mean(), (shares.argmax(1) == truth).mean()
    assert by_model > by_votes


def test_its_probabilities_mean_what_they_say() -> None:
    """Of labels with a probability about p, a share of about p is right: within three standard errors."""
    answers, truth = simulated(np.random.default_rng(3), [0.9, 0.75, 0.7, 0.65, 0.8], 4000, 3)
    shares = posterior(answers, fit_people(answers))
    sure, is_right = shares.max(1), shares.argmax(1) == truth
    for low, high in ((0.4, 0.7), (0.7, 0.9), (0.9, 1.01)):
        some = (sure >= low) & (sure < high)
        error = 3 * math.sqrt(sure[some].mean() * (1 - sure[some].mean()) / some.sum()) + 0.02
        assert is_right[some].mean() == pytest.approx(sure[some].mean(), abs=error)


def test_known_classes_stay_known_and_teach_who_errs() -> None:
    """Two people who always say different things: which one is right only gold can tell."""
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 200)
    image_n, person_n = np.repeat(np.arange(200), 2), np.tile([0, 1], 200)
    class_n = np.where(person_n == 0, truth[image_n], 1 - truth[image_n])
    known = np.where(np.arange(200) < 40, truth, -1)
    answers = Answers(image_n, person_n, class_n, 200, 2, 2, known)
    people = fit_people(answers)
    assert people.right_P[0] > 0.9 > 0.2 > people.right_P[1]
    assert (posterior(answers, people).argmax(1) == truth).all()


def test_who_has_answered_little_is_thought_like_all() -> None:
    answers, _ = simulated(np.random.default_rng(5), [0.9, 0.9, 0.9], 300, 3)
    more = Answers(
        np.append(answers.image_n, 0), np.append(answers.person_n, 3), np.append(answers.class_n, 0), 300, 4, 3
    )
    people = fit_people(more)
    assert people.right_P[3] == pytest.approx(people.right, abs=0.12)


def test_a_thousand_classes_take_no_room() -> None:
    answers, truth = simulated(np.random.default_rng(6), [0.9, 0.8, 0.7, 0.95], 20_000, 1000)
    tracemalloc.start()
    people = fit_people(answers)
    shares = posterior_of_answered(answers, people)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert people.confusion_P_C_C is None
    assert people.right_P == pytest.approx([0.9, 0.8, 0.7, 0.95], abs=0.02)
    assert peak < 60e6  # an array of images and classes alone would be 160 MB
    assert shares[answers.class_n == truth[answers.image_n]].mean() > 0.97


def test_sparse_and_dense_say_the_same() -> None:
    answers, _ = simulated(np.random.default_rng(7), [0.9, 0.7, 0.8], 200, 5)
    people = fit_people(answers, most_confused=2)
    dense = posterior(answers, people)[answers.image_n, answers.class_n]
    assert posterior_of_answered(answers, people) == pytest.approx(dense)


def test_nonsense_is_refused() -> None:
    one = np.array([0])
    with pytest.raises(LearnerError):
        Answers(one, one, one, 1, 1, 1)
    with pytest.raises(LearnerError):
        Answers(one, one, np.array([2]), 1, 1, 2)
    with pytest.raises(LearnerError):
        Answers(np.array([1]), one, one, 1, 1, 2)
