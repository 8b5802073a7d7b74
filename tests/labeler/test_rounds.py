"""Asking for rounds, also many at once; the sweep."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from labeler.models import ImportJob, JobState, Round, RoundChunk, RoundState, Trigger, Worker
from labeler.selectors.pool import labelled_images
from labeler.services import claims, sweep
from labeler.services.rounds import RoundRefused, request_round, start_cold_round
from labeler.services.stops import give_back_work
from tests.labeler.rounds import tune


@pytest.fixture
def pool(project, make_images):
    images = make_images(project, 40)
    for image, label in zip(images[:2], project.classes.all(), strict=False):
        image.state, image.label = "labelled", label
        image.save()
    tune(project)
    start_cold_round(project=project)
    project.refresh_from_db()
    return project


def ask(project, trigger: str = Trigger.BUTTON) -> Round | None:
    return request_round(project=project, trigger=trigger, reason="test")


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_one_becomes_a_round(pool) -> None:
    start, made = threading.Barrier(8), []

    def press() -> None:
        start.wait()
        made.append(ask(pool))
        connection.close()

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len([round_ for round_ in made if round_ is not None]) == 1
    assert Round.objects.filter(trigger=Trigger.BUTTON).count() == 1


@pytest.mark.django_db
def test_the_first_cold_round_makes_a_queue_of_both_kinds(project, make_images) -> None:
    make_images(project, 100)
    make_images(project, 30, is_holdout=True)
    tune(project, budget=50, holdout_questions=0.3)
    round_ = start_cold_round(project=project)
    project.refresh_from_db()
    assert project.queue_round == round_
    assert round_.candidates.count() == 50
    assert 5 <= round_.candidates.filter(image__is_holdout=True).count() <= 25


@pytest.mark.django_db
def test_no_labels_no_round(project, make_images) -> None:
    make_images(project, 5)
    with pytest.raises(RoundRefused, match="No image has a label yet"):
        ask(project)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("pool")
class TestSweep:
    def test_a_waiting_round_is_sent_again_to_an_idle_worker_and_not_too_often(self, pool, sent) -> None:
        round_ = ask(pool)
        sent.clear()
        assert sweep.wake_learners() == 0
        Worker.objects.create(name="a", queues="learner")
        assert sweep.wake_learners() == 1
        assert sweep.wake_learners() == 0
        assert sent == [("learner.run_round", round_.pk)]

    def test_a_busy_worker_gets_no_messages(self, pool) -> None:
        ask(pool)
        Worker.objects.create(name="a", queues="learner", doing="fitting")
        assert sweep.wake_learners() == 0

    def test_a_silent_fit_goes_to_another(self, pool, sent) -> None:
        round_ = ask(pool)
        claims.claim_fit(round_id=round_.pk, claim="a")
        assert claims.give_up_stalled() == 0
        self.silence(round_)
        sent.clear()
        assert claims.give_up_stalled() == 1
        assert claims.give_up_stalled() == 0
        round_.refresh_from_db()
        assert (round_.state, round_.claim, round_.attempts) == (RoundState.QUEUED, "", 1)
        assert sent == [("learner.run_round", round_.pk)]

    def test_what_a_worker_left_that_is_idle_again_goes_to_another_soon(self, pool) -> None:
        round_ = ask(pool)
        claims.claim_fit(round_id=round_.pk, claim=claims.new_claim("learner@here"))
        assert claims.give_up_stalled(idle_worker="learner@here") == 0
        Round.objects.filter(pk=round_.pk).update(heartbeat_at=timezone.now() - timedelta(seconds=6))
        assert claims.give_up_stalled() == 0
        assert claims.give_up_stalled(idle_worker="learner@her") == 0
        assert claims.give_up_stalled(idle_worker="learner@here") == 1

    def test_silent_chunks_go_to_others_alone(self, pool) -> None:
        round_ = ask(pool)
        chunk = pool.chunks.get()
        Round.objects.filter(pk=round_.pk).update(state=RoundState.SCORING)
        long_ago = timezone.now() - timedelta(hours=1)
        row = RoundChunk.objects.create(
            round=round_, chunk=chunk, count=40, pixels="x", claim="a", heartbeat_at=long_ago, scored=20
        )
        assert claims.give_up_stalled() == 1
        row.refresh_from_db()
        assert (row.claim, row.scored) == ("", 0)
        for _ in range(2):
            assert claims.claim_chunk(round_id=round_.pk, claim="b") is not None
            RoundChunk.objects.update(heartbeat_at=long_ago)
            claims.give_up_stalled()
        round_.refresh_from_db()
        assert round_.state == RoundState.FAILED
        assert "lost 3 times" in round_.error

    def test_a_chunk_that_gets_done_gives_the_attempts_back(self, pool) -> None:
        round_ = ask(pool)
        Round.objects.filter(pk=round_.pk).update(state=RoundState.SCORING, attempts=2)
        RoundChunk.objects.create(round=round_, chunk=pool.chunks.get(), count=40, pixels="x")
        claims.finish_chunk(round_chunk=claims.claim_chunk(round_id=round_.pk, claim="b"))
        round_.refresh_from_db()
        assert round_.attempts == 0

    def test_orderly_stops_are_not_counted_and_a_death_still_is(self, pool, sent, settings) -> None:
        round_ = ask(pool)
        for _ in range(settings.ROUND_ATTEMPTS + 1):
            assert claims.claim_fit(round_id=round_.pk, claim=claims.new_claim("learner@here")) is not None
            sent.clear()
            assert give_back_work(worker="learner@her") == 0
            assert give_back_work(worker="learner@here") == 1
            assert sent == [("learner.run_round", round_.pk)]
        mine = claims.claim_fit(round_id=round_.pk, claim=claims.new_claim("learner@here"))
        assert mine is not None and mine.attempts == 1
        self.silence(round_)
        claims.give_up_stalled()
        assert give_back_work(worker="learner@here") == 0
        round_.refresh_from_db()
        assert (round_.state, round_.attempts) == (RoundState.QUEUED, 1)

    def test_what_a_stopped_worker_gave_back_is_not_its_own_any_more(self, pool) -> None:
        round_ = ask(pool)
        mine = claims.claim_fit(round_id=round_.pk, claim=claims.new_claim("learner@here"))
        give_back_work(worker="learner@here")
        with pytest.raises(claims.RoundLost):
            claims.beat(round_=mine, done=1, total=2)

    def test_a_stop_in_the_choice_and_in_a_chunk_gives_these_back(self, pool, sent) -> None:
        round_ = ask(pool)
        Round.objects.filter(pk=round_.pk).update(state=RoundState.SCORING)
        RoundChunk.objects.create(round=round_, chunk=pool.chunks.get(), count=40, pixels="x")
        row = claims.claim_chunk(round_id=round_.pk, claim=claims.new_claim("learner@here"))
        sent.clear()
        assert give_back_work(worker="learner@here") == 1
        assert sent == [("learner.score_chunks", round_.pk)]
        with pytest.raises(claims.RoundLost):
            claims.finish_chunk(round_chunk=row)
        claims.finish_chunk(round_chunk=claims.claim_chunk(round_id=round_.pk, claim="b"))
        assert claims.claim_acquire(round_id=round_.pk, claim=claims.new_claim("learner@here")) is not None
        assert give_back_work(worker="learner@here") == 1
        again = claims.claim_acquire(round_id=round_.pk, claim="b")
        assert again is not None and again.attempts == 1

    def test_a_silent_choice_goes_to_another(self, pool) -> None:
        round_ = ask(pool)
        Round.objects.filter(pk=round_.pk).update(state=RoundState.SCORING)
        assert claims.claim_acquire(round_id=round_.pk, claim="a") is not None
        assert claims.claim_acquire(round_id=round_.pk, claim="b") is None
        self.silence(round_)
        claims.give_up_stalled()
        assert claims.claim_acquire(round_id=round_.pk, claim="b") is not None

    def test_a_part_that_breaks_does_not_stop_the_others(self, monkeypatch, caplog) -> None:
        def broken() -> int:
            raise ValueError("oh")

        monkeypatch.setattr(claims, "give_up_stalled", broken)
        Worker.objects.create(name="old", queues="learner", seen_at=timezone.now() - timedelta(days=2))
        assert sweep.sweep()["forget_old_workers"] == 1
        assert "The sweep could not do" in caplog.text

    def test_imports_are_woken_too(self, pool, sent) -> None:
        job = ImportJob.objects.create(
            project=pool, state=JobState.QUEUED, created_at=timezone.now() - timedelta(minutes=1)
        )
        sweep.sweep()
        assert ("imports.run_import", job.pk) in sent

    def test_an_upload_that_nobody_goes_on_with_is_given_up(self, pool) -> None:
        job = ImportJob.objects.create(
            project=pool, state=JobState.UPLOADING, heartbeat_at=timezone.now() - timedelta(days=3)
        )
        sweep.sweep()
        job.refresh_from_db()
        assert job.state == JobState.CANCELLED

    def test_an_idle_site_costs_few_statements(self, django_assert_max_num_queries) -> None:
        with django_assert_max_num_queries(69):
            sweep.sweep()

    @staticmethod
    def silence(round_: Round) -> None:
        Round.objects.filter(pk=round_.pk).update(heartbeat_at=timezone.now() - timedelta(hours=1))


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's plan; PostgreSQL plans by statistics")
def test_what_left_the_pool_is_found_by_index(pool) -> None:
    for images in (labelled_images(pool, is_holdout=False), labelled_images(pool, is_holdout=True)):
        assert "image_left_pool" in images.explain()
