"""Somebody takes a place at the very moment when the queue changes: the image goes to nobody else."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from labeler import clock
from labeler.models import Candidate, CandidateState, Outcome, Reason, Round, RoundState, Trigger
from labeler.services.annotate import retract_answer
from labeler.services.draw import Draw, Place
from labeler.services.lease import claim_statement, lease_next
from labeler.services.picks import send_to_queue
from labeler.services.publish import publish_cold
from labeler.services.refill import refill_queue
from labeler.services.rounds import config_of
from tests.labeler.queues import answer_place, fill_queue, fresh

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time"),
]


@pytest.fixture
def taking(project, make_images, annotator):
    """A claim of the first of two places, in a transaction that has not ended yet; and its end."""
    fill_queue(project, make_images(project, 2))
    other = connection.copy()
    other.set_autocommit(False)
    now = clock.now()
    later = now + timedelta(seconds=settings.LEASE_SECONDS)
    with other.cursor() as cursor:
        parameters = {"me": annotator.pk, "project": project.pk, "now": now, "until": later, "most": 5}
        cursor.execute(claim_statement(), parameters)
        assert cursor.fetchone() is not None
    yield other.commit
    other.close()


def publish_next(project, places=(0, 1)) -> None:
    number = project.rounds.count() + 1
    round_ = Round.objects.create(
        project=project, number=number, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.DONE,
        config=config_of(project.learning),
    )  # fmt: skip
    main = [Place(position, Reason.ACQUIRED) for position in places]
    publish_cold(round_=round_, draw=Draw((Reason.ACQUIRED,) * len(main), (), ()), main=main)


def everything_for(project, person) -> list[int]:
    return [place.image.position for place in lease_next(project=fresh(project), annotator=person, want=9)]


def test_a_new_round_leaves_the_image_out(project, annotator, make_user, taking) -> None:
    publish_next(project)
    taking()
    assert everything_for(project, make_user("bob")) == [1]
    held = Candidate.objects.get(leased_to=annotator)
    assert (held.image.position, held.state) == (0, CandidateState.OPEN)


def test_a_pick_after_the_new_round_leaves_the_image_out(project, manager, make_user, taking) -> None:
    publish_next(project, places=[1])
    picked = send_to_queue(project=project, positions=[0], by=manager)
    taking()
    assert (picked.sent, picked.held) == (0, 1)
    assert everything_for(project, make_user("bob")) == [1]


def test_a_refill_after_the_new_round_leaves_the_image_out(project, make_user, make_images, taking) -> None:
    bob = make_user("bob")
    publish_next(project, places=[])
    make_images(project, 1)
    Round.objects.create(
        project=project, number=3, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.FITTING,
        config=config_of(project.learning),
    )  # fmt: skip
    assert refill_queue(project=fresh(project), annotator=bob) > 0
    taking()
    assert sorted(everything_for(project, bob)) == [1, 2]


def wait_until_somebody_waits_for_a_lock() -> None:
    with connection.cursor() as cursor:
        for _ in range(2000):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            if cursor.fetchone()[0]:
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("way", ["pick", "publish"])
def test_an_undo_that_gives_a_place_back_and_a_new_place_wait_for_each_other(
    project, make_images, annotator, make_user, manager, way
) -> None:
    """What was skipped and lies in an older queue is given back to its person; nobody else gets it beside them."""
    fill_queue(project, make_images(project, 1))
    skip = answer_place(project, annotator, lease_next(project=fresh(project), annotator=annotator)[0], Outcome.SKIP)
    publish_next(project, places=[])
    problems: list[BaseException] = []

    def give_place() -> None:
        try:
            if way == "pick":
                send_to_queue(project=project, positions=[0], by=manager)
            else:
                publish_next(project, places=[0])
        except BaseException as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            problems.append(error)
        finally:
            connections.close_all()

    other = threading.Thread(target=give_place)
    with transaction.atomic():
        retract_answer(project=fresh(project), annotator=annotator, target_key=skip.key, key=uuid.uuid4())
        other.start()
        wait_until_somebody_waits_for_a_lock()
    other.join(timeout=30)
    assert problems == []
    assert Candidate.objects.get(leased_to=annotator).image.position == 0
    assert everything_for(project, make_user("bob")) == []
