"""Members who are deactivated, brought back, or whose images go to others."""

from __future__ import annotations

import json
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from labeler.models import Annotation, AuditEntry, Candidate, Membership, Role
from labeler.services.invitations import invite, join
from labeler.services.lease import claim_places, lease_next
from labeler.services.people import bring_back_member, change_role, deactivate_member, remove_member
from tests.labeler.queues import answer_place, fill_queue, fresh
from tests.labeler.test_people_races import at_once


def member(project, user) -> Membership:
    return project.memberships.get(user=user)


@pytest.fixture
def held(project, annotator, make_images) -> list[Candidate]:
    fill_queue(project, make_images(project, 8))
    return lease_next(project=fresh(project), annotator=annotator, want=3)


def act(client_of, project, by, what: str, person, follow: bool = True) -> str:
    url = reverse(f"member-{what}", args=[project.slug, member(project, person).pk])
    return client_of(by).post(url, follow=follow).content.decode()


def test_their_leases_return_at_once_their_answers_stay_and_the_page_says_so(
    project, manager, annotator, client_of, held
) -> None:
    answer_place(project, annotator, held[0])
    for _ in range(2):  # a double click
        page = act(client_of, project, manager, "deactivate", annotator)
    assert "ann sees this project no more" in page
    assert "Bring ann back" in page
    assert not Candidate.objects.filter(leased_to=annotator).exists()
    assert Annotation.objects.get().annotator == annotator
    assert lease_next(project=fresh(project), annotator=manager)[0].image_id == held[1].image_id
    assert AuditEntry.objects.get(kind="people").words == "deactivated ann"


def test_their_next_page_says_what_happened_and_home_shows_the_project_no_more(
    project, manager, annotator, client_of
) -> None:
    client = client_of(annotator)
    deactivate_member(membership=member(project, annotator), by=manager)
    for name in ("label", "images", "monitor"):
        reply = client.get(reverse(name, args=[project.slug]))
        assert reply.status_code == 403
        assert "A manager has paused your access to “Signs”" in reply.content.decode()
    assert "Signs" not in client.get(reverse("home")).content.decode()


def test_an_answer_that_waited_in_their_browser_gets_a_clear_reply_and_is_kept_there_until_they_are_back(
    project, manager, annotator, client_of, held
) -> None:
    client, url = client_of(annotator), reverse("label-answer", args=[project.slug])
    deactivate_member(membership=member(project, annotator), by=manager)
    body = {
        "key": str(uuid.uuid4()), "image": held[0].image_id, "candidate": held[0].pk, "outcome": "label",
        "label_class": project.classes.first().pk, "want": 1, "holding": [],
    }  # fmt: skip
    send = lambda: client.post(url, json.dumps(body), content_type="application/json")  # noqa: E731
    reply = send()
    assert reply.status_code == 404  # which keeps an answer in the outbox
    assert reply.json()["error"].startswith("A manager has paused your access")
    assert not Annotation.objects.exists()
    bring_back_member(membership=member(project, annotator), by=manager)
    assert send().status_code == 200
    assert Annotation.objects.count() == 1


def test_who_is_deactivated_sees_no_picture_and_gets_no_place(project, manager, annotator, client_of, held) -> None:
    deactivate_member(membership=member(project, annotator), by=manager)
    assert claim_places(project=fresh(project), annotator=annotator, count=1) == []
    assert client_of(annotator).get(reverse("media", args=["signs", held[0].image_id])).status_code == 404


def test_the_last_manager_and_oneself_cannot_be_deactivated(project, manager, annotator, client_of, make_user) -> None:
    assert "You cannot deactivate yourself" in act(client_of, project, manager, "deactivate", manager)
    admin = make_user("root", is_superuser=True, is_staff=True)
    assert "last manager" in act(client_of, project, admin, "deactivate", manager)
    change_role(membership=member(project, annotator), role=Role.MANAGER, by=manager)
    deactivate_member(membership=member(project, annotator), by=manager)
    for lower in (
        lambda: change_role(membership=member(project, manager), role=Role.ANNOTATOR),
        lambda: remove_member(membership=member(project, manager)),
    ):
        with pytest.raises(ValidationError, match="last manager"):
            lower()


def test_a_link_does_not_bring_them_back(project, manager, annotator, client_of) -> None:
    new = invite(project=project, role=Role.MANAGER, note="", by=manager)
    deactivate_member(membership=member(project, annotator), by=manager)
    join(invitation=new.invitation, user=annotator)
    assert member(project, annotator).deactivated_at is not None
    assert new.invitation.is_open
    page = client_of(annotator).post(reverse("invitation", args=[new.token]), follow=True)
    assert page.status_code == 403


def test_back_they_are_as_before(project, manager, annotator, client_of) -> None:
    deactivate_member(membership=member(project, annotator), by=manager)
    for _ in range(2):
        assert "ann is back" in act(client_of, project, manager, "return", annotator)
    assert member(project, annotator).role == Role.ANNOTATOR
    assert client_of(annotator).get(reverse("images", args=["signs"])).status_code == 200
    assert AuditEntry.objects.filter(words__startswith="brought ann back").count() == 1


def test_what_one_person_holds_goes_back_to_all(project, manager, annotator, client_of, held) -> None:
    page = client_of(manager).get(reverse("people", args=["signs"])).content.decode()
    assert "3 images on the screen" in page
    assert "3 images of ann can be asked of others again." in act(client_of, project, manager, "release", annotator)
    assert lease_next(project=fresh(project), annotator=manager)[0].pk == held[0].pk
    assert "ann had no image any more." in act(client_of, project, manager, "release", annotator)
    answer_place(project, annotator, held[1])  # it was on the screen still: it counts
    assert Annotation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_answer_and_the_deactivation_at_once_lose_nothing(project, manager, annotator, held) -> None:
    results = at_once(
        *[lambda place=place: answer_place(project, annotator, place) for place in held],
        lambda: deactivate_member(membership=member(project, annotator), by=manager),
    )
    assert all(isinstance(result, Annotation) for result in results[:-1]), results
    assert isinstance(results[-1], int)
    assert Annotation.objects.count() == 3
    assert not Candidate.objects.filter(leased_to=annotator, state="open").exists()


@pytest.mark.django_db(transaction=True)
def test_two_managers_who_deactivate_each_other_leave_one(project, manager, annotator) -> None:
    Membership.objects.filter(user=annotator).update(role=Role.MANAGER)
    results = at_once(
        lambda: deactivate_member(membership=member(project, annotator), by=manager),
        lambda: deactivate_member(membership=member(project, manager), by=annotator),
    )
    assert sum(isinstance(result, ValidationError) for result in results) == 1
    assert project.memberships.filter(role=Role.MANAGER, deactivated_at__isnull=True).count() == 1
