"""The import as a whole: rows, files, duplicates, kills, full disks, two at once."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from datetime import timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone
from PIL import Image as Picture

from labeler import storage
from labeler.models import (
    Annotation,
    ImageState,
    ImportJob,
    JobState,
    OfferedLabel,
    RejectedFile,
    Round,
    RoundChunk,
    RoundState,
    Trigger,
)
from labeler.services import importing, packing
from labeler.services.importing import import_local, run_import
from labeler.services.jobs import claim_job, request_cancel, resume_stalled
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.offered_labels import make_offered_classes, take_offered_labels
from labeler.services.uploads import (
    UploadRefused,
    WrongOffset,
    add_part,
    add_whole_file,
    create_import,
    finish_upload,
    retry_import,
    sweep_imports,
)


def png(value: int, side: int = 8, colour: bool = False) -> bytes:
    rng = np.random.default_rng(value)
    out = io.BytesIO()
    Picture.fromarray(rng.integers(0, 256, (side, side, 3) if colour else (side, side), dtype=np.uint8)).save(
        out, "PNG"
    )
    return out.getvalue()


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def check_whole(project) -> None:
    """Positions are dense, chunks fit, each image's bytes and pixels are where its row says, no file is left over."""
    images = list(project.images.select_related("pack").order_by("position"))
    assert [image.position for image in images] == list(range(len(images)))
    chunks = list(project.chunks.order_by("number"))
    assert sum(chunk.count for chunk in chunks) == len(images)
    for chunk in chunks:
        with storage.local_path(chunk.pixels) as path:
            pixels = np.load(path)
        assert pixels.shape == (chunk.count, project.pixel_channels, project.pixel_side, project.pixel_side)
        for image in images[chunk.number * packing.CHUNK_SIZE :][: chunk.count]:
            shown = Picture.open(io.BytesIO(storage.read_range(image.pack.name, image.offset, image.length)))
            assert shown.size == (image.width, image.height)
            if project.pixel_side == image.width and shown.mode == "L" and project.pixel_channels == 1:
                assert (np.asarray(shown) == pixels[image.position % packing.CHUNK_SIZE][0]).all()
    folder = storage.project_folder(project)
    assert set(storage.names_in(f"{folder}/packs")) == set(project.packs.values_list("name", flat=True))
    with mock.patch("labeler.services.leftovers.KEPT", timedelta(days=-1)):
        forget_unnamed_files(project)
    assert set(storage.names_in(f"{folder}/pixels")) == {chunk.pixels for chunk in chunks}
    assert storage.names_in(f"{folder}/staging") == []


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(importing, "CHUNK_SIZE", 10)
    monkeypatch.setattr(packing, "CHUNK_SIZE", 16)


def test_a_zip_of_class_folders_becomes_images(project, manager, tmp_path, small_batches):
    entries = {f"{'cat' if n % 2 else 'dog'}/{n}.png": png(n, 28) for n in range(45)}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.state, job.added, job.done, job.total) == (JobState.DONE, 45, 45, 45)
    assert job.has_offered_labels
    project.refresh_from_db()
    assert (project.pixel_side, project.pixel_channels) == (28, 1)
    check_whole(project)
    assert OfferedLabel.objects.filter(class_name="cat").count() == 22
    assert not Annotation.objects.exists()  # offered, never assumed
    assert project.images.filter(label__isnull=False).count() == 0


def test_the_first_import_makes_the_first_queue(project, manager, tmp_path):
    import_local(project=project, path=make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(9)}), by=manager)
    project.refresh_from_db()
    assert project.queue_round is not None


def test_every_refused_file_has_its_name_and_reason(project, manager, tmp_path):
    entries = {
        "ok.png": png(1),
        "../evil.png": png(2),
        "draw.svg": b"<svg/>",
        "cut.png": png(3)[:40],
        "inner.zip": b"PK\x03\x04",
        "__MACOSX/._ok.png": b"x",
        "<script>alert(1)</script>.png": b"<html>",
    }
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.added, job.refused, job.ignored, job.duplicates) == (1, 5, 1, 0)
    reasons = dict(job.rejected.values_list("name", "reason"))
    assert set(reasons) == set(entries) - {"ok.png", "__MACOSX/._ok.png"}
    assert "SVG" in reasons["draw.svg"]
    assert all(reasons.values())


