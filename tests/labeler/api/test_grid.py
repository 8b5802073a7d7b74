"""The grid by the API: a page, its exceptions, once, and undone; and who may."""

from __future__ import annotations

import uuid

import pytest

from labeler.models import Annotation, Image, LearningConfig
from tests.labeler.queues import fill_queue, fresh
from tests.labeler.scored import five

GRID = "/projects/signs/grid"


@pytest.fixture
def images(project, make_images):
    LearningConfig.objects.filter(project=project).update(grid="managers", overlap=1)
    rows = make_images(project, 5)
    fill_queue(project, rows[:2])
    five(fresh(project))
    return rows


def test_a_page_is_accepted_once_with_its_exceptions_and_undone(as_manager, images, project):
    cat, dog, _ = project.classes.all()
    found = as_manager.get(f"{GRID}?label_class={cat.pk}").json()
    assert [tile["image"] for tile in found["tiles"]] == [images[at].pk for at in (0, 4, 2)]
    assert found["chosen"]["name"] == "cat" and found["checks"]["is_trusted"] is False
    body = {
        "key": str(uuid.uuid4()), "label_class": cat.pk, "round": found["round"], "accepted": [images[0].pk],
        "corrected": [{"image": images[2].pk, "label_class": dog.pk}], "left_out": [images[4].pk],
    }  # fmt: skip
    for _ in range(2):
        reply = as_manager.post(f"{GRID}/pages", body)
        assert reply.status_code == 201, reply.content
        assert (reply.json()["accepted"], reply.json()["corrected"], reply.json()["missed"]) == (1, 1, 0)
    labels = dict(Image.objects.exclude(label=None).values_list("position", "label__name"))
    assert labels == {0: "cat", 2: "dog"}
    page = as_manager.get(GRID).json()["last_page"]
    undone = as_manager.post(f"{GRID}/pages/{page}/undo").json()
    assert undone["changed"] is True and not Image.objects.exclude(label=None).exists()
    assert as_manager.post(f"{GRID}/pages/{page}/undo").json()["changed"] is False
    assert as_manager.post(f"{GRID}/pages/{page + 1}/undo").status_code == 404


def test_a_page_that_says_two_things_of_an_image(as_manager, images, project):
    cat, dog, _ = project.classes.all()
    body = {"key": str(uuid.uuid4()), "label_class": cat.pk, "round": 1, "accepted": [images[0].pk]}
    twice = as_manager.post(f"{GRID}/pages", body | {"left_out": [images[0].pk]})
    assert twice.status_code == 409 and "each once" in twice.json()["detail"]
    named = [{"image": images[0].pk, "label_class": pk} for pk in (cat.pk, dog.pk)]
    assert as_manager.post(f"{GRID}/pages", body | {"corrected": named}).status_code == 422
    assert as_manager.post(f"{GRID}/pages", body | {"round": 77}).json()["errors"][0]["field"] == "round"
    assert not Annotation.objects.exists()


def test_who_may(as_manager, as_annotator, images, project):
    assert as_annotator.get(GRID).status_code == 403
    LearningConfig.objects.update(grid="everybody")
    found = as_annotator.get(GRID)
    assert found.status_code == 200 and "/" not in found.json()["tiles"][0]["name"]
    body = {"key": str(uuid.uuid4()), "label_class": project.classes.first().pk, "round": found.json()["round"]}
    assert as_annotator.post(f"{GRID}/pages", body | {"accepted": [images[0].pk]}).status_code == 201
    LearningConfig.objects.update(grid="off")
    assert as_manager.get(GRID).status_code == 409 and as_annotator.get(GRID).status_code == 403
    assert as_manager.post(f"{GRID}/pages", body | {"accepted": [images[4].pk]}).status_code == 409
