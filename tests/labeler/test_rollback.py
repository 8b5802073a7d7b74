"""A model put in charge by a person: the queue follows, later rounds are rolled back, and who did it is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from labeler import learning, tasks
from labeler.models import Candidate, Image, ModelChange, Project, Reason, Round, RoundState, Standing, Trigger
from labeler.selectors.charge import charge_of
from labeler.selectors.scores import scored_round
from labeler.services import claims, rollback
from labeler.services.rollback import put_in_charge, release_model, remake_queue, sweep_charge
from labeler.services.rounds import RoundRefused, cancel_round, newest_round, request_round
from labeler.storage import round_folder
from tests.labeler.judged import finish, judged, loses_owls, measured_pool, round_to_judge, sure

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    return measured_pool(project, make_images)


def remade(pool: Project) -> Round:
    """The queue that a learner makes of it."""
    round_ = Round.objects.get(project=pool, trigger=Trigger.CHARGE, state=RoundState.ACQUIRING)
    tasks.score_chunks(round_.pk)
    round_.refresh_from_db()
    pool.refresh_from_db()
    return round_


def test_the_queue_is_made_again_from_the_scores_of_the_model_that_is_put_in_charge(
    pool, manager, sent, django_capture_on_commit_callbacks
) -> None:
    first, second = judged(pool), judged(pool)
    third = judged(pool)
    Image.objects.filter(project=pool, position__lt=50).exclude(is_holdout=True).update(state="bad")
    with django_capture_on_commit_callbacks(execute=True):
        assert put_in_charge(round_=first, by=manager)
    for round_ in (first, second, third):
        round_.refresh_from_db()
    standings = [first.standing, second.standing, third.standing]
    assert standings == [Standing.ACCEPTED, Standing.ROLLED_BACK, Standing.ROLLED_BACK]
    pool.refresh_from_db()
    assert (pool.model_round, pool.model_kept_by, pool.queue_round) == (first, manager, third)
    round_ = Round.objects.get(trigger=Trigger.CHARGE)
    assert sent == [("learner.score_chunks", round_.pk)]
    assert remade(pool) == pool.queue_round
    round_.refresh_from_db()
    assert (round_.state, round_.error, round_.asked_by, round_.standing) == (RoundState.DONE, "", first, "")
    assert round_.reason == "mia put the model of round 1 in charge"
    places = list(Candidate.objects.filter(round=round_).select_related("image"))
    assert len(places) == 10
    assert all(place.reason == Reason.ACQUIRED and place.image.position >= 50 for place in places)
    assert {place.details["model"] for place in places} == {1}
    assert Candidate.objects.filter(round=third, state="superseded").count() == 10


def test_what_it_has_seen_is_not_more_than_the_last_round_had(pool, manager) -> None:
    """The same answers start the next round, whether somebody rolled back or not."""
    first, second = judged(pool), judged(pool, last_annotation_id=17, training_count=12)
    put_in_charge(round_=first, by=manager)
    round_ = remade(pool)
    assert (round_.last_annotation_id, round_.training_count) == (17, 12)
    assert newest_round(pool) == round_
    assert second.standing == Standing.ACCEPTED


def test_pages_go_by_the_model_in_charge(pool, manager) -> None:
    first, second = judged(pool), judged(pool)
    pool.refresh_from_db()
    assert scored_round(pool, None) == second
    put_in_charge(round_=first, by=manager)
    pool.refresh_from_db()
    assert scored_round(pool, None) == first
    assert scored_round(pool, "2") == second


def test_one_that_was_refused_can_be_chosen_and_the_other_put_back(pool, manager, make_user) -> None:
    anna = make_user("anna")
    first = judged(pool)
    second = judged(pool, loses_owls)
    assert put_in_charge(round_=second, by=anna)
    second.refresh_from_db()
    first.refresh_from_db()
    assert (second.standing, first.standing) == (Standing.CHOSEN, Standing.ACCEPTED)
    remade(pool)
    assert put_in_charge(round_=first, by=manager)
    second.refresh_from_db()
    assert second.standing == Standing.ROLLED_BACK
    changes = list(ModelChange.objects.exclude(kind="took").values_list("round__number", "former__number", "by"))
    assert changes == [(1, 2, manager.pk), (2, 1, anna.pk)]
    assert charge_of(pool).kept_by == "mia"


def test_the_second_click_changes_nothing(pool, manager) -> None:
    first, _ = judged(pool), judged(pool)
    assert put_in_charge(round_=first, by=manager)
    since = charge_of(pool).kept_since
    assert not put_in_charge(round_=first, by=manager)
    assert charge_of(pool).kept_since == since
    assert Round.objects.filter(trigger=Trigger.CHARGE).count() == 1
    assert ModelChange.objects.filter(kind="put").count() == 1


def test_what_has_no_model_cannot_be_put_in_charge(pool, manager) -> None:
    first = judged(pool)
    compared = judged(pool, trigger=Trigger.COMPARISON)
    with pytest.raises(RoundRefused, match="A comparison is only looked at"):
        put_in_charge(round_=compared, by=manager)
    put_in_charge(round_=first, by=manager)
    failed = round_to_judge(pool, sure(70), number=9)
    Round.objects.filter(pk=failed.pk).update(state=RoundState.FAILED)
    with pytest.raises(RoundRefused, match="has no model"):
        put_in_charge(round_=failed, by=manager)
    (round_folder(first) / "scores" / "000000.npz").unlink()
    (round_folder(first) / "scores").rmdir()
    with pytest.raises(RoundRefused, match="are gone"):
        put_in_charge(round_=first, by=manager)


def test_while_a_round_runs_the_queue_follows_when_it_has_ended(pool, manager) -> None:
    first, _ = judged(pool), judged(pool)
    running = round_to_judge(pool, sure(70))
    assert put_in_charge(round_=first, by=manager)
    assert not Round.objects.filter(trigger=Trigger.CHARGE).exists()
    assert sweep_charge() == 0
    third = finish(running)
    assert (third.standing, third.asked_by, pool.model_round) == (Standing.ASIDE, first, first)
    assert sweep_charge() == 0  # the queue is that of the model in charge


@pytest.mark.parametrize("end", ["cancelled", "comparison"])
def test_a_round_that_ends_without_a_queue_leaves_it_to_the_sweep(pool, manager, end, sent) -> None:
    first, _ = judged(pool), judged(pool)
    fields = {"trigger": Trigger.COMPARISON} if end == "comparison" else {}
    running = round_to_judge(pool, sure(70), **fields)
    put_in_charge(round_=first, by=manager)
    if end == "comparison":
        finish(running)
    else:
        cancel_round(round_=running, by=manager)
    sent.clear()
    assert sweep_charge() == 1
    assert sweep_charge() == 0
    round_ = remade(pool)
    assert (pool.queue_round, round_.asked_by) == (round_, first)
    assert sweep_charge() == 0


def test_a_queue_that_could_not_be_made_is_not_tried_for_ever(pool, manager) -> None:
    first, _ = judged(pool), judged(pool)
    put_in_charge(round_=first, by=manager)
    round_ = Round.objects.get(trigger=Trigger.CHARGE)
    (round_folder(first) / "scores" / "000000.npz").write_bytes(b"damaged")
    tasks.score_chunks(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.FAILED and "damaged" in round_.error
    assert sweep_charge() == 0
    again = remake_queue(round_=round_, by=manager)
    assert (again.trigger, again.asked_by, again.state) == (Trigger.CHARGE, first, RoundState.ACQUIRING)
    assert remake_queue(round_=round_, by=manager) is None
    with pytest.raises(RoundRefused, match="nothing to try again"):
        remake_queue(round_=again, by=manager)


def test_a_remade_queue_can_be_cancelled_and_given_back(pool, manager, sent) -> None:
    first, second = judged(pool), judged(pool)
    put_in_charge(round_=first, by=manager)
    round_ = Round.objects.get(trigger=Trigger.CHARGE)
    claim = claims.new_claim("learner@here")
    assert claims.claim_acquire(round_id=round_.pk, claim=claim) is not None
    assert claims.give_back_rounds(worker="learner@here") == 1
    assert claims.claim_acquire(round_id=round_.pk, claim=claim) is not None
    assert cancel_round(round_=round_, by=manager)
    pool.refresh_from_db()
    assert (pool.queue_round, pool.model_round) == (second, first)


def test_a_released_model_gives_way_to_the_next_that_is_accepted(pool, manager) -> None:
    first, _ = judged(pool), judged(pool)
    put_in_charge(round_=first, by=manager)
    remade(pool)
    assert release_model(project=pool, by=manager)
    pool.refresh_from_db()
    assert pool.model_round == first
    last = judged(pool)
    assert pool.model_round == last


def test_no_round_is_asked_for_twice_while_the_queue_is_being_made(pool, manager) -> None:
    first, _ = judged(pool), judged(pool)
    put_in_charge(round_=first, by=manager)
    Image.objects.filter(project=pool, position__in=[40, 41]).update(state="labelled", label=pool.classes.first())
    Image.objects.filter(project=pool, position=42).update(state="labelled", label=pool.classes.last())
    assert request_round(project=pool, trigger=Trigger.BUTTON, reason="test") is None


def at_once(work: Callable[[], object], start: threading.Barrier, errors: list[Exception]) -> None:
    try:
        start.wait()
        work()
    except Exception as error:  # noqa: BLE001  (whatever it is, the test shows it)
        errors.append(error)
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_of_many_managers_at_once_one_is_the_last_and_all_fits_together(pool, manager) -> None:
    rounds = [judged(pool) for _ in range(4)]
    start, errors = threading.Barrier(4), []
    works = [lambda round_=round_: put_in_charge(round_=round_, by=manager) for round_ in rounds]
    threads = [threading.Thread(target=at_once, args=(work, start, errors)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    pool.refresh_from_db()
    last = ModelChange.objects.first()
    assert pool.model_round == last.round
    took = Round.objects.filter(standing__in=rollback.TOOK).order_by("-number").first()
    assert took == pool.model_round
    assert Round.objects.filter(trigger=Trigger.CHARGE).count() <= 1
    former = [change.former_id for change in reversed(ModelChange.objects.all())]
    assert former[1:] == [change.round_id for change in reversed(ModelChange.objects.all())][:-1]


@pytest.mark.django_db(transaction=True)
def test_a_round_that_is_published_while_somebody_rolls_back_never_takes_the_charge_from_them(pool, manager) -> None:
    first, _ = judged(pool), judged(pool)
    for _ in range(5):
        waiting = round_to_judge(pool, sure(70))
        start, errors = threading.Barrier(2), []

        mine = Round.objects.select_related("project__learning").get(pk=waiting.pk)
        works = [lambda mine=mine: learning.choose(round_=mine), lambda: put_in_charge(round_=first, by=manager)]
        threads = [threading.Thread(target=at_once, args=(work, start, errors)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        pool.refresh_from_db()
        assert pool.model_round == first
        release_model(project=pool, by=manager)
        Round.objects.filter(trigger=Trigger.CHARGE, state=RoundState.ACQUIRING).update(state=RoundState.CANCELLED)
