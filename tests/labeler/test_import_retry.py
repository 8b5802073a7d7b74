"""A failed import that is tried again, and uploads that nobody needs any more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from labeler.models import ImportJob, JobState
from labeler.selectors.imports import import_progress
from labeler.services import importing
from labeler.services.importing import run_import
from labeler.services.jobs import claim_job
from labeler.services.uploads import can_retry, retry_import, sweep_imports
from tests.labeler.imports import make_zip, png, upload


@pytest.fixture
def job(project, manager, tmp_path) -> ImportJob:
    return upload(project, manager, make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(3)}))


def test_a_wish_to_cancel_that_came_too_late_does_not_cancel_the_next_try(job) -> None:
    """It would throw away the upload, too."""
    ImportJob.objects.update(state=JobState.FAILED, finished_at=timezone.now(), is_cancel_requested=True)
    job.refresh_from_db()
    assert retry_import(job=job)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert (job.state, job.added) == (JobState.DONE, 3)


def test_an_import_that_failed_after_its_last_file_can_be_tried_again(job, project, monkeypatch) -> None:
    def broken(_project) -> None:
        raise RuntimeError("no queue")

    with monkeypatch.context() as patch:
        patch.setattr(importing, "_start_first_queue", broken)
        run_import(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert not job.files.filter(is_done=False).exists()
    assert can_retry(job)
    assert retry_import(job=job)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    project.refresh_from_db()
    assert (job.state, job.added, project.images.count()) == (JobState.DONE, 3, 3)
    assert project.queue_round is not None


def test_files_are_swept_before_somebody_may_try_again(job, monkeypatch) -> None:
    """Afterwards they could be those of the worker that tries again."""
    states = []

    def broken(*_) -> None:
        raise RuntimeError("bug")

    def sweep(swept) -> int:
        states.append(ImportJob.objects.get(pk=swept.pk).state)
        return 0

    monkeypatch.setattr(importing, "sweep_files", sweep)
    monkeypatch.setattr(importing, "_import_file", broken)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert (states, job.state) == ([JobState.RUNNING] * 2, JobState.FAILED)


def test_a_worker_that_lost_its_claim_sweeps_nothing(job, monkeypatch) -> None:
    swept = []

    def broken(*_) -> None:
        ImportJob.objects.update(claim="another worker's")
        swept.clear()
        raise RuntimeError("bug")

    monkeypatch.setattr(importing, "sweep_files", lambda job: swept.append(job) or 0)
    monkeypatch.setattr(importing, "_import_file", broken)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert (swept, job.state) == ([], JobState.RUNNING)


def test_the_rate_counts_only_the_time_that_it_worked(job) -> None:
    now = timezone.now()
    ImportJob.objects.update(
        state=JobState.FAILED, done=100, total=200,
        started_at=now - timedelta(hours=2, seconds=50), finished_at=now - timedelta(hours=2),
    )  # fmt: skip
    job.refresh_from_db()
    assert retry_import(job=job)
    again = claim_job(model=ImportJob, job_id=job.pk)
    assert again is not None
    assert import_progress(again).rate == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("state", [JobState.DONE, JobState.CANCELLED])
def test_uploads_that_a_dead_worker_left_are_swept(job, state) -> None:
    staged = job.files.get().staged
    ImportJob.objects.update(state=state, finished_at=timezone.now())
    sweep_imports()
    assert not default_storage.exists(staged)


def test_while_files_are_counted_the_page_says_so(job, manager, client_of) -> None:
    claim_job(model=ImportJob, job_id=job.pk)
    page = client_of(manager).get(f"/p/signs/imports/{job.pk}/").content.decode()
    assert "The files are counted" in page
    assert "0 of 0" not in page


def test_a_wrong_state_is_refused_with_a_message(job, manager, client_of) -> None:
    client = client_of(manager)
    reply = client.post(f"/p/signs/imports/{job.pk}/retry/", follow=True)
    assert "nothing to try again" in reply.content.decode()
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_a_failed_import_is_tried_again_without_a_new_upload(
    project, manager, annotator, client_of, tmp_path, full_at_the_fifth, small_batches
) -> None:
    job = upload(project, manager, make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 28) for n in range(50)}))
    run_import(job_id=job.pk)
    full_at_the_fifth.undo()
    job.refresh_from_db()
    kept = project.images.count()
    assert job.state == JobState.FAILED
    assert 0 < kept < 50
    page, retry = f"/p/signs/imports/{job.pk}/", f"/p/signs/imports/{job.pk}/retry/"
    assert retry in client_of(manager).get(page).content.decode()
    assert client_of(annotator).post(retry).status_code == 403
    for _ in range(2):  # the second click finds it on its way
        assert client_of(manager).post(retry).status_code == 302
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert (job.state, job.error, job.done, job.added, job.duplicates) == (JobState.DONE, "", 50, 50, 0)
    assert project.images.count() == 50
    assert not retry_import(job=job)
    assert not any(default_storage.exists(file.staged) for file in job.files.all())
