"""A project at rest: nobody is asked, no round starts, people see why, and what arrives late is kept."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.urls import reverse

from labeler import clock
from labeler.models import Annotation, AuditEntry, Candidate, ImageState, Round, RoundState, Trigger
from labeler.services import claims
from labeler.services.annotate import record_answer
from labeler.services.lease import lease_next, renew_leases
from labeler.services.pausing import pause_project, resume_project
from labeler.services.refill import lease_or_refill
from labeler.services.rounds import PAUSED, RoundRefused, request_round, start_cold_round
from labeler.services.sweep import sweep
from labeler.services.triggers import scheduled_round, start_due_rounds
from tests.labeler.queues import answer_place, fill_queue, fresh

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(project, make_images):
    fill_queue(project, make_images(project, 20))
    return project


def test_nobody_gets_or_sees_a_place_and_what_was_held_is_free(asked, manager, annotator) -> None:
    held = lease_next(project=fresh(asked), annotator=annotator, want=3)
    assert pause_project(project=asked, by=manager, reason="new guidelines")
    assert not Candidate.objects.filter(leased_to__isnull=False).exists()
    project = fresh(asked)
    assert lease_or_refill(project=project, annotator=annotator, want=3) == []
    assert renew_leases(project=project, annotator=annotator, candidate_ids=[place.pk for place in held]) == []
    assert resume_project(project=asked, by=manager)
    again = lease_next(project=fresh(asked), annotator=annotator, want=3)
    assert [place.pk for place in again] == [place.pk for place in held]


def test_a_lease_that_slipped_through_is_not_shown_either(asked, manager, annotator) -> None:
    """Handed out by a request that began before the pause."""
    before = fresh(asked)
    pause_project(project=asked, by=manager)
    assert lease_next(project=before, annotator=annotator) == []
    Candidate.objects.filter(rank=0).update(leased_to=annotator, leased_at=clock.now(), leased_until=clock.now() + HOUR)
    assert lease_next(project=before, annotator=annotator) == []


def test_answers_that_arrive_late_are_kept(asked, manager, annotator) -> None:
    place = lease_next(project=fresh(asked), annotator=annotator)[0]
    pause_project(project=asked, by=manager)
    kept = answer_place(asked, annotator, place)
    place.image.refresh_from_db()
    assert (kept.retracted_at, place.image.state) == (None, ImageState.LABELLED)


def test_people_are_told_why(asked, manager, annotator, client_of) -> None:
    pause_project(project=asked, by=manager, reason="New <b>guidelines</b>")
    html = client_of(annotator).get(reverse("label", args=["signs"])).content.decode()
    assert "A manager has paused this project. They say: New &lt;b&gt;guidelines&lt;/b&gt;" in html
    client = client_of(annotator)
    reply = client.post(reverse("label-next", args=["signs"]), {"want": 3}, content_type="application/json").json()
    assert (reply["items"], reply["empty"]["why"]) == ([], "paused")
    assert reply["empty"]["retry_seconds"]
    home = client.get("/").content.decode()
    assert "Paused: nobody is asked" in home
    assert "wait for an answer" not in home


def test_no_round_starts_and_the_sweep_goes_on_afterwards(project, manager, annotator, make_images, sent) -> None:
    make_images(project, 20)
    pause_project(project=project, by=manager)
    assert start_cold_round(project=fresh(project)) is None
    assert start_due_rounds() == 0
    resume_project(project=project, by=manager)
    assert start_due_rounds() == 1
    for label in ("cat", "dog"):
        answer_place(project, annotator, lease_next(project=fresh(project), annotator=annotator)[0], label=label)
    pause_project(project=project, by=manager)
    with pytest.raises(RoundRefused, match="paused"):
        request_round(project=fresh(project), trigger=Trigger.BUTTON, reason="the button")
    assert scheduled_round(project=fresh(project)) is None
    sweep()
    assert Round.objects.count() == 1


def test_a_round_that_waits_is_not_begun(project, manager) -> None:
    round_ = Round.objects.create(project=project, number=1, trigger=Trigger.BUTTON, reason="", seed=0)
    pause_project(project=project, by=manager)
    assert claims.claim_fit(round_id=round_.pk, claim="mine") is None
    resume_project(project=project, by=manager)
    assert claims.claim_fit(round_id=round_.pk, claim="mine") is not None
    pause_project(project=project, by=manager)
    assert claims.fail_round(round_id=round_.pk, claim="mine", words="It broke.")  # what runs may end
    assert Round.objects.get().state == RoundState.FAILED


def test_an_answer_that_makes_a_round_due_is_kept_all_the_same(asked, manager, annotator) -> None:
    asked.learning.retrain_every = 1
    asked.learning.save()
    places = lease_next(project=fresh(asked), annotator=annotator, want=2)
    pause_project(project=asked, by=manager)
    for place, label in zip(places, ("cat", "dog"), strict=True):
        answer_place(asked, annotator, place, label=label)
    assert Annotation.objects.count() == 2
    assert Round.objects.count() == 1


def test_the_button_says_why_not(asked, manager, client_of) -> None:
    pause_project(project=asked, by=manager)
    reply = client_of(manager).post(reverse("round-start", args=["signs"]), follow=True)
    assert str(PAUSED) in reply.content.decode()


def test_a_manager_pauses_and_goes_on_by_the_monitor(asked, manager, client_of) -> None:
    client = client_of(manager)
    page = reverse("monitor", args=["signs"])
    assert "Pause the project" in client.get(page).content.decode()
    client.post(reverse("project-pause", args=["signs"]), {"reason": "lunch"})
    html = client.get(page).content.decode()
    assert "Paused</strong>" in html and "“lunch”" in html and f"by {manager.username}" in html
    assert "Next round" not in html
    assert (
        "It was paused already"
        in client.post(reverse("project-pause", args=["signs"]), {"reason": "x"}, follow=True).content.decode()
    )
    assert fresh(asked).pause_reason == "lunch"
    assert "project is paused" in client.get(reverse("learning-settings", args=["signs"])).content.decode()
    client.post(reverse("project-resume", args=["signs"]))
    client.post(reverse("project-resume", args=["signs"]))
    words = list(AuditEntry.objects.order_by("pk").values_list("words", flat=True))
    assert words[-2:] == ["paused the project: “lunch”", "resumed the project"]


@pytest.mark.parametrize("name", ["project-pause", "project-resume"])
def test_who_may(asked, annotator, stranger, manager, client_of, name) -> None:
    url = reverse(name, args=["signs"])
    assert client_of(annotator).post(url).status_code == 403
    assert client_of(stranger).post(url).status_code == 404
    assert client_of(manager).get(url).status_code == 405
    assert fresh(asked).paused_at is None


def test_a_reason_that_is_too_long_is_refused_in_words(asked, manager, client_of) -> None:
    reply = client_of(manager).post(reverse("project-pause", args=["signs"]), {"reason": "x" * 201}, follow=True)
    assert "At most 200 characters" in reply.content.decode()
    assert fresh(asked).paused_at is None


def test_correcting_an_answer_goes_on(asked, manager, annotator) -> None:
    place = lease_next(project=fresh(asked), annotator=annotator)[0]
    answer_place(asked, annotator, place)
    pause_project(project=asked, by=manager)
    dog = asked.classes.get(name="dog")
    record_answer(
        project=fresh(asked), annotator=annotator, image_id=place.image_id, candidate_id=None, outcome="label",
        label_class_id=dog.pk, key=uuid.uuid4(), seconds=1.0,
    )  # fmt: skip
    assert Annotation.objects.filter(project=asked).exists()
