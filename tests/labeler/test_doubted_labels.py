"""Labels that were believed until people had been measured on more answers: another class is likelier by now."""

from __future__ import annotations

import uuid

import pytest
from django.urls import reverse

from labeler.learning import measure_answers
from labeler.models import (
    Annotation,
    AuditEntry,
    GoldImage,
    Image,
    ImageState,
    Membership,
    Role,
)
from labeler.selectors.disputes import holdout_disputes
from labeler.selectors.left_out import left_out_now
from labeler.selectors.pool import labelled_images, pool_counts
from labeler.selectors.review import next_contested
from labeler.services.annotate import record_answer
from labeler.services.consensus import put_back
from labeler.services.decide import decide_image
from labeler.services.label_probability import MeasuredPeople, Person
from labeler.services.projects import change_learning
from labeler.services.quality import MeasuredAnswers, MeasuredPerson, refresh_probabilities, run_quality
from labeler.services.settling import dispute_labels
from tests.labeler.queues import fresh

RIGHT = (0.99, 0.55, 0.55)  # ann outweighs bob and carl


@pytest.fixture
def people(make_user, project, annotator) -> list:
    users = [annotator, make_user("bob"), make_user("carl"), make_user("dora")]
    for user in users[1:]:
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    return users


def say(project, image: Image, person, name: str, **fields) -> None:
    Annotation.objects.create(
        project=project, image=image, annotator=person, outcome="label", label_class=project.classes.get(name=name),
        key=uuid.uuid4(), **fields,
    )  # fmt: skip


@pytest.fixture
def images(project, make_images, people) -> list[Image]:
    """All are labelled dog, as two of three say. 0: holdout; 1: pool; 2: as 1; 3: all agree; 4: one answer."""
    change_learning(project=project, values={"overlap": 3})
    dog = project.classes.get(name="dog")
    rows = make_images(project, 1, is_holdout=True, state=ImageState.LABELLED, label=dog, is_contested=True)
    rows += make_images(project, 4, state=ImageState.LABELLED, label=dog)
    for row in rows[:3]:
        for person, name in zip(people, ("cat", "dog", "dog"), strict=False):
            say(project, row, person, name)
    for person in people[:3]:
        say(project, rows[3], person, "dog")
    say(project, rows[4], people[0], "dog")
    say(project, rows[4], people[3], "dog")
    return rows


def measured(project, people) -> MeasuredAnswers:
    classes = list(project.classes.values_list("pk", flat=True))
    known = {person.pk: MeasuredPerson(right, None, {}) for person, right in zip(people, RIGHT, strict=False)}
    return MeasuredAnswers(0.8, classes, [1 / len(classes)] * len(classes), {}, known)


def states(images) -> list[tuple[str, str]]:
    rows = Image.objects.filter(pk__in=[row.pk for row in images]).order_by("pk")
    return [(row.state, row.label.name if row.label else "") for row in rows.select_related("label")]


def test_a_label_that_has_become_less_likely_is_disputed(project, images, people) -> None:
    refresh_probabilities(project=fresh(project), measured=measured(project, people))
    assert states(images) == [
        ("disputed", ""), ("disputed", ""), ("disputed", ""), ("labelled", "dog"), ("labelled", "dog"),
    ]  # fmt: skip
    row = Image.objects.get(pk=images[1].pk)
    assert (row.doubted_label.name, row.is_contested, row.label_probability) == ("dog", True, None)
    assert row.labelled_at is None
    assert Image.objects.get(pk=images[3].pk).label_probability > 0.9
    assert labelled_images(project, is_holdout=False).count() == 2  # what is learned from


def test_confusions_that_the_image_itself_taught_take_no_label_of_the_majority(project, images, people) -> None:
    """All err as rarely; that bob and carl call a cat a dog is known from these very answers."""
    classes = list(project.classes.values_list("pk", flat=True))
    cat, dog = (classes.index(project.classes.get(name=name).pk) for name in ("cat", "dog"))
    takes_cats_for_dogs = [[0.8 if said == truth else 0.1 for said in range(3)] for truth in range(3)]
    takes_cats_for_dogs[cat] = [0.04, 0.04, 0.04]
    takes_cats_for_dogs[cat][dog] = 0.92
    careful = [[0.9 if said == truth else 0.05 for said in range(3)] for truth in range(3)]
    known = {people[0].pk: MeasuredPerson(0.8, careful, {})}
    known |= {person.pk: MeasuredPerson(0.8, takes_cats_for_dogs, {}) for person in people[1:3]}
    measured = MeasuredAnswers(0.8, classes, [1 / 3] * 3, {}, known)
    refresh_probabilities(project=fresh(project), measured=measured)
    assert states(images)[1] == ("labelled", "dog")
    assert Image.objects.get(pk=images[1].pk).label_probability > 0.5


