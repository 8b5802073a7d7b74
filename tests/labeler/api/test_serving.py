"""New images by the API: prepare, ask, and what is refused."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image as Picture

from labeler.models import LearningConfig, ModelExport, Prediction
from labeler.services.predicting import run_prediction
from labeler.throttle import PREDICTIONS
from tests.labeler.served_models import tiny_export

pytestmark = pytest.mark.django_db
OCTETS = "application/octet-stream"
PREDICT, ARCHIVES = "/api/v1/projects/signs/predict", "/api/v1/projects/signs/archives"


@pytest.fixture
def export(project, make_images, manager):
    return tiny_export(project, make_images, manager)


def ask(api, data: bytes, media: str = OCTETS):
    return api.client.post("/api/v1/projects/signs/predict", data, media, headers=api.headers)


def png(value: int) -> bytes:
    out = io.BytesIO()
    Picture.new("L", (12, 12), value).save(out, "PNG")
    return out.getvalue()


def test_an_annotators_script_asks_where_the_models_word_is_no_secret(export, project, api_of, annotator) -> None:
    refused = ask(api_of(annotator, "read"), png(51))
    assert refused.status_code == 403 and "manager" in refused.json()["detail"]
    LearningConfig.objects.filter(project=project).update(suggestions="before")
    reply = ask(api_of(annotator, "read"), png(51))
    assert reply.status_code == 200, reply.content
    content = reply.json()
    assert [each["name"] for each in content["classes"]] == ["dog", "cat", "owl"]
    assert content["classes"][0]["mean"] == pytest.approx(0.6, abs=1e-4)
    assert (content["width"], content["round"]) == (12, export.round.number)
    assert "mutual information" in {each["name"] for each in content["measures"]}


def test_what_is_refused(export, as_manager) -> None:
    assert ask(as_manager, b"no image").status_code == 422
    assert ask(as_manager, png(1), "text/plain").status_code == 415
    assert ask(as_manager, b"0" * (8 * 2**20 + 1)).status_code == 413
    export.delete()
    reply = ask(as_manager, png(1))
    assert (reply.status_code, "prepare one first" in reply.json()["detail"]) == (409, True)


def test_a_minute_has_so_many_whichever_way_they_come(export, as_manager, monkeypatch) -> None:
    monkeypatch.setattr(PREDICTIONS, "limit", 2)
    monkeypatch.setattr(PREDICTIONS, "name", "predict in this test of programs")
    replies = [ask(as_manager, png(1)) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[2]["Retry-After"] == "60"


def test_an_image_comes_as_an_image_or_in_a_form(export, as_manager) -> None:
    plain = ask(as_manager, png(51)).json()
    assert ask(as_manager, png(51), "image/png").json() == plain
    assert ask(as_manager, png(51), "image/x-whatever").json() == plain
    form = {"image": SimpleUploadedFile("a.png", png(51), "image/png")}
    reply = as_manager.client.post(PREDICT, form, headers=as_manager.headers)
    assert reply.status_code == 200 and reply.json() == plain
    reply = as_manager.client.post(PREDICT, {"picture": "x"}, headers=as_manager.headers)
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "image"


def archive(*names: str) -> SimpleUploadedFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for at, name in enumerate(names):
            file.writestr(zipfile.ZipInfo(name), png(51 * at) if name.endswith(".png") else b"no image")
    return SimpleUploadedFile("new.zip", out.getvalue(), "application/zip")


def test_an_archive_becomes_a_table(export, as_manager) -> None:
    def send(key: str, *names: str):
        headers = {**as_manager.headers, "Idempotency-Key": key}
        return as_manager.client.post(ARCHIVES, {"format": "csv", "archive": archive(*names)}, headers=headers)

    first, again = (send("a", "a.png", "b.png", "notes.txt") for _ in range(2))
    assert first.status_code == again.status_code == 201, first.content
    assert first.json() == again.json() and Prediction.objects.count() == 1
    assert first.json()["round"] == export.round.number and first.json()["state"] == "queued"
    assert send("a", "c.png").status_code == 409
    one = f"/projects/signs/archives/{first.json()['id']}"
    early = as_manager.get(f"{one}/file")
    assert early.status_code == 409 and "no table yet" in early.json()["detail"]
    run_prediction(job_id=first.json()["id"])
    done = as_manager.get(one).json()
    assert (done["state"], done["done"], done["refused"]) == ("done", 3, 1)
    reply = as_manager.get(f"{one}/file")
    rows = list(csv.DictReader(io.StringIO(b"".join(reply.streaming_content).decode())))
    assert [row["image"] for row in rows] == ["a.png", "b.png", "notes.txt"] and rows[2]["problem"]
    assert [row["id"] for row in as_manager.get("/projects/signs/archives").json()["items"]] == [done["id"]]
    assert as_manager.post(f"{one}/stop").json()["state"] == "done"


def test_an_archive_is_refused_in_words(export, as_manager, settings) -> None:
    def send(**form: object):
        return as_manager.client.post(ARCHIVES, form, headers=as_manager.headers)

    wrong = send(format="xlsx", archive=archive("a.png"))
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["field"] == "format"
    assert send(fromat="csv", archive=archive("a.png")).status_code == 422
    assert send(format="csv").json()["errors"][0]["field"] == "archive"
    broken = as_manager.client.post(ARCHIVES, b"x", "multipart/form-data", headers=as_manager.headers)
    assert broken.status_code in (400, 422) and broken["Content-Type"] == "application/problem+json"
    settings.IMPORT_MAX_FILE_BYTES = settings.BODY_MAX_SIGNED_OUT = 100
    assert send(format="csv", archive=archive("a.png")).status_code == 413
    settings.IMPORT_MAX_FILE_BYTES = 10**6
    stopped = send(format="jsonl", archive=archive("a.png")).json()
    assert as_manager.post(f"/projects/signs/archives/{stopped['id']}/stop").json()["state"] == "cancelled"
    export.delete()
    assert send(format="csv", archive=archive("a.png")).status_code == 409


def test_preparing_says_how_far_it_is(export, as_manager) -> None:
    path = f"/projects/signs/rounds/{export.round.number}/prepare"
    assert as_manager.post(path).json()["state"] == as_manager.get(path).json()["state"] == "done"
    export.delete()
    assert as_manager.get(path).json()["state"] == "absent" and not ModelExport.objects.exists()
    assert as_manager.post(path).json()["state"] == "queued"
    assert as_manager.post(path).json()["digest"] == ""
    assert as_manager.get(path).json()["state"] == "queued" and ModelExport.objects.count() == 1
    assert as_manager.post("/projects/signs/rounds/99/prepare").status_code == 404


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_failed_is_told_and_begins_anew_only_where_that_is_asked_for(export, as_manager, state) -> None:
    path = f"/projects/signs/rounds/{export.round.number}/prepare"
    ModelExport.objects.update(state=state, error="The graph is gone.")
    for _ in range(3):
        for reply in (as_manager.get(path), as_manager.post(path)):
            assert (reply.json()["state"], reply.json()["error"]) == (state, "The graph is gone.")
    assert ModelExport.objects.count() == 1
    assert as_manager.post(f"{path}?again=true").json()["state"] == "queued"
    assert as_manager.post(f"{path}?again=true").json()["state"] == "queued"  # not another one
    assert as_manager.get(path).json()["state"] == "queued"
    assert ModelExport.objects.count() == 2


def test_of_an_archive_it_is_said_whether_the_model_in_charge_is_asked(export, as_manager, project) -> None:
    Prediction.objects.create(project=project, model=export, format="csv", name="a.zip")
    assert as_manager.get("/projects/signs/archives").json()["items"][0]["in_charge"] is True
    project.model_round = None
    project.save()
    assert as_manager.get("/projects/signs/archives").json()["items"][0]["in_charge"] is False
    assert ask(as_manager, png(1)).json()["in_charge"] is False
