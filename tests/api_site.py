"""A real server with a project and tokens, for the fuzzer and for the example of the documents.

Run as a program beside the server it makes what they need and prints tokens: `python -m tests.api_site [furnished]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from labeler.models import User

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class ApiSite:
    url: str
    env: dict[str, str]
    manager: str  # tokens
    annotator: str


@contextmanager
def api_site(folder: Path, *, furnished: bool = False, **settings: str) -> Iterator[ApiSite]:
    """`furnished`: with a project `full`, which has images, answers and rounds of every kind (tests/e2e/furnished.py),
    one of them with empty bins, and one that measured nothing."""
    from benchmarks.servers import web_server

    env = {
        "DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "labeler.settings",
        "DATABASE_URL": "",
        "REDIS_URL": "",
        **settings,
    }
    made = subprocess.run(
        [sys.executable, "-m", "tests.api_site", *(["furnished"] if furnished else [])],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    tokens = json.loads(made.stdout.splitlines()[-1])
    server = web_server(env, log=folder / "web.log", threads=4)
    server.start()
    try:
        yield ApiSite(server.url, env, **tokens)
    finally:
        server.stop()


def prepare(*, furnished: bool = False) -> dict[str, str]:
    import django

    django.setup()
    from django.core.management import call_command

    from labeler.models import LearningConfig, Membership, Project, Role, Scope, User
    from labeler.services.tokens import make_token

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    project = Project.objects.create(name="Digits", slug="digits")
    LearningConfig.objects.create(project=project)
    tokens = {}
    for name, role in (("manager", Role.MANAGER), ("annotator", Role.ANNOTATOR)):
        user = User.objects.create_user(name, is_staff=role == Role.MANAGER)
        Membership.objects.create(project=project, user=user, role=role)
        tokens[name] = make_token(user=user, name="tests", scopes=Scope.values, days=None).token
    if furnished:
        _furnish(User.objects.get(username="manager"))
    return tokens


def _furnish(manager: User) -> None:
    from labeler.models import Image, Membership, Project, Role, User
    from tests.e2e.furnished import furnish
    from tests.labeler.judged import finish, round_to_judge

    for name in ("mia", "ann", "bob"):
        User.objects.create_user(name, is_staff=name == "mia")
    project, _ = furnish("Full")
    Membership.objects.create(project=project, user=manager, role=Role.MANAGER)
    means = np.full((project.images.count(), project.classes.count()), 0.07)
    means[:, 0] += 1 - means.sum(1)
    assert project.slug == "full"
    assert finish(round_to_judge(Project.objects.get(pk=project.pk), means)).number == 7
    Image.objects.filter(project=project, is_holdout=True).update(is_holdout=False)
    finish(round_to_judge(Project.objects.get(pk=project.pk), means))
    empty = [each["n"] == 0 for row in project.rounds.all() for each in row.metrics.get("reliability", [])]
    assert any(empty) and not all(empty)


if __name__ == "__main__":
    print(json.dumps(prepare(furnished="furnished" in sys.argv[1:])))
