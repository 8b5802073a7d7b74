"""Bayes' rule for one image, in plain Python, against tables by hand and against the learner's arrays."""

from __future__ import annotations

import numpy as np
import pytest

from labeler.models import AnnotatorQuality, AnswerQuality
from labeler.services.consensus import decide
from labeler.services.label_probability import MeasuredPeople, Person, bayes, measured_people
from learner.dawid_skene import Answers, People, fit_people, posterior


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


def test_confusions_that_an_image_taught_do_not_settle_it() -> None:
    """Simulated: people answer images twice; where they differ two more are asked, one after the other, each time after
    a fit with all answers so far. Weighed by those confusions, half of the labels of four answers were wrong."""
    right = dict.fromkeys(("by rates", "by confusions"), 0)
    labels = dict(right)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        for name, is_right in _labels_of_four(rng):
            right[name] += is_right
            labels[name] += 1
    assert labels["by rates"] > 25
    assert right["by rates"] / labels["by rates"] > 0.85
    assert right["by confusions"] / labels["by confusions"] < 0.65


def _labels_of_four(rng: np.random.Generator, n_images: int = 150, n_people: int = 5, n_classes: int = 10):
    truth = rng.integers(0, n_classes, n_images)
    matrices = np.empty((n_people, n_classes, n_classes))
    for person, share in enumerate(rng.uniform(0.75, 0.97, n_people)):
        for c in range(n_classes):
            matrices[person, c] = np.insert(rng.dirichlet(np.full(n_classes - 1, 0.5)) * (1 - share), c, share)
    order = [rng.permutation(n_people).tolist() for _ in range(n_images)]

    def say(image: int, at: int) -> tuple[int, int]:
        person = order[image][at]
        return person, int(rng.choice(n_classes, p=matrices[person, truth[image]]))

    votes = {image: [say(image, 0), say(image, 1)] for image in range(n_images)}
    for image, said in votes.items():
        if len({c for _, c in said}) == 2:
            votes[image] = [*said, say(image, 2)]
    known = _fitted(votes, n_people, n_classes)
    for image, said in votes.items():
        if len({c for _, c in said}) == 3:
            said = [*said, say(image, 3)]
            for name, shares in (
                ("by rates", known.shares_of_asked_again(said)),
                ("by confusions", known.shares(said)),
            ):
                verdict = decide([("label", c) for _, c in said], overlap=2, people=5, shares=shares)
                if verdict.label_id is not None:
                    yield name, verdict.label_id == truth[image]


def _fitted(votes: dict[int, list[tuple[int, int]]], n_people: int, n_classes: int) -> MeasuredPeople:
    flat = np.array([(image, *each) for image, said in votes.items() for each in said])
    people = fit_people(Answers(flat[:, 0], flat[:, 1], flat[:, 2], len(votes), n_people, n_classes))
    known = {at: Person(float(people.right_P[at]), people.confusion_P_C_C[at].tolist()) for at in range(n_people)}
    return MeasuredPeople(known, Person(people.right), {c: float(p) for c, p in enumerate(people.prior_C)})


def test_two_answers_are_weighed_by_confusions() -> None:
    confusion = [[0.9, 0.1], [0.4, 0.6]]
    known = MeasuredPeople({1: Person(0.8, confusion), 2: Person(0.8, confusion)}, Person(0.8), {0: 0.5, 1: 0.5})
    two, three = [(1, 0), (2, 1)], [(1, 0), (2, 1), (3, 1)]
    assert known.shares_of_asked_again(two) == known.shares(two)
    assert known.shares_of_asked_again(three) == pytest.approx({0: 0.2, 1: 0.8})


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
