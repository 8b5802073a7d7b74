"""New images by the API: prepare, ask, and what is refused."""

from __future__ import annotations

import io

import pytest
from PIL import Image as Picture

from labeler.models import LearningConfig
from labeler.throttle import PREDICTIONS
from tests.labeler.served_models import tiny_export

pytestmark = pytest.mark.django_db
OCTETS = "application/octet-stream"


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
    assert ask(as_manager, png(1), "image/png").status_code == 415
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


def test_preparing_says_how_far_it_is(export, as_manager) -> None:
    path = f"/projects/signs/rounds/{export.round.number}/prepare"
    assert as_manager.post(path).json()["state"] == "done"
    export.delete()
    assert as_manager.post(path).json()["state"] == "queued"
    assert as_manager.post(path).json()["digest"] == ""
    assert as_manager.post("/projects/signs/rounds/99/prepare").status_code == 404
