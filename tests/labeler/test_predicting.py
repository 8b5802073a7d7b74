"""Many images at once: an archive in, a table out; what is refused, stopped, killed and sent twice."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image as Picture

from labeler import clock, storage, tasks
from labeler.models import JobState, ModelExport, Prediction
from labeler.services.jobs import request_cancel
from labeler.services.predicting import MEASURES, request_prediction, sweep_predictions
from labeler.services.stops import give_back_work
from labeler.workers import this_worker
from learner.config import OWN_MEASURES
from tests.labeler.served_models import tiny_export

pytestmark = pytest.mark.django_db
URL = reverse("predictions", args=["signs"])


@pytest.fixture
def export(project, make_images, manager) -> ModelExport:
    return tiny_export(project, make_images, manager)


def png(value: int) -> bytes:
    out = io.BytesIO()
    Picture.new("L", (12, 12), value).save(out, "PNG")
    return out.getvalue()


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return out.getvalue()


def asked(export, by, data: bytes, file_format: str = "jsonl") -> Prediction:
    return request_prediction(export=export, by=by, file_format=file_format, name="a.zip", file=io.BytesIO(data))


def run(job: Prediction) -> Prediction:
    tasks.run_prediction(job.pk)
    job.refresh_from_db()
    return job


def read(job: Prediction) -> str:
    with storage.local_path(job.file) as path:
        return path.read_text()


MIXED = {"white.png": png(255), "__MACOSX/._x": b"x", "bad.png": b"no image", "../up.png": png(1), "b/dark.png": png(0)}


def test_the_measures_are_the_learners() -> None:
    assert MEASURES == OWN_MEASURES


def test_json_lines_say_of_each_image_what_the_page_says(export, manager) -> None:
    job = run(asked(export, manager, archive(**MIXED, **{f"{at}.png": png(at) for at in range(70)})))
    assert (job.state, job.error, job.refused, job.done) == (JobState.DONE, "", 2, 75)
    rows = [json.loads(line) for line in read(job).splitlines()]
    assert [row["image"] for row in rows[:4]] == ["white.png", "bad.png", "../up.png", "b/dark.png"]
    assert rows[0]["classes"][0] == {"name": "cat", "mean": 1.0, "std": 0.1}
    assert rows[3]["classes"][1]["mean"] == 0.75
    assert set(rows[0]["measures"]) == set(MEASURES)
    assert "problem" in rows[1] and "problem" in rows[2] and len(rows) == 74
    means = [row["classes"][0]["mean"] for row in rows[4:]]
    assert means == pytest.approx(np.arange(70) / 255, abs=1e-6)  # each image its own, across batches
    assert not job.staged


def test_csv_opens_in_a_spreadsheet_without_formulas(export, manager) -> None:
    export.about["classes"][0] = "=cmd()"
    export.save()
    job = run(asked(export, manager, archive(**{"=1+1.png": png(255), "bad.png": b"no image"}), "csv"))
    rows = list(csv.DictReader(io.StringIO(read(job))))
    assert (rows[0]["image"], rows[0]["class"], rows[0]["mean dog"]) == ("'=1+1.png", "'=cmd()", "0.0")
    assert rows[1]["class"] == "" and rows[1]["problem"]


def test_an_archive_that_cannot_be_read_says_so(export, manager) -> None:
    job = run(asked(export, manager, b"PK\x03\x04 not really"))
    assert job.state == JobState.FAILED and job.error
    assert not storage.names_in(f"projects/{export.project_id}/staging")


def test_a_model_that_is_gone_says_so(export, manager) -> None:
    ModelExport.objects.update(digest="0" * 64)
    job = run(asked(export, manager, archive(**{"a.png": png(1)})))
    assert job.state == JobState.FAILED and "made again" in job.error


def test_who_stops_it_leaves_nothing_behind(export, manager) -> None:
    job = asked(export, manager, archive(**MIXED))
    staged = job.staged
    request_cancel(job=job)
    sweep_predictions()
    job.refresh_from_db()
    assert (job.state, job.staged) == (JobState.CANCELLED, "")
    assert staged not in storage.names_in(f"projects/{export.project_id}/staging")
    assert run(job).state == JobState.CANCELLED


def test_a_worker_that_stops_hands_it_on(export, manager) -> None:
    job = asked(export, manager, archive(**MIXED))
    Prediction.objects.filter(pk=job.pk).update(state=JobState.RUNNING, claim=f"{this_worker()} x", attempts=1)
    give_back_work(worker=this_worker())
    assert run(job).state == JobState.DONE
    assert (run(job).state, job.attempts) == (JobState.DONE, 1)  # a message that comes twice


def test_no_person_has_more_than_a_few_at_once(export, manager, settings) -> None:
    from labeler.services.exporting import ExportRefused

    for _ in range(settings.EXPORTS_PER_USER):
        asked(export, manager, archive(**MIXED))
    with pytest.raises(ExportRefused, match="most at once"):
        asked(export, manager, archive(**MIXED))
    assert len(storage.names_in(f"projects/{export.project_id}/staging")) == settings.EXPORTS_PER_USER


def test_a_full_disk_leaves_neither_a_row_nor_a_file(export, manager, monkeypatch) -> None:
    stage = storage.stage

    def full(name: str, offset: int, data: bytes) -> None:
        stage(name, offset, data[:10])
        raise storage.StorageFull("The disk of the server is full.")

    monkeypatch.setattr(storage, "stage", full)
    with pytest.raises(storage.StorageFull):
        asked(export, manager, archive(**MIXED))
    assert not Prediction.objects.exists()
    assert not storage.names_in(f"projects/{export.project_id}/staging")


def test_what_a_killed_request_left_ends_in_words_and_gives_its_room_back(export, manager, monkeypatch) -> None:
    job = asked(export, manager, archive(**MIXED))
    Prediction.objects.filter(pk=job.pk).update(state=JobState.UPLOADING)  # as it was when the web process died
    sweep_predictions()
    job.refresh_from_db()
    assert job.state == JobState.UPLOADING  # it may still be coming
    monkeypatch.setattr(clock, "now", lambda: job.created_at + timedelta(hours=2))
    sweep_predictions()
    job.refresh_from_db()
    assert (job.state, job.staged) == (JobState.FAILED, "") and "Send it again" in job.error
    assert not storage.names_in(f"projects/{export.project_id}/staging")


def test_the_page(export, manager, annotator, client_of, django_assert_max_num_queries) -> None:
    client = client_of(manager)
    assert "No archives yet" in client.get(URL).content.decode()
    data = {"archive": SimpleUploadedFile("<b>.zip", archive(**MIXED)), "format": "csv"}
    assert client.post(URL, data).status_code == 302
    job = Prediction.objects.get()
    run(job)
    with django_assert_max_num_queries(9):
        text = client.get(URL).content.decode()
    assert "&lt;b&gt;.zip" in text and "Download" in text
    reply = client.get(reverse("prediction-file", args=["signs", job.pk]))
    assert reply.headers["Content-Disposition"] == f'attachment; filename="signs-predictions-{job.pk}.csv"'
    assert b"white.png" in reply.getvalue()
    assert client.post(URL, {"format": "csv"}).status_code == 400
    assert client_of(annotator).get(URL).status_code == 403
    storage.delete(job.file)
    assert client.get(reverse("prediction-file", args=["signs", job.pk])).status_code == 404


def test_without_a_model_the_page_says_what_to_do(project, manager, client_of) -> None:
    client = client_of(manager)
    assert "The first round that learns makes one" in client.get(URL).content.decode()
    data = {"archive": SimpleUploadedFile("a.zip", archive(**MIXED)), "format": "csv"}
    text = client.post(URL, data, follow=True).content.decode()
    assert "No model is ready for new images: prepare one" in text
    assert not Prediction.objects.exists()


def test_images_of_an_archive_have_the_same_limit_of_pixels(export, manager, settings) -> None:
    settings.PREDICT_MAX_PIXELS = 100
    job = run(asked(export, manager, archive(**{"a.png": png(255)})))
    assert (job.state, job.refused) == (JobState.DONE, 1)
    assert "at most 100 in all" in json.loads(read(job).splitlines()[0])["problem"]


def test_an_archive_without_an_image_says_so(export, manager, client_of) -> None:
    job = run(asked(export, manager, archive(**{"labels.json": b"[]"})))
    assert (job.state, job.error, job.file) == (JobState.FAILED, "There is no image in the archive.", "")
    assert "There is no image in the archive." in client_of(manager).get(URL).content.decode()