def test_duplicates_are_recognised_within_and_across_imports(project, manager, tmp_path):
    entries = {"a.png": png(1), "b.png": png(2), "again.png": png(1)}
    first = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (first.added, first.duplicates) == (2, 1)
    entries = {"new.png": png(3), "old.png": png(2), "other.png": png(1)}
    second = import_local(project=project, path=make_zip(tmp_path / "b.zip", entries), by=manager)
    assert (second.added, second.duplicates) == (1, 2)
    row = second.rejected.get(name="old.png")
    assert (row.kind, row.reason) == (RejectedFile.Kind.DUPLICATE, "The same picture as b.png.")
    project.refresh_from_db()
    check_whole(project)


def test_images_of_other_kinds_are_converted_to_the_format_of_the_project(project, manager, tmp_path):
    import_local(project=project, path=make_zip(tmp_path / "a.zip", {"grey.png": png(1, 28)}), by=manager)
    import_local(project=project, path=make_zip(tmp_path / "b.zip", {"c.png": png(2, 90, colour=True)}), by=manager)
    project.refresh_from_db()
    assert (project.pixel_side, project.pixel_channels) == (28, 1)
    check_whole(project)


def test_an_array_file_is_imported_by_part(project, manager, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "mnist.npz"
    x_train, x_test = (rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (30, 10))
    np.savez(path, x_train=x_train, y_train=np.arange(30) % 10, x_test=x_test, y_test=np.arange(10))
    seen = []
    job = import_local(
        project=project, path=path, by=manager, parts=["train"], report=lambda done, total: seen.append((done, total))
    )
    assert (job.added, seen[-1]) == (30, (30, 30))
    image = project.images.get(name="train/00012.png")
    assert image.offered.class_name == "2"
    project.refresh_from_db()
    check_whole(project)


def test_a_folder_is_imported(project, manager, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.JPG").write_bytes(png(len(name) if name == "cat" else 9))
    job = import_local(project=project, path=tmp_path / "photos", by=manager)
    assert (job.state, job.added) == (JobState.DONE, 2)
    assert (tmp_path / "photos" / "cat" / "1.JPG").exists()


def test_an_archive_that_cannot_be_read_is_refused_by_name(project, manager, tmp_path):
    path = tmp_path / "cut.zip"
    path.write_bytes(make_zip(tmp_path / "a.zip", {"a.png": png(1)}).read_bytes()[:60])
    job = import_local(project=project, path=path, by=manager)
    assert (job.state, job.added, job.refused) == (JobState.DONE, 0, 1)
    assert "damaged" in job.rejected.get().reason


def test_the_holdout_is_drawn_image_by_image(project, manager, tmp_path):
    project.learning.holdout_share = 0.3
    project.learning.save()
    path = tmp_path / "x.npz"
    np.savez(path, x=np.random.default_rng(0).integers(0, 256, (2000, 8, 8), dtype=np.uint8))
    import_local(project=project, path=path, by=manager)
    assert 500 < project.images.filter(is_holdout=True).count() < 700  # 600, with a standard deviation of 20


def test_a_full_disk_fails_the_import_in_words_and_keeps_what_was_whole(
    project, manager, tmp_path, monkeypatch, small_batches
):
    write, calls = storage.write_once, []

    def full_at_the_fifth(name, content):
        calls.append(name)
        if len(calls) >= 5:
            raise storage.StorageFull("The disk of the server is full.")
        return write(name, content)

    monkeypatch.setattr(storage, "write_once", full_at_the_fifth)
    path = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 28) for n in range(50)})
    job = import_local(project=project, path=path, by=manager)
    assert job.state == JobState.FAILED
    assert "disk of the server is full" in job.error
    monkeypatch.undo()
    project.refresh_from_db()
    check_files(project)
    job = import_local(project=project, path=path, by=manager)
    assert (job.state, project.images.count()) == (JobState.DONE, 50)


def check_files(project) -> None:
    for chunk in project.chunks.all():
        with storage.local_path(chunk.pixels) as path:
            assert len(np.load(path)) == chunk.count


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


# Uploads


