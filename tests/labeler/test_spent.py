"""Answers that were spent: they stay spent whatever becomes of their class or image, and the curve never goes back."""

from __future__ import annotations

import uuid

import pytest

from labeler.models import Image, Outcome, Round, RoundState, Trigger
from labeler.selectors.curve import learning_curve
from labeler.selectors.spent import answers_spent, spent_answers
from labeler.selectors.worth import costs_of
from labeler.services.annotate import correct_answer, retract_answer
from labeler.services.class_changes import merge_class, split_class, undo_change
from labeler.services.consensus import put_back
from labeler.services.lease import lease_next
from tests.labeler.monitored import METRICS
from tests.labeler.queues import answer_place, fill_queue, fresh
from tests.labeler.test_class_changes import answer, named

pytestmark = pytest.mark.django_db


@pytest.fixture
def images(project, make_images) -> list[Image]:
    images = make_images(project, 6)
    fill_queue(project, images)
    return images


def test_a_split_and_taking_it_back_leave_what_was_spent(project, manager, annotator, images) -> None:
    """It fell by the answers of the class with the split, and the curve went backwards."""
    for image in images[:4]:
        answer(project, annotator, image, "dog")
    assert answers_spent(project) == 4
    change = split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    assert (answers_spent(project), costs_of(project).answers) == (4, 4)
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    answer_place(project, annotator, place, label="wolf")  # asked again, and so spent again
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    answer_place(project, annotator, place, outcome=Outcome.SKIP)
    assert answers_spent(project) == 6
    undo_change(change=change, by=manager)
    assert (answers_spent(project), costs_of(project).answers) == (6, 6)


def test_a_late_answer_for_a_class_that_is_gone_was_spent(project, manager, annotator, images) -> None:
    split_class(label_class=named(project, "dog"), names=["hound", "wolf"], by=manager)
    answer(project, annotator, images[0], "dog")  # void from the start
    assert answers_spent(project) == 1


def test_a_merge_and_putting_back_change_nothing(project, manager, annotator, images) -> None:
    answer(project, annotator, images[0], "dog")
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    unsure = answer_place(project, annotator, place, outcome=Outcome.UNSURE)
    merge_class(label_class=named(project, "dog"), into=named(project, "cat"), by=manager)
    assert put_back(unsure.image_id, by=manager)
    assert answers_spent(project) == 2


def test_corrected_is_spent_once_and_taken_back_is_not_unless_a_round_had_counted_it(
    project, annotator, images
) -> None:
    first, second = (answer(project, annotator, image, "dog") for image in images[:2])
    cat, values = named(project, "cat"), {"project": fresh(project), "annotator": annotator}
    correct_answer(**values, target_key=first.key, outcome="label", label_class_id=cat.pk, key=uuid.uuid4())
    assert answers_spent(project) == 2
    measured(project, answers_spent(project))
    retract_answer(**values, target_key=second.key, key=uuid.uuid4())
    assert (spent_answers(project).count(), answers_spent(project)) == (1, 2)
    measured(project, answers_spent(project))
    assert [point.answers for point in learning_curve(project).points] == [2, 2]


def measured(project, answers: int) -> None:
    Round.objects.create(
        project=project, number=project.rounds.count() + 1, trigger=Trigger.ANSWERS, reason="", seed=1,
        state=RoundState.DONE, answers_spent=answers, metrics=METRICS,
    )  # fmt: skip
