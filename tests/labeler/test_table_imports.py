"""Imports with tables: beside images, alone with addresses, repeated, killed; what they say of images on the pages."""

from __future__ import annotations

import http.server
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator

import pytest
from django.urls import reverse

from labeler.models import ImageMetadata, ImportFile, ImportJob, JobState, OfferedLabel
from labeler.services import fetching, importing
from labeler.services.import_places import import_folder
from labeler.services.importing import import_local, run_import
from labeler.services.jobs import ClaimLost
from labeler.services.uploads import add_whole_file, create_import, finish_upload
from tests.labeler.imports import check_whole, make_zip, png, upload

pytestmark = pytest.mark.django_db
XSS = "<script>alert(1)</script>"


def lose_at_the_third_batch(job: ImportJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that goes after two batches and is lost."""
    store, calls = importing.store_batch, []

    def lost(**batch):
        if len(calls) == 2:
            raise ClaimLost
        calls.append(1)
        store(**batch)

    with monkeypatch.context() as patch:
        patch.setattr(importing, "store_batch", lost)
        run_import(job_id=job.pk)


def offered(project) -> dict[str, str]:
    return dict(OfferedLabel.objects.filter(image__project=project).values_list("image__name", "class_name"))


def metadata(project) -> dict[str, dict]:
    return dict(ImageMetadata.objects.filter(image__project=project).values_list("image__name", "values"))


def refused(job) -> dict[str, str]:
    return dict(job.rejected.values_list("name", "reason"))


def test_a_table_in_a_zip_labels_the_images_beside_it(project, manager, tmp_path):
    table = "file,label,site\nimg/1.png,cat,north\n2.png,dog,\nmissing.png,cat,x\n../3.png,dog,x\n"
    entries = {"ds/labels.csv": table.encode(), **{f"ds/img/{n}.png": png(n) for n in range(1, 5)}}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.state, job.added, job.refused, job.done, job.total) == (JobState.DONE, 4, 2, 6, 6)
    assert offered(project) == {"ds/img/1.png": "cat", "ds/img/2.png": "dog"}
    assert metadata(project) == {"ds/img/1.png": {"site": "north"}}
    assert job.columns == ["site"]
    assert "no file" in refused(job)["missing.png"]
    assert "points out" in refused(job)["../3.png"]
    project.refresh_from_db()
    check_whole(project)


def test_a_table_beside_an_archive_labels_what_is_in_it(project, manager, tmp_path):
    job = create_import(project=project, by=manager)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        for n in range(3):
            (tmp_path / f"{n}.png").write_bytes(png(n))
            file.add(tmp_path / f"{n}.png", f"{n}.png")
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"path": f"{n}.png", "label": n}) for n in range(3)))
    for name in ("a.tar.gz", "t.jsonl"):
        with (tmp_path / name).open("rb") as file:
            add_whole_file(job=job, name=name, size=(tmp_path / name).stat().st_size, file=file)
    finish_upload(job=job)
    run_import(job_id=job.pk)
    assert offered(project) == {"0.png": "0", "1.png": "1", "2.png": "2"}
    project.refresh_from_db()
    check_whole(project)


def test_a_table_in_a_folder_labels_what_is_in_it(project, manager, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1.png").write_bytes(png(1))
    (folder / "metadata.csv").write_text("file_name,label\n1.png,cat\n")
    (folder / "link.csv").symlink_to("/etc/passwd")
    job = import_local(project=project, path=folder, by=manager)
    assert (job.added, offered(project)) == (1, {"1.png": "cat"})
    assert "link" in refused(job)["link.csv"]


def test_a_label_of_a_table_stands_above_the_folders(project, manager, tmp_path):
    entries = {"a/1.png": png(1), "b/2.png": png(2), "b/3.png": png(3), "t.csv": b"path,label\na/1.png,owl\n"}
    import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert offered(project) == {"a/1.png": "owl", "b/2.png": "b", "b/3.png": "b"}


def test_rows_that_disagree_offer_no_label_and_say_so(project, manager, tmp_path):
    entries = {"1.png": png(1), "t.csv": b"path,label\n1.png,cat\n1.png,dog\n"}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.added, job.refused, offered(project)) == (1, 0, {})
    row = job.rejected.get()
    assert (row.kind, row.name) == ("unlabelled", "1.png")
    assert "cat, dog" in row.reason


def test_a_table_that_cannot_be_read_is_told_and_the_images_are_in(project, manager, tmp_path):
    entries = {"1.png": png(1), "notes.csv": b"a,b\n1,2\n", "x.json": b"[" * 5000}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.state, job.added, job.refused) == (JobState.DONE, 1, 2)
    assert "No column says" in refused(job)["notes.csv"]
    assert "nested" in refused(job)["x.json"]


def test_many_tables_are_notes_beside_images(project, manager, tmp_path):
    entries = {f"{n}.png": png(n) for n in range(25)} | {f"{n}.json": b'{"a": 1}' for n in range(25)}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert (job.added, job.refused, job.total, job.done) == (25, 25, 50, 50)


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        stem = self.path.split("?")[0].rpartition("/")[2].partition(".")[0]
        if stem == "moved":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/")
            self.end_headers()
        elif stem.isdigit():
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png(int(stem)))
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def site(settings) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.OUTBOUND_NETWORKS = ["127.0.0.1/32"]
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_of_an_address_neither_a_password_nor_a_signature_is_kept():
    assert fetching.without_secrets("https://ann:pass@a.org:8443/p/3.png?sig=1#x") == "https://a.org:8443/p/3.png"
    assert fetching.without_secrets("https://[2001:db8::1]:81/p.png") == "https://[2001:db8::1]:81/p.png"


def test_a_table_of_addresses_is_fetched(project, manager, tmp_path, site, settings):
    rows = [f"{site}/p/{n}.png?signature=s,{'cat' if n % 2 else 'dog'},{n}" for n in range(6)]
    rows += [f"{site}/none.png,cat,", f"{site}/moved.png,cat,", "http://10.1.2.3/a.png,cat,", "file:///etc/passwd,cat,",
             "http://169.254.169.254/latest/meta-data/,cat,", "http://2130706433/a.png,cat,", "1.png,cat,"]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(["url,label,n", *rows]))
    job = import_local(project=project, path=tmp_path / "t.csv", by=manager)
    assert (job.state, job.added, job.refused, job.total) == (JobState.DONE, 6, 7, 13)
    assert offered(project) == {f"127.0.0.1/p/{n}.png": "cat" if n % 2 else "dog" for n in range(6)}
    assert metadata(project)["127.0.0.1/p/3.png"] == {
        "n": "3",
        "source address": f"{site}/p/3.png",
    }  # with its port, without its query
    assert job.columns == ["n", "source address"]
    reasons = refused(job)
    assert "answered 404" in reasons["127.0.0.1/none.png"]
    assert "secrets" in reasons["127.0.0.1/moved.png"]
    assert "OUTBOUND_NETWORKS" in reasons["10.1.2.3/a.png"]
    assert "begin with https" in reasons["file/etc/passwd"]
    assert "secrets" in reasons["169.254.169.254/latest/meta-data"]
    assert "disguise" in reasons["2130706433/a.png"]
    assert "no file" in reasons["1.png"]
    project.refresh_from_db()
    check_whole(project)
    again = import_local(project=project, path=tmp_path / "t.csv", by=manager)
    assert (again.added, again.duplicates, again.refused) == (0, 6, 7)


def test_a_host_that_is_down_is_not_asked_for_ever(project, manager, tmp_path, settings, monkeypatch):
    settings.OUTBOUND_NETWORKS = ["127.0.0.1/32"]
    monkeypatch.setattr(fetching, "GIVEN_UP", 3)
    monkeypatch.setattr(importing, "REMOTE_THREADS", 1)
    (tmp_path / "t.csv").write_text("\n".join(["url", *(f"http://127.0.0.1:9/{n}.png" for n in range(9))]))
    job = import_local(project=project, path=tmp_path / "t.csv", by=manager)
    reasons = list(refused(job).values())
    assert sum("not asked for" in reason for reason in reasons) == 6
    assert job.refused == 9


def test_an_import_by_addresses_goes_on_where_it_was_killed(
    project, manager, tmp_path, site, small_batches, monkeypatch
):
    """After a batch the worker is lost; the next one reads the table again and fetches what is missing."""
    job = create_import(project=project, by=manager)
    text = "\n".join(["url,label", *(f"{site}/{n}.png,cat" for n in range(35))]).encode()
    (tmp_path / "t.csv").write_bytes(text)
    with (tmp_path / "t.csv").open("rb") as file:
        add_whole_file(job=job, name="t.csv", size=len(text), file=file)
    finish_upload(job=job)
    lose_at_the_third_batch(job, monkeypatch)
    job.refresh_from_db()
    assert (job.state, job.added) == (JobState.RUNNING, 20)
    ImportJob.objects.update(state=JobState.QUEUED)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    project.refresh_from_db()
    assert (job.state, job.added, job.done, job.total) == (JobState.DONE, 35, 35, 35)
    assert job.files.filter(kind=ImportFile.Kind.ROWS).count() == 1
    assert len(offered(project)) == 35
    check_whole(project)


def test_managers_filter_by_columns_and_see_them_escaped(project, manager, annotator, client_of, tmp_path):
    rows = [
        {"path": f"{n}.png", "site": ["north", XSS][n % 2], "n": n, "ok": n > 1, XSS: "x", "items": n} for n in range(4)
    ]
    entries = {f"{n}.png": png(n) for n in range(4)} | {"t.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    url, client = reverse("images", args=[project.slug]), client_of(manager)

    def names(**query) -> list[str]:
        return [image.name for image in client.get(url, query).context["page"].images]

    assert names(column="site", value="north") == ["0.png", "2.png"]
    assert names(column="site", value=XSS) == ["1.png", "3.png"]
    assert names(column="n", value="3") == ["3.png"]
    assert names(column="ok", value="true") == ["2.png", "3.png"]
    assert names(column="site") == ["0.png", "1.png", "2.png", "3.png"]
    for column in ("nothing", "a__b", "values", "'; DROP TABLE labeler_image; --", '"', "0", "%s", "\\"):
        assert names(column=column, value="x") == []
    page = client.get(url, {"column": XSS, "value": XSS}).content.decode()
    assert XSS not in page and "&lt;script&gt;" in page
    image = project.images.get(name="1.png")
    page = client.get(reverse("image", args=[project.slug, image.pk])).content.decode()
    assert "Came with the image" in page and XSS not in page
    theirs = client_of(annotator)
    assert "north" not in theirs.get(reverse("image", args=[project.slug, image.pk])).content.decode()
    page = theirs.get(url, {"column": "site", "value": "north"})
    assert len(page.context["page"].images) == 4
    assert 'name="column"' not in page.content.decode()


@pytest.mark.parametrize("kind", ["tar", "tgz", "folder"])
def test_labels_come_along_after_a_kill(project, manager, tmp_path, settings, small_batches, monkeypatch, kind):
    """After two batches the worker is lost. The next one reads the table again, and goes on behind them."""
    settings.IMPORT_ROOTS = [str(tmp_path / "photos")]
    entries = {f"{n:02}.png": png(n) for n in range(35)} | {"a.csv": b"path,label,n\n"}
    entries["a.csv"] += b"".join(b"%02d.png,cat,%d\n" % (n, n) for n in range(40))
    if kind == "folder":
        (tmp_path / "photos").mkdir()
        for name, data in entries.items():
            (tmp_path / "photos" / name).write_bytes(data)
        job = import_folder(project=project, by=manager, path=str(tmp_path / "photos"))
    else:
        with tarfile.open(tmp_path / "a.bin", "w:gz" if kind == "tgz" else "w") as file:
            for name, data in entries.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        job = upload(project, manager, tmp_path / "a.bin")
    lose_at_the_third_batch(job, monkeypatch)
    assert project.images.count() == 20
    ImportJob.objects.update(state=JobState.QUEUED)
    run_import(job_id=job.pk)
    job.refresh_from_db()
    project.refresh_from_db()
    assert (job.state, job.added, job.refused, job.done, job.total) == (JobState.DONE, 35, 5, 40, 40)
    assert set(offered(project).values()) == {"cat"} and len(offered(project)) == 35
    assert metadata(project)["34.png"] == {"n": "34"}
    check_whole(project)


def test_people_past_the_most_are_told(project, manager, tmp_path, monkeypatch):
    """Each would become an account."""
    monkeypatch.setattr("labeler.services.import_plan.PEOPLE", 3)
    given = [{"completed_by": n, "result": [{"value": {"choices": ["cat"]}}]} for n in range(10)]
    task = {"id": 1, "data": {"image": "1.png"}, "annotations": given}
    entries = {"1.png": png(1), "x.json": json.dumps([task]).encode()}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    assert project.images.get().offered_answers.count() == 3
    assert "more than 3 people" in refused(job)["x.json"]


def test_a_row_that_is_refused_is_told_in_the_readers_language(project, manager, client_of, tmp_path):
    entries = {"t.csv": b"file,label\n,cat\n,dog\n"}
    job = import_local(project=project, path=make_zip(tmp_path / "a.zip", entries), by=manager)
    page = client_of(manager).get(reverse("import", args=[project.slug, job.pk]), HTTP_ACCEPT_LANGUAGE="de")
    html = page.content.decode()
    assert "Jede der 2 Dateien wurde abgelehnt. Die erste, t.csv: Zeile 1: Die Zeile nennt kein Bild." in html
    assert "<td>t.csv</td>" in html and "Zeile 2: Die Zeile nennt kein Bild." in html
    assert "row" not in re.sub("<[^>]*>", " ", html).lower().split()
