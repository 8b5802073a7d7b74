"""Review by the API: what waits, one image, a decision, its undo; gold by positions; and how good people's answers
are."""

from __future__ import annotations

import uuid

import pytest

from labeler.models import Annotation, AnnotatorQuality, AnswerQuality, GoldImage, Image, ImageState
from tests.labeler.contested import contested_images

REVIEW = "/projects/signs/review"


@pytest.fixture
def images(project, make_images, annotator, make_user) -> list[Image]:
    return contested_images(project, make_images, annotator, make_user("bob"))


def decide(api, image: Image, **said: object):
    return api.post(f"{REVIEW}/{image.pk}/decisions", {"key": str(uuid.uuid4()), **said})


def test_what_waits_and_what_the_model_doubts(as_manager, images):
    first = as_manager.get(f"{REVIEW}?limit=1").json()
    second = as_manager.get(f"{REVIEW}?limit=1&cursor={first['next']}").json()
    assert [row["image"] for page in (first, second) for row in page["items"]] == [images[1].pk, images[3].pk]
    assert second["next"] is None
    doubts = as_manager.get(f"{REVIEW}/doubts").json()
    assert (doubts["images"], doubts["count"], doubts["problem"]) == ([images[5].pk, images[4].pk], 2, "")


def test_an_image_says_what_people_and_the_model_say(as_manager, images):
    found = as_manager.get(f"{REVIEW}/{images[1].pk}").json()
    assert [(each["label_class"]["name"], each["people"]) for each in found["said"]] == [("cat", 1), ("dog", 1)]
    assert len(found["answers"]) == 2 and found["seen"] == max(row["id"] for row in found["answers"])
    assert found["likely"][0]["name"] == "cat" and found["likely"][0]["mean"] == pytest.approx(0.9, abs=1e-3)
    assert as_manager.get(f"{REVIEW}/{images[5].pk}").json()["doubt"] == "dog"


def test_a_decision_settles_it_once_and_is_undone(as_manager, images, project):
    dog, key = project.classes.all()[1], str(uuid.uuid4())
    seen = as_manager.get(f"{REVIEW}/{images[1].pk}").json()["seen"]
    for _ in range(2):
        reply = decide(as_manager, images[1], key=key, label_class=dog.pk, seen=seen)
        assert reply.status_code == 201 and reply.json()["is_decision"], reply.content
    assert Annotation.objects.filter(is_decision=True).count() == 1
    images[1].refresh_from_db()
    assert (images[1].state, images[1].label) == (ImageState.LABELLED, dog)
    assert [row["image"] for row in as_manager.get(REVIEW).json()["items"]] == [images[3].pk]
    undone = as_manager.post(f"{REVIEW}/decisions/{key}/undo", {"key": str(uuid.uuid4())})
    assert undone.status_code == 200, undone.content
    images[1].refresh_from_db()
    assert images[1].state == ImageState.DISPUTED
    assert as_manager.post(f"{REVIEW}/decisions/{uuid.uuid4()}/undo", {"key": str(uuid.uuid4())}).status_code == 404


def test_what_another_manager_has_decided_since_is_not_decided_over(as_manager, api_of, images, project, make_user):
    olga = make_user("olga")
    project.memberships.create(user=olga, role="manager")
    cat, dog, _ = project.classes.all()
    seen = as_manager.get(f"{REVIEW}/{images[1].pk}").json()["seen"]
    assert decide(api_of(olga), images[1], label_class=cat.pk, seen=seen).status_code == 201
    reply = decide(as_manager, images[1], label_class=dog.pk, seen=seen)
    assert reply.status_code == 409 and "olga has decided meanwhile" in reply.json()["detail"]
    assert decide(as_manager, images[3], outcome="unsure", label_class=dog.pk, seen=0).status_code == 422


def test_labels_become_gold_by_their_positions(as_manager, images):
    reply = as_manager.post("/projects/signs/gold", {"positions": [0, 1, 2, 77]})
    assert reply.json() == {"marked": 2, "already": 0, "unlabelled": 1, "unknown": 1}
    assert GoldImage.objects.count() == 2
    assert as_manager.post("/projects/signs/gold", {"positions": []}).status_code == 422


@pytest.fixture
def measured(project, annotator, images):
    share = {"value": 0.8, "low": 0.6, "high": 0.9, "n": 20}
    stats = {"answers": 6, "labels": 6, "agreement": share, "gold": share, "gold_told": share | {"value": 0.7}}
    AnnotatorQuality.objects.create(project=project, annotator=annotator, trust=0.8, stats=stats)
    AnswerQuality.objects.create(project=project, stats={"answers": 12, "alpha": share, "paired": 20})


def test_quality_has_intervals(as_manager, measured, annotator):
    found = as_manager.get("/projects/signs/quality").json()
    assert found["alpha"] == {"value": 0.8, "low": 0.6, "high": 0.9, "n": 20, "method": "bootstrap"}
    assert (found["answers"], found["contested"], found["people"][0]["person"]["id"]) == (12, 2, annotator.pk)
    assert found["people"][0]["gold"]["value"] == 0.8 and found["people"][0]["gold"]["method"] == "wilson"


def test_a_person_reads_their_own_and_no_more_than_their_page_says(as_annotator, measured, annotator, manager):
    found = as_annotator.get(f"/projects/signs/quality/people/{annotator.pk}").json()
    assert (found["gold"]["value"], found["trust"], found["kinds"]) == (0.7, None, [])
    assert as_annotator.get(f"/projects/signs/quality/people/{manager.pk}").status_code == 403
