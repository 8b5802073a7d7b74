"""The map as a job: drawn by a worker, shown while it is drawn, found neighbours, gone files told."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from django.urls import reverse

from labeler import storage, tasks
from labeler.models import ChunkFeatures, ImageState, JobState, PoolFeatures, PoolMap, Worker
from labeler.selectors.maps import labelled_neighbours, map_records, near_duplicates
from labeler.services import maps
from labeler.services.jobs import request_cancel
from tests.labeler.rounds import paint, truth
from tests.labeler.scored import scored_round

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    make_images(project, 60)
    paint(project)
    return project


@pytest.fixture
def drawn(pool, manager) -> PoolMap:
    job = maps.request_map(project=pool, by=manager)
    tasks.draw_map(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job


def test_a_manager_has_it_drawn_and_sees_how_far_it_is(
    pool, manager, client_of, sent, django_capture_on_commit_callbacks
) -> None:
    client = client_of(manager)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("explore-draw", args=["signs"]))
    job = PoolMap.objects.get()
    assert sent == [(maps.DRAW, job.pk)]
    PoolMap.objects.update(state=JobState.RUNNING, done=30, total=60)
    state = reverse("explore-map", args=["signs"])
    assert "No background worker is alive" in client.get(state).content.decode()
    Worker.objects.create(name="here", queues="background")
    assert "50 %" in client.get(state).content.decode()
    client.post(reverse("explore-draw", args=["signs"]))
    assert PoolMap.objects.count() == 1
    PoolMap.objects.update(state=JobState.QUEUED)
    tasks.draw_map(job.pk)
    reply = client.get(state, {"was": "drawn"})
    assert reply.headers["HX-Refresh"] == "true" and "hx-get" not in reply.content.decode()


def test_neighbours_are_of_the_same_kind_and_labelled(pool, drawn) -> None:
    classes = list(pool.classes.all())
    for image in pool.images.filter(position__lt=30):
        pool.images.filter(pk=image.pk).update(state=ImageState.LABELLED, label=classes[truth(image.position)])
    found = labelled_neighbours(pool, drawn, pool.images.get(position=45))
    assert len(found) == 8
    assert {near.image.label for near in found} == {classes[truth(45)]}
    assert [near.distance for near in found] == sorted(near.distance for near in found)


def test_pairs_come_nearest_first_and_once(drawn) -> None:
    pairs = near_duplicates(drawn)
    assert pairs and all(truth(one) == truth(other) and one < other for one, other, _ in pairs)
    assert [far for *_, far in pairs] == sorted(far for *_, far in pairs)
    assert len({(one, other) for one, other, _ in pairs}) == len(pairs)


def test_the_gallery_shows_pairs_and_tells_of_two_labels(pool, drawn, manager, client_of) -> None:
    one, other, _ = near_duplicates(drawn)[0]
    cat, dog, _ = pool.classes.all()
    pool.images.filter(position=one).update(state=ImageState.LABELLED, label=cat)
    pool.images.filter(position=other).update(state=ImageState.LABELLED, label=dog)
    page = client_of(manager).get(reverse("gallery", args=["signs", "duplicates"]))
    assert len(page.context["pairs"]) >= 20
    assert page.content.decode().count("two labels") == 1


def test_dots_of_a_round_lie_where_the_map_has_them(pool, drawn, manager, client_of) -> None:
    round_ = scored_round(pool, [[0.8, 0.1, 0.1]] * 60, [[0.1] * 3] * 60)
    reply = client_of(manager).get(reverse("explore-map-points", args=["signs", round_.number]))
    body = gzip.decompress(reply.content)
    with storage.local_path(drawn.file) as path:
        records = np.load(path)
    assert np.array_equal(np.frombuffer(body[16:136], "<u2"), records["x"])
    assert np.array_equal(np.frombuffer(body[136:256], "<u2"), records["y"])


def test_images_that_came_after_the_map_have_no_dot_on_it_and_are_counted(
    pool, drawn, make_images, manager, client_of
) -> None:
    make_images(pool, 7)
    round_ = scored_round(pool, [[0.8, 0.1, 0.1]] * 67, [[0.1] * 3] * 67)
    body = gzip.decompress(client_of(manager).get(reverse("explore-map-points", args=["signs", round_.number])).content)
    assert np.frombuffer(body[:16], "<u4").tolist() == [60, 60, 1, 0]
    with storage.local_path(drawn.file) as path:
        assert np.array_equal(np.frombuffer(body[16:136], "<u2"), np.load(path)["x"])
    page = client_of(manager).get(reverse("explore", args=["signs"])).content.decode()
    assert "7 images came after it: they are not on it." in page


def test_without_a_map_pages_say_so(pool, manager, client_of) -> None:
    client = client_of(manager)
    assert "Not drawn yet" in client.get(reverse("gallery", args=["signs", "duplicates"])).content.decode()
    image = pool.images.first()
    assert "has not been drawn yet" in client.get(reverse("image", args=["signs", image.pk])).content.decode()
    round_ = scored_round(pool, [[0.8, 0.1, 0.1]] * 60, [[0.1] * 3] * 60)
    assert client.get(reverse("explore-map-points", args=["signs", round_.number])).status_code == 410


def test_a_file_that_is_gone_is_told_and_can_be_drawn_again(pool, drawn, manager, client_of) -> None:
    storage.delete(drawn.file)
    client = client_of(manager)
    for address in (
        reverse("gallery", args=["signs", "duplicates"]),
        reverse("image", args=["signs", pool.images.first().pk]),
    ):
        assert "Draw the map again" in client.get(address).content.decode()


def test_a_newer_map_takes_the_place_of_the_older(pool, drawn, manager) -> None:
    job = maps.request_map(project=pool, by=manager)
    tasks.draw_map(job.pk)
    assert list(PoolMap.objects.values_list("pk", flat=True)) == [job.pk]


def test_missing_pixels_fail_in_words(pool, manager, client_of) -> None:
    pool.chunks.update(pixels="projects/1/none.npy")
    job = maps.request_map(project=pool, by=manager)
    tasks.draw_map(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED and "pixels of chunk 0 are missing" in job.error
    page = client_of(manager).get(reverse("gallery", args=["signs", "duplicates"])).content.decode()
    assert "The map could not be drawn" in page and "Draw the map" in page


def test_a_cancelled_one_ends_and_leaves_no_file(pool, manager, monkeypatch) -> None:
    monkeypatch.setattr("labeler.services.jobs.BEAT_SECONDS", 0)
    job = maps.request_map(project=pool, by=manager)

    def draw(_project, report):
        request_cancel(job=job)
        report(0, 1)
        raise AssertionError("went on")

    maps.run_map(job_id=job.pk, draw=draw)
    job.refresh_from_db()
    assert (job.state, job.file) == (JobState.CANCELLED, "")
    assert storage.names_in(f"projects/{pool.pk}/maps") == []


def test_a_map_of_pixels_is_drawn_anew_by_features_when_there_are_some(
    pool, drawn, manager, client_of, monkeypatch
) -> None:
    client, state = client_of(manager), reverse("explore-map", args=["signs"])
    assert "It was drawn by pixels" not in client.get(state).content.decode()
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(30, 40)), 2, axis=0).astype(np.float16)  # images alike in pairs
    name = storage.new_name(pool, "features", "npy")
    storage.write_once(name, lambda file: np.save(file, vectors))
    done = PoolFeatures.objects.create(project=pool, backbone="some", state=JobState.DONE, images=60)
    ChunkFeatures.objects.create(chunk=pool.chunks.get(), backbone="some", count=60, file=name)
    monkeypatch.setattr("labeler.selectors.features.ready_by_project", lambda _projects: {pool.pk: done})
    page = client.get(state).content.decode()
    assert "It was drawn by pixels" in page and "Draw it anew" in page
    maps.request_map(project=pool, by=manager)
    tasks.draw_map(PoolMap.objects.first().pk)
    assert "It was drawn by pixels" not in client.get(state).content.decode()
    records = map_records(PoolMap.objects.get().file)
    assert records["nearest"].tolist() == [position ^ 1 for position in range(60)]
