"""A manager drops images in a real browser: files, a folder, a lost network, a file that is chosen again."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from labeler.models import ImportJob, JobState
from labeler.services.importing import run_import
from tests.labeler.imports import make_zip, png

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # the browser's driver keeps an event loop in this thread
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    system = shutil.which("chromium") or shutil.which("google-chrome")
    return {**browser_type_launch_args, "args": ["--no-sandbox"], **({"executable_path": system} if system else {})}


@pytest.fixture
def signed_in(page, live_server, manager):
    client = Client()
    client.force_login(manager)
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME]
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    yield page
    assert problems == []


def open_page(page, live_server, project):
    page.goto(live_server.url + reverse("import-new", args=[project.slug]))
    page.get_by_role("button", name="Choose files").wait_for()


def arrived(page) -> ImportJob:
    page.wait_for_url(re.compile(r"/imports/\d+/$"))
    job = ImportJob.objects.get()
    assert (job.state, job.looks_first) == (JobState.QUEUED, True)
    run_import(job_id=job.pk)
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_load_state()
    job.refresh_from_db()
    assert (job.state, job.looks_first) == (JobState.QUEUED, False)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    return job


def test_many_files_go_as_one_archive(signed_in, live_server, project, tmp_path: Path):
    paths = []
    for n in range(30):
        path = tmp_path / f"{n}é.png"
        path.write_bytes(png(n))
        paths.append(path)
    (tmp_path / "notes.txt").write_text("no image")
    open_page(signed_in, live_server, project)
    signed_in.locator("[data-files]").set_input_files([*paths, tmp_path / "notes.txt"])
    job = arrived(signed_in)
    assert (job.added, job.refused) == (30, 1)
    assert project.images.filter(name="7é.png").exists()
    signed_in.get_by_text("notes.txt").wait_for()  # the page found out by itself, or shows it after a reload


def test_a_folder_keeps_its_folders(signed_in, live_server, project, tmp_path: Path):
    for at, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(png(at))
    open_page(signed_in, live_server, project)
    signed_in.locator("[data-folder]").set_input_files(tmp_path / "photos")
    job = arrived(signed_in)
    assert job.added == 2
    assert job.has_offered_labels
    assert set(project.images.values_list("offered__class_name", flat=True)) == {"cat", "dog"}


def test_a_lost_network_only_delays(signed_in, live_server, project, tmp_path: Path):
    failures = []

    def fail_twice(route):
        if len(failures) < 2:
            failures.append(1)
            route.abort("internetdisconnected")
        else:
            route.continue_()

    signed_in.route("**/part/**", fail_twice)
    archive = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(5)})
    open_page(signed_in, live_server, project)
    signed_in.locator("[data-files]").set_input_files(archive)
    signed_in.get_by_text("The connection is lost").wait_for()
    assert arrived(signed_in).added == 5
    assert len(failures) == 2


def test_a_closed_tab_goes_on_when_the_file_is_chosen_again(signed_in, live_server, project, tmp_path: Path):
    archive = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 400) for n in range(70)})
    assert archive.stat().st_size > 9 * 2**20
    offsets = []

    def second_part_fails(route):
        offsets.append(route.request.url.rpartition("offset=")[2])
        if len(offsets) == 2:
            return  # never answered: the tab is closed in the middle
        route.continue_()

    signed_in.route("**/part/**", second_part_fails)
    open_page(signed_in, live_server, project)
    signed_in.locator("[data-files]").set_input_files(archive)
    while len(offsets) < 2:
        signed_in.wait_for_timeout(50)
    signed_in.on("dialog", lambda dialog: dialog.accept())
    open_page(signed_in, live_server, project)
    signed_in.unroute("**/part/**")
    offsets.clear()
    signed_in.on("request", lambda request: offsets.append(request.url) if "/part/" in request.url else None)
    signed_in.locator("[data-files]").set_input_files(archive)
    job = arrived(signed_in)
    assert job.added == 70
    assert ImportJob.objects.count() == 1
    assert [url.rpartition("offset=")[2] for url in offsets] == ["0", str(8 * 2**20)]  # asked, then gone on


def test_cancel_in_the_middle(signed_in, live_server, project, tmp_path: Path):
    archive = make_zip(tmp_path / "a.zip", {"a.png": png(1)})
    signed_in.route("**/part/**", lambda _: None)  # never answered
    open_page(signed_in, live_server, project)
    signed_in.locator("[data-files]").set_input_files(archive)
    with signed_in.expect_response("**/cancel/"):
        signed_in.get_by_role("button", name="Cancel").click()
    signed_in.get_by_role("button", name="Choose files").wait_for()
    assert ImportJob.objects.get().state == JobState.CANCELLED
