"""Explore by the API: regions, galleries, what is asked next, the map, and two rounds side by side."""

from __future__ import annotations

import pytest

from labeler.models import Candidate, Image, JobState, PoolMap, Reason, Round
from tests.labeler.queues import fill_queue, fresh
from tests.labeler.scored import five, scored_round

EXPLORE = "/projects/signs/explore"


@pytest.fixture
def images(project, make_images):
    rows = make_images(project, 5)
    fill_queue(project, rows[:2])
    five(fresh(project))
    return rows


def test_regions_and_galleries_are_those_of_the_page(as_manager, images):
    found = as_manager.get(EXPLORE).json()
    counts = {row["key"]: row["images"] for row in found["regions"]}
    assert found["scored"] == 5 and counts["sure"] == 2 and counts["lost"] == 1
    gallery = as_manager.get(f"{EXPLORE}/galleries/lost").json()
    assert [row["position"] for row in gallery["items"]] == [3] and gallery["next"] is None
    assert gallery["items"][0]["std"] == pytest.approx(0.45, abs=1e-3)
    assert as_manager.get(f"{EXPLORE}/galleries/lots").status_code == 422
    Image.objects.filter(position=3).update(state="bad")
    assert as_manager.get(f"{EXPLORE}/galleries/lost?only_waiting=true").json()["items"] == []


def test_picks_are_asked_next(as_manager, images):
    Image.objects.filter(position=1).update(is_holdout=True)
    found = as_manager.post(f"{EXPLORE}/send", {"positions": [4, 1, 77]}).json()
    assert (found["sent"], found["holdout"], found["unknown"]) == (1, 1, 1) and "asked next" in found["words"]
    assert Candidate.objects.get(reason=Reason.PICKED).image == images[4]
    assert as_manager.post(f"{EXPLORE}/send", {"positions": []}).status_code == 422
    assert as_manager.post(f"{EXPLORE}/send", {"positions": [-1]}).status_code == 422


def test_a_map_is_drawn_and_without_one_that_is_said(as_manager, images):
    for address in ("/map/points", "/duplicates"):
        reply = as_manager.get(f"{EXPLORE}{address}")
        assert reply.status_code == 409 and "No map" in reply.json()["detail"]
    assert as_manager.post(f"{EXPLORE}/map").json()["running"]["state"] == "queued"
    assert as_manager.post(f"{EXPLORE}/map").status_code == 409
    assert as_manager.get(f"{EXPLORE}/map").json()["images"] is None


def test_points_neighbours_and_duplicates_come_of_the_map(as_manager, images, project, monkeypatch):
    import numpy as np

    kinds = [("x", "<f4"), ("y", "<f4"), ("distance", "<f4"), ("nearest", "<u4"), ("features", "<f2", (2,))]
    records = np.zeros(5, kinds)
    records["x"], records["distance"], records["nearest"] = range(5), [0.1, 0.1, 1, 1, 1], [1, 0, 0, 0, 0]
    records["features"][:, 0] = range(5)
    PoolMap.objects.create(project=project, state=JobState.DONE, file="maps/1.npy", total=5)
    for module in ("labeler.api.explore", "labeler.selectors.maps"):
        monkeypatch.setattr(f"{module}.map_records", lambda _: records)
    first = as_manager.get(f"{EXPLORE}/map/points?limit=3").json()
    second = as_manager.get(f"{EXPLORE}/map/points?limit=3&cursor={first['next']}").json()
    assert [row["x"] for page in (first, second) for row in page["items"]] == [0, 1, 2, 3, 4]
    assert second["next"] is None
    pair = as_manager.get(f"{EXPLORE}/duplicates").json()["items"][0]
    assert (pair["one"], pair["other"]) == (images[0].pk, images[1].pk)
    Image.objects.filter(position=3).update(state="labelled", label=project.classes.first())
    [near] = as_manager.get(f"/projects/signs/images/{images[1].pk}/neighbours").json()
    assert (near["image"], near["label"], near["distance"]) == (images[3].pk, "cat", 2.0)


def test_two_rounds_side_by_side(as_manager, images, project):
    means = [[0.02, 0.97, 0.01], [0.01, 0.98, 0.01], [0.52, 0.46, 0.02], [0.1, 0.5, 0.4], [0.75, 0.2, 0.05]]
    newer = scored_round(fresh(project), means, [[0.01] * 3] * 5)
    older = Round.objects.filter(folder__startswith="rounds/").exclude(pk=newer.pk).get()
    found = as_manager.get(f"{EXPLORE}/comparison?one={older.number}&other={newer.number}").json()
    assert (found["images"], found["differing"], found["pages"]) == (5, 1, 1)
    assert found["classes"] == [{"one": "cat", "other": "dog", "images": 1}]
    assert found["items"][0]["one"]["predicted"]["name"] == "cat" and found["sides"][0]["accuracy"] is None
    assert as_manager.get(f"{EXPLORE}/comparison?one={older.number}").status_code == 422
    assert as_manager.get(f"{EXPLORE}/comparison?one={older.number}&other=999").status_code == 404


def test_a_round_is_started_only_to_be_looked_at(as_manager, images, project):
    refused = as_manager.post(f"{EXPLORE}/comparison", {"members": 3})
    assert refused.status_code == 409
    assert as_manager.post(f"{EXPLORE}/comparison", {"budget": 3}).json()["errors"][0]["field"] == "budget"
    assert as_manager.post(f"{EXPLORE}/comparison", {"estimator": "guess"}).status_code == 422
    for image, label in zip(images, [*project.classes.all()][:2] * 3, strict=False):
        Image.objects.filter(pk=image.pk).update(state="labelled", label=label)
    made = as_manager.post(f"{EXPLORE}/comparison", {"posterior_samples": 7})
    assert made.status_code == 201, made.content
    assert made.json()["trigger"] == "comparison" and made.json()["settings"]["posterior_samples"] == 7
