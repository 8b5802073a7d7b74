"""Bayes' rule for one image, in plain Python, against tables by hand and against the learner's arrays."""

from __future__ import annotations

import numpy as np
import pytest

from labeler.models import AnnotatorQuality, AnswerQuality
from labeler.services.label_probability import Person, bayes, measured_people
from learner.dawid_skene import Answers, People, posterior


def test_by_hand() -> None:
    people = [(Person(0.9), 5), (Person(0.8), 5), (Person(0.7), 9)]
    shares = bayes(people, {5: 0.6, 9: 0.4})
    assert shares[5] == pytest.approx(0.1296 / 0.1352)
    assert shares[9] == pytest.approx(0.0056 / 0.1352)


def test_one_answer_is_as_likely_right_as_its_person() -> None:
    assert bayes([(Person(0.83), 5)], {5: 0.1, 9: 0.9}) == {5: 0.83}


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_the_learner_finds(seed) -> None:
    rng = np.random.default_rng(seed)
    confusion = rng.dirichlet(np.ones(4) * 2, (3, 4))
    prior = rng.dirichlet(np.ones(4))
    said = rng.integers(0, 4, 3)
    answers = Answers(np.zeros(3, np.int64), np.arange(3), said, 1, 3, 4)
    theirs = posterior(answers, People(prior, 0.8, np.full(3, 0.8), confusion))[0]
    votes = [(Person(0.8, confusion[at].tolist()), 10 + int(said[at])) for at in range(3)]
    ours = bayes(votes, {10 + c: float(prior[c]) for c in range(4)})
    assert ours == pytest.approx({10 + c: theirs[c] for c in set(said.tolist())})


def test_a_class_that_came_after_the_fit_goes_by_the_error_rate() -> None:
    confusion = [[0.9, 0.1], [0.2, 0.8]]
    shares = bayes([(Person(0.85, confusion), 7), (Person(0.6), 5)], {5: 0.5, 9: 0.5})
    assert set(shares) == {5, 7}
    assert shares[7] > shares[5]
    assert sum(shares.values()) < 1


def test_people_who_are_not_measured_count_as_all_do(project, annotator, manager) -> None:
    cat, dog, _ = project.classes.all()
    votes = [(annotator.pk, cat.pk), (manager.pk, dog.pk)]
    people = [annotator.pk, manager.pk]
    assert measured_people(project.pk, people) is None
    AnswerQuality.objects.create(project=project, right=0.8, classes=[cat.pk, dog.pk], prior=[0.5, 0.5])
    even = measured_people(project.pk, people).shares(votes)
    assert even[cat.pk] == pytest.approx(even[dog.pk])
    AnnotatorQuality.objects.create(project=project, annotator=annotator, trust=0.95)
    better = measured_people(project.pk, people).shares(votes)
    assert better[cat.pk] == pytest.approx(0.95 * 0.2 / (0.95 * 0.2 + 0.05 * 0.8))
