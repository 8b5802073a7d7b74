"""Imports from folders of the server and from buckets: what is allowed, what is kept, what goes on after a kill."""

from __future__ import annotations

import logging
import os

import boto3
import pytest
from django.urls import reverse
from moto.server import ThreadedMotoServer

from labeler import buckets, seals
from labeler.buckets import Bucket, BucketError
from labeler.import_roots import FolderRefused, allowed_folder
from labeler.models import ImageMetadata, ImportJob, ImportSecret, JobState, OfferedLabel
from labeler.selectors.imports import preview_of
from labeler.services import bucket_source, importing
from labeler.services.import_places import import_bucket, import_folder
from labeler.services.importing import run_import
from labeler.services.jobs import ClaimLost
from labeler.services.uploads import UploadRefused, can_retry, cancel_import, finish_upload, retry_import, sweep_imports
from tests.labeler.imports import check_whole, png

pytestmark = pytest.mark.django_db
SECRET = "s3cr3t-of-mia/+="


@pytest.fixture
def root(tmp_path, settings):
    root = tmp_path / "photos"
    for name in ("cat/1.png", "cat/2.png", "dog/3.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(int(name[-5])))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret.png").write_bytes(png(9))
    (root / "out").symlink_to(tmp_path / "private")
    (root / "cat" / "link.png").symlink_to(tmp_path / "private" / "secret.png")
    os.mkfifo(root / "cat" / "pipe.png")
    settings.IMPORT_ROOTS = [str(root)]
    return root


def run(job: ImportJob) -> ImportJob:
    run_import(job_id=job.pk)
    job.refresh_from_db()
    return job


def test_a_folder_is_looked_at_and_then_imported(project, manager, root):
    job = run(import_folder(project=project, by=manager, path=f"{root}/", looks_first=True))
    assert (job.state, job.is_ready, project.images.count()) == (JobState.UPLOADING, True, 0)
    found = preview_of(job)
    assert (found.entries, found.new, found.refused) == (5, 3, 2)
    assert dict(found.labels)["cat"] == 2
    assert finish_upload(job=job)
    assert not finish_upload(job=ImportJob.objects.get(pk=job.pk))
    run(job)
    assert (job.state, job.added, job.refused) == (JobState.DONE, 3, 2)
    names = set(project.images.values_list("name", flat=True))
    assert names == {"cat/1.png", "cat/2.png", "dog/3.png"}
    project.refresh_from_db()
    check_whole(project)
    again = run(import_folder(project=project, by=manager, path=str(root)))
    assert (again.added, again.duplicates) == (0, 3)


def test_nothing_outside_of_the_roots_is_reached(project, manager, root, tmp_path, settings):
    bad = [str(tmp_path), str(tmp_path / "private"), f"{root}/../private", f"{root}/out", "/etc", "photos", "", "~",
           f"{root}/none", f"{root}/cat/1.png", f"{root}\0", f"{root}2", "/" * 5000]  # fmt: skip
    (tmp_path / "photos2").mkdir()
    words = set()
    for path in bad:
        with pytest.raises(UploadRefused) as refusal:
            import_folder(project=project, by=manager, path=path)
        words.add(str(refusal.value))
    assert len(words) == 1  # nobody learns what the server has
    settings.IMPORT_ROOTS = []
    with pytest.raises(FolderRefused, match="IMPORT_ROOTS"):
        allowed_folder(str(root))
    assert not ImportJob.objects.exists()


def test_a_root_that_was_taken_back_is_refused_when_the_import_runs(project, manager, root, settings, tmp_path):
    job = import_folder(project=project, by=manager, path=str(root / "cat"))
    settings.IMPORT_ROOTS = [str(tmp_path / "private")]
    run(job)
    assert (job.added, job.refused) == (0, 1)


def test_a_folder_that_becomes_a_link_on_the_way_is_not_followed(project, manager, root, tmp_path, monkeypatch):
    job = import_folder(project=project, by=manager, path=str(root))
    plan = importing.make_plan

    def swap(plan_):
        plan(plan_)
        (root / "dog" / "3.png").unlink()
        (root / "dog").rmdir()
        (root / "dog").symlink_to(tmp_path / "private")

    monkeypatch.setattr(importing, "make_plan", swap)
    run(job)
    assert set(project.images.values_list("name", flat=True)) == {"cat/1.png", "cat/2.png"}


