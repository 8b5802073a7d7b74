"""Shared fixtures: people, a project with classes, images as rows. Every test gets its own data folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils import translation

from labeler.models import Chunk, Image, LabelClass, LearningConfig, Membership, Pack, Project, Role, User

FIRST = {Path(__file__).parent: 0, Path(__file__).parent / "e2e": 1}  # folders of tests
PASSWORD = "correct horse battery staple"


def pytest_itemcollected(item: pytest.Item) -> None:
    """What uses the database is marked so: tests/run.py runs these on PostgreSQL too, and no others."""
    if item.get_closest_marker("django_db") or {"db", "transactional_db"} & set(getattr(item, "fixturenames", ())):
        item.add_marker("database")


@pytest.hookimpl(trylast=True)  # when all have been shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts servers comes first, then what drives a browser: tests that take minutes, and wait for most of them.

    So they run on one worker, which starts what they share once, while another runs what only computes; and at the end
    there are short ones left for all.
    """
    items.sort(key=lambda item: FIRST.get(item.path.parent, len(FIRST)))


@pytest.fixture(autouse=True)
def own_data_folder(settings, tmp_path: Path) -> Path:
    """Files, broker messages, static files and the cache of a test are its own."""
    settings.DATA_DIR = tmp_path
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.STORAGE = None
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(tmp_path)}
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return tmp_path


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """A request leaves its language behind in the thread: the next test begins with that of the settings."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What would have gone to the broker, as (task, *ids); nothing does."""
    messages: list[tuple] = []

    def keep(task_name: str, *args: int, countdown: float = 0) -> bool:
        messages.append((task_name, *args))
        return True

    monkeypatch.setattr("labeler.wake.send", keep)
    return messages


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
    """SQLite tests use a file, as the product does: threads and other processes see what they would see there."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        database.setdefault("TEST", {})["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    else:
        request.getfixturevalue("django_db_modify_db_settings_parallel_suffix")


@pytest.fixture
def make_user(db) -> Callable[..., User]:
    def make(username: str, **fields) -> User:
        return User.objects.create_user(username, password=PASSWORD, **fields)

    return make


@pytest.fixture
def manager(make_user) -> User:
    return make_user("mia")


@pytest.fixture
def annotator(make_user) -> User:
    return make_user("ann")


@pytest.fixture
def stranger(make_user) -> User:
    return make_user("sam")


@pytest.fixture
def project(manager: User, annotator: User) -> Project:
    """A project with three classes, a manager and an annotator, and no images."""
    project = Project.objects.create(name="Signs", slug="signs", created_by=manager)
    LearningConfig.objects.create(project=project, debounce_seconds=0, cooldown_seconds=0)
    Membership.objects.create(project=project, user=manager, role=Role.MANAGER)
    Membership.objects.create(project=project, user=annotator, role=Role.ANNOTATOR)
    for order, (name, colour) in enumerate([("cat", "#0072b2"), ("dog", "#e69f00"), ("owl", "#009e73")]):
        LabelClass.objects.create(project=project, name=name, shortcut=str(order + 1), colour=colour, order=order)
    return project


@pytest.fixture
def make_images(db) -> Callable[..., list[Image]]:
    """Image rows without files, for tests that show or store no pixels."""

    def make(project: Project, count: int, **fields) -> list[Image]:
        start = project.images.count()
        pack, _ = Pack.objects.get_or_create(project=project, name=f"{project.slug}/none.pack", size=0)
        chunk, _ = Chunk.objects.get_or_create(project=project, number=0)
        chunk.count += count
        chunk.save()
        rows = [
            Image(
                project=project,
                position=position,
                content_hash=hashlib.sha256(f"{project.pk} {position}".encode()).hexdigest(),
                name=f"{position:05}.png",
                width=28,
                height=28,
                pack=pack,
                offset=0,
                length=0,
                media_type="image/png",
                **fields,
            )
            for position in range(start, start + count)
        ]
        return Image.objects.bulk_create(rows)

    return make


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    def client(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return client
