"""Exports: what is in them, who may have them, spreadsheets stay harmless."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from labeler import storage
from labeler.models import Candidate, ExportJob, JobState, Round
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
    with django_assert_max_num_queries(16):
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
