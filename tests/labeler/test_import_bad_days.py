"""Imports on bad days: full disks, bugs, kills, lost claims, two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.db import connection
from django.utils import timezone

from labeler.models import (
    ImportJob,
    JobState,
)
from labeler.services import importing
from labeler.services.importing import import_local, run_import
from labeler.services.jobs import request_cancel
from tests.labeler.imports import check_files, check_whole, make_zip, png, upload


def test_a_full_disk_fails_the_import_in_words_and_keeps_what_was_whole(
    project, manager, tmp_path, full_at_the_fifth, small_batches
):
    path = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 28) for n in range(50)})
    job = import_local(project=project, path=path, by=manager)
    assert job.state == JobState.FAILED
    assert "disk of the server is full" in job.error
    full_at_the_fifth.undo()
    project.refresh_from_db()
    check_files(project)
    job = import_local(project=project, path=path, by=manager)
    assert (job.state, project.images.count()) == (JobState.DONE, 50)


def test_an_unforeseen_error_fails_the_import_in_words(project, manager, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "store_batch", lambda **_: 1 / 0)
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", {"a.png": png(1)}), by=manager)
    assert job.state == JobState.FAILED
    assert "ZeroDivisionError" in job.error


def test_cancelling_stops_at_the_next_beat_and_keeps_what_is_in(project, manager, tmp_path, monkeypatch, small_batches):
    store = importing.store_batch

    def cancel_after_the_first(**batch):
        store(**batch)
        request_cancel(job=batch["job"])

    monkeypatch.setattr(importing, "store_batch", cancel_after_the_first)
    path = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 28) for n in range(50)})
    job = import_local(project=project, path=path, by=manager)
    assert (job.state, job.added) == (JobState.CANCELLED, 10)
    assert "stay" in job.error
    project.refresh_from_db()
    check_whole(project)


def test_a_worker_that_lost_its_claim_changes_nothing(project, manager, tmp_path, monkeypatch):
    store = importing.store_batch

    def lose_it(**batch):
        ImportJob.objects.filter(pk=batch["job"].pk).update(claim="another worker")
        store(**batch)

    monkeypatch.setattr(importing, "store_batch", lose_it)
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", {"a.png": png(1)}), by=manager)
    assert (job.state, job.claim) == (JobState.RUNNING, "another worker")
    assert project.images.count() == 0


KILLED = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
settings.MEDIA_ROOT = os.environ["TEST_FILES"]
django.setup()
from labeler.services import importing, packing
importing.CHUNK_SIZE, packing.CHUNK_SIZE = 10, 16
from labeler.services.importing import run_import
real, calls = packing._commit, 0
def slow(*args):
    global calls
    calls += 1
    if calls == 4 and sys.argv[2] == "before":
        print("now", flush=True)
        import time
        time.sleep(60)
    real(*args)
packing._commit = slow
real_store, stored = importing.store_batch, 0
def store(**batch):
    global stored
    real_store(**batch)
    stored += 1
    if stored == 4 and sys.argv[2] == "after":
        print("now", flush=True)
        import time
        time.sleep(60)
importing.store_batch = store
run_import(job_id=int(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_import_goes_on_without_doubles_or_gaps(project, manager, tmp_path, settings, small_batches, when):
    """A real process, killed between writing a batch's files and its rows, or right after its rows."""
    job = upload(project, manager, make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 28) for n in range(75)}))
    environment = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(settings.BASE_DIR),
        "TEST_DATABASE": str(connection.settings_dict["NAME"]),
        "TEST_FILES": str(settings.MEDIA_ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(job.pk), when],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "now\n", process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.wait()
    job.refresh_from_db()
    assert (job.state, job.added) == (JobState.RUNNING, 30 if when == "before" else 40)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert job.attempts == 1  # it does not look dead yet
    ImportJob.objects.update(heartbeat_at=timezone.now() - timezone.timedelta(minutes=1))
    run_import(job_id=job.pk)
    job.refresh_from_db()
    project.refresh_from_db()
    assert (job.state, job.added, job.done, job.attempts) == (JobState.DONE, 75, 75, 2)
    assert sorted(project.images.values_list("name", flat=True)) == sorted(f"{n}.png" for n in range(75))
    check_whole(project)


@pytest.mark.django_db(transaction=True)
def test_two_imports_into_one_project_at_once(project, manager, tmp_path, small_batches):
    shared = {f"both/{n}.png": png(n, 28) for n in range(40)}
    jobs = [
        upload(
            project,
            manager,
            make_zip(tmp_path / f"{side}.zip", {**shared, **{f"{side}{n}.png": png(n, 28) for n in own}}),
        )
        for side, own in (("a", range(100, 140)), ("b", range(200, 240)))
    ]

    def run(job_id: int) -> None:
        run_import(job_id=job_id)
        connection.close()

    threads = [threading.Thread(target=run, args=[job.pk]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    project.refresh_from_db()
    for job in jobs:
        job.refresh_from_db()
    assert [job.state for job in jobs] == [JobState.DONE] * 2, [job.error for job in jobs]
    assert sum(job.added for job in jobs) == 120
    assert sum(job.duplicates for job in jobs) == 40
    check_whole(project)


def test_beats_keep_a_slow_import_alive(project, manager, tmp_path, monkeypatch, small_batches):
    """A batch that takes long beats in between: nobody takes the job over."""
    from labeler.services import jobs

    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.01)
    seen = []
    load = importing._load_group

    def slow(entries):
        time.sleep(0.02)
        return load(entries)

    monkeypatch.setattr(importing, "_load_group", slow)
    monkeypatch.setattr(importing, "GROUP_ENTRIES", 2)
    real = jobs.Beat.now
    monkeypatch.setattr(jobs.Beat, "now", lambda self, **fields: (seen.append(1), real(self, **fields))[1])
    import_local(
        project=project, path=make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(10)}), by=manager
    )
    assert len(seen) >= 4
