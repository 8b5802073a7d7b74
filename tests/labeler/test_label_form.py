"""The Label page without JavaScript: a plain form."""

from __future__ import annotations

import re

from django.test import Client

from labeler.models import Annotation, Image, ImageState, Outcome


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found.group(1)


def hidden_undo(page: str) -> str:
    return re.search(r'name="undo" value="([^"]+)"', page).group(1)  # type: ignore[union-attr]


def test_the_page_is_a_plain_form_too(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    page = client.get("/p/signs/label/").content.decode()
    form = {name: hidden(page, name) for name in ("key", "image", "candidate")}
    reply = client.post("/p/signs/label/", {**form, "label_class": project.classes.get(name="dog").pk})
    assert reply.status_code == 302
    assert Image.objects.get(pk=queue[0].pk).label.name == "dog"
    page = client.get("/p/signs/label/").content.decode()
    assert hidden(page, "image") == str(queue[1].pk)
    client.post("/p/signs/label/", {"undo": hidden_undo(page), "undo_key": hidden(page, "undo_key")})
    assert Image.objects.get(pk=queue[0].pk).state == ImageState.POOL


def test_a_form_answers_without_a_class(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    page = client.get("/p/signs/label/").content.decode()
    form = {name: hidden(page, name) for name in ("key", "image", "candidate")}
    client.post("/p/signs/label/", {**form, "outcome": "bad_image"})
    assert Annotation.objects.get().outcome == Outcome.BAD_IMAGE


def test_a_broken_form_says_so_and_loses_nothing(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    reply = client.post("/p/signs/label/", {"key": "x", "image": "y"}, follow=True)
    assert reply.status_code == 200
    assert "is not" in reply.content.decode()


def test_names_are_shown_as_text(client_of, annotator, project, queue) -> None:
    evil = '"><script>alert(1)</script>'
    project.classes.update(is_archived=True)
    project.classes.create(name=evil, colour="#000000")
    Image.objects.filter(pk=queue[0].pk).update(name=evil)
    project.guidelines = evil
    project.save()
    page = client_of(annotator).get("/p/signs/label/").content.decode()
    assert "<script>alert(1)" not in page


def test_who_may_open_the_page(client_of, stranger, project, queue) -> None:
    assert Client().get("/p/signs/label/").status_code == 302
    assert client_of(stranger).get("/p/signs/label/").status_code == 404


def test_a_form_sent_twice_is_one_answer(client_of, annotator, project, queue) -> None:
    client = client_of(annotator)
    page = client.get("/p/signs/label/").content.decode()
    form = {name: hidden(page, name) for name in ("key", "image", "candidate")} | {"outcome": "unsure"}
    for _ in range(2):
        assert client.post("/p/signs/label/", form).status_code == 302
    assert Annotation.objects.count() == 1
