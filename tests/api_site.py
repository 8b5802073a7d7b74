"""A real server with a project and tokens, for the fuzzer and for the example of the documents.

Run as a program beside the server it makes what they need and prints tokens: `python -m tests.api_site`.
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

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class ApiSite:
    url: str
    env: dict[str, str]
    manager: str  # tokens
    annotator: str


@contextmanager
def api_site(folder: Path, **settings: str) -> Iterator[ApiSite]:
    from benchmarks.servers import web_server

    env = {
        "DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "labeler.settings",
        "DATABASE_URL": "",
        "REDIS_URL": "",
        **settings,
    }
    made = subprocess.run(
        [sys.executable, "-m", "tests.api_site"],
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


def prepare() -> dict[str, str]:
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
    return tokens


if __name__ == "__main__":
    print(json.dumps(prepare()))
