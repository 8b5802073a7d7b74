"""The import pages over HTTP: who may, in parts and as a form, resumed, repeated, escaped."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from labeler.models import ImportJob, JobState, OfferedLabel, RejectedFile
from labeler.services.importing import import_local, run_import
from labeler.services.uploads import add_whole_file, create_import, finish_upload
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db
JSON = {"headers": {"accept": "application/json"}}
XSS = "<script>alert(1)</script>.png"


@pytest.fixture
def job(project, manager) -> ImportJob:
    return ImportJob.objects.create(project=project, created_by=manager, state=JobState.UPLOADING)


def part(client, job, name, data, *, size=None, offset=0):
    query = {"name": name, "size": len(data) if size is None else size, "offset": offset}
    url = reverse("import-part", args=[job.project.slug, job.pk], query=query)
    return client.post(url, data, content_type="application/octet-stream", **JSON)


def look_and_start(client, job) -> str:
    """Let a worker look, press the button, let it import. Returns the page in between."""
    run_import(job_id=job.pk)
    page = client.get(reverse("import", args=[job.project.slug, job.pk])).content.decode()
    client.post(reverse("import-start", args=[job.project.slug, job.pk]))
    run_import(job_id=job.pk)
    return page


ADDRESSES = [
    ("get", "imports", False),
    ("get", "import-new", False),
    ("post", "import-new", False),
    ("get", "import", True),
    ("post", "import-part", True),
    ("post", "import-finish", True),
    ("post", "import-cancel", True),
    ("get", "import-rejected", True),
    ("post", "import-labels", True),
    ("post", "import-start", True),
    ("post", "import-columns", True),
]


@pytest.mark.parametrize(("method", "name", "has_job"), ADDRESSES)
def test_managers_only(project, job, annotator, stranger, client, client_of, method, name, has_job):
    url = reverse(name, args=[project.slug, job.pk] if has_job else [project.slug])
    assert getattr(client, method)(url).status_code == 302
    assert getattr(client_of(stranger), method)(url).status_code == 404
    assert getattr(client_of(annotator), method)(url).status_code == 403
    job.refresh_from_db()
    assert (job.state, ImportJob.objects.count()) == (JobState.UPLOADING, 1)


@pytest.mark.parametrize(("method", "name", "has_job"), [row for row in ADDRESSES if row[2]])
def test_an_import_of_another_project_is_not_found(project, job, manager, client_of, make_user, method, name, has_job):
    from labeler.models import LearningConfig, Membership, Project

    other = Project.objects.create(name="Other", slug="other")
    LearningConfig.objects.create(project=other)
    Membership.objects.create(project=other, user=manager, role="manager")
    assert getattr(client_of(manager), method)(reverse(name, args=["other", job.pk])).status_code == 404


def test_wrong_methods_are_refused(project, job, manager, client_of):
    client = client_of(manager)
    for name in ("import-part", "import-finish", "import-cancel", "import-labels", "import-start", "import-columns"):
        assert client.get(reverse(name, args=[project.slug, job.pk])).status_code == 405
    assert client.post(reverse("import", args=[project.slug, job.pk])).status_code == 405
    assert client.delete(reverse("import-new", args=[project.slug])).status_code == 405


def test_the_page_and_its_parts_over_http(project, manager, client_of, tmp_path):
    client = client_of(manager)
    assert b"data-upload" in client.get(reverse("import-new", args=[project.slug])).content
    opened = client.post(reverse("import-new", args=[project.slug]), **JSON).json()
    job = ImportJob.objects.get(pk=opened["id"])
    data = make_zip(tmp_path / "a.zip", {f"cat/{n}.png": png(n) for n in range(3)} | {"dog/9.png": png(9)}).read_bytes()
    assert part(client, job, "a.zip", data[:50], size=len(data)).json() == {"received": 50}
    wrong = part(client, job, "a.zip", data[:50], size=len(data))
    assert (wrong.status_code, wrong.json()["received"]) == (409, 50)
    assert client.post(opened["finish"], **JSON).status_code == 400
    assert part(client, job, "a.zip", data[50:], size=len(data), offset=50).json() == {"received": len(data)}
    for _ in range(2):  # a double finish
        assert client.post(opened["finish"], **JSON).json() == {"page": opened["page"]}
    page = client.get(opened["page"]).content.decode()
    assert "hx-get" in page
    assert "No importer is alive" in page
    assert "worker --queues imports" in page
    look_and_start(client, job)
    page = client.get(opened["page"]).content.decode()
    assert "hx-get" not in page
    assert "Make 0 class" not in page
    assert "Take 4 of them as your answers" in page
    partial = client.get(opened["page"], headers={"hx-request": "true"}).content.decode()
    assert "<html" not in partial
    assert "hx-get" not in partial


def test_a_part_with_bad_numbers_or_too_many_bytes_is_refused(project, job, manager, client_of, settings):
    client = client_of(manager)
    url = reverse("import-part", args=[project.slug, job.pk])
    for query in ("", "?name=a&size=x&offset=0", "?name=a&size=-1&offset=0", "?name=&size=1&offset=0"):
        assert client.post(url + query, b"x", content_type="application/octet-stream").status_code == 400
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 80_000
    assert part(client, job, "a", b"0" * 80_001).status_code == 413
    assert not job.files.exists()


def test_a_full_disk_is_told(project, job, manager, client_of, monkeypatch):
    from labeler import storage

    def full(*_):
        raise storage.StorageFull("The disk of the server is full.")

    monkeypatch.setattr(storage, "stage", full)
    answer = part(client_of(manager), job, "a", b"x")
    assert (answer.status_code, answer.json()["error"]) == (507, "The disk of the server is full.")


def test_a_plain_form_without_javascript(project, manager, client_of):
    client = client_of(manager)
    url = reverse("import-new", args=[project.slug])
    files = [
        SimpleUploadedFile("a.png", png(1)),
        SimpleUploadedFile("a.png", png(2)),
        SimpleUploadedFile("b.JPG", png(3)),
    ]
    answer = client.post(url, {"files": files})
    job = ImportJob.objects.get()
    assert answer.url == reverse("import", args=[project.slug, job.pk])
    assert job.state == JobState.QUEUED
    look_and_start(client, job)
    job.refresh_from_db()
    assert job.added == 3
    assert b"Choose at least one file" in client.post(url, {}).content


def test_too_many_unfinished_imports_are_told(project, job, manager, client_of, settings):
    settings.IMPORTS_PER_USER = 1
    url = reverse("import-new", args=[project.slug])
    assert "1 unfinished imports" in client_of(manager).post(url, **JSON).json()["error"]
    answer = client_of(manager).post(url, {"files": [SimpleUploadedFile("a.png", png(1))]})
    assert answer.status_code == 400
    assert b"1 unfinished imports" in answer.content


def test_cancelling_an_upload_deletes_what_was_staged(project, job, manager, client_of, settings):
    client = client_of(manager)
    part(client, job, "a.zip", b"x" * 100)
    for _ in range(2):
        assert client.post(reverse("import-cancel", args=[project.slug, job.pk])).status_code == 302
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert part(client, job, "a.zip", b"x", size=100, offset=100).status_code == 400
    assert not [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]


def test_names_are_text_and_never_markup_or_paths(project, job, manager, client_of, settings):
    client = client_of(manager)
    for name in (XSS, "../../../etc/passwd", "C:\\x\x00y"):
        assert part(client, job, name, b"<html>").status_code == 200
    assert all(file.staged.startswith(f"projects/{project.pk}/staging/") for file in job.files.all())
    client.post(reverse("import-finish", args=[project.slug, job.pk]))
    look_and_start(client, job)
    page = client.get(reverse("import", args=[project.slug, job.pk])).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert job.rejected.count() == 3


def test_refused_files_as_csv_hold_no_formulas(project, job, manager, client_of):
    for name in ("=cmd|' /C calc'!A0.png", "+1", "-1", "@x", "plain.png"):
        RejectedFile.objects.create(job=job, kind="refused", name=name, reason="no image")
    answer = client_of(manager).get(reverse("import-rejected", args=[project.slug, job.pk]))
    assert f'attachment; filename="{project.slug}-import-20' in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert rows[0] == ["file", "what", "reason"]
    assert [row[0][0] for row in rows[1:]] == ["'", "'", "'", "'", "p"]


def test_refused_files_are_paged(project, job, manager, client_of, django_assert_max_num_queries):
    ImportJob.objects.update(refused=120, state=JobState.DONE)
    RejectedFile.objects.bulk_create(
        RejectedFile(job=job, kind="refused", name=f"{n:03}.png", reason="no image") for n in range(120)
    )
    client = client_of(manager)
    url = reverse("import", args=[project.slug, job.pk])
    with django_assert_max_num_queries(8):
        page = client.get(url).content.decode()
    assert "000.png" in page
    assert "050.png" not in page
    last = RejectedFile.objects.get(name="099.png").pk
    assert "119.png" in client.get(url, {"after": last}).content.decode()
    assert "None of this kind" in client.get(url, {"kind": "duplicate"}).content.decode()
    assert client.get(url, {"after": "x", "kind": "y' OR 1"}).status_code == 200


def test_labels_are_taken_by_a_button(project, job, manager, client_of, make_images):
    ImportJob.objects.update(has_offered_labels=True, state=JobState.DONE)
    for image, name in zip(make_images(project, 3), ("cat", "fox", "fox"), strict=True):
        OfferedLabel.objects.create(image=image, class_name=name)
    client = client_of(manager)
    url = reverse("import-labels", args=[project.slug, job.pk])
    page = client.get(reverse("import", args=[project.slug, job.pk])).content.decode()
    assert "Make 1 class of" in page
    assert "<bdi>fox</bdi> (2)" in page  # a count stays beside its name where names run from right to left
    assert client.post(url, {"do": "nonsense"}).status_code == 400
    for _ in range(2):
        client.post(url, {"do": "classes"})
    assert project.classes.filter(name="fox").count() == 1
    for _ in range(2):
        client.post(url, {"do": "answers"})
    assert project.annotations.count() == 3


def test_the_list_of_imports(project, job, manager, client_of):
    page = client_of(manager).get(reverse("imports", args=[project.slug])).content.decode()
    assert (
        reverse("import", args=[project.slug, job.pk]) in page and f"{timezone.localtime(job.created_at):%H:%M}" in page
    )
    ImportJob.objects.all().delete()
    assert "No images yet" in client_of(manager).get(reverse("imports", args=[project.slug])).content.decode()


EMPTY = b"PK\x05\x06" + b"\0" * 18


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"a.zip": EMPTY}, "a.zip: The archive holds nothing."),
        ({"a.zip": b""}, "a.zip: "),
        ({"a.zip": b"just words"}, "a.zip: This is a text file, not a zip archive."),
        ({"a.zip": bytes(range(200, 256))}, "a.zip: This is not a zip archive."),
        (
            {"a.zip": EMPTY, "b.zip": EMPTY},
            "each of the 2 files was refused. The first, a.zip: The archive holds nothing.",
        ),
    ],
)
def test_an_import_that_adds_nothing_says_why(project, manager, client_of, entries, why):
    job = create_import(project=project, by=manager)
    for name, data in entries.items():
        add_whole_file(job=job, name=name, size=len(data), file=io.BytesIO(data))
    finish_upload(job=job)
    run_import(job_id=job.pk)
    client = client_of(manager)
    for url in (reverse("import", args=[project.slug, job.pk]), reverse("imports", args=[project.slug])):
        html = client.get(url).content.decode()
        assert '<span class="tag tag-warn">added nothing</span>' in html
        assert "No image was added" in html
        assert why in html, html


def test_folders_alone_what_systems_leave_and_duplicates_are_told_apart(project, manager, tmp_path):
    folders = make_zip(tmp_path / "folders.zip", {"cats/": b""})
    litter = make_zip(tmp_path / "litter.zip", {".DS_Store": b"x"})
    good = make_zip(tmp_path / "good.zip", {"a.png": png(1)})
    jobs = [import_local(project=project, path=path, by=manager) for path in (folders, litter, good, good)]
    assert [job.state for job in jobs] == ["done"] * 4
    assert jobs[0].error.endswith("The archive holds folders and no file.")
    assert "what operating systems leave" in jobs[1].error
    assert jobs[2].error == ""
    assert jobs[3].error == "No image was added: 1 is in the project already."


def test_new_classes_beside_others_are_warned_of(project, manager, client_of, tmp_path):
    """A project of words into which numbers come would have each class twice."""
    job = import_local(
        project=project, path=make_zip(tmp_path / "a.zip", {"7/a.png": png(1), "8/b.png": png(2)}), by=manager
    )
    page = client_of(manager).get(reverse("import", args=[project.slug, job.pk])).content.decode()
    assert "Make 2 classes" in page and "The project has classes already" in page
    project.classes.all().delete()
    page = client_of(manager).get(reverse("import", args=[project.slug, job.pk])).content.decode()
    assert "Make 2 classes" in page and "The project has classes already" not in page


def test_while_a_batch_is_read_it_says_what_is_read_and_what_is_stored(job, manager, client_of):
    ImportJob.objects.update(state=JobState.RUNNING, started_at=timezone.now(), total=2062, loading=1948)
    text = client_of(manager).get(reverse("import", args=["signs", job.pk])).content.decode()
    assert "1,948 of 2,062 files read" in text
    assert "<dt>Added</dt><dd>0</dd>" in text
    assert "<dt>Read, stored in a moment</dt><dd>1,948</dd>" in text
    ImportJob.objects.update(loading=0, done=1948, added=1948)
    assert (
        "stored in a moment" not in client_of(manager).get(reverse("import", args=["signs", job.pk])).content.decode()
    )


def test_a_jpeg_that_is_called_png_is_taken_and_the_page_says_so(project, manager, client_of, tmp_path):
    from PIL import Image as Picture

    Picture.new("L", (30, 30), 7).save(tmp_path / "lie.jpg")
    path = make_zip(tmp_path / "a.zip", {"lie.png": (tmp_path / "lie.jpg").read_bytes()})
    assert import_local(project=project, path=path, by=manager).added == 1
    text = client_of(manager).get(reverse("import-new", args=["signs"])).content.decode()
    assert "a JPEG that is called .png is taken as a JPEG" in text


def test_nothing_is_imported_before_somebody_has_seen_what_is_in_it(project, job, manager, client_of, tmp_path):
    client = client_of(manager)
    start = reverse("import-start", args=[project.slug, job.pk])
    table = (
        "path,label,site,<b>\n"
        + "".join(f"{n}.png,{XSS if n else 'cat'},north,x\n" for n in range(4))
        + "x.png,cat,,\n"
    )
    entries = {f"{n}.png": png(n) for n in range(4)} | {
        "t.csv": table.encode(),
        "bad.png": b"text",
        "again.png": png(1),
    }
    data = make_zip(tmp_path / "a.zip", entries).read_bytes()
    part(client, job, "a.zip", data)
    client.post(start)  # too early: the upload was never finished
    job.refresh_from_db()
    assert (job.state, job.found) == (JobState.UPLOADING, None)
    client.post(reverse("import-finish", args=[project.slug, job.pk]))
    run_import(job_id=job.pk)
    url = reverse("import", args=[project.slug, job.pk])
    page = client.get(url).content.decode()
    assert "ready to start" in page and "hx-get" not in page
    assert "4 new, 1 in the project already, 2 refused" in page
    assert "CSV, 5 rows; “path” names the image, “label” is the label" in page
    assert "cat</bdi> (1)" in page and "&lt;script&gt;" in page and XSS not in page and "<bdi><b></bdi>" not in page
    assert "A table names it, but there is no file" in page
    assert "What would be left out" in page and "their images are taken" not in page
    assert client.get(url, headers={"hx-request": "true"}).headers["HX-Refresh"] == "true"
    assert not project.images.exists() and not RejectedFile.objects.exists()
    assert part(client, job, "late.png", png(7)).status_code == 400
    listed = client.get(reverse("imports", args=[project.slug])).content.decode()
    assert "ready to start" in listed
    for _ in range(2):
        assert client.post(start).status_code == 302
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert (job.state, job.added, job.duplicates, job.refused) == (JobState.DONE, 4, 1, 2)


def test_images_whose_label_alone_is_left_out_are_not_called_left_out(project, job, manager, client_of, tmp_path):
    lines = [{"path": "0.png", "labels": ["a", "b"]}, {"path": "1.png", "labels": ["a"]}]
    entries = {f"{n}.png": png(n) for n in range(2)} | {"t.jsonl": "\n".join(map(json.dumps, lines)).encode()}
    client = client_of(manager)
    part(client, job, "a.zip", make_zip(tmp_path / "a.zip", entries).read_bytes())
    client.post(reverse("import-finish", args=[project.slug, job.pk]))
    run_import(job_id=job.pk)
    page = client.get(reverse("import", args=[project.slug, job.pk])).content.decode()
    assert "What would be left out" not in page
    after = page.split("Labels and answers that would be left out; their images are taken")[1]
    assert "0.png" in after and "Several classes are named for it (a, b)" in after


def test_what_was_only_looked_at_can_be_thrown_away(project, job, manager, client_of, tmp_path, settings):
    client = client_of(manager)
    part(client, job, "a.zip", make_zip(tmp_path / "a.zip", {"a.png": png(1)}).read_bytes())
    client.post(reverse("import-finish", args=[project.slug, job.pk]))
    run_import(job_id=job.pk)
    client.post(reverse("import-cancel", args=[project.slug, job.pk]))
    job.refresh_from_db()
    assert (job.state, project.images.count()) == (JobState.CANCELLED, 0)
    assert not [path for path in settings.MEDIA_ROOT.rglob("*") if path.is_file()]


def test_a_look_reads_no_more_than_it_says(project, job, manager, client_of, tmp_path, monkeypatch):
    monkeypatch.setattr("labeler.services.import_look.ENTRIES", 10)
    monkeypatch.setattr("labeler.services.import_look.READ", 3)
    client = client_of(manager)
    entries = {f"{'ab'[n % 2]}/{n}.png": png(n) for n in range(40)}
    part(client, job, "a.zip", make_zip(tmp_path / "a.zip", entries).read_bytes())
    client.post(reverse("import-finish", args=[project.slug, job.pk]))
    page = look_and_start(client, job)
    assert "at least 40" in page
    assert "Of the first 3 opened" in page and "counted on the first 10" in page
    job.refresh_from_db()
    assert job.added == 40
