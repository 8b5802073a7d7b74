"""What a manager picks is asked next: before the queue, never the holdout, nothing twice, kept over a new round."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import connection
from django.urls import reverse

from benchmarks import ledger, order
from labeler.models import (
    Candidate,
    CandidateState,
    ImageState,
    Outcome,
    Project,
    Reason,
    Round,
    RoundState,
    Trigger,
    User,
)
from labeler.services.draw import Draw, Place
from labeler.services.lease import lease_next
from labeler.services.picks import MOST, PickRefused, send_to_queue
from labeler.services.publish import publish_cold
from labeler.services.rounds import config_of, start_cold_round
from tests.labeler.queues import answer_place, fill_queue, fresh

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    images = make_images(project, 10)
    fill_queue(project, images[:4])
    return project


def positions(places) -> list[int]:
    return [place.image.position for place in places]


def asked(project, person, count: int) -> list[int]:
    return positions(lease_next(project=fresh(project), annotator=person, want=count))


def test_picked_images_are_asked_next_in_the_order_given(pool, manager, annotator) -> None:
    picked = send_to_queue(project=pool, positions=[7, 2, 9], by=manager)
    assert picked.words == "3 images will be asked next. Random and holdout images come after that."
    assert asked(pool, annotator, 6) == [7, 2, 9, 0, 1, 3]
    place = Candidate.objects.get(image__position=7)
    assert (place.reason, place.selection_probability) == (Reason.PICKED, None)
    assert place.details["picked_by"] == "mia"


def test_a_later_pick_comes_before_an_earlier_one_and_ranks_of_the_round_stay(pool, manager, annotator) -> None:
    ranks = set(Candidate.objects.values_list("image_id", "rank"))
    send_to_queue(project=pool, positions=[7, 8], by=manager)
    send_to_queue(project=pool, positions=[9], by=manager)
    assert ranks <= set(Candidate.objects.values_list("image_id", "rank"))
    assert asked(pool, annotator, 4) == [9, 7, 8, 0]


def test_holdout_labelled_and_foreign_images_stay_out_and_are_told(pool, manager, annotator) -> None:
    pool.images.filter(position=5).update(is_holdout=True)
    pool.images.filter(position=6).update(state=ImageState.LABELLED, label=pool.classes.first())
    pool.images.filter(position=7).update(state=ImageState.BAD)
    picked = send_to_queue(project=pool, positions=[5, 6, 7, 8, 8, 99], by=manager)
    assert (picked.sent, picked.holdout, picked.labelled, picked.set_aside, picked.unknown) == (1, 1, 1, 1, 1)
    assert "1 holdout" in picked.words and "1 labelled already" in picked.words
    assert asked(pool, annotator, 2) == [8, 0]


def test_an_image_on_a_screen_is_left_to_its_person(pool, manager, annotator, make_user) -> None:
    held = lease_next(project=fresh(pool), annotator=annotator)[0]
    picked = send_to_queue(project=pool, positions=[held.image.position], by=manager)
    assert (picked.sent, picked.held) == (0, 1)
    assert asked(pool, annotator, 1) == positions([held])


def test_nobody_is_asked_twice(pool, manager, annotator, make_user) -> None:
    fresh_project = fresh(pool)
    place = lease_next(project=fresh_project, annotator=annotator)[0]
    answer_place(pool, annotator, place, Outcome.SKIP)
    position = place.image.position
    assert send_to_queue(project=pool, positions=[position], by=manager).sent == 1
    assert position not in asked(pool, annotator, 8)
    assert asked(pool, make_user("bob"), 1) == [position]


def test_overlap_makes_a_place_for_each_answer_that_is_missing(project, make_images, manager, annotator, make_user):
    images = make_images(project, 4)
    fill_queue(project, images[:2], overlap=2)
    send_to_queue(project=fresh(project), positions=[3, 1], by=manager)
    for person in (annotator, make_user("bob")):
        assert asked(project, person, 8) == [3, 1, 0]
    assert Candidate.objects.filter(image=images[3]).count() == 2
    assert Candidate.objects.filter(image=images[1]).count() == 2


def test_what_is_not_answered_comes_first_in_the_next_round_too(pool, manager, annotator) -> None:
    send_to_queue(project=pool, positions=[7, 8], by=manager)
    answer_place(pool, annotator, lease_next(project=fresh(pool), annotator=annotator)[0])
    round_ = Round.objects.create(
        project=pool, number=9, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.DONE,
        config=config_of(pool.learning),
    )  # fmt: skip
    draw = Draw((Reason.ACQUIRED,) * 2, (), ())
    publish_cold(round_=round_, draw=draw, main=[Place(3, Reason.ACQUIRED), Place(8, Reason.ACQUIRED)])
    assert asked(pool, annotator, 4) == [8, 3]
    place = Candidate.objects.get(round=round_, image__position=8)
    assert (place.reason, place.details["picked_by"]) == (Reason.PICKED, "mia")
    assert not Candidate.objects.filter(round__number=1, state=CandidateState.OPEN).exists()


def test_nothing_too_much_or_without_a_queue_is_refused_in_words(project, make_images, manager) -> None:
    make_images(project, 2)
    for wanted, words in (([], "Nothing is selected"), (range(MOST + 1), "at most 1,000"), ([0], "no queue yet")):
        with pytest.raises(PickRefused, match=words):
            send_to_queue(project=project, positions=list(wanted), by=manager)


def test_the_page_sends_both_ways_and_says_what_happened(pool, manager, client_of) -> None:
    client, url = client_of(manager), reverse("explore-send", args=["signs"])
    reply = client.post(url, {"at": "9,8", "back": "/p/signs/explore/?round=1"}, follow=True)
    assert "2 images will be asked next." in reply.content.decode()
    client.post(url, {"at": ["7", "6"]})
    assert list(Candidate.objects.order_by("rank").values_list("image__position", flat=True)[:4]) == [7, 6, 9, 8]
    reply = client.post(url, {"at": ""}, follow=True)
    assert "Nothing is selected." in reply.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("overlap", [1, 2])
def test_amid_many_people_and_new_rounds_nobody_loses_a_place_and_no_image_goes_to_too_many(settings, overlap) -> None:
    """The ledger's order is that of final ranks, which picks change: who got what is checked, the rest stands above."""
    settings.LEASE_SECONDS = 1
    order.make_project(people=order.people_of(5), images=300, overlap=overlap, budget=60)
    project, mia, chance = Project.objects.get(), User.objects.create_user("mia"), random.Random(overlap)
    is_over, sent, problems = threading.Event(), [], []

    def pick() -> None:
        try:
            while not is_over.wait(0.05):
                wanted = chance.sample(range(300), 12)
                sent.append(send_to_queue(project=project, positions=wanted, by=mia).sent)
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            problems.append(error)
        finally:
            connection.close()

    picker = threading.Thread(target=pick)
    with order.logged():
        start_cold_round(project=project)
        picker.start()
        errors = order.in_threads(clients=5, leases=150, seed=overlap, every=0.6)
        is_over.set()
        picker.join(timeout=30)
        entries = ledger.read(connection)
    assert errors == problems == []
    assert sum(sent) > 50
    findings = ledger.check(entries, overlap=overlap)
    assert findings.leases > 50
    assert [words for words in findings.violations if "is worse than" not in words] == []
