"""Labels that are asked about again: which ones, how many, of whom, and what comes of it."""

from __future__ import annotations

import uuid

import pytest

from labeler.learning.relabel import places_again
from labeler.models import (
    Annotation,
    AnnotatorQuality,
    AnswerQuality,
    Candidate,
    Image,
    ImageState,
    Membership,
    Outcome,
    Reason,
    Role,
)
from labeler.services.draw import Draw, Place
from labeler.services.gold import mark_gold
from labeler.services.lease import claim_places, lease_next
from labeler.services.projects import change_learning
from labeler.services.publish import publish_cold
from tests.labeler.queues import answer_place, fresh
from tests.labeler.scored import scored_round

MEASURED = {"n": 50, "accuracy": {"value": 0.95, "low": 0.85, "high": 0.98, "n": 50}}


@pytest.fixture
def bob(make_user, project):
    user = make_user("bob")
    Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    return user


def label(project, image: Image, person, name: str) -> None:
    label_class = project.classes.get(name=name)
    Annotation.objects.create(
        project=project, image=image, annotator=person, outcome=Outcome.LABEL, label_class=label_class, key=uuid.uuid4()
    )
    Image.objects.filter(pk=image.pk).update(state=ImageState.LABELLED, label=label_class)


@pytest.fixture
def images(project, make_images, annotator, bob) -> list[Image]:
    """Ann said cat of 0 to 9, and Bob of image 10. The model is sure that 0 and 1 are dogs; 11 to 30 are new."""
    change_learning(project=project, values={"relabel": "always", "relabel_share": 0.5, "holdout_target": 0})
    rows = make_images(project, 31)
    for row in rows[:10]:
        label(project, row, annotator, "cat")
    label(project, rows[10], bob, "cat")
    return rows


def round_of(project, new: float = 0.9):
    """The model is `new` sure of each new image."""
    dog, cat, sure = [0.01, 0.98, 0.01], [0.98, 0.01, 0.01], [new, (1 - new) / 2, (1 - new) / 2]
    means = [dog, dog, *[cat] * 9, *[sure] * 20]
    return scored_round(fresh(project), means, [[0.01] * 3] * 31)


def again(project, round_, count: int = 20, measured=MEASURED) -> list[int]:
    main = [Place(position, Reason.ACQUIRED) for position in range(11, 11 + count)]
    round_.project = fresh(project)
    return [place.position for place in places_again(round_=round_, measured=measured, main=main)]


def test_what_the_model_contradicts_is_asked_again(project, images) -> None:
    assert again(project, round_of(project)) == [0, 1]


def test_a_new_image_that_is_less_sure_comes_first(project, images) -> None:
    assert again(project, round_of(project, new=0.34)) == []


def test_never_more_than_the_share(project, images) -> None:
    change_learning(project=project, values={"relabel_share": 0.05})
    assert again(project, round_of(project)) == [0]
    change_learning(project=project, values={"relabel_share": 0.0})
    assert again(project, round_of(project)) == []


@pytest.mark.parametrize(
    ("relabel", "overlap", "is_asked"),
    [("never", 2, False), ("overlap", 1, False), ("overlap", 2, True), ("always", 1, True)],
)
def test_only_where_it_is_wanted(project, images, relabel, overlap, is_asked) -> None:
    change_learning(project=project, values={"relabel": relabel, "overlap": overlap})
    assert bool(again(project, round_of(project))) == is_asked


def test_a_model_that_was_not_measured_doubts_nobody(project, images) -> None:
    assert again(project, round_of(project), measured={}) == []
    assert again(project, round_of(project), measured={**MEASURED, "n": 3}) == []


def test_who_is_known_to_err_is_asked_about_first(project, images, annotator, bob) -> None:
    """Image 10 is Bob's; by the model it is right. Only he is thought to guess."""
    AnswerQuality.objects.create(project=project, right=0.9)
    AnnotatorQuality.objects.create(project=project, annotator=annotator, trust=0.99)
    AnnotatorQuality.objects.create(project=project, annotator=bob, trust=0.4)
    assert again(project, round_of(project, new=0.97))[:2] == [0, 1]
    AnnotatorQuality.objects.filter(annotator=annotator).update(trust=0.4)
    AnnotatorQuality.objects.filter(annotator=bob).update(trust=0.99)
    assert 10 not in again(project, round_of(project, new=0.9))


