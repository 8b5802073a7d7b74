"""What a worker measures of answers: against counting by hand and simulated people."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta

import numpy as np
import pytest

from labeler import clock
from labeler.learning import measure_answers
from labeler.models import (
    Annotation,
    AnnotatorQuality,
    AnswerQuality,
    Candidate,
    GoldImage,
    Image,
    ImageState,
    Membership,
    Reason,
    Role,
)
from labeler.services.quality import EVERY_SECONDS, LOST_SECONDS, run_quality, sweep_quality
from labeler.tasks import measure_answers as task
from learner.agreement import krippendorff_alpha
from tests.labeler.queues import fill_queue


def say(project, image, person, label, *, reason: str = "", **fields) -> Annotation:
    """An answer as a row: this is about what is made of rows."""
    candidate = None
    if reason:
        round_ = project.rounds.first() or fill_queue(project, [])
        rank = Candidate.objects.filter(round=round_).count() + 1
        percentile = fields.pop("percentile", None)
        candidate = Candidate.objects.create(
            project=project, round=round_, image=image, rank=rank, slot=rank, reason=reason, state="answered",
            percentile=percentile,
        )  # fmt: skip
    return Annotation.objects.create(
        project=project, image=image, annotator=person, outcome="label",
        label_class=project.classes.get(name=label), key=uuid.uuid4(), candidate=candidate, **fields,
    )  # fmt: skip


@pytest.fixture
def people(project, make_user, annotator):
    more = [make_user(name) for name in ("bob", "carl")]
    for user in more:
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    return [annotator, *more]


@pytest.fixture
def thirty(project, make_images, people) -> list[Image]:
    """Three people on 30 images; Carl is wrong about every third."""
    images = make_images(project, 30, state=ImageState.LABELLED, label=project.classes.get(name="cat"))
    for number, image in enumerate(images):
        label = ("cat", "dog")[number % 2]
        for person in people:
            is_wrong = person is people[2] and number % 3 == 0
            say(project, image, person, "owl" if is_wrong else label, seconds=2.0 + number / 10)
        Image.objects.filter(pk=image.pk).update(label=project.classes.get(name=label))
    return images


def measure(project) -> AnswerQuality:
    run_quality(project_id=project.pk, measure=measure_answers)
    return AnswerQuality.objects.get(project=project)


def test_alpha_is_that_of_the_answers(project, thirty) -> None:
    found = measure(project)
    rows = Annotation.objects.values_list("image_id", "label_class_id")
    alpha = krippendorff_alpha(*zip(*rows, strict=True))
    assert found.stats["alpha"]["value"] == pytest.approx(alpha)
    assert found.stats["paired"] == 30
    assert found.stats["alpha"]["low"] < alpha < found.stats["alpha"]["high"]


def test_people_are_told_apart(project, thirty, people) -> None:
    measure(project)
    rows = {row.annotator: row for row in AnnotatorQuality.objects.select_related("annotator")}
    ann, _, carl = (rows[person] for person in people)
    assert ann.stats["agreement"]["value"] == 1  # the two images of three where the others agree, too
    assert carl.stats["agreement"]["value"] == pytest.approx(20 / 30)
    assert carl.trust < 0.8 < ann.trust
    assert ann.stats["answers"] == 30
    assert ann.stats["seconds"]["value"] == pytest.approx(np.median([2 + n / 10 for n in range(30)]))
    assert len(carl.confusion) == 3


def test_labels_given_before_get_their_probability(project, thirty) -> None:
    assert set(Image.objects.values_list("label_probability", flat=True)) == {None}
    measure(project)
    shares = dict(Image.objects.values_list("position", "label_probability"))
    assert all(share is not None for share in shares.values())
    assert shares[0] < shares[1]  # Carl disagreed about the first
    before = dict(Image.objects.values_list("pk", "label_id"))
    assert before == dict(Image.objects.values_list("pk", "label_id"))


def test_too_little_says_nothing(project, make_images, people) -> None:
    for image in make_images(project, 9):
        for person in people[:2]:
            say(project, image, person, "cat")
    found = measure(project)
    assert (found.right, found.stats["alpha"], found.stats["evidence"]) == (None, None, 9)
    assert not found.stats["of_one_class"]
    assert set(AnnotatorQuality.objects.values_list("trust", flat=True)) == {None}


def test_one_class_only_has_no_alpha(project, make_images, people) -> None:
    for image in make_images(project, 12):
        for person in people[:2]:
            say(project, image, person, "cat")
    found = measure(project)
    assert found.stats["alpha"] is None
    assert found.stats["of_one_class"]


def test_nothing_at_all_is_no_error(project) -> None:
    found = measure(project)
    assert found.stats["answers"] == 0
    run_quality(project_id=99_999, measure=measure_answers)


def test_gold_is_counted_of_whom_was_asked_unseen(project, make_images, people, manager) -> None:
    """Not an answer from before it was gold, nor that of the manager who marked it."""
    images = make_images(project, 12)
    cat = project.classes.get(name="cat")
    for number, image in enumerate(images):
        if number < 2:
            say(project, image, people[1], "dog")  # before
        GoldImage.objects.create(project=project, image=image, label_class=cat, created_by=manager)
        Image.objects.filter(pk=image.pk).update(state=ImageState.LABELLED, label=cat)
        say(project, image, people[0], "cat" if number < 9 else "dog", reason=Reason.GOLD)
        say(project, image, manager, "cat", reason=Reason.GOLD)
    found = measure(project)
    ann, bob, mia = (AnnotatorQuality.objects.get(annotator=person).stats for person in (people[0], people[1], manager))
    assert (ann["gold"]["value"], ann["gold"]["n"]) == (0.75, 12)
    assert bob["gold"] is None
    assert mia["gold"] is None
    assert found.stats["gold"]["n"] == 12
    assert found.stats["kinds"] == {"gold": 24, "other": 2}
    assert found.stats["alpha"] is None  # gold images are not drawn as others are
    assert found.right is not None  # their classes are known


def test_a_person_is_not_told_of_gold_of_today(project, make_images, people, manager) -> None:
    images = make_images(project, 3)
    cat = project.classes.get(name="cat")
    for image in images:
        gold = GoldImage.objects.create(project=project, image=image, label_class=cat, created_by=manager)
        GoldImage.objects.filter(pk=gold.pk).update(created_at=clock.now() - timedelta(days=3))
        say(project, image, people[0], "cat", reason=Reason.GOLD)
    old = Annotation.objects.first()
    Annotation.objects.filter(pk=old.pk).update(created_at=clock.now() - timedelta(days=2))
    measure(project)
    stats = AnnotatorQuality.objects.get(annotator=people[0]).stats
    assert stats["gold"]["n"] == 3
    assert stats["gold_told"]["n"] == 1


def test_kinds_are_what_places_were_for(project, make_images, people) -> None:
    reasons = [Reason.ACQUIRED, Reason.GROUP, Reason.RANDOM, Reason.HOLDOUT, Reason.RELABEL, ""]
    for reason in reasons:
        (image,) = make_images(project, 1)
        say(project, image, people[0], "cat", reason=reason)
    found = measure(project)
    assert found.stats["kinds"] == {"train": 2, "random": 1, "holdout": 1, "relabel": 1, "other": 1}


def test_a_decision_judges_others_and_is_no_vote(project, make_images, people, manager) -> None:
    for image in make_images(project, 12):
        say(project, image, people[0], "cat")
        say(project, image, people[1], "dog")
        say(project, image, manager, "cat", is_decision=True)
    found = measure(project)
    ann, bob = (AnnotatorQuality.objects.get(annotator=person) for person in people[:2])
    assert (ann.stats["agreement"]["value"], bob.stats["agreement"]["value"]) == (1.0, 0.0)
    assert AnnotatorQuality.objects.get(annotator=manager).stats["agreement"] is None
    assert found.stats["kinds"]["decision"] == 12
    assert found.stats["alpha"]["value"] < 0
    assert ann.trust > 0.8 > 0.5 > bob.trust


def test_hard_images_are_evened_out(project, make_images, people) -> None:
    """Ann is asked about hard images only, Bob about easy ones: too few of the others' to compare them."""
    rng = random.Random(0)
    for number, image in enumerate(make_images(project, 80)):
        is_hard = number % 2 == 0
        for person in people:
            is_wrong = is_hard and rng.random() < 0.4
            say(
                project, image, person, "dog" if is_wrong else "cat", reason=Reason.ACQUIRED,
                percentile=95.0 if is_hard else 20.0 + number / 10,
            )  # fmt: skip
    measure(project)
    for row in AnnotatorQuality.objects.all():
        assert row.stats["adjusted"]["value"] == pytest.approx(row.stats["agreement"]["value"], abs=0.06)


