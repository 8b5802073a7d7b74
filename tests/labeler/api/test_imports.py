"""Images in by the API: looked at first, from folders and buckets, with what people answered elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from labeler.models import Annotation, ImportFile, ImportJob, LabelClass
from labeler.services.importing import import_local, run_import
from tests.labeler.imports import make_zip, png
from tests.labeler.test_label_studio_import import EXPORT, FILES

pytestmark = pytest.mark.django_db
IMPORTS = "/projects/signs/imports"


@pytest.fixture
def root(settings, tmp_path) -> Path:
    folder = tmp_path / "shared"
    for n, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{n}.png").write_bytes(png(n))
    settings.IMPORT_ROOTS = [str(folder)]
    return folder


def test_a_folder_of_the_server_is_looked_at_and_then_brought_in(project, as_manager, root) -> None:
    made = as_manager.post(f"{IMPORTS}/folder", {"path": str(root), "looks_first": True})
    assert made.status_code == 201, made.content
    one = f"{IMPORTS}/{made.json()['id']}"
    run_import(job_id=made.json()["id"])
    looked = as_manager.get(one).json()
    assert looked["is_ready"] and looked["found"]["entries"] == 2 and looked["added"] == 0
    assert sorted(looked["found"]["labels"]) == [["cat", 1], ["dog", 1]]
    assert as_manager.post(f"{one}/finish").json()["state"] == "queued"
    run_import(job_id=made.json()["id"])
    done = as_manager.get(one).json()
    assert (done["state"], done["added"], done["is_ready"]) == ("done", 2, False)


def test_what_lies_elsewhere_is_refused_in_words(project, as_manager, root, tmp_path) -> None:
    for path in (str(tmp_path), str(root / ".." / "other"), "/etc"):
        reply = as_manager.post(f"{IMPORTS}/folder", {"path": path})
        assert reply.status_code == 422 and "no such folder" in reply.json()["detail"]
        assert [error["field"] for error in reply.json()["errors"]] == ["path"]
    assert not ImportJob.objects.exists()


@pytest.mark.parametrize(
    ("place", "words", "field"),
    [
        ({"name": "photos"}, "IMPORT_S3_BUCKETS", "name"),
        (
            {"name": "photos", "endpoint": "http://169.254.169.254", "key_id": "k", "secret": "hidden"},
            "169.254.169.254",
            "endpoint",
        ),
        ({"name": "photos", "endpoint": "https://store.example.org/a"}, "address of the server alone", "endpoint"),
        ({"name": "p", "endpoint": "https://store.example.org"}, "3 to 63", "name"),
        ({"name": "photos", "endpoint": "https://store.example.org", "key_id": "k"}, "key and secret", "secret"),
        ({"name": "photos", "endpoint": "https://store.example.org", "secret": "hidden"}, "key and secret", "key_id"),
    ],
)
def test_buckets_that_must_not_be_asked_are_refused(project, as_manager, place, words, field) -> None:
    reply = as_manager.post(f"{IMPORTS}/bucket", place)
    assert reply.status_code == 422 and words in reply.json()["detail"]
    assert [error["field"] for error in reply.json()["errors"]] == [field]
    assert "hidden" not in reply.content.decode()
    assert not ImportJob.objects.exists()


def test_where_no_folder_at_all_is_taken_no_field_is_wrong(project, as_manager) -> None:
    reply = as_manager.post(f"{IMPORTS}/folder", {"path": "/data"})
    assert (reply.status_code, reply.json()["errors"]) == (409, []) and "IMPORT_ROOTS" in reply.json()["detail"]


def test_a_buckets_secret_is_in_no_reply(project, as_manager) -> None:
    place = {"name": "photos", "endpoint": "https://store.example.org", "key_id": "k", "secret": "hidden"}
    made = as_manager.post(f"{IMPORTS}/bucket", place)
    assert made.status_code == 201, made.content
    for reply in (made, as_manager.get(f"{IMPORTS}/{made.json()['id']}"), as_manager.get(IMPORTS)):
        assert "hidden" not in reply.content.decode()
    assert "hidden" not in str(ImportFile.objects.get().place)


def test_what_people_answered_elsewhere_stands_under_their_names(project, manager, as_manager, tmp_path) -> None:
    path = make_zip(tmp_path / "a.zip", {**FILES, "export.json": EXPORT.read_bytes()})
    job = import_local(project=project, path=path, by=manager)
    for name in ("Cat", "Dog"):
        LabelClass.objects.get_or_create(project=project, name=name.lower(), defaults={"order": 9})
    reply = as_manager.post(f"{IMPORTS}/{job.pk}/labels", {"take": "people"})
    assert reply.status_code == 200 and reply.json()["changed"], reply.content
    names = set(Annotation.objects.values_list("annotator__username", flat=True))
    assert names and manager.username not in names
    again = as_manager.post(f"{IMPORTS}/{job.pk}/labels", {"take": "people"}).json()
    assert not again["changed"]
    kinds = as_manager.get(f"{IMPORTS}/{job.pk}/refusals?kind=unlabelled").json()["items"]
    assert {row["kind"] for row in kinds} == {"unlabelled"}


def test_what_is_counted_and_not_named_is_said(project, as_manager) -> None:
    job = ImportJob.objects.create(project=project, state="done", duplicates=299_999, refused=3, unlabelled=10_001)
    said = as_manager.get(f"/projects/signs/imports/{job.pk}").json()
    assert (said["duplicates"], said["unlabelled"], said["unnamed"]) == (299_999, 10_001, 298_999 + 1)
