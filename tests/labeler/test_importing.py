"""The import as a whole: rows, files, duplicates, refusals, progress."""

from __future__ import annotations

import numpy as np

from labeler.models import (
    Annotation,
    JobState,
    OfferedLabel,
    RejectedFile,
)
from labeler.services import importing
from labeler.services.importing import import_local, run_import
from tests.labeler.imports import check_whole, make_zip, png, upload


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


def test_the_holdout_leaves_an_image_to_learn_from(project, manager, tmp_path):
    """All are drawn into it but the one that was drawn last, whichever that is; with one to learn from it takes all."""
    project.learning.holdout_share = 0.9
    project.learning.save()
    left_out = set()
    for batch in range(30):
        project.images.all().delete()
        entries = {f"{n}.png": png(3 * batch + n) for n in range(3)}
        import_local(project=project, path=make_zip(tmp_path / f"{batch}.zip", entries), by=manager)
        names = list(project.images.filter(is_holdout=False).values_list("name", flat=True))
        assert names
        left_out |= set(names)
    assert left_out == {"0.png", "1.png", "2.png"}


def test_a_single_image_is_learned_from_and_the_next_may_be_holdout(project, manager, tmp_path):
    project.learning.holdout_share = 0.9
    project.learning.save()
    for number in range(20):
        path = make_zip(tmp_path / f"{number}.zip", {"a.png": png(number)})
        import_local(project=project, path=path, by=manager)
    in_order = list(project.images.values_list("is_holdout", flat=True))
    assert in_order[0] is False
    assert 10 <= sum(in_order) <= 19


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
