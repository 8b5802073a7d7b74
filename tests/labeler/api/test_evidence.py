"""What a round's model rests on, and whether further answers are worth it, by the API: the numbers of the pages."""

from __future__ import annotations

import uuid

import pytest

from labeler.models import Annotation, Image, ImageState, JobState, Outcome, Replay, Rerun, Round
from tests.labeler.queues import fresh
from tests.labeler.scored import five

ROUND = "/projects/signs/rounds"


@pytest.fixture
def scored(project, make_images) -> Round:
    """Five images of the holdout, all said to be cats; the model takes two or three of them for others."""
    cat = project.classes.first()
    make_images(project, 5, state=ImageState.LABELLED, label=cat)
    Image.objects.update(is_holdout=True)
    share = {"value": 0.6, "low": 0.4, "high": 0.8, "n": 12, "method": "wilson"}
    metrics = {
        "n": 12, "accuracy": share, "recall": [share, None, None], "confusion": [[3, 2, 0], [0, 0, 0], [0, 0, 0]],
        "reliability": [{"low": 0.5, "high": 0.6, "n": 12, "confidence": 0.55, "accuracy": share}],
    }  # fmt: skip
    return five(fresh(project), metrics=metrics)


def test_a_round_says_how_well_its_confidence_holds(as_manager, scored):
    [found] = as_manager.get(f"{ROUND}/{scored.number}").json()["reliability"]
    assert (found["confidence"], found["n"], found["accuracy"]["method"]) == (0.55, 12, "wilson")


def test_a_round_is_compared_with_labels_that_came_with_the_images(as_manager, scored):
    assert as_manager.get(f"{ROUND}/{scored.number}").json()["offered"] is None
    share = {"value": 0.6, "low": 0.4, "high": 0.8, "n": 12, "method": "wilson"}
    Round.objects.filter(pk=scored.pk).update(offered=share)
    assert as_manager.get(f"{ROUND}/{scored.number}").json()["offered"] == share
    [listed] = as_manager.get(ROUND).json()["items"]
    assert listed["offered"] == share


def test_confusion_and_the_images_behind_a_cell(as_manager, scored, project):
    cat, dog, _ = project.classes.all()
    found = as_manager.get(f"{ROUND}/{scored.number}/confusion").json()
    assert [row["name"] for row in found["classes"]] == ["cat", "dog", "owl"]
    assert found["counts"][0] == [3, 2, 0] and found["n"] == 12
    cell = as_manager.get(f"{ROUND}/{scored.number}/confusion/images?said={cat.pk}&predicted={dog.pk}").json()
    assert [row["position"] for row in cell["items"]] == [1, 3] and cell["next"] is None  # the surest first
    assert cell["items"][0]["mean"] == pytest.approx(0.98, abs=1e-3)
    assert as_manager.get(f"{ROUND}/{scored.number}/confusion/images?said={cat.pk}").status_code == 422
    wrong = as_manager.get(f"{ROUND}/{scored.number}/confusion/images?said={cat.pk}&predicted={10**6}")
    assert wrong.status_code == 404
    Round.objects.update(metrics={"n": 3})
    assert as_manager.get(f"{ROUND}/{scored.number}/confusion").status_code == 409


def test_the_card_for_programs_and_for_people(as_manager, scored):
    card = as_manager.get(f"{ROUND}/{scored.number}/card").json()
    assert card["format"] == 1 and card["round"] == scored.number
    assert [each["name"] for each in card["classes"]] == ["cat", "dog", "owl"]
    text = as_manager.get(f"{ROUND}/{scored.number}/card/text")
    assert text["Content-Type"].startswith("text/markdown") and text.content.decode().startswith("# Model card")
    Round.objects.update(folder="")
    assert as_manager.get(f"{ROUND}/{scored.number}/card").status_code == 409


def test_a_rerun_says_why_there_is_none_and_what_it_found(as_manager, scored, manager):
    address = f"{ROUND}/{scored.number}/rerun"
    refused = as_manager.post(address)
    assert refused.status_code == 409 and "not kept" in refused.json()["detail"]
    result = {"training": True, "is_equal": True, "weights": 1, "scores": 2, "digest": "ab" * 32}
    row = Rerun.objects.create(
        project=scored.project, round=scored, created_by=manager, state=JobState.DONE, result=result
    )
    found = as_manager.get(address).json()
    assert found["is_equal"] is True and "bit for bit" in found["words"][0] and found["running"] is None
    Rerun.objects.filter(pk=row.pk).update(state=JobState.RUNNING)
    assert as_manager.get(address).json()["running"]["state"] == "running"
    assert as_manager.post(f"{address}/stop").json()["changed"] is True
    row.refresh_from_db()
    assert row.is_cancel_requested


def test_worth_has_the_numbers_of_the_page(as_manager, scored, project, manager, make_images):
    for image in Image.objects.all():
        Annotation.objects.create(
            project=project, image=image, annotator=manager, outcome=Outcome.LABEL,
            label_class=project.classes.first(), key=uuid.uuid4(), seconds=2,
        )  # fmt: skip
    found = as_manager.get("/projects/signs/worth").json()
    assert found["curve"][0]["accuracy"] == {"value": 0.6, "low": 0.4, "high": 0.8, "n": 12, "method": "wilson"}
    assert found["advice"]["kind"] == "over" and "import more" in found["advice"]["reason"]
    assert (found["costs"]["answers"], found["costs"]["seconds"]) == (5, 10)
    assert found["costs"]["kinds"][0]["seconds_each"] == {
        "value": 2.0, "low": 2.0, "high": 2.0, "n": 5, "method": "normal",
    }  # fmt: skip
    assert found["saved"]["answers"] is None and "no replay" in found["saved"]["words"]
    assert found["auto_labels"]["thresholds"] == [] and found["auto_labels"]["problem"]
    make_images(project, 1)
    advice = as_manager.get("/projects/signs/worth").json()["advice"]
    assert advice["kind"] == "early" and "holdout" in advice["reason"]


def test_a_replay_is_started_stopped_and_read(as_manager, project, manager):
    refused = as_manager.post("/projects/signs/replay")
    assert refused.status_code == 409 and "Too few labels" in refused.json()["detail"]
    assert as_manager.post("/projects/signs/replay/stop").json()["changed"] is False
    curve = [[0.4, 0.6], [0.5, 0.7], [0.6, 0.8]]
    result = {"answers": [10, 20], "curves": {"own": curve, "random": curve}, "target": 0.7, "saved": [5, -1, 9]}
    new = {"project": project, "created_by": manager, "seed": 0, "config": {}, "labels": {}, "images": 3}
    Replay.objects.create(**new, state=JobState.DONE, result=result)
    running = Replay.objects.create(**new, state=JobState.QUEUED)
    found = as_manager.get("/projects/signs/replay").json()
    assert found["result"]["saved"]["low"] == -1 and found["result"]["own"] == curve
    assert found["running"]["id"] == running.pk
    assert as_manager.post("/projects/signs/replay/stop").json()["changed"] is True
    assert as_manager.get("/projects/signs/replay").json()["running"] is None
