"""What went wrong is said in words: to a browser as a page, to a script as JSON."""

from __future__ import annotations

import sqlite3

import psycopg
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


@pytest.fixture
def without_database(client_of, manager, monkeypatch):
    """Asks for a page while every statement fails with an error."""

    def ask(error: Exception, **headers: str):
        client = client_of(manager)
        client.raise_request_exception = False

        def gone(*args: object, **kwargs: object) -> None:
            raise OperationalError(str(error)) from error

        with monkeypatch.context() as patched:
            patched.setattr(connections["default"], "cursor", gone)
            return client.get("/", headers=headers)

    return ask


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection failed: Connection refused\n\tIs the server running?"),
        psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
        psycopg.errors.CannotConnectNow("the database system is starting up"),
        psycopg.errors.ConnectionFailure("server closed the connection unexpectedly"),
        psycopg.InterfaceError("the connection is closed"),
    ],
)
def test_a_database_that_is_away_is_said_with_what_to_do(without_database, error, caplog) -> None:
    reply = without_database(error)
    assert reply.status_code == 503
    text = reply.content.decode()
    assert "The database is away" in text and "Try again in a minute" in text
    assert "kept by your browser" in text
    assert "cannot reach its database" in without_database(error, **JSON).json()["error"]
    [record, _] = [record for record in caplog.records if record.name == "django.request"]
    assert record.levelname == "ERROR" and record.exc_info is None
    assert " ".join(str(error).split()) in record.getMessage() and "\n" not in record.getMessage()


@pytest.mark.parametrize(
    "error", [psycopg.errors.DeadlockDetected("deadlock detected"), sqlite3.OperationalError("database is locked")]
)
def test_a_database_that_is_there_and_fails_is_a_500_in_words(without_database, error, caplog) -> None:
    reply = without_database(error)
    assert reply.status_code == 500
    assert b"Something broke" in reply.content
    assert any(record.exc_info for record in caplog.records if record.name == "django.request")
