"""A full disk: nothing is lost, and everybody is told what it is. SQLite is made full by its own limit of pages."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator

import psycopg.errors
import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.urls import reverse

from labeler import disk
from labeler.models import Annotation, ExportJob
from tests.labeler.queues import fill_queue

JSON = {"accept": "application/json"}
needs_sqlite = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PRAGMA max_page_count is SQLite's")


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def full() -> Iterator[None]:
    """The database may grow no more, and has no page to spare."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
    yield
    make_room()


def make_room() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count = 1073741823")


def quiet(client):
    client.raise_request_exception = False
    return client


@needs_sqlite
@pytest.mark.django_db(transaction=True)
def test_an_answer_is_refused_in_words_and_lands_when_there_is_room(
    project, annotator, manager, make_images, client_of, full
) -> None:
    make_room()
    places = fill_queue(project, make_images(project, 200)).candidates.order_by("rank")
    client, label_class = quiet(client_of(annotator)), project.classes.get(name="cat")
    bodies = [
        {"key": str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk, "outcome": "label",
         "label_class": label_class.pk, "want": 1}
        for place in places
    ]  # fmt: skip
    url = reverse("label-answer", args=[project.slug])
    send = lambda body: client.post(url, body, content_type="application/json", headers=JSON)  # noqa: E731
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
    replies = []
    for body in bodies:
        replies.append(send(body))
        if replies[-1].status_code != 200:
            break
    assert replies[-1].status_code == 507
    assert "disk is full" in replies[-1].json()["error"]
    assert Annotation.objects.count() == len(replies) - 1
    health = client.get("/health")
    assert (health.status_code, health.json()["disk"]) == (503, "full")
    assert "disk is full" in client_of(manager).get(reverse("monitor-state", args=[project.slug])).content.decode()
    make_room()
    assert send(bodies[len(replies) - 1]).status_code == 200
    assert Annotation.objects.count() == len(replies)


@needs_sqlite
@pytest.mark.django_db(transaction=True)
def test_an_export_is_refused_on_a_page_that_says_why(project, manager, client_of, full) -> None:
    client = quiet(client_of(manager))
    for _ in range(200):
        ExportJob.objects.all().update(state="done")
        reply = client.post(reverse("exports", args=[project.slug]), {"format": "csv"})
        if reply.status_code != 302:
            break
    assert reply.status_code == 507
    html = reply.content.decode()
    assert "<h1>The disk is full</h1>" in html
    assert "Something broke" not in html


@pytest.mark.django_db
def test_postgresqls_words_for_it_are_known(project, manager, client_of, monkeypatch) -> None:
    def full(_user: object) -> None:
        raise OperationalError("could not extend file") from psycopg.errors.DiskFull("could not extend file")

    monkeypatch.setattr("labeler.views.home.home_rows", full)
    assert quiet(client_of(manager)).get("/", headers=JSON).status_code == 507
    assert client_of(manager).get("/health").json()["disk"] == "full"


def test_only_a_full_disk_is_taken_for_one() -> None:
    assert disk.is_of_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    assert disk.is_of_full_disk(OSError("1000 requested and 5 written"))  # numpy's way
    assert not disk.is_of_full_disk(OSError(errno.EIO, "Input/output error"))
    assert not disk.is_of_full_disk(OperationalError("database is locked"))
    assert not disk.is_of_full_disk(None)


def test_an_error_while_one_is_handled_still_tells_of_it() -> None:
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError:
            raise ValueError("the transaction is broken")  # noqa: B904
    except ValueError as error:
        assert disk.is_of_full_disk(error)


@pytest.mark.django_db
def test_a_folder_that_takes_nothing_is_503(client, monkeypatch) -> None:
    assert client.get("/health").status_code == 200
    monkeypatch.setattr("labeler.selectors.health._found", {})

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    reply = client.get("/health")
    assert (reply.status_code, reply.json()["disk"]) == (503, "full")