class TestSweep:
    @pytest.mark.usefixtures("thirty")
    def test_it_asks_when_answers_have_changed_and_not_otherwise(self, project) -> None:
        assert sweep_quality() == 1
        assert sweep_quality() == 0  # asked already
        task(project.pk)
        before = clock.now() - timedelta(seconds=EVERY_SECONDS + 1)
        AnswerQuality.objects.update(asked_at=before, measured_at=before)
        assert sweep_quality() == 0
        newest = Annotation.objects.order_by("-pk").first()
        Annotation.objects.filter(pk=newest.pk).delete()
        assert sweep_quality() == 1

    @pytest.mark.usefixtures("thirty")
    def test_a_lost_request_is_made_again(self) -> None:
        assert sweep_quality() == 1
        AnswerQuality.objects.update(asked_at=clock.now() - timedelta(seconds=EVERY_SECONDS + 1))
        assert sweep_quality() == 0
        AnswerQuality.objects.update(asked_at=clock.now() - timedelta(seconds=LOST_SECONDS + 1))
        assert sweep_quality() == 1

    def test_what_takes_long_is_done_seldom(self, project, thirty) -> None:
        """A minute's work is begun again after 15 minutes at the earliest."""
        measure(project)
        say(project, thirty[0], project.created_by, "cat")
        now = clock.now()
        for ago, is_due in ((800, 0), (1000, 1)):
            asked = now - timedelta(seconds=ago)
            AnswerQuality.objects.update(asked_at=asked, measured_at=asked + timedelta(seconds=60))
            assert sweep_quality() == is_due

    def test_new_gold_is_news(self, project, thirty, manager) -> None:
        measure(project)
        AnswerQuality.objects.update(asked_at=clock.now() - timedelta(hours=1))
        assert sweep_quality() == 0
        GoldImage.objects.create(
            project=project, image=thirty[0], label_class=project.classes.first(), created_by=manager
        )
        assert sweep_quality() == 1

    def test_a_project_without_answers_costs_nothing(self, project, make_images) -> None:
        make_images(project, 3)
        assert sweep_quality() == 0