def test_decided_gold_holdout_and_often_answered_ones_are_left_alone(project, images, manager, make_user) -> None:
    Annotation.objects.create(
        project=project, image=images[0], annotator=manager, outcome=Outcome.LABEL, key=uuid.uuid4(),
        label_class=project.classes.get(name="cat"), is_decision=True,
    )  # fmt: skip
    assert again(project, round_of(project)) == [1]
    mark_gold(project=project, image_id=images[1].pk, label_class=project.classes.get(name="cat"), by=manager)
    assert again(project, round_of(project)) == []


def test_an_image_with_answers_enough_is_a_managers(project, images, make_user) -> None:
    for name in ("carl", "dora"):
        label(project, images[0], make_user(name), "cat")
    assert again(project, round_of(project)) == [1]


def published(project, round_, positions: list[int]) -> None:
    new = [Place(position, Reason.RANDOM, 0.5) for position in range(11, 15)]
    draw = Draw((Reason.RANDOM,) * 4, tuple(new), ())
    from django.db import transaction

    from labeler.services.publish import _locked, _publish

    with transaction.atomic():
        places = [Place(position, Reason.RELABEL) for position in positions]
        _publish(_locked(project.pk), round_, draw, [], places)
    assert publish_cold is not None


def test_another_person_is_asked_and_nobody_twice(project, images, annotator, bob) -> None:
    published(project, round_of(project), [0, 1])
    theirs = claim_places(project=fresh(project), annotator=annotator, count=10)
    assert {place.image.pk for place in theirs}.isdisjoint({images[0].pk, images[1].pk})
    others = claim_places(project=fresh(project), annotator=bob, count=10)
    assert {place.image.pk for place in others} >= {images[0].pk, images[1].pk}


def test_where_nobody_else_is_there_nothing_is_asked(project, images, annotator, bob) -> None:
    Annotation.objects.filter(annotator=bob).delete()
    published(project, round_of(project), [0, 1])  # only Ann has answered lately
    assert not Candidate.objects.filter(reason=Reason.RELABEL).exists()


def test_a_second_answer_that_agrees_leaves_the_label_and_one_that_differs_disputes_it(project, images, bob) -> None:
    published(project, round_of(project), [0, 1])
    places = {place.image_id: place for place in claim_places(project=fresh(project), annotator=bob, count=10)}
    answer_place(project, bob, places[images[0].pk], label="cat")
    answer_place(project, bob, places[images[1].pk], label="dog")
    first, second = (Image.objects.get(pk=image.pk) for image in images[:2])
    assert (first.state, first.label.name, first.is_contested) == (ImageState.LABELLED, "cat", False)
    assert (second.state, second.is_contested) == (ImageState.DISPUTED, True)


def test_it_looks_like_a_random_question(project, images, bob, client_of) -> None:
    from labeler.selectors.labelling import item_of

    published(project, round_of(project), [0, 1])
    items = [item_of(project, place, {}) for place in claim_places(project=fresh(project), annotator=bob, count=10)]
    assert {item["reason"] for item in items} == {"random"}
    assert len({(item["score"], item["percentile"], item["reason_words"]) for item in items}) == 1


def test_a_place_is_closed_when_a_manager_decides(project, images, manager, bob) -> None:
    from labeler.services.decide import decide_image

    published(project, round_of(project), [0])
    decide_image(
        project=fresh(project), by=manager, image_id=images[0].pk, outcome="label", key=uuid.uuid4(), seen=0,
        label_class_id=project.classes.get(name="dog").pk,
    )  # fmt: skip
    claimed = [place.image_id for place in lease_next(project=fresh(project), annotator=bob, want=10)]
    assert images[0].pk not in claimed
