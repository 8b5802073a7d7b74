"""Files that nothing names any more: they stay for a day after they were replaced, for backups, and then go."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from labeler import storage
from labeler.models import Round, RoundChunk, RoundState, Trigger
from labeler.services import packing
from labeler.services.importing import import_local
from labeler.services.leftovers import forget_unnamed_files
from tests.labeler.imports import make_zip, png


def age(*names: str, days: float = 2) -> None:
    long_ago = time.time() - days * 86400
    for name in names:
        os.utime(default_storage.path(name), (long_ago, long_ago))


@pytest.fixture
def grow(project, manager, tmp_path):
    """Import one more image; the pixel file before and after."""
    count = iter(range(100))

    def _grow() -> tuple[str, str]:
        before = project.chunks.values_list("pixels", flat=True).first() or ""
        number = next(count)
        job = import_local(
            project=project, path=make_zip(tmp_path / f"{number}.zip", {f"{number}.png": png(number)}), by=manager
        )
        assert (job.error, job.added) == ("", 1)
        return before, project.chunks.get().pixels

    return _grow


def test_the_day_begins_when_a_file_is_replaced_and_not_when_it_was_written(project, grow) -> None:
    """A backup that read the database just before the import copies a file that was written long ago."""
    _, old = grow()
    age(old, days=30)
    grow()
    assert default_storage.exists(old)
    assert forget_unnamed_files(project) == 0
    age(old)
    assert forget_unnamed_files(project) == 1
    assert not default_storage.exists(old)


def test_what_killed_imports_and_exports_left_goes_after_a_day(project, grow) -> None:
    _, pixels = grow()
    left = [storage.new_name(project, group, "x") for group in ("packs", "pixels", "exports")]
    for name in left:
        storage.write_once(name, b"x")
    named = [pixels, project.packs.get().name]
    age(*named)
    half = f"{storage.project_folder(project)}/packs/.x.0123.part"
    Path(default_storage.path(half)).touch()
    assert forget_unnamed_files(project) == 0
    age(*left, half)
    assert forget_unnamed_files(project) == 4
    assert all(default_storage.exists(name) for name in named)


def test_what_a_round_of_the_last_day_read_stays(project, grow) -> None:
    """A backup may know the round as unfinished."""
    grow()
    old, _ = grow()
    age(old)
    round_ = Round.objects.create(
        project=project, number=99, trigger=Trigger.BUTTON, reason="x", seed=1, state=RoundState.SCORING
    )
    RoundChunk.objects.create(round=round_, chunk=project.chunks.get(), count=1, pixels=old)
    assert forget_unnamed_files(project) == 0
    round_.state, round_.finished_at = RoundState.DONE, timezone.now()
    round_.save()
    assert forget_unnamed_files(project) == 0
    round_.finished_at -= timedelta(days=2)
    round_.save()
    assert forget_unnamed_files(project) == 1


def test_another_import_may_delete_its_file_while_this_one_plans(project, grow, monkeypatch) -> None:
    """It looked like an upload that is gone; what is due is a new plan."""
    grow()
    stale = project.chunks.get()
    grow()
    default_storage.delete(stale.pixels)
    with pytest.raises(packing.StalePlan):
        packing._read_pixels(stale)


def test_missing_pixels_are_told_and_the_upload_can_be_tried_again(project, grow) -> None:
    _, pixels = grow()
    default_storage.delete(pixels)
    with pytest.raises(storage.StorageError, match="pixels of chunk 0 are missing"):
        packing._read_pixels(project.chunks.get())