def test_of_the_holdout_a_further_person_is_asked_and_it_is_not_counted(project, images, people) -> None:
    refresh_probabilities(project=fresh(project), measured=measured(project, people))
    found = holdout_disputes(fresh(project))
    assert [(each.image_id, each.askable) for each in found.open_] == [(images[0].pk, frozenset({people[3].pk}))]
    assert left_out_now(fresh(project), pool_counts(project)).disputed == 1
    assert next_contested(fresh(project), [])[1] == 3


def test_what_a_manager_said_stays(project, images, people, manager) -> None:
    dog = project.classes.get(name="dog")
    decide_image(
        project=fresh(project), by=manager, image_id=images[0].pk, outcome="label", label_class_id=dog.pk,
        key=uuid.uuid4(), seen=10**6,
    )  # fmt: skip
    GoldImage.objects.create(project=project, image=images[1], label_class=dog, created_by=manager)
    refresh_probabilities(project=fresh(project), measured=measured(project, people))
    assert states(images)[:3] == [("labelled", "dog"), ("labelled", "dog"), ("disputed", "")]


def test_what_was_settled_meanwhile_stays(project, images, people, manager) -> None:
    """Between the look at many labels and the lock on one."""
    dog = project.classes.get(name="dog")
    say(project, images[0], manager, "dog", is_decision=True)
    GoldImage.objects.create(project=project, image=images[1], label_class=dog, created_by=manager)
    found = measured(project, people)
    known = MeasuredPeople(
        {pk: Person(row.trust) for pk, row in found.people.items()}, Person(0.8), dict.fromkeys(found.classes, 1 / 3)
    )
    assert dispute_labels(project=project, image_ids=[row.pk for row in images], people=known) == 1
    assert states(images)[:3] == [("labelled", "dog"), ("labelled", "dog"), ("disputed", "")]


def test_the_next_answer_settles_it(project, images, people) -> None:
    refresh_probabilities(project=fresh(project), measured=measured(project, people))
    record_answer(
        project=fresh(project), annotator=people[3], image_id=images[0].pk, candidate_id=None, outcome="label",
        label_class_id=project.classes.get(name="dog").pk, key=uuid.uuid4(),
    )  # fmt: skip
    row = Image.objects.get(pk=images[0].pk)
    assert (row.state, row.label.name, row.doubted_label) == ("labelled", "dog", None)


def test_put_back_it_is_like_any_other(project, images, people, manager) -> None:
    refresh_probabilities(project=fresh(project), measured=measured(project, people))
    assert put_back(images[1].pk, by=manager)
    assert Image.objects.get(pk=images[1].pk).doubted_label is None


def test_nothing_is_taken_twice_and_the_record_has_it_once(project, images, people) -> None:
    for _ in range(2):
        refresh_probabilities(project=fresh(project), measured=measured(project, people))
    entry = AuditEntry.objects.get(project=project, kind="review")
    assert entry.by is None
    assert entry.details["images"] == [row.pk for row in images[:3]]
    assert images[0].name in entry.words


def test_pages_say_so(project, images, people, client_of, manager) -> None:
    run_quality(project_id=project.pk, measure=measure_answers)
    refresh_probabilities(project=fresh(project), measured=measured(project, people))
    client, words = client_of(manager), "It was labelled dog."
    assert words in client.get(reverse("review", args=[project.slug])).content.decode()
    assert words in client.get(reverse("image", args=[project.slug, images[1].pk])).content.decode()
    page = client.get(reverse("answers", args=[project.slug])).content.decode()
    assert "3 of them had labels that have become less likely than another class" in page
    annotators = client_of(people[1]).get(reverse("image", args=[project.slug, images[1].pk])).content.decode()
    assert words not in annotators


def test_what_is_measured_of_people_takes_the_label(project, images, make_images, people) -> None:
    """Through the whole: bob and carl turn out to say dog of every cat."""
    cat = project.classes.get(name="cat")
    for row in make_images(project, 20, state=ImageState.LABELLED, label=cat):
        for person, name in zip(
            [people[0], people[3], people[1], people[2]], ("cat", "cat", "dog", "owl"), strict=True
        ):
            say(project, row, person, name)
    run_quality(project_id=project.pk, measure=measure_answers)
    assert states(images)[0] == ("disputed", "")
