"""The projects of a person, and making a new one."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from labeler.models import (
    Fate,
    Image,
    ImageState,
    LearningConfig,
    Membership,
    NoticeKind,
    Project,
    Role,
    Round,
    RoundState,
    Trigger,
)
from labeler.services.notices import notify
from labeler.services.projects import create_project
from tests.labeler.queues import fill_queue

MEASURED = {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.95}, "n": 150}


def add_round(project: Project, number: int, state: RoundState, metrics: dict | None = None) -> Round:
    return Round.objects.create(
        project=project, number=number, trigger=Trigger.ANSWERS, reason="", seed=1, state=state, metrics=metrics or {}
    )


def test_it_shows_own_projects_with_numbers_and_what_waits(project, manager, make_images, client_of) -> None:
    images = make_images(project, 4)
    fill_queue(project, images)
    Image.objects.filter(pk=images[0].pk).update(state=ImageState.LABELLED, label=project.classes.first())
    add_round(project, 7, RoundState.DONE, MEASURED)
    add_round(project, 8, RoundState.FAILED)
    html = client_of(manager).get("/").content.decode()
    assert "Signs" in html
    assert "of 4 labelled" in html
    assert "90.0 %" in html
    assert "± 5.0" in html
    assert "150 holdout images, round 7" in html
    assert "Round 8 failed" in html
    assert "4 questions wait for an answer" in html


def test_a_stranger_does_not_see_it(project, stranger, client_of) -> None:
    html = client_of(stranger).get("/").content.decode()
    assert "Signs" not in html
    assert "Open an invitation link" in html


def test_an_annotator_is_told_nothing_of_a_managers_duties(project, annotator, client_of) -> None:
    add_round(project, 1, RoundState.FAILED)
    html = client_of(annotator).get("/").content.decode()
    assert "failed" not in html
    assert "Set it up" not in html
    assert "Nothing waits for you" in html


def test_an_unfinished_set_up_leads_back_to_the_first_steps(project, manager, client_of) -> None:
    html = client_of(manager).get("/").content.decode()
    assert reverse("project-start", args=[project.slug]) in html
    assert "needs images" in html


def test_what_waits_for_a_manager_inside_is_named(project, manager, annotator, client_of, make_images) -> None:
    make_images(project, 2, state=ImageState.DISPUTED, is_contested=True)
    make_images(project, 1, state=ImageState.LABELLED, label=project.classes.first(), is_contested=True)  # settled
    project.classes.create(name="lynx", colour="#000000", order=9, is_archived=True, fate=Fate.PROPOSED)
    Project.objects.filter(pk=project.pk).update(open_comments=3)
    notify(project=project, kind=NoticeKind.QUEUE_DRY, key="x", words="Nothing is left.")
    html = client_of(manager).get("/").content.decode()
    for words, page in (
        ("1 unread notice", "monitor"),
        ("1 proposed class waits for a decision", "proposals"),
        ("3 open comments", "comments"),
        ("People disagree about 2 images", "review"),
    ):
        assert f'href="{reverse(page, args=[project.slug])}">{words}</a>' in html
    html = client_of(annotator).get("/").content.decode()
    assert "unread notice" not in html and "disagree" not in html and "Nothing waits for you" in html


def test_a_site_admin_sees_all(project, make_user, client_of) -> None:
    assert "Signs" in client_of(make_user("root", is_superuser=True)).get("/").content.decode()


def test_its_queries_do_not_grow_with_the_projects(
    project, manager, client_of, django_assert_max_num_queries, make_images
) -> None:
    for number in range(12):
        other = Project.objects.create(name=f"P{number}", slug=f"p{number}", created_by=manager)
        LearningConfig.objects.create(project=other)
        Membership.objects.create(project=other, user=manager, role=Role.MANAGER)
        make_images(other, 2)
        add_round(other, 1, RoundState.DONE, MEASURED)
    client = client_of(manager)
    with django_assert_max_num_queries(14):
        assert "P11" in client.get("/").content.decode()


# --- A new project ----------------------------------------------------------------------------------------------------

NEW = {"name": "Owls", "classes": "barn owl\n\n snowy owl \ntawny owl", "guidelines": "Look at the face."}


def test_a_manager_makes_a_project_and_is_led_on(project, manager, client_of) -> None:
    client = client_of(manager)
    reply = client.post("/projects/new/", NEW)
    assert reply.headers["Location"] == "/p/owls/start/"
    made = Project.objects.get(slug="owls")
    assert made.learning.retrain_every > 0
    assert made.memberships.get().role == Role.MANAGER
    assert list(made.classes.values_list("name", "shortcut")) == [
        ("barn owl", "1"), ("snowy owl", "2"), ("tawny owl", "3"),
    ]  # fmt: skip
    steps = client.get(reply.headers["Location"]).content.decode()
    for name in ("import-new", "people", "label", "classes"):
        assert reverse(name, args=["owls"]) in steps


@pytest.mark.parametrize(
    ("classes", "words"),
    [("cat", "1 class: cat."), ("cat\ndog", "2 classes: cat, dog."), ("a\nb\nc\nd", "4 classes: a, b, c, …")],
)
def test_the_first_steps_say_what_is_there(project, manager, client_of, make_images, classes, words) -> None:
    client = client_of(manager)
    client.post("/projects/new/", {"name": "Owls", "classes": classes})
    make_images(Project.objects.get(slug="owls"), 1)
    steps = client.get("/p/owls/start/").content.decode()
    assert re.search(rf"{words}\s*<", steps)
    assert "1 image is in." in steps
    assert "at random" not in steps  # as soon as it is known which images look alike, most questions are about those


def test_where_several_people_answer_an_image_it_waits_for_each(project, manager, make_images, client_of) -> None:
    fill_queue(project, make_images(project, 3), overlap=2)
    assert "6 questions wait for an answer" in client_of(manager).get("/").content.decode()


def test_a_double_submit_makes_one(project, manager, client_of) -> None:
    client = client_of(manager)
    first, second = client.post("/projects/new/", NEW), client.post("/projects/new/", NEW)
    assert first.headers["Location"] == second.headers["Location"]
    assert Project.objects.filter(name="Owls").count() == 1


def test_who_only_answers_makes_none(project, annotator, client_of) -> None:
    client = client_of(annotator)
    assert client.get("/projects/new/").status_code == 403
    assert client.post("/projects/new/", NEW).status_code == 403
    assert "New project" not in client.get("/").content.decode()


def test_staff_makes_the_first_one(make_user, client_of) -> None:
    client = client_of(make_user("stella", is_staff=True))
    assert "Make the first one" in client.get("/").content.decode()
    assert client.post("/projects/new/", {"name": "Owls"}).status_code == 302


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": ""}, "required"),
        ({"name": " \u200b\u200b "}, "can be seen"),
        ({"name": "signs\u202egpj"}, "control characters"),
        ({"name": "x" * 101}, "At most 100"),
        ({"name": "ok", "classes": "cat\nCat"}, "stands there twice"),
        ({"name": "ok", "classes": "c" * 101}, "too long"),
        ({"name": "ok", "classes": "\n".join(map(str, range(2001)))}, "2,000 at most"),
    ],
)
def test_nonsense_is_refused_beside_the_field(project, manager, client_of, form, words) -> None:
    before = Project.objects.count()
    reply = client_of(manager).post("/projects/new/", form)
    assert reply.status_code == 200
    assert words in reply.content.decode()
    assert Project.objects.count() == before


@pytest.mark.parametrize(
    ("name", "slug"),
    [("手势", "project"), ("Größe", "groe"), ("new", "new-2"), ("Signs", "signs-2"), ("---", "project"), ("Ab", "ab")],
)  # fmt: skip
def test_addresses_are_free_and_plain(project, stranger, name, slug) -> None:
    made = create_project(name=name, guidelines="", class_names=[], by=stranger)
    assert made.slug == slug
    assert reverse("project-start", args=[made.slug])


def test_two_of_one_address_get_different_ones(project, stranger, manager) -> None:
    one = create_project(name="Signs!", guidelines="", class_names=[], by=stranger)
    two = create_project(name="signs?", guidelines="", class_names=[], by=manager)
    assert [one.slug, two.slug] == ["signs-2", "signs-3"]


def test_wrong_methods(project, manager, client_of) -> None:
    client = client_of(manager)
    assert client.post("/").status_code == 405
    assert client.delete("/projects/new/").status_code == 405
    assert client.delete(reverse("project-start", args=[project.slug])).status_code == 405
    assert Client().get("/").headers["Location"] == "/login/?next=/"
