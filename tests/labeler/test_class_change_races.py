"""A class is merged or split while people answer with it: no answer is lost, and none keeps a label that is gone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import pytest
from django.db import connection, connections, transaction

from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    ClassChange,
    Image,
    ImageState,
    Membership,
    Outcome,
    Project,
    Reason,
    Role,
)
from labeler.services.annotate import record_answer, retract_answer
from labeler.services.class_changes import merge_class, split_class, undo_change
from labeler.services.lease import lease_next
from labeler.services.proposals import record_proposal
from tests.labeler.queues import fill_queue, fresh
from tests.labeler.test_people_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)
PEOPLE, EACH = 4, 6


@pytest.fixture
def people(project, make_user, make_images):
    people = [make_user(f"p{number}") for number in range(PEOPLE)]
    for person in people:
        Membership.objects.create(project=project, user=person, role=Role.ANNOTATOR)
    fill_queue(project, make_images(project, PEOPLE * EACH + 5))
    return people


def answering(project, person, class_id: int) -> Callable[[], object]:
    """EACH answers, all with the class that the page showed when it was opened."""

    def work() -> int:
        for _ in range(EACH):
            (place,) = lease_next(project=fresh(project), annotator=person)
            record_answer(
                project=fresh(project), annotator=person, image_id=place.image_id, candidate_id=place.pk,
                outcome=Outcome.LABEL, label_class_id=class_id, key=uuid.uuid4(),
            )  # fmt: skip
        return EACH

    return work


def test_a_merge_among_answers_leaves_no_label_behind(project, manager, people) -> None:
    cat, dog = project.classes.get(name="cat"), project.classes.get(name="dog")
    results = at_once(
        *[answering(project, person, cat.pk) for person in people],
        lambda: merge_class(label_class=cat, into=dog, by=manager),
    )
    assert results[:-1] == [EACH] * PEOPLE
    assert isinstance(results[-1], ClassChange)
    assert Annotation.objects.filter(label_class=cat, retracted_at__isnull=True).count() == PEOPLE * EACH
    assert not Image.objects.filter(label=cat).exists()
    assert Image.objects.filter(label=dog).count() == PEOPLE * EACH


def test_a_split_among_answers_asks_all_of_them_again(project, manager, people) -> None:
    cat = project.classes.get(name="cat")
    results = at_once(
        *[answering(project, person, cat.pk) for person in people],
        lambda: split_class(label_class=cat, names=["lion", "tiger"], by=manager),
    )
    assert results[:-1] == [EACH] * PEOPLE
    assert isinstance(results[-1], ClassChange)
    answers = Annotation.objects.filter(label_class=cat)
    assert answers.count() == PEOPLE * EACH
    assert not answers.filter(retracted_at__isnull=True).exists()
    assert not answers.exclude(voided_by=results[-1]).exists()
    assert set(Image.objects.values_list("state", flat=True)) == {ImageState.POOL}
    places = Candidate.objects.filter(reason=Reason.CLASS_GONE, state=CandidateState.OPEN)
    per_image = list(places.values_list("image", flat=True))
    assert len(per_image) == len(set(per_image))


def test_two_managers_who_merge_two_classes_into_each_other_make_one_change(project, manager, people) -> None:
    cat, dog = project.classes.get(name="cat"), project.classes.get(name="dog")
    results = at_once(
        lambda: merge_class(label_class=cat, into=dog, by=manager),
        lambda: merge_class(label_class=dog, into=cat, by=manager),
    )
    assert sum(isinstance(result, ClassChange) for result in results) == 1
    assert project.classes.filter(is_archived=False).count() == 2


def test_a_change_and_taking_it_back_among_undos_end_in_one_state(project, manager, people) -> None:
    cat, dog = project.classes.get(name="cat"), project.classes.get(name="dog")
    for person in people:
        answering(project, person, cat.pk)()
    keys = {
        person: list(Annotation.objects.filter(annotator=person).values_list("key", flat=True)) for person in people
    }

    def undoing(person) -> Callable[[], object]:
        def work() -> int:
            for key in keys[person][:3]:
                retract_answer(project=fresh(project), annotator=person, target_key=key, key=uuid.uuid4())
            return 3

        return work

    def change_and_back() -> object:
        return undo_change(change=merge_class(label_class=cat, into=dog, by=manager), by=manager)

    results = at_once(*[undoing(person) for person in people], change_and_back)
    assert results[:-1] == [3] * PEOPLE
    assert isinstance(results[-1], ClassChange)
    live = Annotation.objects.filter(retracted_at__isnull=True, outcome="label")
    labelled = set(Image.objects.filter(label=cat).values_list("pk", flat=True))
    assert labelled == set(live.values_list("image", flat=True))
    assert len(labelled) == PEOPLE * (EACH - 3)
    assert not Image.objects.filter(label=dog).exists()


def test_people_who_propose_one_class_at_once_make_one(project, people) -> None:
    Project.objects.update(takes_proposals=True)

    def proposing(person, name: str) -> Callable[[], object]:
        def work() -> object:
            (place,) = lease_next(project=fresh(project), annotator=person)
            key = uuid.uuid4()
            return record_proposal(
                project=fresh(project), annotator=person, name=name, key=key,
                save=lambda pk: record_answer(
                    project=fresh(project), annotator=person, image_id=place.image_id, candidate_id=place.pk,
                    outcome=Outcome.LABEL, label_class_id=pk, key=key,
                ),
            )  # fmt: skip

        return work

    names = ["Lynx", "lynx", " LYNX", "lynx"]
    results = at_once(*[proposing(person, name) for person, name in zip(people, names, strict=True)])
    assert all(isinstance(result, Annotation) for result in results), results
    assert project.classes.filter(fate="proposed").count() == 1
    assert project.classes.get(fate="proposed").proposals.count() == PEOPLE
    assert Image.objects.filter(state=ImageState.SET_ASIDE).count() == PEOPLE


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_a_merge_waits_for_an_answer_that_is_just_being_given(project, manager, people) -> None:
    """The answer has looked at the class and not ended; the merge must not overlook it."""
    cat, dog = project.classes.get(name="cat"), project.classes.get(name="dog")
    person = people[0]
    (place,) = lease_next(project=fresh(project), annotator=person)
    problems: list[BaseException] = []

    def merge() -> None:
        try:
            merge_class(label_class=cat, into=dog, by=manager)
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            problems.append(error)
        finally:
            connections.close_all()

    other = threading.Thread(target=merge)
    with transaction.atomic():
        record_answer(
            project=fresh(project), annotator=person, image_id=place.image_id, candidate_id=place.pk,
            outcome=Outcome.LABEL, label_class_id=cat.pk, key=uuid.uuid4(),
        )  # fmt: skip
        other.start()
        other.join(timeout=0.5)
        assert other.is_alive()
    other.join(timeout=30)
    assert problems == []
    assert Image.objects.get(pk=place.image_id).label == dog


def test_proposals_of_one_class_that_are_undone_meanwhile_leave_no_answer_without_a_proposal(project, people) -> None:
    Project.objects.filter(pk=project.pk).update(takes_proposals=True)

    def propose_and_undo(person, is_last_kept: bool) -> Callable[[], object]:
        def work() -> bool:
            for number in range(15):
                key = uuid.uuid4()
                record_proposal(
                    project=fresh(project), annotator=person, name="Lynx", key=key, save=answer_with(person, key)
                )
                if number < 14 or not is_last_kept:
                    retract_answer(project=fresh(project), annotator=person, target_key=key, key=uuid.uuid4())
            return True

        return work

    def answer_with(person, key: uuid.UUID) -> Callable[[int], Annotation]:
        def save(class_id: int) -> Annotation:
            (place,) = lease_next(project=fresh(project), annotator=person)
            return record_answer(
                project=fresh(project), annotator=person, image_id=place.image_id, candidate_id=place.pk,
                outcome=Outcome.LABEL, label_class_id=class_id, key=key,
            )  # fmt: skip

        return save

    assert at_once(*[propose_and_undo(person, person == people[0]) for person in people[:2]]) == [True, True]
    lynx = project.classes.get(name="Lynx")
    assert (lynx.fate, [row.by for row in lynx.proposals.all()]) == ("proposed", people[:1])
    live = Annotation.objects.filter(label_class=lynx, retracted_at__isnull=True, outcome=Outcome.LABEL)
    assert [row.annotator for row in live] == people[:1]
    assert not Annotation.objects.filter(voided_by__isnull=False).exists()
