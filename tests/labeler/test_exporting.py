"""Exports: what is in them, who may have them, spreadsheets stay harmless."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from labeler import storage
from labeler.models import Candidate, ExportJob, JobState, LabelClass, Project, Round
from labeler.services.annotate import record_answer
from labeler.services.exporting import create_export, run_export, sweep_exports

pytestmark = pytest.mark.django_db


@pytest.fixture
def labelled(project, manager, annotator, make_images):
    """Four images: a cat by two people who disagree with a third, one skipped, one that nobody saw."""
    images = make_images(project, 4)
    project.images.filter(pk=images[0].pk).update(name='=HYPERLINK("http://x")')
    cat = project.classes.get(name="cat")
    round_ = Round.objects.create(project=project, number=7, trigger="button", reason="asked", seed=1, state="done")
    place = Candidate.objects.create(project=project, round=round_, image=images[0], rank=3, reason="acquired", score=1)

    def answer(person, image, outcome, label, candidate=None):
        record_answer(
            project=project,
            annotator=person,
            image_id=image.pk,
            candidate_id=candidate,
            outcome=outcome,
            label_class_id=label and label.pk,
            key=uuid.uuid4(),
        )

    answer(annotator, images[0], "label", cat, place.pk)
    answer(manager, images[0], "label", cat)
    answer(annotator, images[1], "label", cat)
    answer(annotator, images[2], "skip", None)
    return images


def export(project, by, file_format, includes_unlabelled=False) -> str:
    job = create_export(project=project, by=by, file_format=file_format, includes_unlabelled=includes_unlabelled)
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return storage.read_range(job.file, 0, job.size).decode()


def test_csv_holds_the_labels_and_no_formula(project, manager, labelled):
    rows = list(csv.DictReader(io.StringIO(export(project, manager, "csv"))))
    assert [row["image"] for row in rows] == [str(image.pk) for image in labelled[:2]]
    first = rows[0]
    assert first["name"].startswith("'=HYPERLINK")
    assert (first["class"], first["annotators"], first["answers"]) == ("cat", "ann; mia", "2")
    assert (first["agreement"], first["round"], first["reason"], first["rank"]) == ("1.0", "7", "acquired", "3")
    assert first["labelled_at"]
    assert (rows[1]["answers"], rows[1]["agreement"]) == ("1", "")  # with nobody


def test_what_stands_for_itself_alone_is_not_said_to_stand_for_a_group(project, manager, labelled):
    for size, code in ((2, "group"), (1, "group_of_one")):
        Candidate.objects.update(reason="group", details={"group": size})
        assert json.loads(export(project, manager, "jsonl").splitlines()[0])["reason"] == code


def test_json_lines_hold_all_images_on_request(project, manager, labelled):
    rows = [json.loads(line) for line in export(project, manager, "jsonl", includes_unlabelled=True).splitlines()]
    assert [row["image"] for row in rows] == [image.pk for image in labelled]
    assert rows[0]["name"].startswith("=HYPERLINK")
    assert rows[0]["annotators"] == ["ann", "mia"]
    assert (rows[3]["class"], rows[3]["state"], rows[3]["answers"]) == (None, "pool", 0)


def test_an_export_costs_the_same_queries_for_more_images(project, manager, make_images, django_assert_max_num_queries):
    make_images(project, 300)
    job = create_export(project=project, by=manager, file_format="csv", includes_unlabelled=True)
    with django_assert_max_num_queries(21):
        run_export(job_id=job.pk)


def test_a_second_message_does_nothing(project, manager, labelled):
    job = create_export(project=project, by=manager, file_format="csv", includes_unlabelled=False)
    for _ in range(2):
        run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.attempts == 1
    assert sweep_exports() == 0


def test_a_full_disk_fails_it_in_words(project, manager, labelled, monkeypatch):
    def full(*_):
        raise storage.StorageFull("The disk of the server is full.")

    monkeypatch.setattr(storage, "write_once", full)
    job = create_export(project=project, by=manager, file_format="csv", includes_unlabelled=False)
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "disk of the server is full" in job.error


def test_the_page_and_the_download(project, manager, annotator, stranger, labelled, client, client_of, settings):
    url = reverse("exports", args=[project.slug])
    file_url = reverse("export-file", args=[project.slug, 1])
    for address in (url, file_url):
        assert client.get(address).status_code == 302
        assert client_of(stranger).get(address).status_code == 404
        assert client_of(annotator).get(address).status_code == 403
    mine = client_of(manager)
    assert mine.get(reverse("export-file", args=[project.slug, 999])).status_code == 404
    assert mine.post(url, {"format": "exe"}).status_code == 400
    assert mine.post(url, {"format": "csv"}).status_code == 302
    assert b"hx-get" in mine.get(url).content
    job = ExportJob.objects.get()
    assert mine.get(reverse("export-file", args=[project.slug, job.pk])).status_code == 404  # not ready
    ExportJob.objects.update(created_at=job.created_at - timedelta(minutes=8))  # so long it waited for a worker
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert b"hx-get" not in mine.get(url, headers={"hx-request": "true"}).content
    answer = mine.get(reverse("export-file", args=[project.slug, job.pk]))
    at = timezone.localtime(job.finished_at)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="signs-csv-{at:%Y-%m-%d-%H%M}.csv"'
    assert b"".join(answer.streaming_content).startswith(b"image,name,class,source,state,split")
    settings.EXPORTS_PER_USER = 1
    for _ in range(2):
        mine.post(url, {"format": "csv"})
    assert ExportJob.objects.count() == 2


def test_the_page_shows_the_first_rows_of_what_is_asked_for(project, manager, labelled, client_of, make_images):
    mine, url = client_of(manager), reverse("exports", args=[project.slug])
    make_images(project, 10)
    page = mine.get(url).content.decode()
    form = page.partition('class="stack export-form"')[2].partition("</form>")[0]
    assert form.count("csrfmiddlewaretoken") == 1  # the button's: a look at the rows does not send it
    assert 'type="hidden"' not in form
    assert "=HYPERLINK(&quot;http://x&quot;)" in page  # shown as it is, and as text
    part = {"hx-request": "true", "hx-target": "preview"}
    for asked, rows in (("labelled", 2), ("all", 5)):
        shown = mine.get(url, {"format": "csv", "images": asked}, headers=part).content.decode()
        assert shown.lstrip().startswith("<section")
        assert shown.count("<tr>") == rows + 1
    nothing = mine.get(url, {"format": "csv", "holdout": "only"}, headers=part).content.decode()
    assert "No image is like that yet" in nothing
    wrong = mine.get(url, {"format": "csv", "least_agreement": "7"}, headers=part).content.decode()
    assert "Agreement from" in wrong
    assert "less than or equal to 1" in wrong


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "exe"},
        {"format": "csv", "images": "some"},
        {"format": "csv", "label_class": "999999"},
        {"format": "csv", "annotator": "' OR 1=1"},
        {"format": "csv", "since": "yesterday"},
        {"format": "csv", "least_agreement": "nan"},
        {"format": "csv", "holdout": "__class__"},
        {"format": "csv", "model_above": "2"},
    ],
)
def test_what_is_not_offered_is_refused(project, manager, client_of, fields):
    reply = client_of(manager).post(reverse("exports", args=[project.slug]), fields)
    assert reply.status_code == 400
    assert not ExportJob.objects.exists()


def test_a_class_of_another_project_is_no_filter_here(project, manager, client_of):
    other = Project.objects.create(name="Other", slug="other")
    foreign = LabelClass.objects.create(project=other, name="cat", colour="#0072b2")
    reply = client_of(manager).post(
        reverse("exports", args=[project.slug]), {"format": "csv", "label_class": foreign.pk}
    )
    assert reply.status_code == 400


def test_filters_are_kept_and_said(project, manager, annotator, labelled, client_of):
    mine, url = client_of(manager), reverse("exports", args=[project.slug])
    cat = project.classes.get(name="cat")
    asked = {
        "format": "jsonl",
        "label_class": cat.pk,
        "annotator": annotator.pk,
        "until": "2030-01-31",
        "holdout": "without",
    }
    assert mine.post(url, asked).status_code == 302
    page = mine.get(url).content.decode()
    assert "labels, class cat, answered by ann, before 2030-02-01, without the holdout" in page
    run_export(job_id=ExportJob.objects.get().pk)
    assert ExportJob.objects.get().manifest["filters"]["label_class"] == cat.pk


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Midway"])
def test_the_first_and_the_last_day_that_there_is(project, manager, labelled, client_of, settings, zone):
    settings.TIME_ZONE = zone
    mine, url = client_of(manager), reverse("exports", args=[project.slug])
    assert mine.post(url, {"format": "csv", "since": "0001-01-01", "until": "9999-12-31"}).status_code == 302
    assert mine.get(url).status_code == 200
    run_export(job_id=ExportJob.objects.get().pk)
    assert ExportJob.objects.get().state == JobState.DONE


def test_the_file_goes_on_where_a_download_stopped(project, manager, labelled, client_of):
    job = create_export(project=project, by=manager, file_format="csv")
    run_export(job_id=job.pk)
    job.refresh_from_db()
    mine, url = client_of(manager), reverse("export-file", args=[project.slug, job.pk])
    whole = b"".join(mine.get(url).streaming_content)
    rest = mine.get(url, headers={"range": "bytes=10-", "if-range": f'"{job.manifest["sha256"]}"'})
    assert rest.status_code == 206
    assert whole[:10] + b"".join(rest.streaming_content) == whole
    manifest = mine.get(reverse("export-manifest", args=[project.slug, job.pk]))
    assert json.loads(manifest.content)["sha256"] == hashlib.sha256(whole).hexdigest()
    assert ".manifest.json" in manifest.headers["Content-Disposition"]


def test_cancel_and_delete(project, manager, labelled, client_of):
    mine = client_of(manager)
    job = create_export(project=project, by=manager, file_format="csv")
    assert mine.post(reverse("export-delete", args=[project.slug, job.pk])).status_code == 302
    assert ExportJob.objects.filter(pk=job.pk).exists()  # it waits to be written
    for _ in range(2):
        assert mine.post(reverse("export-cancel", args=[project.slug, job.pk])).status_code == 302
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    done = create_export(project=project, by=manager, file_format="csv")
    run_export(job_id=done.pk)
    done.refresh_from_db()
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert mine.post(reverse("export-delete", args=[project.slug, done.pk])).status_code == 302
    assert mine.post(reverse("export-delete", args=[project.slug, done.pk])).status_code == 404
    assert storage.names_in(f"projects/{project.pk}/exports") == []
    assert list(project.audit.order_by("pk").values_list("words", flat=True))[-1] == f"deleted export {done.pk}"


def test_the_page_costs_the_same_queries_for_more_exports(project, manager, labelled, client_of):
    mine, url = client_of(manager), reverse("exports", args=[project.slug])
    counts = []
    for number in (1, 9):
        for _ in range(number):
            ExportJob.objects.create(project=project, created_by=manager, state="done", format="csv")
        with CaptureQueriesContext(connection) as queries:
            mine.get(url)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_a_link_that_was_copied_from_a_page_is_not_enough(project, manager, labelled):
    """Cross-site requests: nothing is exported, cancelled or deleted without the token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(manager)
    job = create_export(project=project, by=manager, file_format="csv")
    for name, arguments in (("exports", []), ("export-cancel", [job.pk]), ("export-delete", [job.pk])):
        assert client.post(reverse(name, args=[project.slug, *arguments]), {"format": "csv"}).status_code == 403
