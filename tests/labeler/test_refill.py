"""Nobody waits for a round."""

from __future__ import annotations

from labeler.models import Candidate, LearningConfig, Reason, Round, RoundState, Trigger
from labeler.services.refill import REFILL, lease_or_refill, refill_queue
from tests.labeler.queues import answer_place, fill_queue, fresh


def start_round(project) -> Round:
    return Round.objects.create(
        project=project, number=99, trigger=Trigger.ANSWERS, reason="for a test", state=RoundState.FITTING, seed=1
    )


def test_an_empty_queue_goes_on_at_random_while_a_round_runs(project, make_images, annotator) -> None:
    images = make_images(project, 60)
    make_images(project, 10, is_holdout=True)
    fill_queue(project, images[:1])
    start_round(project)
    answer_place(project, annotator, lease_or_refill(project=fresh(project), annotator=annotator, want=1)[0])
    place = lease_or_refill(project=fresh(project), annotator=annotator, want=1)[0]
    added = Candidate.objects.filter(round=fresh(project).queue_round).exclude(image=images[0])
    assert place in added
    assert sorted(added.values_list("rank", flat=True)) == list(range(1, REFILL + 1))
    random, holdout = (added.filter(reason=reason) for reason in (Reason.RANDOM, Reason.HOLDOUT))
    assert random.count() + holdout.count() == REFILL
    assert not random.filter(image__is_holdout=True).exists()
    assert set(random.values_list("selection_probability", flat=True)) == {random.count() / 59}


def test_who_outruns_the_rounds_goes_on_measuring(project, make_images, annotator) -> None:
    """A refill without holdout images would leave the accuracy at what a handful of answers say."""
    make_images(project, 100)
    make_images(project, 40, is_holdout=True)
    LearningConfig.objects.filter(project=project).update(holdout_questions=0.5, holdout_target=8)
    fill_queue(project, [])
    start_round(project)
    refill_queue(project=fresh(project), annotator=annotator)
    holdout = Candidate.objects.filter(reason=Reason.HOLDOUT)
    assert 3 <= holdout.count() <= 8
    assert not holdout.filter(image__is_holdout=False).exists()
    assert set(holdout.values_list("selection_probability", flat=True)) == {holdout.count() / 40}


def test_a_queue_that_has_places_is_not_refilled(project, make_images, annotator) -> None:
    fill_queue(project, make_images(project, 30)[:2])
    start_round(project)
    assert refill_queue(project=fresh(project), annotator=annotator) == 0


def test_without_a_round_there_is_no_refill(project, make_images, annotator) -> None:
    make_images(project, 30)
    fill_queue(project, [])
    assert lease_or_refill(project=fresh(project), annotator=annotator, want=1) == []


def test_a_small_pool_is_refilled_with_what_is_left(project, make_images, annotator) -> None:
    make_images(project, 3)
    fill_queue(project, [])
    start_round(project)
    assert refill_queue(project=fresh(project), annotator=annotator) == 3
    assert refill_queue(project=fresh(project), annotator=annotator) == 0


def test_who_has_answered_all_of_the_queue_goes_on_while_others_still_owe_their_answers(
    project, make_images, annotator, manager
) -> None:
    images = make_images(project, 50)
    fill_queue(project, images[:2], overlap=2)
    for _ in images[:2]:
        answer_place(project, annotator, lease_or_refill(project=fresh(project), annotator=annotator, want=1)[0])
    (place,) = lease_or_refill(project=fresh(project), annotator=annotator, want=1)
    assert (place.rank, place.reason) == (2, Reason.RANDOM)
    assert place.image_id not in {image.pk for image in images[:2]}
    assert Candidate.objects.filter(reason=Reason.RANDOM).count() == 2 * REFILL
    (others,) = lease_or_refill(project=fresh(project), annotator=manager, want=1)
    assert others.image_id == images[0].pk  # they begin at the front


def test_who_has_answered_all_that_waits_gets_no_more(project, make_images, annotator) -> None:
    images = make_images(project, 2)
    fill_queue(project, images, overlap=2)
    for _ in images:
        answer_place(project, annotator, lease_or_refill(project=fresh(project), annotator=annotator, want=1)[0])
    assert lease_or_refill(project=fresh(project), annotator=annotator, want=1) == []
    assert Candidate.objects.count() == 4
