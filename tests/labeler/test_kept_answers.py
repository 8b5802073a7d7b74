"""The plain form after its session has ended: the answer is shown again to the same person, and to nobody else."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from labeler import kept_answers
from labeler.models import Annotation, Candidate
from tests.conftest import PASSWORD
from tests.labeler.queues import fill_queue

LABEL = "/p/signs/label/"


@pytest.fixture
def opened(project, make_images, annotator) -> tuple[Client, dict[str, str]]:
    """Ann's page without JavaScript, with its form; tokens are checked as for a browser."""
    fill_queue(project, make_images(project, 3))
    client = Client(enforce_csrf_checks=True)
    sign_in(client, "ann", client.get("/login/"))
    return client, form_of(client.get(LABEL))


def form_of(reply) -> dict[str, str]:
    html = reply.content.decode()
    html = html[html.index('<form method="post"', html.index("<main")) :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html[: html.index("</form>")]))


def sign_in(client: Client, name: str, login):
    form = {"username": name, "password": PASSWORD, **form_of(login)}
    return client.post("/login/", form, follow=True)


def end_session(client: Client) -> None:
    client.session.flush()


def test_the_same_person_confirms_it_after_signing_in(project, opened) -> None:
    client, form = opened
    owl = project.classes.get(name="owl")
    end_session(client)
    login = client.post(LABEL, {**form, "label_class": owl.pk}, follow=True)
    assert "Sign in: it is shown again" in login.content.decode()
    assert not Annotation.objects.exists()
    shown = sign_in(client, "ann", login)
    html = shown.content.decode()
    assert "press it again to give it" in html
    assert re.findall(r'value="(\d+)"[^>]*aria-pressed="true"', html) == [str(owl.pk)]
    again = form_of(shown)
    assert (again["image"], again["key"]) == (form["image"], form["key"])
    assert again["csrfmiddlewaretoken"] != form["csrfmiddlewaretoken"]
    assert not Annotation.objects.exists()
    client.post(LABEL, {**again, "label_class": owl.pk})
    row = Annotation.objects.get()
    assert (row.annotator.username, row.label_class, str(row.image_id)) == ("ann", owl, form["image"])


@pytest.mark.parametrize("outcome", ["skip", "unsure", "bad_image"])
def test_other_outcomes_too(opened, outcome: str) -> None:
    client, form = opened
    end_session(client)
    shown = sign_in(client, "ann", client.post(LABEL, {**form, "outcome": outcome}, follow=True))
    assert re.findall(r'value="(\w+)"[^>]*aria-pressed="true"', shown.content.decode()) == [outcome]


def test_somebody_else_neither_sees_nor_gives_it(project, opened, manager) -> None:
    client, form = opened
    end_session(client)
    login = client.post(LABEL, {**form, "outcome": "skip"}, follow=True)
    shown = sign_in(client, "mia", login)
    html = shown.content.decode()
    assert "It was not yours" in html
    assert 'aria-pressed="true"' not in html
    assert form_of(shown)["key"] != form["key"]
    token = form_of(shown)["csrfmiddlewaretoken"]
    client.post(LABEL, {**form, "outcome": "skip", "csrfmiddlewaretoken": token})
    assert not Annotation.objects.exists()


def test_who_signed_in_again_elsewhere_is_led_to_it(opened) -> None:
    """Signing in changes the token, so the open page's form is refused; the answer is not dropped."""
    client, form = opened
    end_session(client)
    sign_in(client, "ann", client.get("/login/"))
    refused = client.post(LABEL, {**form, "outcome": "unsure"}, headers={"accept": "text/html"})
    assert refused.status_code == 403
    (way,) = re.findall(r'href="(/p/signs/label/\?kept=[^"]+)"', refused.content.decode())
    assert form_of(client.get(way))["key"] == form["key"]


def test_an_image_that_was_answered_since_is_not_asked_again(opened) -> None:
    client, form = opened
    end_session(client)
    login = client.post(LABEL, {**form, "outcome": "skip"}, follow=True)
    address = re.findall(r'name="next" value="(/p/[^"]+)"', login.content.decode())[-1].replace("&amp;", "&")
    shown = sign_in(client, "ann", login)
    client.post(LABEL, {**form_of(shown), "outcome": "skip"})
    again = client.get(address)
    assert "You have answered that image since" in again.content.decode()
    assert form_of(again)["image"] != form["image"]


def test_an_address_that_was_made_up_or_is_old_shows_no_answer(opened, monkeypatch) -> None:
    client, form = opened
    shown = client.get(f"{LABEL}?kept=made-up")
    assert "can no longer be shown" in shown.content.decode()
    end_session(client)
    login = client.post(LABEL, {**form, "outcome": "skip"}, follow=True)
    monkeypatch.setattr(kept_answers, "KEPT_FOR", 0)
    assert "can no longer be shown" in sign_in(client, "ann", login).content.decode()


def test_a_place_that_somebody_else_got_meanwhile_still_takes_the_answer(project, opened, manager) -> None:
    """As for what the outbox keeps: a true answer counts, whatever became of its lease."""
    client, form = opened
    end_session(client)
    Candidate.objects.filter(pk=form["candidate"]).update(leased_to=manager)
    shown = sign_in(client, "ann", client.post(LABEL, {**form, "outcome": "unsure"}, follow=True))
    client.post(LABEL, {**form_of(shown), "outcome": "unsure"})
    assert Annotation.objects.get().annotator.username == "ann"


def test_an_undo_that_came_too_late_is_told(opened) -> None:
    client, form = opened
    end_session(client)
    login = client.post(LABEL, {**form, "undo": "x", "undo_key": "y"}, follow=True)
    assert "the undo arrived: it was not done" in login.content.decode()