def upload(project, by, path: Path) -> ImportJob:
    job = create_import(project=project, by=by)
    with path.open("rb") as file:
        add_whole_file(job=job, name=path.name, size=path.stat().st_size, file=file)
    finish_upload(job=job)
    return job


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
    assert woken == [("labeler.run_import", job.pk)]
    assert claim_job(model=ImportJob, job_id=job.pk) is not None
    assert claim_job(model=ImportJob, job_id=job.pk) is None  # somebody has it
    ImportJob.objects.update(heartbeat_at=long_ago)
    assert claim_job(model=ImportJob, job_id=job.pk).attempts == 2
    ImportJob.objects.update(heartbeat_at=long_ago, attempts=settings.ROUND_ATTEMPTS)
    resume_stalled(model=ImportJob, task_name="labeler.run_import")
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "died" in job.error


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


# Offered labels


def test_offered_labels_become_classes_and_answers_only_when_taken(project, manager, tmp_path):
    entries = {f"{name}/{n}.png": png(10 * at + n) for at, name in enumerate(("cat", "fox")) for n in range(4)}
    import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert take_offered_labels(project=project, by=manager) == 4  # cat is a class, fox is none
    assert make_offered_classes(project=project, names=["fox", "Cat"]) == 1
    assert take_offered_labels(project=project, by=manager) == 4
    assert take_offered_labels(project=project, by=manager) == 0
    assert project.images.filter(state=ImageState.LABELLED).count() == 8
    assert all(image.label.name == image.offered.class_name for image in project.images.select_related("label"))
    assert Annotation.objects.filter(annotator=manager).count() == 8


def test_offered_labels_count_as_one_answer_of_several(project, manager, tmp_path):
    project.learning.overlap = 2
    project.learning.save()
    entries = {"cat/1.png": png(1), "dog/2.png": png(2)}
    import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert take_offered_labels(project=project, by=manager) == 2
    assert project.images.filter(state=ImageState.POOL).count() == 2


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


def test_a_pixel_file_that_an_import_replaced_stays_for_a_day(project, manager, tmp_path) -> None:
    """A backup reads the database first and copies the files after it: what it names must still be there."""
    import_local(project=project, path=make_zip(tmp_path / "a.zip", {"1.png": png(1)}), by=manager)
    before = project.chunks.get().pixels
    import_local(project=project, path=make_zip(tmp_path / "b.zip", {"2.png": png(2)}), by=manager)
    after = project.chunks.get().pixels
    assert before != after
    assert default_storage.exists(before)
    long_ago = time.time() - 2 * 86400
    for name in (before, after):
        os.utime(default_storage.path(name), (long_ago, long_ago))
    round_ = Round.objects.create(
        project=project, number=99, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.SCORING
    )
    chunk = RoundChunk.objects.create(round=round_, chunk=project.chunks.get(), count=1, pixels=before)
    assert forget_unnamed_files(project) == 0  # a round reads it
    chunk.delete()
    round_.delete()
    assert forget_unnamed_files(project) == 1
    assert not default_storage.exists(before)
    assert default_storage.exists(after)


def test_a_failed_import_is_tried_again_without_a_new_upload(
    project, manager, annotator, client_of, tmp_path, monkeypatch, small_batches
) -> None:
    write, calls = storage.write_once, []

    def full_at_the_fifth(name, content):
        calls.append(name)
        if len(calls) >= 5:
            raise storage.StorageFull("The disk of the server is full.")
        return write(name, content)

    job = upload(project, manager, make_zip(tmp_path / "a.zip", {f"{n}.png": png(n, 28) for n in range(50)}))
    monkeypatch.setattr(storage, "write_once", full_at_the_fifth)
    run_import(job_id=job.pk)
    monkeypatch.undo()
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


def test_the_progress_moves_within_a_batch(project, manager, client_of, tmp_path, monkeypatch) -> None:
    """Two thousand photos are one batch: without this the page stood at 0 until all were in."""
    job = upload(project, manager, make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(40)}))
    seen = []
    monkeypatch.setattr(importing, "GROUP_ENTRIES", 10)
    monkeypatch.setattr("labeler.services.jobs.BEAT_SECONDS", 0)
    store = importing.store_batch

    def look_and_store(**values):
        seen.append(client_of(manager).get(f"/p/signs/imports/{job.pk}/").content.decode())
        return store(**values)

    monkeypatch.setattr(importing, "store_batch", look_and_store)
    run_import(job_id=job.pk)
    assert len(seen) == 1
    assert "40 of 40 files" in seen[0]
    assert "a second" in seen[0]
    job.refresh_from_db()
    assert (job.done, job.loading) == (40, 0)