def test_the_folder_page(project, manager, annotator, stranger, client_of, root, settings):
    url = reverse("import-folder", args=[project.slug])
    client = client_of(manager)
    assert str(root) in client.get(url).content.decode()
    page = client.get(url, {"at": str(root)}).content.decode()
    assert "cat" in page and ">out<" not in page
    assert client.get(url, {"at": "/etc"}).status_code == 400
    bad = client.post(url, {"path": "/<script>"})
    assert bad.status_code == 400 and "<script>" not in bad.content.decode().split("<main")[1].split("</main>")[0]
    assert client_of(annotator).post(url, {"path": str(root)}).status_code == 403
    assert client_of(stranger).post(url, {"path": str(root)}).status_code == 404
    reply = client.post(url, {"path": str(root)})
    job = ImportJob.objects.get()
    assert reply.headers["Location"] == reverse("import", args=[project.slug, job.pk])
    run(job)
    page = client.get(reply.headers["Location"]).content.decode()
    assert "What was found" in page and "hx-get" not in page
    for _ in range(2):
        assert client.post(reverse("import-start", args=[project.slug, job.pk])).status_code == 302
    assert run(job).added == 3
    settings.IMPORT_ROOTS = []
    assert "IMPORT_ROOTS" in client.get(url).content.decode()


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def store(server, settings):
    settings.OUTBOUND_NETWORKS = ["127.0.0.1/32"]
    client = boto3.client(
        "s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id="mia", aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket="photos")
    yield client
    listed = client.list_objects_v2(Bucket="photos").get("Contents", [])
    for one in listed:
        client.delete_object(Bucket="photos", Key=one["Key"])
    client.delete_bucket(Bucket="photos")


@pytest.fixture
def bucket(server, store) -> Bucket:
    return Bucket(endpoint=server, name="photos", key_id="mia", secret=SECRET)


def test_a_bucket_is_imported_with_its_table(project, manager, store, bucket, caplog):
    caplog.set_level(logging.DEBUG)
    for n in range(5):
        store.put_object(Bucket="photos", Key=f"p/{'cät' if n % 2 else 'dog + owl'}/{n}.png", Body=png(n))
    store.put_object(Bucket="photos", Key="p/t.csv", Body=b"path,label,site\n3.png,owl,north\n")
    store.put_object(Bucket="photos", Key="p/notes.txt", Body=b"hello")
    store.put_object(Bucket="photos", Key="other/9.png", Body=png(9))
    place = Bucket(**{**bucket.__dict__, "prefix": "p/"})
    job = run(import_bucket(project=project, by=manager, bucket=place, looks_first=True))
    assert (preview_of(job).entries, preview_of(job).tables[0]["rows"]) == (6, 1)
    assert ImportSecret.objects.count() == 1
    finish_upload(job=job)
    run(job)
    assert (job.state, job.added, job.refused) == (JobState.DONE, 5, 1)
    offered = dict(OfferedLabel.objects.values_list("image__name", "class_name"))
    assert offered["p/cät/3.png"] == "owl" and offered["p/cät/1.png"] == "cät"
    kept = ImageMetadata.objects.get(image__name="p/cät/3.png").values
    assert kept == {"site": "north", "source address": "s3://photos/p/cät/3.png"}
    assert job.columns == ["source address", "site"]
    assert not ImportSecret.objects.exists()
    assert SECRET not in caplog.text
    project.refresh_from_db()
    check_whole(project)
    again = run(import_bucket(project=project, by=manager, bucket=place))
    assert (again.added, again.duplicates) == (0, 5)


def test_the_list_is_read_page_by_page(project, manager, store, bucket, monkeypatch):
    monkeypatch.setattr("labeler.buckets.PAGE", 3)
    for n in range(10):
        store.put_object(Bucket="photos", Key=f"{n}.png", Body=png(n))
    assert run(import_bucket(project=project, by=manager, bucket=bucket)).added == 10


def test_it_goes_on_at_the_last_key_though_others_have_come_and_gone(
    project, manager, store, bucket, small_batches, monkeypatch
):
    for n in range(30):
        store.put_object(Bucket="photos", Key=f"k{n:03}.png", Body=png(n))
    job = import_bucket(project=project, by=manager, bucket=bucket)
    real, calls = importing.store_batch, []

    def lost_at_the_second(**batch):
        if calls:
            raise ClaimLost
        calls.append(1)
        real(**batch)

    with monkeypatch.context() as patch:
        patch.setattr(importing, "store_batch", lost_at_the_second)
        run(job)
    assert (job.state, job.added, job.files.get().last) == (JobState.RUNNING, 10, "k009.png")
    store.delete_object(Bucket="photos", Key="k001.png")
    store.delete_object(Bucket="photos", Key="k002.png")
    store.put_object(Bucket="photos", Key="k0095.png", Body=png(200))
    ImportJob.objects.update(state=JobState.QUEUED)
    run(job)
    assert (job.state, job.added) == (JobState.DONE, 31)
    project.refresh_from_db()
    check_whole(project)


def test_a_store_that_breaks_off_fails_in_words_and_can_be_tried_again(
    project, manager, store, bucket, monkeypatch, small_batches
):
    monkeypatch.setattr("labeler.buckets.PAGE", 10)
    for n in range(30):
        store.put_object(Bucket="photos", Key=f"k{n:03}.png", Body=png(n))
    job = import_bucket(project=project, by=manager, bucket=bucket)
    real = bucket_source.objects

    def breaking(bucket, *, after="", pages=None):
        for number, page in enumerate(real(bucket, after=after, pages=pages)):
            if number == 1 and ImportJob.objects.filter(added__gt=0).exists():
                raise bucket_source.BucketError("The store was not reached.")
            yield page

    with monkeypatch.context() as patch:
        patch.setattr(bucket_source, "objects", breaking)
        run(job)
    assert (job.state, job.added) == (JobState.FAILED, 10)
    assert "was not reached" in job.error
    assert can_retry(job) and retry_import(job=job)
    run(job)
    assert (job.state, job.added) == (JobState.DONE, 30)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": "http://169.254.169.254"}, "secrets"),
        ({"endpoint": "http://10.0.0.1:9000"}, "OUTBOUND_NETWORKS"),
        ({"endpoint": "http://2130706433"}, "disguise"),
        ({"endpoint": "file:///etc"}, "https"),
        ({"endpoint": "http://[::ffff:10.0.0.1]"}, "OUTBOUND_NETWORKS"),
        ({"endpoint": "https://a:b@example.org"}, "password"),
        ({"endpoint": "https://example.org/path"}, "server alone"),
        ({"name": "../x"}, "letters"),
        ({"name": "a/b"}, "letters"),
        ({"secret": ""}, "neither"),
        ({"endpoint": ""}, "IMPORT_S3_BUCKETS"),
    ],
)
def test_places_that_must_not_be_asked_are_refused(project, manager, bucket, changes, words):
    with pytest.raises(UploadRefused, match=words) as refusal:
        import_bucket(project=project, by=manager, bucket=Bucket(**{**bucket.__dict__, **changes}))
    assert SECRET not in str(refusal.value)
    assert not ImportJob.objects.exists()


