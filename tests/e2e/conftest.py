"""A real browser on a real server: a gunicorn process of its own, which tests may kill and start again."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from benchmarks.browser import ARGUMENTS, find_browser
from benchmarks.servers import Server, web_server, worker

if TYPE_CHECKING:
    from tests.e2e.pages import Pages

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # the browser's driver keeps an event loop in this thread
expect.set_options(timeout=20_000)  # of a busy machine; what is there at once is not waited for
ROOT = Path(__file__).resolve().parent.parent.parent
WORKERS = ("learner", "worker", "importer", "background", "beat")
EXPECTED_NOISE = (
    "net::ERR_",
    "status of 400",
    "status of 401",
    "status of 403",
    "status of 502",
    "status of 507",
)  # what a browser logs for a server that is away


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    system = find_browser()
    return {**browser_type_launch_args, "args": ARGUMENTS, **({"executable_path": system} if system else {})}


@dataclass
class Site:
    """The server, and people who can sign in. Each test takes a project of its own with `project()`."""

    server: Server
    env: dict[str, str]
    password: str
    used: int = 0
    backstage: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return self.server.url

    def project(self, images: int = 40, classes: str = "cat dog owl", guidelines: str = "Look at it.") -> str:
        """The address name of a new project."""
        self.used += 1
        slug = f"project-{self.used}"
        self.ask("make", slug, str(images), classes, guidelines)
        return slug

    def ask(self, *arguments: str) -> str:
        """Have tests/e2e/backstage.py do it beside the server, on its database: one process, from the first time on."""
        if self.backstage is None:
            with (Path(self.env["DATA_DIR"]) / "backstage.log").open("ab") as log:
                self.backstage = subprocess.Popen(
                    [sys.executable, "-m", "tests.e2e.backstage"], cwd=ROOT, env={**os.environ, **self.env}, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
        assert self.backstage.stdin is not None and self.backstage.stdout is not None
        self.backstage.stdin.write(json.dumps(arguments) + "\n")
        self.backstage.stdin.flush()
        reply = json.loads(self.backstage.stdout.readline())
        assert not reply["error"], reply["error"]
        return reply["said"].strip()

    def answers(self, slug: str) -> list[str]:
        """Live answers in the order given, as class names or outcomes."""
        return self.ask("answers", slug).split()

    def stop(self) -> None:
        self.server.stop()
        if self.backstage is not None:
            self.backstage.communicate()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    password = secrets.token_urlsafe(12)
    env = {
        "DATA_DIR": str(folder),
        "PASSWORD": password,
        "DJANGO_SETTINGS_MODULE": "labeler.settings",
        "DATABASE_URL": "",
    }
    site = Site(web_server(env, log=folder / "web.log"), env, password)
    site.ask("prepare")
    site.server.start()
    yield site
    site.stop()


@pytest.fixture(scope="session")
def pages(site: Site) -> Pages:
    """Of a project in the middle of its work, made once for all tests that only look."""
    from tests.e2e.pages import Pages

    return Pages.of(site, "Access")


@pytest.fixture(scope="session")
def working_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another one, with all workers. A module that wants it calls it `site`."""
    folder = tmp_path_factory.mktemp("working-site")
    password = secrets.token_urlsafe(12)
    env = {
        "DATA_DIR": str(folder), "PASSWORD": password, "DJANGO_SETTINGS_MODULE": "labeler.settings", "DATABASE_URL": "",
        "LEARNER_THREADS": "1",
    }  # fmt: skip
    site = Site(web_server(env, log=folder / "web.log"), env, password)
    site.ask("prepare")
    with ExitStack() as stack:
        stack.callback(site.stop)
        for server in (site.server, *(worker(kind, env, log=folder / f"{kind}.log") for kind in WORKERS)):
            server.start()
            stack.callback(server.stop)
        yield site


@pytest.fixture
def open_as(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Open an address as somebody who is signed in. Unexpected lines on the console fail the test.

    Tests of signing in go by the login page (test_keyboard_journey.py, test_outbox.py). All others need not: that is
    a password hashed, which takes its time on purpose, and three more pages.
    """
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def note(text: str) -> None:
        is_shut_out = "status of 404" in text and "/label/" in text
        if not is_shut_out and not any(noise in text for noise in EXPECTED_NOISE):
            problems.append(text)

    def open_page(username: str, path: str, **options: object) -> Page:
        context = browser.new_context(base_url=site.url, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: note(f"{message.text} {message.location['url']}") if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: note(str(error)))
        cookie = {"name": "sessionid", "value": site.ask("sign-in", username), "url": site.url}
        context.add_cookies([cookie])  # type: ignore[list-item]
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/login/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login/" not in url)
