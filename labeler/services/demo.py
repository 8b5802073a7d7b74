"""The demo: a project whose images have known labels, and three people. Repeated calls add what is missing."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from django.db import transaction

from labeler.datasets import Dataset
from labeler.models import ImportJob, JobState, Membership, OfferedLabel, Project, Role, User
from labeler.services.classes import DIGITS, add_classes
from labeler.services.importing import import_local
from labeler.services.projects import create_project
from labeler.services.rounds import start_cold_round

PEOPLE = [("manager", Role.MANAGER), ("anna", Role.ANNOTATOR), ("ben", Role.ANNOTATOR)]
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another


class ImportFailed(Exception):
    """Why, in words."""


@transaction.atomic
def make_people() -> None:
    """Without passwords, so nobody can sign in yet."""
    for username, _ in PEOPLE:
        User.objects.get_or_create(username=username, defaults={"password": "!"})


@transaction.atomic
def give_passwords() -> dict[str, str]:
    """Random passwords for those of the people who have none. The caller prints them; nothing else keeps them."""
    given = {}
    for username, _ in PEOPLE:
        person = User.objects.select_for_update().get(username=username)
        if not person.has_usable_password():
            given[username] = "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(4))
            person.set_password(given[username])
            person.save(update_fields=["password"])
    return given


def is_filled(*, name: str) -> bool:
    """Whether the demo project of that name is there, with its images and a queue."""
    return Project.objects.filter(name=name, created_by__username=PEOPLE[0][0], queue_round__isnull=False).exists()


def find_project(*, name: str) -> Project:
    """The demo project of that name, with its people."""
    manager = User.objects.get(username=PEOPLE[0][0])
    project = Project.objects.filter(name=name, created_by=manager).first()
    if project is None:
        project = create_project(name=name, guidelines="", class_names=[], by=manager)
    for username, role in PEOPLE:
        user = User.objects.get(username=username)
        Membership.objects.get_or_create(project=project, user=user, defaults={"role": role})
    return project


def fill_project(*, project: Project, dataset: Dataset, report: Callable[[int, int], None]) -> ImportJob:
    """Images, known labels, classes and the first queue. Images that an interrupted call brought in are recognised."""
    job = import_local(project=project, path=dataset.path, by=project.created_by, report=report, parts=dataset.parts)
    if job.state != JobState.DONE or not project.images.exists():
        why = job.error or "no image was found in it"
        _forget_if_bare(project)
        raise ImportFailed(why)
    with transaction.atomic():
        Project.objects.filter(pk=project.pk, guidelines="").update(guidelines=dataset.guidelines)
        for old, new in dataset.rename.items():
            OfferedLabel.objects.filter(image__project=project, class_name=old).update(class_name=new)
        _make_classes(project)
    project.refresh_from_db()
    if project.queue_round_id is None:
        start_cold_round(project=project)
    return job


def _forget_if_bare(project: Project) -> None:
    """A project that was made for this import, which brought nothing: nobody wants to find it. One that somebody has
    put anything into stays, and so does one that an earlier import filled in part."""
    if project.images.exists() or project.classes.exists() or project.guidelines or project.imports.count() > 1:
        return
    project.delete()


def _make_classes(project: Project) -> None:
    """As the known labels are named, digits in their order; the labels themselves stay hidden."""
    offered = OfferedLabel.objects.filter(image__project=project)
    names = set(offered.values_list("class_name", flat=True).distinct())
    add_classes(project=project, names=sorted(names, key=lambda name: (DIGITS.get(name, "x"), name)))