def test_a_missing_bucket_is_told(project, manager, bucket):
    job = run(import_bucket(project=project, by=manager, bucket=Bucket(**{**bucket.__dict__, "name": "nothing-here"})))
    assert job.state == JobState.FAILED
    assert "no bucket named nothing-here" in job.error


def test_the_operators_buckets_are_read_with_their_key(project, manager, server, store, settings):
    settings.IMPORT_S3_BUCKETS = ["photos"]
    settings.IMPORT_S3_ENDPOINT, settings.IMPORT_S3_KEY_ID, settings.IMPORT_S3_SECRET = server, "op", "operators"
    store.put_object(Bucket="photos", Key="1.png", Body=png(1))
    job = import_bucket(project=project, by=manager, bucket=Bucket(endpoint="", name="photos"))
    assert not ImportSecret.objects.exists()
    assert "op" not in job.files.get().place.values()
    assert run(job).added == 1


def test_secrets_are_sealed_and_go_with_the_import(project, manager, bucket):
    job = import_bucket(project=project, by=manager, bucket=bucket)
    sealed = ImportSecret.objects.get().sealed
    assert SECRET not in sealed
    assert seals.unseal(sealed, purpose="import") == SECRET
    assert SECRET not in repr(bucket) + repr(job.files.get().__dict__)
    cancel_import(job=job)
    assert not ImportSecret.objects.exists()
    job = import_bucket(project=project, by=manager, bucket=bucket)
    ImportJob.objects.filter(pk=job.pk).update(state=JobState.DONE)
    sweep_imports()
    assert not ImportSecret.objects.exists()


def test_a_seal_that_was_changed_or_is_anothers_does_not_open(settings):
    sealed = seals.seal("word", purpose="import")
    assert seals.seal("word", purpose="import") != sealed
    broken = [
        sealed[:-4],
        "A" + sealed[1:],
        "",
        "###",
        sealed.replace(sealed[10], "x" if sealed[10] != "x" else "y", 1),
    ]
    for text in broken:
        with pytest.raises(seals.Unsealable):
            seals.unseal(text, purpose="import")
    with pytest.raises(seals.Unsealable):
        seals.unseal(sealed, purpose="webhook")
    settings.SECRET_KEY = "another" * 10
    with pytest.raises(seals.Unsealable):
        seals.unseal(sealed, purpose="import")


def test_the_bucket_page_keeps_no_secret(project, manager, annotator, client_of, bucket, store):
    url = reverse("import-bucket", args=[project.slug])
    client = client_of(manager)
    assert client.get(url).status_code == 200
    fields = {"endpoint": "http://10.1.1.1", "name": "photos", "key_id": "mia", "secret": SECRET}
    refused = client.post(url, fields)
    assert refused.status_code == 400
    assert "OUTBOUND_NETWORKS" in refused.content.decode() and SECRET not in refused.content.decode()
    assert client_of(annotator).post(url, fields).status_code == 403
    store.put_object(Bucket="photos", Key="1.png", Body=png(1))
    reply = client.post(url, fields | {"endpoint": bucket.endpoint})
    assert reply.status_code == 302
    page = client.get(reply.headers["Location"]).content.decode()
    run(ImportJob.objects.get())
    page += client.get(reply.headers["Location"]).content.decode()
    page += client.get(reverse("audit", args=[project.slug])).content.decode()
    assert "What was found" in page and SECRET not in page


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_reply_with_entities_is_none_of_a_store(encoding):
    text = '<!DOCTYPE a [<!ENTITY b "bb">]><ListBucketResult><Name>&b;</Name></ListBucketResult>'
    with pytest.raises(BucketError, match="does not answer as S3"):
        buckets._parsed(text.encode(encoding))
