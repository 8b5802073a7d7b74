"""An answer is kept once, whatever happened to its lease; undo and corrections are rows of their own."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, connections, transaction
from django.utils import timezone

from labeler.models import Annotation, Candidate, CandidateState, Image, ImageState, Outcome
from labeler.services.annotate import correct_answer, record_answer, retract_answer
from labeler.services.lease import claim_places, lease_next
from tests.labeler.queues import answer_place, fill_queue, fresh


@pytest.fixture
def place(project, make_images, annotator) -> Candidate:
    """The first of forty places, leased to the annotator."""
    fill_queue(project, make_images(project, 40))
    return lease_next(project=fresh(project), annotator=annotator)[0]


def send(project, annotator, place, *, key=None, label="cat", outcome=Outcome.LABEL, candidate=True) -> Annotation:
    return record_answer(
        project=fresh(project),
        annotator=annotator,
        image_id=place.image_id,
        candidate_id=place.pk if candidate else None,
        outcome=outcome,
        label_class_id=project.classes.get(name=label).pk if outcome == Outcome.LABEL else None,
        key=key or uuid.uuid4(),
    )


def image_of(place: Candidate) -> Image:
    return Image.objects.select_related("label").get(pk=place.image_id)


def state_of(place: Candidate) -> str:
    return Candidate.objects.get(pk=place.pk).state


def test_an_answer_labels_the_image_and_closes_its_place(project, annotator, place) -> None:
    send(project, annotator, place, label="dog")
    image = image_of(place)
    assert (image.state, image.label.name, state_of(place)) == (ImageState.LABELLED, "dog", CandidateState.ANSWERED)
    assert image.labelled_at is not None


def test_a_repeated_send_finds_the_first_row(project, annotator, place) -> None:
    key = uuid.uuid4()
    first = send(project, annotator, place, key=key)
    again = send(project, annotator, place, key=key)
    assert first.pk == again.pk
    assert Annotation.objects.count() == 1


def test_an_answer_counts_when_its_lease_ran_out_and_the_round_was_replaced(project, annotator, place) -> None:
    Candidate.objects.filter(pk=place.pk).update(
        state=CandidateState.SUPERSEDED, leased_to=None, leased_until=timezone.now() - timedelta(hours=1)
    )
    send(project, annotator, place)
    assert image_of(place).state == ImageState.LABELLED


def test_an_answer_to_a_place_that_somebody_else_holds_now_is_kept(project, annotator, manager, place) -> None:
    Candidate.objects.filter(pk=place.pk).update(leased_to=manager)
    send(project, annotator, place, label="cat")
    assert image_of(place).label.name == "cat"
    assert state_of(place) == CandidateState.SUPERSEDED or Candidate.objects.get(pk=place.pk).leased_to == manager
    send(project, manager, place, label="cat")
    assert Annotation.objects.count() == 2


def test_two_tabs_of_one_person_the_later_answer_corrects(project, annotator, place) -> None:
    send(project, annotator, place, label="cat")
    send(project, annotator, place, label="dog", candidate=False)
    live = Annotation.objects.filter(retracted_at__isnull=True)
    assert [row.label_class.name for row in live] == ["dog"]
    assert live[0].retracts.label_class.name == "cat"
    assert image_of(place).label.name == "dog"


def test_undo_puts_the_image_back_and_its_place_to_the_same_person(project, annotator, manager, place) -> None:
    answer = send(project, annotator, place)
    undo = retract_answer(project=fresh(project), annotator=annotator, target_key=answer.key, key=uuid.uuid4())
    assert (undo.outcome, undo.retracts_id) == (Outcome.UNDO, answer.pk)
    assert (image_of(place).state, image_of(place).label) == (ImageState.POOL, None)
    assert lease_next(project=fresh(project), annotator=annotator)[0].image_id == place.image_id
    assert all(
        each.image_id != place.image_id for each in claim_places(project=fresh(project), annotator=manager, count=3)
    )


@pytest.mark.parametrize("overlap", [1, 2])
def test_an_undone_skip_takes_the_place_that_a_newer_queue_has_for_the_image(
    project, make_images, annotator, manager, overlap
) -> None:
    """Its own place comes back only where the image has too few: else one person too many would get it."""
    images = make_images(project, 1)
    fill_queue(project, images, overlap=overlap)
    skipped = answer_place(project, annotator, lease_next(project=fresh(project), annotator=annotator)[0], Outcome.SKIP)
    Candidate.objects.filter(state=CandidateState.OPEN).update(state=CandidateState.SUPERSEDED)
    newer = fill_queue(project, images, overlap=overlap)
    retract_answer(project=fresh(project), annotator=annotator, target_key=skipped.key, key=uuid.uuid4())
    (mine,) = lease_next(project=fresh(project), annotator=annotator)
    assert (mine.image_id, mine.round_id) == (images[0].pk, newer.pk)
    assert len(lease_next(project=fresh(project), annotator=manager)) == overlap - 1
    assert Candidate.objects.filter(state=CandidateState.OPEN).count() == overlap


def test_undoing_twice_is_harmless(project, annotator, place) -> None:
    answer = send(project, annotator, place)
    first = retract_answer(project=fresh(project), annotator=annotator, target_key=answer.key, key=uuid.uuid4())
    again = retract_answer(project=fresh(project), annotator=annotator, target_key=answer.key, key=uuid.uuid4())
    assert first.pk == again.pk
    assert Annotation.objects.count() == 2


def test_after_an_undo_the_image_can_be_answered_again(project, annotator, place) -> None:
    answer = send(project, annotator, place, label="cat")
    retract_answer(project=fresh(project), annotator=annotator, target_key=answer.key, key=uuid.uuid4())
    send(project, annotator, place, label="owl")
    assert image_of(place).label.name == "owl"


def test_nobody_undoes_what_somebody_else_answered(project, annotator, manager, place) -> None:
    answer = send(project, annotator, place)
    with pytest.raises(ValidationError, match="no such answer of yours"):
        retract_answer(project=fresh(project), annotator=manager, target_key=answer.key, key=uuid.uuid4())
    assert image_of(place).state == ImageState.LABELLED


def test_a_correction_retracts_the_old_row_and_keeps_it(project, annotator, place) -> None:
    old = send(project, annotator, place, label="cat")
    key = uuid.uuid4()
    for _ in range(2):
        correct_answer(
            project=fresh(project), annotator=annotator, target_key=old.key, outcome=Outcome.LABEL,
            label_class_id=project.classes.get(name="dog").pk, key=key,
        )  # fmt: skip
    assert image_of(place).label.name == "dog"
    rows = [(row.label_class.name, row.retracted_at is None) for row in Annotation.objects.order_by("id")]
    assert rows == [("cat", False), ("dog", True)]


def test_a_correction_to_skip_gives_the_place_back_to_others(project, annotator, manager, place) -> None:
    old = send(project, annotator, place)
    correct_answer(
        project=fresh(project), annotator=annotator, target_key=old.key, outcome=Outcome.SKIP, label_class_id=None,
        key=uuid.uuid4(),
    )  # fmt: skip
    assert image_of(place).state == ImageState.POOL
    assert lease_next(project=fresh(project), annotator=manager)[0].image_id == place.image_id


def test_a_skipped_image_goes_to_others_and_is_set_aside_when_they_skip_it_too(
    project, annotator, manager, place
) -> None:
    send(project, annotator, place, outcome=Outcome.SKIP)
    other = lease_next(project=fresh(project), annotator=manager)[0]
    assert other.image_id == place.image_id
    send(project, manager, other, outcome=Outcome.SKIP)
    assert image_of(place).state == ImageState.SET_ASIDE
    assert state_of(place) == CandidateState.SUPERSEDED


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.UNSURE, ImageState.SET_ASIDE), (Outcome.BAD_IMAGE, ImageState.BAD)]
)
def test_other_outcomes_take_the_image_out_of_the_pool(project, annotator, place, outcome, state) -> None:
    send(project, annotator, place, outcome=outcome)
    assert image_of(place).state == state


def test_overlap_needs_its_answers_and_a_majority(project, make_images, annotator, manager, stranger) -> None:
    image = make_images(project, 1)[0]
    fill_queue(project, [image], overlap=3)
    for user, label in [(annotator, "cat"), (manager, "dog"), (stranger, "cat")]:
        assert Image.objects.get(pk=image.pk).state == ImageState.POOL
        answer_place(project, user, lease_next(project=fresh(project), annotator=user)[0], label=label)
    assert Image.objects.get(pk=image.pk).label.name == "cat"


def test_a_tie_is_disputed_and_has_no_label(project, make_images, annotator, manager) -> None:
    image = make_images(project, 1)[0]
    fill_queue(project, [image], overlap=2)
    for user, label in [(annotator, "cat"), (manager, "dog")]:
        answer_place(project, user, lease_next(project=fresh(project), annotator=user)[0], label=label)
    image.refresh_from_db()
    assert (image.state, image.label) == (ImageState.DISPUTED, None)


def test_nonsense_is_refused_and_names_its_field(project, annotator, place, make_user) -> None:
    cases = [
        ({"label_class_id": 10**9}, "label_class"),
        ({"label_class_id": None}, "label_class"),
        ({"outcome": "gibberish", "label_class_id": None}, "outcome"),
        ({"image_id": 10**9, "candidate_id": None}, "image"),
    ]
    good = {"image_id": place.image_id, "candidate_id": place.pk, "outcome": "label",
            "label_class_id": project.classes.get(name="cat").pk}  # fmt: skip
    for change, field in cases:
        with pytest.raises(ValidationError) as refused:
            record_answer(project=fresh(project), annotator=annotator, key=uuid.uuid4(), **{**good, **change})
        assert list(refused.value.message_dict) == [field]
    assert Annotation.objects.count() == 0
    assert state_of(place) == CandidateState.OPEN


@pytest.mark.django_db(transaction=True)
def test_the_same_answer_sent_at_once_by_many_threads_is_one_row(project, annotator, place) -> None:
    key, rows = uuid.uuid4(), []
    barrier = threading.Barrier(6)

    def work(candidate: bool) -> None:
        try:
            barrier.wait()
            rows.append(send(project, annotator, place, key=key, candidate=candidate).pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(rows) == 6
    assert len(set(rows)) == 1
    assert Annotation.objects.count() == 1


def test_the_usual_answer_takes_four_statements(project, annotator, place, django_assert_num_queries) -> None:
    known = fresh(project)
    label = project.classes.get(name="cat")
    with django_assert_num_queries(6):  # SAVEPOINT, place, annotation, image, trigger, RELEASE
        record_answer(
            project=known, annotator=annotator, image_id=place.image_id, candidate_id=place.pk, outcome="label",
            label_class_id=label.pk, key=uuid.uuid4(),
        )  # fmt: skip
    assert connection.vendor in {"sqlite", "postgresql"}


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
class TestNoFreePlaceIsLockedInVain:
    """Others pass over what is locked. So a free place is locked by nobody who may leave it as it is."""

    @pytest.fixture
    def others(self):
        """Which places another transaction could take now."""
        other = connection.copy()
        other.set_autocommit(False)

        def free() -> set[int]:
            with other.cursor() as cursor:
                cursor.execute("SELECT id FROM labeler_candidate FOR NO KEY UPDATE SKIP LOCKED")
                rows = cursor.fetchall()
            other.rollback()
            return {pk for (pk,) in rows}

        yield free
        other.close()

    @pytest.fixture
    def two(self, project, make_images, annotator) -> tuple[Candidate, Candidate]:
        """Both places of an image; the second is the annotator's."""
        fill_queue(project, make_images(project, 1), overlap=2)
        first, second = Candidate.objects.order_by("slot")
        later = timezone.now() + timedelta(minutes=3)
        Candidate.objects.filter(pk=second.pk).update(leased_to=annotator, leased_until=later, leased_at=timezone.now())
        return first, second

    def test_not_by_an_undo_that_gives_nothing_back(self, project, annotator, two, others) -> None:
        first, _ = two
        skip = Annotation.objects.create(
            project=project,
            annotator=annotator,
            image=first.image,
            candidate=first,
            outcome=Outcome.SKIP,
            key=uuid.uuid4(),
        )
        with transaction.atomic():
            retract_answer(project=fresh(project), annotator=annotator, target_key=skip.key, key=uuid.uuid4())
            assert first.pk in others()
        first.refresh_from_db()
        assert first.leased_to is None

    def test_not_by_an_answer_that_closes_another_place(self, project, annotator, two, others) -> None:
        first, second = two
        with transaction.atomic():
            send(project, annotator, first)
            assert others() == {first.pk}
        second.refresh_from_db()
        assert second.state == CandidateState.ANSWERED
