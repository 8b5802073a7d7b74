"""What an import leaves out is named up to a bound and counted without one."""

from __future__ import annotations

import csv
import io

import pytest

from labeler.models import ImportJob, JobState, RejectedFile
from labeler.models.jobs import MOST_NAMED
from labeler.services.importing import import_local
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db
Kind = RejectedFile.Kind


@pytest.fixture
def few_names(monkeypatch) -> None:
    for kind, most in {Kind.DUPLICATE: 15, Kind.REFUSED: 12, Kind.UNLABELLED: 3}.items():
        monkeypatch.setitem(MOST_NAMED, kind, most)


@pytest.fixture
def job(project, manager, tmp_path, small_batches, few_names) -> ImportJob:
    """One image 48 times over, 25 files that are none, in batches of ten."""
    entries = {f"{number:02}.png": png(7) for number in range(48)}
    entries |= {f"x{number:02}.png": b"no image" for number in range(25)}
    return import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)


def test_counts_are_exact_and_names_are_few(job) -> None:
    assert (job.state, job.added, job.duplicates, job.refused) == (JobState.DONE, 1, 47, 25)
    assert job.rejected.filter(kind=Kind.DUPLICATE).count() == 15
    assert job.rejected.filter(kind=Kind.REFUSED).count() == 12
    assert (job.unnamed, job.unnamed_count) == ({Kind.DUPLICATE: 32, Kind.REFUSED: 13}, 45)
    names = list(job.rejected.filter(kind=Kind.REFUSED).values_list("name", flat=True))
    assert names == [f"x{number:02}.png" for number in range(12)]  # the first ones


def test_exactly_as_many_as_are_named_leave_nothing_unnamed(project, manager, tmp_path, few_names) -> None:
    entries = {f"{number:02}.png": png(7) for number in range(16)}
    found = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (found.duplicates, found.rejected.count(), found.unnamed) == (15, 15, {})


def test_labels_that_were_left_out_are_counted(project, manager, tmp_path, few_names) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rows = ["file,label"]
    for number in range(5):
        (folder / f"{number}.png").write_bytes(png(number))
        rows += [f"{number}.png,a", f"{number}.png,b"]  # two classes: neither is offered
    (folder / "labels.csv").write_text("\n".join(rows))
    found = import_local(project=project, path=folder, by=manager)
    assert (found.added, found.unlabelled) == (5, 5)
    assert found.rejected.filter(kind=Kind.UNLABELLED).count() == 3 and found.unnamed == {Kind.UNLABELLED: 2}


def test_the_page_and_the_table_say_how_many_more(job, client_of, manager) -> None:
    client, at = client_of(manager), f"/p/signs/imports/{job.pk}/"
    assert "And 45 more, which are counted and not named." in client.get(at).content.decode()
    assert "And 32 more" in client.get(at, {"kind": "duplicate"}).content.decode()
    assert "more, which" not in client.get(at, {"kind": "unlabelled"}).content.decode()
    text = b"".join(client.get(f"{at}rejected/").streaming_content).decode()
    lines = list(csv.reader(io.StringIO(text)))
    assert len(lines) == 1 + 15 + 12 + 2
    assert lines[-1][2] == "32 more, which are counted and not named." or lines[-2][2].startswith("32 more")
