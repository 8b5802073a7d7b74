"""A manager's decision settles an image, is undone, and is never overwritten unseen."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from labeler.models import Annotation, AnnotatorQuality, AnswerQuality, AuditEntry, Image, ImageState, LabelClass
from labeler.services.annotate import correct_answer, record_answer, retract_answer
from labeler.services.decide import DecisionRefused, decide_image, undo_decision
from labeler.services.lease import lease_next
from tests.labeler.queues import answer_place, fill_queue, fresh


@pytest.fixture
def second(make_user, project):
    from labeler.models import Membership, Role

    user = make_user("bob")
    Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    return user


@pytest.fixture
def disputed(project, make_images, annotator, second) -> Image:
    """Ann says cat, Bob says dog."""
    (image,) = make_images(project, 1)
    fill_queue(project, [image], overlap=2)
    for person, label in ((annotator, "cat"), (second, "dog")):
        (place,) = lease_next(project=fresh(project), annotator=person)
        answer_place(project, person, place, label=label)
    return reloaded(image)


def reloaded(image: Image) -> Image:
    return Image.objects.select_related("label").get(pk=image.pk)


def decide(project, manager, image: Image, label: str = "dog", **changes) -> Annotation:
    newest = Annotation.objects.filter(image=image).order_by("-pk").values_list("pk", flat=True).first() or 0
    values = {
        "project": fresh(project), "by": manager, "image_id": image.pk, "outcome": "label", "key": uuid.uuid4(),
        "label_class_id": LabelClass.objects.get(project=project, name=label).pk, "seen": newest,
    }  # fmt: skip
    return decide_image(**values | changes)


def test_a_tie_is_a_dispute_and_contested(disputed) -> None:
    assert (disputed.state, disputed.is_contested, disputed.label_probability) == (ImageState.DISPUTED, True, None)


def test_a_decision_settles_it(project, manager, disputed) -> None:
    answer = decide(project, manager, disputed)
    image = reloaded(disputed)
    assert (image.state, image.label.name, image.label_probability) == (ImageState.LABELLED, "dog", 1.0)
    assert not image.is_contested
    assert answer.is_decision


def test_it_wins_over_more_votes(project, manager, disputed, make_user) -> None:
    """And over those that come later."""
    decide(project, manager, disputed, label="owl")
    for name in ("carl", "dora"):
        record_answer(
            project=fresh(project), annotator=make_user(name), image_id=disputed.pk, candidate_id=None, outcome="label",
            label_class_id=project.classes.get(name="cat").pk, key=uuid.uuid4(),
        )  # fmt: skip
    assert reloaded(disputed).label.name == "owl"


def test_bad_images_and_what_nobody_can_tell(project, manager, disputed) -> None:
    decide(project, manager, disputed, outcome="bad_image", label_class_id=None)
    assert reloaded(disputed).state == ImageState.BAD
    decide(project, manager, disputed, outcome="unsure", label_class_id=None)
    assert reloaded(disputed).state == ImageState.SET_ASIDE


def record(project) -> list[str]:
    return list(
        AuditEntry.objects.filter(project=project, kind="review").order_by("pk").values_list("words", flat=True)
    )


def test_the_record_knows_that_a_decision_was_taken_back_and_once(project, manager, disputed) -> None:
    answer = decide(project, manager, disputed)
    for _ in range(2):
        undo_decision(project=fresh(project), by=manager, target_key=answer.key, key=uuid.uuid4())
    name = disputed.name
    assert record(project) == [f"decided on the image {name}: dog", f"took back the decision on the image {name}: dog"]
    assert AuditEntry.objects.order_by("-pk").first().by == manager


def test_the_record_knows_a_decision_that_was_changed_or_undone_elsewhere(project, manager, disputed) -> None:
    """By the same person, on the Label page: its last answers lead there, too."""
    answer = decide(project, manager, disputed)
    values = {"project": fresh(project), "annotator": manager, "target_key": answer.key, "key": uuid.uuid4()}
    cat = LabelClass.objects.get(project=project, name="cat")
    changed = correct_answer(**values, outcome="label", label_class_id=cat.pk)
    assert changed.is_decision
    retract_answer(project=fresh(project), annotator=manager, target_key=changed.key, key=uuid.uuid4())
    assert [words.split(" the image")[0] for words in record(project)] == [
        "decided on", "decided anew on", "took back the decision on"
    ]  # fmt: skip


def test_an_answer_that_is_no_decision_is_not_recorded(project, annotator, disputed) -> None:
    own = Annotation.objects.get(annotator=annotator)
    retract_answer(project=fresh(project), annotator=annotator, target_key=own.key, key=uuid.uuid4())
    assert record(project) == []


def test_undo_brings_back_what_people_say(project, manager, disputed) -> None:
    answer = decide(project, manager, disputed)
    for _ in range(2):  # twice is harmless
        undo_decision(project=fresh(project), by=manager, target_key=answer.key, key=uuid.uuid4())
        assert reloaded(disputed).state == ImageState.DISPUTED


def test_undo_brings_back_the_managers_own_answer(project, manager, make_images) -> None:
    (image,) = make_images(project, 1)
    fill_queue(project, [image])
    (place,) = lease_next(project=fresh(project), annotator=manager)
    answer_place(project, manager, place, label="cat")
    answer = decide(project, manager, image, label="dog")
    assert reloaded(image).label.name == "dog"
    undo_decision(project=fresh(project), by=manager, target_key=answer.key, key=uuid.uuid4())
    assert reloaded(image).label.name == "cat"
    live = Annotation.objects.get(image=image, retracted_at__isnull=True, outcome="label")
    assert not live.is_decision


def test_a_repeated_send_is_one_decision(project, manager, disputed) -> None:
    key = uuid.uuid4()
    first, again = (decide(project, manager, disputed, key=key) for _ in range(2))
    assert first.pk == again.pk
    assert Annotation.objects.filter(is_decision=True).count() == 1


def test_somebody_elses_decision_is_not_overwritten_unseen(project, manager, disputed, second) -> None:
    seen = Annotation.objects.order_by("-pk").values_list("pk", flat=True).first()
    decide(project, second, disputed, label="cat")
    with pytest.raises(DecisionRefused, match="bob has decided meanwhile: cat"):
        decide(project, manager, disputed, seen=seen)
    decide(project, manager, disputed, label="owl")  # now it was seen
    assert reloaded(disputed).label.name == "owl"


def test_an_image_that_waits_is_not_decided(project, manager, make_images) -> None:
    (image,) = make_images(project, 1, is_holdout=True)
    with pytest.raises(DecisionRefused, match="waits"):
        decide(project, manager, image)


def test_nonsense_is_refused(project, manager, disputed) -> None:
    with pytest.raises(ValidationError):
        decide(project, manager, disputed, outcome="undo", label_class_id=None)
    with pytest.raises(ValidationError):
        decide(project, manager, disputed, label_class_id=99_999)
    assert reloaded(disputed).state == ImageState.DISPUTED


def test_who_corrects_a_decision_decides_once_more(project, manager, disputed) -> None:
    answer = decide(project, manager, disputed, label="dog")
    owl = project.classes.get(name="owl")
    correct_answer(
        project=fresh(project), annotator=manager, target_key=answer.key, outcome="label", label_class_id=owl.pk,
        key=uuid.uuid4(),
    )  # fmt: skip
    assert reloaded(disputed).label == owl


class TestWeighedVotes:
    """Once it is measured how far people can be trusted."""

    @pytest.fixture(autouse=True)
    def measured(self, project, annotator, second, manager):
        ids = list(project.classes.values_list("pk", flat=True))
        AnswerQuality.objects.create(project=project, right=0.8, classes=ids, prior=[1 / 3] * 3)
        for person, trust in ((annotator, 0.99), (second, 0.55), (manager, 0.55)):
            AnnotatorQuality.objects.create(project=project, annotator=person, trust=trust)

    def answered(self, project, make_images, people) -> Image:
        (image,) = make_images(project, 1)
        fill_queue(project, [image], overlap=len(people))
        for person, label in people:
            (place,) = lease_next(project=fresh(project), annotator=person)
            answer_place(project, person, place, label=label)
        return reloaded(image)

    def test_two_poor_ones_do_not_outvote_a_good_one(self, project, make_images, annotator, second, manager) -> None:
        image = self.answered(project, make_images, [(annotator, "cat"), (second, "dog"), (manager, "dog")])
        assert image.label.name == "cat"
        by_hand = 0.99 * 0.225**2 / (0.99 * 0.225**2 + 0.005 * 0.55**2 + 0.005 * 0.225**2)
        assert image.label_probability == pytest.approx(by_hand)
        assert image.is_contested

    def test_a_tie_stays_a_dispute(self, project, make_images, annotator, second) -> None:
        image = self.answered(project, make_images, [(annotator, "cat"), (second, "dog")])
        assert (image.state, image.label) == (ImageState.DISPUTED, None)

    def test_one_answer_is_as_likely_right_as_its_person(self, project, make_images, annotator, second) -> None:
        assert self.answered(project, make_images, [(annotator, "cat")]).label_probability == pytest.approx(0.99)
        assert self.answered(project, make_images, [(second, "cat")]).label_probability == pytest.approx(0.55)

    def test_bad_images_have_no_probability(self, project, make_images, annotator) -> None:
        (image,) = make_images(project, 1)
        fill_queue(project, [image])
        (place,) = lease_next(project=fresh(project), annotator=annotator)
        answer_place(project, annotator, place, "bad_image")
        assert (reloaded(image).state, reloaded(image).label_probability) == (ImageState.BAD, None)


def test_without_measurement_one_answer_is_its_label(project, make_images, annotator) -> None:
    (image,) = make_images(project, 1)
    fill_queue(project, [image])
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    answer_place(project, annotator, place, label="owl")
    found = reloaded(image)
    assert (found.label.name, found.label_probability, found.is_contested) == ("owl", None, False)


@pytest.mark.django_db(transaction=True)
def test_decided_while_an_answer_is_under_way(project, make_images, annotator, second, manager) -> None:
    """Whoever is first, the decision stands, and the answer is kept."""
    images = make_images(project, 4)
    fill_queue(project, images, overlap=2)
    for _ in images:
        (place,) = lease_next(project=fresh(project), annotator=annotator)
        answer_place(project, annotator, place, label="cat")
    Image.objects.update(state=ImageState.DISPUTED, is_contested=True)
    owl, dog = (project.classes.get(name=name) for name in ("owl", "dog"))
    for image in images:
        barrier, errors = threading.Barrier(2), []

        def run(work, barrier=barrier, errors=errors) -> None:
            try:
                barrier.wait(10)
                work()
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connection.close()

        def answer(image=image) -> None:
            record_answer(
                project=fresh(project), annotator=second, image_id=image.pk, candidate_id=None, outcome="label",
                label_class_id=dog.pk, key=uuid.uuid4(),
            )  # fmt: skip

        def settle_it(image=image) -> None:
            decide_image(
                project=fresh(project), by=manager, image_id=image.pk, outcome="label", label_class_id=owl.pk,
                key=uuid.uuid4(), seen=0,
            )  # fmt: skip

        threads = [threading.Thread(target=run, args=[work]) for work in (answer, settle_it)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert reloaded(image).label == owl
        assert Annotation.objects.filter(image=image, retracted_at__isnull=True).count() == 3
