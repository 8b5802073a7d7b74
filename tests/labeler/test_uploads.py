"""Uploads in parts, their limits, and what becomes of those that nobody finishes."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from labeler.models import (
    ImportJob,
    JobState,
)
from labeler.services.importing import run_import
from labeler.services.jobs import claim_job, finish_job, resume_stalled
from labeler.services.stops import give_back_work
from labeler.services.uploads import (
    UploadRefused,
    WrongOffset,
    add_part,
    create_import,
    finish_upload,
    retry_import,
    sweep_imports,
)
from tests.labeler.imports import check_whole, make_zip, png, upload


def test_an_upload_in_parts_goes_on_where_it_broke_off(project, manager, tmp_path):
    data = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(5)}).read_bytes()
    job = create_import(project=project, by=manager)
    assert add_part(job=job, name="a.zip", size=len(data), offset=0, data=data[:100]) == 100
    with pytest.raises(WrongOffset) as wrong:
        add_part(job=job, name="a.zip", size=len(data), offset=0, data=data[:100])
    assert wrong.value.received == 100
    with pytest.raises(WrongOffset):
        add_part(job=job, name="a.zip", size=len(data), offset=200, data=data[200:])
    with pytest.raises(UploadRefused, match="not complete"):
        finish_upload(job=job)
    assert add_part(job=job, name="a.zip", size=len(data), offset=100, data=data[100:]) == len(data)
    assert finish_upload(job=job)
    job.refresh_from_db()
    assert not finish_upload(job=job)
    run_import(job_id=job.pk)
    run_import(job_id=job.pk)  # a second message for the same job
    job.refresh_from_db()
    project.refresh_from_db()
    assert (job.state, job.added, job.attempts) == (JobState.DONE, 5, 1)
    check_whole(project)


def test_uploads_are_limited_a_person_and_in_bytes(project, manager, annotator, settings):
    settings.IMPORTS_PER_USER = 2
    settings.IMPORT_MAX_TOTAL_BYTES = 1000
    job = create_import(project=project, by=manager)
    create_import(project=project, by=manager)
    with pytest.raises(UploadRefused, match="2 unfinished imports"):
        create_import(project=project, by=manager)
    create_import(project=project, by=annotator)
    with pytest.raises(UploadRefused, match="larger than"):
        add_part(job=job, name="a", size=1001, offset=0, data=b"")
    add_part(job=job, name="a", size=600, offset=0, data=b"0" * 600)
    with pytest.raises(UploadRefused, match="larger than"):
        add_part(job=job, name="b", size=600, offset=0, data=b"")
    with pytest.raises(UploadRefused, match="longer than was said"):
        add_part(job=job, name="c", size=10, offset=0, data=b"0" * 11)


def test_the_sweep_wakes_what_waits_and_gives_up_what_died(project, manager, tmp_path, settings, monkeypatch):
    woken = []
    monkeypatch.setattr("labeler.services.jobs.wake", lambda *message: woken.append(message))
    job = upload(project, manager, make_zip(tmp_path / "a.zip", {"a.png": png(1)}))
    long_ago = timezone.now() - timezone.timedelta(minutes=5)
    assert sweep_imports() == 0
    ImportJob.objects.update(heartbeat_at=long_ago)
    assert sweep_imports() == 1
    assert woken == [("imports.run_import", job.pk)]
    assert claim_job(model=ImportJob, job_id=job.pk) is not None
    assert claim_job(model=ImportJob, job_id=job.pk) is None  # somebody has it
    ImportJob.objects.update(heartbeat_at=long_ago)
    assert claim_job(model=ImportJob, job_id=job.pk).attempts == 2
    ImportJob.objects.update(heartbeat_at=long_ago, attempts=settings.ROUND_ATTEMPTS)
    resume_stalled(model=ImportJob, task_name="imports.run_import")
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "died" in job.error


def test_an_orderly_stop_hands_an_import_on_and_counts_as_no_death(project, manager, tmp_path, settings, monkeypatch):
    woken = []
    monkeypatch.setattr("labeler.services.jobs.wake", lambda *message: woken.append(message))
    monkeypatch.setattr("labeler.services.jobs.this_worker", lambda: "worker@here")
    upload(project, manager, make_zip(tmp_path / "a.zip", {"a.png": png(1)}))
    job = ImportJob.objects.get()
    for _ in range(settings.ROUND_ATTEMPTS + 1):
        mine = claim_job(model=ImportJob, job_id=job.pk)
        assert mine is not None and mine.attempts == 1
        assert give_back_work(worker="worker@here") == 1
        assert woken.pop() == ("imports.run_import", job.pk)
        assert not finish_job(job=mine, state=JobState.DONE)
        job.refresh_from_db()
        assert (job.state, job.claim, job.attempts) == (JobState.QUEUED, "", 0)


def test_the_upload_of_a_failed_import_is_given_up_after_some_days(project, manager, tmp_path) -> None:
    job = upload(project, manager, make_zip(tmp_path / "a.zip", {"a.png": png(1)}))
    staged = job.files.get().staged
    ImportJob.objects.update(state=JobState.FAILED, finished_at=timezone.now() - timezone.timedelta(days=2))
    sweep_imports()
    assert default_storage.exists(staged)
    ImportJob.objects.update(finished_at=timezone.now() - timezone.timedelta(days=4))
    sweep_imports()
    assert not default_storage.exists(staged)
    job.refresh_from_db()
    assert not retry_import(job=job)
