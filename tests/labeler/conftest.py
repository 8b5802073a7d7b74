"""Fixtures of imports, and what keeps chance out of every test."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from django.utils import timezone

from labeler import clock, storage
from labeler.models import Image, Project, Round
from labeler.services import importing, packing, rounds
from learner.config import Recipe
from tests.e2e.furnished import furnish
from tests.labeler.monitored import measured_round
from tests.labeler.queues import fill_queue, fresh


@pytest.fixture(autouse=True)
def own_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds draw with the seeds 1, 2, 3: by chance, six random images may be of one class only."""
    monkeypatch.setattr(rounds, "new_seed", itertools.count(1).__next__)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are trained for an eighth of the time: here it matters what becomes of a round, not how good it is."""
    steps_for = Recipe.steps_for
    monkeypatch.setattr(Recipe, "steps_for", lambda self, n: self.steps or steps_for(self, n) // 8)


@pytest.fixture(autouse=True)
def database_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's is this machine's, and known, so that a test without the database can make a model."""
    monkeypatch.setattr(clock, "_anchor", (timezone.now(), time.clock_gettime(clock.STEADY)))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_SIZE", 10)
    monkeypatch.setattr(packing, "CHUNK_SIZE", 16)


@pytest.fixture
def full_at_the_fifth(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The disk is full at the fifth file, until this is undone."""
    write, calls = storage.write_once, []

    def write_once(name, content):
        calls.append(name)
        if len(calls) >= 5:
            raise storage.StorageFull("The disk of the server is full.")
        return write(name, content)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_once", write_once)
        yield patch


@pytest.fixture
def at(project) -> str:
    """Where the project's Monitor is."""
    return f"/p/{project.slug}/"


@pytest.fixture
def measured(project, make_images) -> Round:
    return measured_round(project, make_images)


@pytest.fixture
def queue(project, make_images) -> list[Image]:
    images = make_images(project, 40)
    fill_queue(project, images)
    return images


@pytest.fixture
def open_project(project, make_images) -> Project:
    """One that takes proposals of classes, with a queue of six images."""
    Project.objects.filter(pk=project.pk).update(takes_proposals=True)
    fill_queue(project, make_images(project, 6))
    return fresh(project)


@pytest.fixture
def furnished(db, make_user) -> Project:
    """Some of everything that a project can have."""
    for name in ("mia", "ann", "bob"):
        make_user(name)
    return furnish("Digits")[0]
