"""What went wrong is said in words: to a browser as a page, to a script as JSON."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connections
from django.test import Client, RequestFactory
from django.urls import reverse

from labeler.views.errors import bad_request, csrf_failure, server_error

JSON = {"accept": "application/json"}


def test_an_unknown_address_is_a_page_or_json(manager, client_of) -> None:
    client = client_of(manager)
    reply = client.get("/nowhere/")
    assert reply.status_code == 404
    assert "nothing at this address" in reply.content.decode()
    assert client.get("/nowhere/", headers=JSON).json()["error"].startswith("There is nothing")


def test_a_wrong_role_is_told_why(project, annotator, client_of) -> None:
    reply = client_of(annotator).get(reverse("people", args=[project.slug]))
    assert reply.status_code == 403
    assert "Only a manager" in reply.content.decode()


def test_it_does_not_tell_a_stranger_what_exists(project, stranger, client_of) -> None:
    client = client_of(stranger)
    known, unknown = client.get("/p/signs/people/"), client.get("/p/nothing/people/")
    assert known.status_code == unknown.status_code == 404
    strip = lambda reply: reply.content.decode().split("<main")[1]  # noqa: E731
    assert strip(known) == strip(unknown)


def test_a_page_open_too_long_is_told_to_reload(manager) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(manager)
    reply = client.post("/projects/new/", {"name": "x"})
    assert reply.status_code == 403
    assert "Reload the page" in reply.content.decode()
    assert client.post("/projects/new/", {"name": "x"}, headers=JSON).json()["error"]


def test_when_the_server_breaks_the_page_needs_no_database(django_db_blocker) -> None:
    with django_db_blocker.block():
        reply = server_error(RequestFactory().get("/", headers={"accept": "text/html"}))
    assert reply.status_code == 500
    assert b"Something broke" in reply.content
    assert server_error(RequestFactory().get("/", headers=JSON)).status_code == 500


def test_a_view_that_breaks_shows_that_page_and_no_traceback(manager, client_of, monkeypatch) -> None:
    def breaks(user: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("labeler.views.home.home_rows", breaks)
    client = client_of(manager)
    client.raise_request_exception = False
    reply = client.get("/")
    assert reply.status_code == 500
    assert b"Something broke" in reply.content
    assert b"secret of the inside" not in reply.content
    assert "Content-Security-Policy" in reply.headers


def test_a_request_that_cannot_be_read(db) -> None:
    reply = bad_request(RequestFactory().get("/", headers=JSON), ValueError())
    assert (reply.status_code, "error" in reply.content.decode()) == (400, True)
    assert csrf_failure(RequestFactory().get("/", headers=JSON)).status_code == 403


@pytest.mark.django_db
def test_a_database_that_is_gone_is_a_500_in_words(client_of, manager, monkeypatch) -> None:
    client = client_of(manager)
    client.raise_request_exception = False

    def gone(*args: object, **kwargs: object) -> None:
        raise OperationalError("no database")

    monkeypatch.setattr(connections["default"], "cursor", gone)
    reply = client.get("/")
    monkeypatch.undo()
    assert reply.status_code == 500
    assert b"Something broke" in reply.content
