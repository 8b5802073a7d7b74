"""Machines whose clocks are wrong, with one PostgreSQL between them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from labeler import clock
from labeler.models import Round, RoundState, Worker
from labeler.selectors.workers import workers_alive
from labeler.services import claims
from labeler.services.lease import free_expired_leases, lease_next, renew_leases
from tests.labeler.queues import fill_queue, fresh

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no other clock than this machine's"),
]


@pytest.fixture
def database_clock(monkeypatch) -> None:
    """Not known yet."""
    monkeypatch.setattr(clock, "_anchor", None)


@pytest.fixture(autouse=True)
def unknown(database_clock) -> None:
    """Here it has to be read."""


@pytest.fixture
def skewed(monkeypatch):
    """Let this machine's clock be wrong by so much from here on."""
    right = timezone.now

    def skew(by: timedelta) -> None:
        monkeypatch.setattr(timezone, "now", lambda: right() + by)

    return skew


@pytest.mark.parametrize("by", [timedelta(seconds=200), timedelta(days=400)])
def test_a_web_server_that_is_fast_hands_out_nothing_that_others_hold(
    project, make_images, annotator, manager, skewed, by
) -> None:
    fill_queue(project, make_images(project, 3))
    [mine] = lease_next(project=fresh(project), annotator=annotator)
    skewed(by)
    assert free_expired_leases() == 0
    [other] = lease_next(project=fresh(project), annotator=manager)
    assert other.image_id != mine.image_id
    assert renew_leases(project=project, annotator=annotator, candidate_ids=[mine.pk]) == [mine.pk]


@pytest.mark.parametrize("by", [timedelta(seconds=-60), timedelta(seconds=60), timedelta(hours=-3)])
def test_a_learner_whose_clock_is_wrong_is_alive_and_keeps_its_round(project, skewed, by) -> None:
    round_ = Round.objects.create(project=project, number=1, trigger="button", seed=1)
    skewed(by)
    Worker.objects.create(name="learner@slow", queues="learner", seen_at=clock.now())
    mine = claims.claim_fit(round_id=round_.pk, claim=claims.new_claim("learner@slow"))
    assert mine is not None
    claims.beat(round_=mine, done=1, total=2)
    skewed(timedelta())
    assert [worker.name for worker in workers_alive("learner")] == ["learner@slow"]
    assert claims.give_up_stalled() == 0
    round_.refresh_from_db()
    assert (round_.state, round_.claim) == (RoundState.FITTING, mine.claim)


def test_it_goes_on_between_two_looks_and_costs_no_counted_statement(django_assert_num_queries) -> None:
    first = clock.now()
    with django_assert_num_queries(0):
        second, third = clock.now(), clock.now()
    assert first < second < third < first + timedelta(seconds=5)


def test_without_the_database_it_is_carried_forward(monkeypatch) -> None:
    first = clock.now()

    def away() -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(clock, "_read", away)
    monkeypatch.setattr(clock, "READ_AGAIN_SECONDS", 0)
    assert first < clock.now() < first + timedelta(seconds=5)
