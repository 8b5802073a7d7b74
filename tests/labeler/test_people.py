"""Members, roles, leaving, one-time links."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeler.models import Annotation, Invitation, Membership, Outcome, Role, User
from labeler.services import invitations
from labeler.services.invitations import InvitationGoneError, find_invitation, invite, join, join_as_new
from labeler.services.lease import lease_next
from tests.labeler.queues import fill_queue


def page(project) -> str:
    return reverse("people", args=[project.slug])


def member(project, user) -> Membership:
    return project.memberships.get(user=user)


def answer(project, image, person, **fields) -> Annotation:
    fields = {"outcome": Outcome.LABEL, "label_class": project.classes.first(), **fields}
    return Annotation.objects.create(project=project, image=image, annotator=person, key=uuid.uuid4(), **fields)


def test_it_lists_members_and_who_left_with_their_answers(
    project, manager, annotator, make_user, make_images, client_of
):
    first, second, third = make_images(project, 3)
    left = make_user("leo")
    answer(project, first, annotator)
    wrong = answer(project, second, annotator, retracted_at=timezone.now())
    answer(project, second, annotator, outcome=Outcome.UNDO, label_class=None, retracts=wrong)
    answer(project, third, left)
    reply = client_of(manager).get(page(project))
    rows = {row.user.username: row for row in reply.context["rows"]}
    assert rows["ann"].answers == 1
    assert rows["mia"].answers == 0
    assert rows["leo"].membership is None
    assert rows["leo"].answers == 1
    assert "has left" in reply.content.decode()


def test_its_queries_do_not_grow_with_the_people(
    project, manager, make_user, make_images, client_of, django_assert_max_num_queries
) -> None:
    images = make_images(project, 20)
    for number, image in enumerate(images):
        person = make_user(f"p{number}")
        Membership.objects.create(project=project, user=person, role=Role.ANNOTATOR)
        answer(project, image, person)
        invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
    client = client_of(manager)
    with django_assert_max_num_queries(8):
        client.get(page(project))


# --- Roles and leaving ------------------------------------------------------------------------------------------------


def test_roles_change_and_again_is_harmless(project, manager, annotator, client_of) -> None:
    url = reverse("member-role", args=[project.slug, member(project, annotator).pk])
    client = client_of(manager)
    for _ in range(2):
        assert client.post(url, {"role": "manager"}).headers["Location"] == page(project)
    assert member(project, annotator).role == Role.MANAGER


def test_unknown_roles_are_refused(project, manager, annotator, client_of) -> None:
    url = reverse("member-role", args=[project.slug, member(project, annotator).pk])
    for role in ("owner", "", "MANAGER"):
        assert "A role is one of" in client_of(manager).post(url, {"role": role}, follow=True).content.decode()
    assert member(project, annotator).role == Role.ANNOTATOR


def test_the_last_manager_stays(project, manager, client_of) -> None:
    client, mine = client_of(manager), member(project, manager)
    lower = reverse("member-role", args=[project.slug, mine.pk])
    leave = reverse("member-remove", args=[project.slug, mine.pk])
    for reply in (client.post(lower, {"role": "annotator"}, follow=True), client.post(leave, follow=True)):
        assert "last manager" in reply.content.decode()
        assert reply.redirect_chain[-1][0] == page(project)
    assert member(project, manager).role == Role.MANAGER


def test_a_manager_who_gives_up_is_led_home(project, manager, annotator, client_of) -> None:
    Membership.objects.filter(user=annotator).update(role=Role.MANAGER)
    url = reverse("member-role", args=[project.slug, member(project, manager).pk])
    assert client_of(manager).post(url, {"role": "annotator"}).headers["Location"] == "/"
    assert member(project, manager).role == Role.ANNOTATOR


def test_who_is_removed_loses_leases_and_access_and_keeps_answers(
    project, manager, annotator, make_images, client_of
) -> None:
    images = make_images(project, 3)
    fill_queue(project, images[1:])
    project.refresh_from_db()
    answer(project, images[0], annotator)
    (place,) = lease_next(project=project, annotator=annotator)
    url = reverse("member-remove", args=[project.slug, member(project, annotator).pk])
    client = client_of(manager)
    assert client.post(url).status_code == 302
    place.refresh_from_db()
    assert place.leased_to_id is None
    assert Annotation.objects.filter(annotator=annotator).count() == 1
    assert client_of(annotator).get(reverse("label", args=[project.slug])).status_code == 404
    assert client.post(url).status_code == 404  # the double submit


# --- Invitations ------------------------------------------------------------------------------------------------------


def test_a_link_is_shown_once_and_never_again(project, manager, client_of) -> None:
    client = client_of(manager)
    reply = client.post(page(project), {"role": "annotator", "note": "for Hanna"})
    link = reply.context["link"]
    token = link.rstrip("/").rsplit("/", 1)[-1]
    assert link in reply.content.decode()
    assert "no-store" in reply.headers["Cache-Control"]
    again = client.get(page(project)).content.decode()
    assert token not in again
    assert "for Hanna" in again
    assert token not in str(dict(client.session.items()))
    assert find_invitation(token) is not None


def test_an_invitation_needs_a_known_role(project, manager, client_of) -> None:
    reply = client_of(manager).post(page(project), {"role": "owner"})
    assert reply.status_code == 200
    assert "Choose one from the list." in reply.content.decode()
    assert not Invitation.objects.exists()


def test_the_moment_until_which_it_works_names_its_zone(project, manager, client_of) -> None:
    reply = client_of(manager).post(page(project), {"role": "annotator"}, follow=True)
    assert re.search(r"It works once, until \d+ \w+, \d\d:\d\d UTC\.", reply.content.decode())


def test_there_is_an_end_to_open_invitations(project, manager, client_of, monkeypatch) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 1)
    invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
    reply = client_of(manager).post(page(project), {"role": "annotator"})
    assert "Revoke some first" in reply.content.decode()
    with pytest.raises(ValidationError):
        invite(project=project, role=Role.ANNOTATOR, note="", by=manager)


def test_open_invitations_without_a_note_are_told_apart(project, manager, client_of) -> None:
    for minute in (5, 6):
        new = invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
        moment = timezone.localtime().replace(month=3, day=4, hour=15, minute=minute, second=7)
        project.invitations.filter(pk=new.invitation.pk).update(created_at=moment)
    page = client_of(manager).get("/p/signs/people/").content.decode()
    assert "4 March, 15:05:07</time>" in page and "4 March, 15:06:07</time>" in page


def test_revoking_twice_is_harmless_and_said(project, manager, client_of) -> None:
    made = invite(project=project, role=Role.ANNOTATOR, note="", by=manager).invitation
    url = reverse("invitation-revoke", args=[project.slug, made.pk])
    client = client_of(manager)
    assert "opens nothing" in client.post(url, follow=True).content.decode()
    first = Invitation.objects.get(pk=made.pk).revoked_at
    assert "revoked before" in client.post(url, follow=True).content.decode()
    assert Invitation.objects.get(pk=made.pk).revoked_at == first


def test_of_two_who_race_for_a_link_one_gets_it_and_the_other_leaves_no_account(project, manager, make_user) -> None:
    token = invite(project=project, role=Role.ANNOTATOR, note="", by=manager).token
    one, two = find_invitation(token), find_invitation(token)  # both have read it while it was open
    join_as_new(invitation=one, save_user=lambda: make_user("first"))
    with pytest.raises(InvitationGoneError):
        join_as_new(invitation=two, save_user=lambda: make_user("second"))
    assert not User.objects.filter(username="second").exists()
    with pytest.raises(InvitationGoneError):
        join(invitation=two, user=make_user("third"))
    assert project.memberships.count() == 3


def test_an_expired_link_opens_nothing(project, manager, client_of, stranger) -> None:
    made = invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    url = reverse("invitation", args=[made.token])
    for client in (Client(), client_of(stranger)):
        for reply in (client.get(url), client.post(url, {})):
            assert reply.status_code == 410
            assert "expired" in reply.content.decode()


def test_who_is_in_already_does_not_spend_it(project, manager, annotator, client_of) -> None:
    made = invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
    url = reverse("invitation", args=[made.token])
    assert client_of(annotator).post(url).headers["Location"] == reverse("label", args=[project.slug])
    assert client_of(manager).get(url).headers["Location"] == reverse("monitor", args=[project.slug])
    assert Invitation.objects.get().is_open
    assert member(project, manager).role == Role.MANAGER


def test_a_link_for_managers_raises_an_annotator(project, manager, annotator, client_of) -> None:
    made = invite(project=project, role=Role.MANAGER, note="", by=manager)
    url = reverse("invitation", args=[made.token])
    client = client_of(annotator)
    assert client.get(url).status_code == 200
    client.post(url)
    assert member(project, annotator).role == Role.MANAGER


def test_the_same_person_twice_is_led_on(project, manager, stranger, client_of) -> None:
    made = invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
    url = reverse("invitation", args=[made.token])
    client = client_of(stranger)
    seen = [client.post(url).headers["Location"] for _ in range(2)]
    assert seen == [reverse("label", args=[project.slug])] * 2
    assert project.memberships.filter(user=stranger).count() == 1


def test_a_name_that_is_taken_is_refused_beside_the_field(project, manager) -> None:
    made = invite(project=project, role=Role.ANNOTATOR, note="", by=manager)
    form = {"username": "MIA", "password1": "a very long passphrase", "password2": "a very long passphrase"}
    reply = Client().post(reverse("invitation", args=[made.token]), form)
    assert "already exists" in reply.content.decode()
    assert Invitation.objects.get().is_open


def test_there_is_no_open_registration(db) -> None:
    for path in ("/register/", "/signup/", "/accounts/signup/", "/invite/"):
        assert Client().get(path).status_code == 404
