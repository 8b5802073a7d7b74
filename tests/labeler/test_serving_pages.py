"""Try an image: the page and its sibling for programs, what they refuse, and the round page's part."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image as Picture

from labeler.learning.spoken import note
from labeler.models import JobState, LearningConfig, ModelExport
from labeler.services import predicting, serving
from labeler.services.derived import CannotDerive
from labeler.throttle import PREDICTIONS
from labeler.told import keep, told
from labeler.turns import Turns
from tests.labeler.scored import scored_round
from tests.labeler.served_models import tiny, tiny_export

pytestmark = pytest.mark.django_db


@pytest.fixture
def export(project, make_images, manager) -> ModelExport:
    """Annotators may ask it, too."""
    LearningConfig.objects.filter(project=project).update(suggestions="before")
    return tiny_export(project, make_images, manager)


def picture(value: int = 255, name: str = "white.png") -> SimpleUploadedFile:
    out = io.BytesIO()
    Picture.new("L", (12, 12), value).save(out, "PNG")
    return SimpleUploadedFile(name, out.getvalue())


TRY, PREDICT = reverse("try", args=["signs"]), reverse("predict", args=["signs"])


@pytest.mark.parametrize("who", ["manager", "annotator"])
def test_a_picture_gets_bars_and_measures(export, request, client_of, who) -> None:
    page = client_of(request.getfixturevalue(who)).post(TRY, {"image": picture(name="../a <b>.png")})
    text = page.content.decode()
    assert page.status_code == 200
    assert "a &lt;b&gt;.png" in text and "<b>" not in text and "../" not in text.split("said-title")[1]
    assert text.index("cat") < text.index("dog")
    assert "1.00" in text and "± 0.10" in text
    assert "Mutual information" in text
    assert 'src="data:image/png;base64,' in text
    assert not type(export).objects.exclude(pk=export.pk).exists()


@pytest.mark.parametrize("when", ["hidden", "after"])
def test_who_is_not_to_know_before_they_answer_cannot_ask_about_a_saved_picture(
    export, project, annotator, client_of, when
) -> None:
    LearningConfig.objects.filter(project=project).update(suggestions=when)
    client = client_of(annotator)
    for reply in (client.get(TRY), client.post(TRY, {"image": picture()}), client.post(PREDICT, {"image": picture()})):
        assert reply.status_code == 403
        assert "dog" not in reply.content.decode()
    assert TRY not in client.get(reverse("images", args=["signs"])).content.decode()


def test_a_program_gets_the_same_as_json(export, annotator, client_of) -> None:
    reply = client_of(annotator).post(PREDICT, {"image": picture(51)})
    content = reply.json()
    assert [(each["name"], round(each["mean"], 4)) for each in content["classes"]] == [
        ("dog", 0.6), ("cat", 0.2), ("owl", 0.2)
    ]  # fmt: skip
    assert content["classes"][0]["std"] == pytest.approx(0.06)
    assert content["round"] == export.round.number
    assert {"name", "value", "unit", "percentile"} == set(content["measures"][0])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The file is empty"),
        (b"PK\x03\x04" + b"0" * 50, "a zip archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "SVG drawing"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "damaged or cut off"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(export, annotator, client_of, data, words) -> None:
    client = client_of(annotator)
    for url in (TRY, PREDICT):
        reply = client.post(url, {"image": SimpleUploadedFile("bad.png", data)})
        assert reply.status_code in (400, 422)
        if data:  # Django drops empty files: then none was chosen
            assert words in reply.content.decode()


def test_a_bomb_of_pixels_is_refused(export, annotator, client_of, settings) -> None:
    """By a limit of its own, below that of imports."""
    settings.PREDICT_MAX_PIXELS = 100
    reply = client_of(annotator).post(PREDICT, {"image": picture()})
    assert (reply.status_code, "at most 100 in all" in reply.json()["problem"]) == (422, True)
    settings.PREDICT_MAX_PIXELS = 10**6
    settings.IMPORT_MAX_PIXELS = 100
    assert client_of(annotator).post(PREDICT, {"image": picture()}).status_code == 422
    settings.IMPORT_MAX_PIXELS = 10**6
    assert client_of(annotator).post(PREDICT, {"image": picture()}).status_code == 200


def test_one_picture_is_decoded_at_a_time(export, annotator, client_of, monkeypatch) -> None:
    client = client_of(annotator)
    monkeypatch.setattr(predicting, "decoding", Turns(waiting=0, seconds=60))
    with predicting.decoding.one():  # who would have to wait behind others is told so at once
        reply = client.post(PREDICT, {"image": picture()})
    assert (reply.status_code, "looking at other new images" in reply.json()["problem"]) == (409, True)
    assert client.post(PREDICT, {"image": picture()}).status_code == 200


def test_a_file_that_is_too_large_is_refused(export, annotator, client_of, settings) -> None:
    settings.IMPORT_MAX_FILE_BYTES = 60
    assert client_of(annotator).post(PREDICT, {"image": picture()}).status_code == 413


def test_nothing_chosen_and_no_model(project, annotator, client_of) -> None:
    LearningConfig.objects.filter(project=project).update(suggestions="before")
    client = client_of(annotator)
    assert client.post(TRY).status_code == 400
    reply = client.post(PREDICT, {"image": picture()})
    assert (reply.status_code, reply.json()["problem"]) == (409, "No model is ready for new images.")
    assert "No model is ready" in client.get(TRY).content.decode()


def test_who_asks_too_often_waits(export, annotator, manager, client_of, monkeypatch) -> None:
    monkeypatch.setattr(PREDICTIONS, "limit", 2)
    monkeypatch.setattr(PREDICTIONS, "name", "predict in this test")
    client = client_of(annotator)
    seen = [client.post(PREDICT, {"image": picture()}).status_code for _ in range(3)]
    assert seen == [200, 200, 429]
    assert client_of(manager).post(PREDICT, {"image": picture()}).status_code == 200


def test_the_page_says_whose_model_answers(export, project, manager, annotator, client_of) -> None:
    assert f"The model of round {export.round.number} answers" in client_of(annotator).get(TRY).content.decode()
    project.model_round = scored_round(project, [[0.6, 0.3, 0.1]] * 30, [[0.1] * 3] * 30)
    project.save()
    text = client_of(manager).get(TRY).content.decode()
    assert f"That is not the model in charge: round {project.model_round.number} is." in text
    assert f"Prepare the model of round {project.model_round.number}" in text


def test_the_download_holds_all_that_it_takes(export, manager, client_of) -> None:
    fitted = note("1 of 3 classes has a single label")
    export.about["notes"], export.round.metrics = [keep(told("It has no model."))], {"fit": {"notes": [keep(fitted)]}}
    export.save()
    export.round.save()
    client = client_of(manager)
    reply = client.get(reverse("round-model", args=["signs", export.round.number]), headers={"accept-language": "de"})
    with zipfile.ZipFile(io.BytesIO(reply.getvalue())) as archive:
        assert sorted(archive.namelist()) == [
            "MODEL_CARD.md", "README.md", "arrays.safetensors", "model.json", "model.onnx", "model.safetensors",
            "model_card.json", "predict.py", "round.json", "served.json",
        ]  # fmt: skip
        assert archive.read("model.onnx") == tiny()
        assert b"import learner" not in archive.read("predict.py")
        about = json.loads(archive.read("served.json"))
        assert about["digest"] == export.digest
        card = archive.read("MODEL_CARD.md").decode()
        assert "- Note: 1 of 3 classes has a single label\n- Note: It has no model.\n" in card
        assert about["notes"] == ["It has no model."]
        assert '"value": "1 of 3 classes has a single label"' in archive.read("model_card.json").decode()
        assert export.digest in card


def test_preparing_from_the_rounds_page(export, manager, annotator, client_of, django_capture_on_commit_callbacks):
    round_ = export.round
    page, at = reverse("round", args=["signs", round_.number]), reverse("model-prepare", args=["signs", round_.number])
    client = client_of(manager)
    assert "Try an image" in client.get(page).content.decode()
    ModelExport.objects.all().delete()
    assert "Prepare for new images" in client.get(page).content.decode()
    for _ in range(2):  # a double click
        assert client.post(at).headers["Location"].endswith("#new-images")
    job = ModelExport.objects.get()
    assert (job.state, job.created_by) == (JobState.QUEUED, manager)
    assert "It waits for a worker" in client.get(page).content.decode()
    client.post(reverse("model-prepare-stop", args=["signs", round_.number]))
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert client_of(annotator).post(at).status_code == 403
    assert client.get(at).status_code == 405


def test_a_job_that_fails_says_why_on_the_page(export, manager, client_of) -> None:
    ModelExport.objects.all().delete()
    job = serving.request_model_export(round_=export.round, by=manager)

    def export_it(_job, _report):
        raise CannotDerive("The graph is gone.")

    serving.run_model_export(job_id=job.pk, export=export_it)
    text = client_of(manager).get(reverse("round", args=["signs", export.round.number])).content.decode()
    assert "It could not be prepared. The graph is gone." in text


def test_few_statements(export, annotator, client_of, django_assert_max_num_queries) -> None:
    client = client_of(annotator)
    client.post(TRY, {"image": picture()})
    with django_assert_max_num_queries(9):
        client.post(TRY, {"image": picture()})
    assert np.isfinite(client.post(PREDICT, {"image": picture()}).json()["classes"][0]["mean"])
