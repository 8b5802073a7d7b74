"""What answers of different people say together."""

from __future__ import annotations

import uuid

import pytest

from labeler.models import Candidate, CandidateState, Image, ImageState, Trigger
from labeler.services.annotate import retract_answer
from labeler.services.consensus import decide, put_back
from labeler.services.lease import lease_next
from labeler.services.projects import change_learning
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import answer_place, fill_queue, fresh

CAT, DOG = ("label", 1), ("label", 2)
SKIP, UNSURE, BAD = ("skip", None), ("unsure", None), ("bad_image", None)


@pytest.mark.parametrize(
    ("answers", "overlap", "people", "state", "label"),
    [
        ([], 1, 2, ImageState.POOL, None),
        ([CAT], 1, 2, ImageState.LABELLED, 1),
        ([CAT], 2, 2, ImageState.POOL, None),
        ([CAT, CAT], 2, 2, ImageState.LABELLED, 1),
        ([CAT, DOG], 2, 2, ImageState.DISPUTED, None),
        ([CAT, DOG, DOG], 3, 3, ImageState.LABELLED, 2),
        ([CAT, UNSURE], 2, 3, ImageState.LABELLED, 1),
        ([UNSURE], 1, 3, ImageState.SET_ASIDE, None),
        ([BAD], 1, 3, ImageState.BAD, None),
        ([BAD, CAT], 2, 3, ImageState.LABELLED, 1),
        ([BAD, BAD, CAT], 3, 3, ImageState.BAD, None),
        ([SKIP], 1, 3, ImageState.POOL, None),
        ([SKIP, SKIP], 1, 3, ImageState.SET_ASIDE, None),
        ([SKIP], 1, 1, ImageState.SET_ASIDE, None),
        ([SKIP, SKIP, CAT], 1, 3, ImageState.LABELLED, 1),
    ],
)
def test_decide(answers, overlap, people, state, label) -> None:
    verdict = decide(answers, overlap=overlap, people=people)
    assert (verdict.state, verdict.label_id) == (state, label)


def test_the_order_of_answers_does_not_matter() -> None:
    assert decide([CAT, DOG, DOG], overlap=3, people=3) == decide([DOG, CAT, DOG], overlap=3, people=3)


def test_a_lower_overlap_settles_what_has_enough_answers(project, make_images, annotator, manager) -> None:
    cat, skipped, undone, untouched = make_images(project, 4)
    fill_queue(project, [cat, skipped, undone, untouched], overlap=3)
    for outcome in ("label", "skip", "label"):
        (place,) = lease_next(project=fresh(project), annotator=annotator)
        answer = answer_place(project, annotator, place, outcome)
    retract_answer(project=project, annotator=annotator, target_key=answer.key, key=uuid.uuid4())
    (held,) = lease_next(project=fresh(project), annotator=manager)
    change_learning(project=project, values={"overlap": 1})
    states = dict(Image.objects.values_list("pk", "state"))
    assert states.pop(cat.pk) == ImageState.LABELLED
    assert set(states.values()) == {ImageState.POOL}
    assert Image.objects.get(pk=cat.pk).label.name == "cat"
    places = Candidate.objects.filter(image=cat, state=CandidateState.OPEN)
    assert [place.leased_to for place in places] == [manager]  # who has it on the screen may still answer
    assert held.image_id == cat.pk


def test_a_lower_overlap_leaves_alone_what_a_manager_put_back(project, make_images, annotator, manager) -> None:
    (image,) = make_images(project, 1)
    fill_queue(project, [image], overlap=2)
    for person, label in ((annotator, "cat"), (manager, "dog")):
        (place,) = lease_next(project=fresh(project), annotator=person)
        answer_place(project, person, place, label=label)
    assert put_back(image.pk)
    change_learning(project=project, values={"overlap": 1})
    assert Image.objects.get(pk=image.pk).state == ImageState.POOL


def test_a_higher_overlap_before_the_first_model_asks_at_once_for_what_is_missing(
    project, make_images, annotator, manager
) -> None:
    """Else a label would wait until the whole queue had been answered once, and with it the first model."""
    first, *others = make_images(project, 6)
    start_cold_round(project=project)
    change_learning(project=fresh(project), values={"overlap": 2})
    places = Candidate.objects.filter(project=project, state=CandidateState.OPEN)
    assert sorted(places.values_list("image", flat=True)) == sorted([first.pk, *(image.pk for image in others)] * 2)
    for person in (annotator, manager):
        assert Image.objects.filter(state=ImageState.LABELLED).count() == 0
        (place,) = lease_next(project=fresh(project), annotator=person)
        answer_place(project, person, place)
    assert Image.objects.filter(state=ImageState.LABELLED).count() == 1


def test_a_higher_overlap_leaves_the_queue_of_a_model_to_the_next_round(project, make_images) -> None:
    fill_queue(project, make_images(project, 3))
    project.rounds.update(trigger=Trigger.ANSWERS)
    change_learning(project=fresh(project), values={"overlap": 2})
    assert project.rounds.count() == 1
