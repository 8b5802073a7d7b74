"""Nobody waits for a round."""

from __future__ import annotations

from labeler.models import Candidate, Reason, Round, RoundState, Trigger
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
    added = Candidate.objects.filter(reason=Reason.RANDOM)
    assert added.count() == REFILL
    assert place in added
    assert not added.filter(image__is_holdout=True).exists()
    assert not added.filter(image=images[0]).exists()
    assert place.selection_probability == REFILL / 59
    assert list(added.values_list("rank", flat=True)) == list(range(1, REFILL + 1))


def test_a_queue_that_has_places_is_not_refilled(project, make_images, annotator) -> None:
    fill_queue(project, make_images(project, 30)[:2])
    start_round(project)
    assert refill_queue(project=fresh(project)) == 0


def test_without_a_round_there_is_no_refill(project, make_images, annotator) -> None:
    make_images(project, 30)
    fill_queue(project, [])
    assert lease_or_refill(project=fresh(project), annotator=annotator, want=1) == []


def test_a_small_pool_is_refilled_with_what_is_left(project, make_images, annotator) -> None:
    make_images(project, 3)
    fill_queue(project, [])
    start_round(project)
    assert refill_queue(project=fresh(project)) == 3
    assert refill_queue(project=fresh(project)) == 0
