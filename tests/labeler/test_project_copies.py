"""A project with another's settings, and the first steps of a new one."""

from __future__ import annotations

from datetime import time

import pytest
from django.urls import reverse

from labeler import clock
from labeler.models import Membership, Project, Role
from labeler.selectors.projects import STEPS, first_steps
from labeler.services.classes import add_classes
from labeler.services.people import deactivate_member
from labeler.services.project_copies import copy_project
from labeler.services.projects import change_learning
from labeler.services.schedule import schedule_words, set_schedule
from tests.labeler.queues import fill_queue, fresh

pytestmark = pytest.mark.django_db


def test_settings_go_along_and_work_does_not(project, manager, make_images) -> None:
    fill_queue(project, make_images(project, 5))
    owl = project.classes.get(name="owl")
    owl.shortcut, owl.colour = "o", "#123456"
    owl.save()
    add_classes(project=project, names=["old"], by=manager)
    project.classes.filter(name="old").update(is_archived=True)
    change_learning(project=project, values={"overlap": 3, "gold_share": 0.1, "acquisition": "top_margin"})
    set_schedule(project=project, at=time(2, 30), days=[1, 5])
    Project.objects.filter(pk=project.pk).update(
        guidelines="Look twice.",
        takes_proposals=True,
        target_accuracy=0.97,
        pause_reason="x",
        paused_at=clock.now(),
    )
    made = copy_project(source=fresh(project), name="Signs 2", by=manager)
    assert (made.guidelines, made.takes_proposals, made.target_accuracy) == ("Look twice.", True, 0.97)
    assert (made.queue_round, made.model_round, made.paused_at) == (None, None, None)
    fields = ("name", "shortcut", "colour")
    assert list(made.classes.values_list(*fields)) == list(project.classes.exclude(name="old").values_list(*fields))
    assert (made.learning.overlap, made.learning.gold_share, made.learning.acquisition) == (3, 0.1, "top_margin")
    assert schedule_words(made.learning) == schedule_words(fresh(project).learning) == "Monday and Friday at 02:30 UTC"
    assert made.learning.schedule_id != fresh(project).learning.schedule_id
    assert not made.images.exists() and not made.annotations.exists()
    assert list(made.memberships.values_list("user", "role")) == [(manager.pk, Role.MANAGER)]
    assert "copied the settings of “Signs”" in made.audit.first().words


def test_its_people_if_wanted(project, manager, annotator, make_user) -> None:
    gone = make_user("gone")
    member = Membership.objects.create(project=project, user=gone, role=Role.ANNOTATOR)
    deactivate_member(membership=member, by=manager)
    made = copy_project(source=project, name="Signs 2", by=manager, with_people=True)
    assert dict(made.memberships.values_list("user", "role")) == {
        manager.pk: Role.MANAGER, annotator.pk: Role.ANNOTATOR,
    }  # fmt: skip


def test_by_the_page(project, manager, client_of) -> None:
    client, page = client_of(manager), reverse("project-copy", args=["signs"])
    assert page in client.get(reverse("settings", args=["signs"])).content.decode()
    assert page in client.get(reverse("project-new")).content.decode()
    for _ in range(2):
        reply = client.post(page, {"name": "Signs of Bonn", "with_people": "on"})
        assert reply.headers["Location"] == "/p/signs-of-bonn/start/"
    assert Project.objects.filter(name="Signs of Bonn").count() == 1
    assert "This is needed." in client.post(page, {"name": " "}).content.decode()


def test_only_managers_of_the_source(project, annotator, stranger, client_of) -> None:
    page = reverse("project-copy", args=["signs"])
    assert client_of(annotator).post(page, {"name": "Mine"}).status_code == 403
    assert client_of(stranger).post(page, {"name": "Mine"}).status_code == 404
    assert Project.objects.count() == 1


# --- First steps ------------------------------------------------------------------------------------------------------


def test_steps_are_put_off_taken_up_and_done(project, manager, client_of, make_images) -> None:
    client, page = client_of(manager), reverse("project-start", args=["signs"])
    monitor = reverse("monitor", args=["signs"])
    steps = first_steps(fresh(project))
    assert [step.key for step in steps.steps] == list(STEPS)
    assert steps.following is not None and steps.following.key == "images"
    assert "Next: images." in client.get(monitor).content.decode()
    for _ in range(2):
        client.post(page, {"step": "images", "skip": "1"})
    assert first_steps(fresh(project)).following.key == "settings"
    assert '<span class="tag">later</span>' in client.get(page).content.decode()
    client.post(page, {"step": "images", "skip": "0"})
    assert first_steps(fresh(project)).following.key == "images"
    client.post(page, {"step": "images", "skip": "1"})
    make_images(project, 3)
    assert not next(step for step in first_steps(fresh(project)).steps if step.key == "images").is_skipped
    change_learning(project=project, values={"overlap": 2}, by=manager)
    assert first_steps(fresh(project)).following.key == "label"
    client.post(page, {"step": "label", "skip": "1"})
    assert "First steps:" not in client.get(monitor).content.decode()


def test_who_knows_their_way_dismisses_them(project, manager, client_of) -> None:
    client, page = client_of(manager), reverse("project-start", args=["signs"])
    reply = client.post(page, {"dismiss": "1"}, follow=True)
    assert "First steps:" not in reply.content.decode()
    assert "I know my way" not in client.get(page).content.decode()
    assert client.get(page).status_code == 200


def test_an_unknown_step(project, manager, client_of) -> None:
    reply = client_of(manager).post(reverse("project-start", args=["signs"]), {"step": "dance"})
    assert reply.status_code == 400
