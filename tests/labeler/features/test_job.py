"""Features as a job: part by part, killed, stopped, gone wrong."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse

from labeler import clock, learning, storage, tasks
from labeler.choices import DEFAULT_BACKBONE
from labeler.models import (
    ChunkFeatures,
    JobState,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    Worker,
)
from labeler.selectors.features import ready_features
from labeler.services import features, graphs
from labeler.services.claims import new_claim
from labeler.services.stops import give_back_work
from learner import backbones
from tests.labeler.features.conftest import (
    Small,
    made,
    page,
    vectors_of,
)
from tests.labeler.rounds import truth

pytestmark = pytest.mark.django_db


def test_first_the_graph_goes_by_pixels_then_by_features(pool) -> None:
    assert graphs.sweep_graphs() == 1
    assert features.sweep_features() == 1
    tasks.make_graph(PoolGraph.objects.get().pk)
    first = PoolGraph.objects.get()
    assert first.features is None and "principal components" in first.reason
    assert pool.rounds.first().config["graph"] == first.pk
    tasks.compute_features(PoolFeatures.objects.get().pk)
    job = PoolFeatures.objects.get()
    assert (job.state, job.images, job.done, job.total) == (JobState.DONE, 30, 30, 30)
    tasks.make_graph(PoolGraph.objects.first().pk)
    second = PoolGraph.objects.get()
    assert second.features == job and second.groups == 3
    assert second.reason.startswith(f"features of {DEFAULT_BACKBONE}")
    assert pool.rounds.first().config["graph"] == second.pk  # the first queue is in the order of the new one
    assert graphs.sweep_graphs() == features.sweep_features() == 0


def test_features_are_those_of_the_pictures_that_people_see(pool) -> None:
    made(pool)
    row = ChunkFeatures.objects.get()
    assert row.chunk.pixels.rpartition("/")[2].removesuffix(".npy") in row.file
    with storage.local_path(row.file) as path:
        vectors = np.load(path, allow_pickle=False)
    assert vectors.shape == (30, 48) and vectors.dtype == np.float16
    strongest = vectors.reshape(30, 3, 16).mean(2).argmax(1)
    assert strongest.tolist() == [truth(position) for position in range(30)]


def test_small_grey_images_get_none(project, make_images) -> None:
    from tests.labeler.rounds import paint

    make_images(project, 60)
    paint(project)
    assert features.sweep_features() == 0
    assert features.request_features(project=project) is None


def test_an_import_costs_its_own_chunks_only(pool, bring, monkeypatch) -> None:
    monkeypatch.setattr("labeler.models.images.CHUNK_SIZE", 16)
    monkeypatch.setattr("labeler.services.packing.CHUNK_SIZE", 16)
    monkeypatch.setattr("labeler.learning.features.CHUNK_SIZE", 16)
    pool.chunks.all().delete()
    pool.images.all().delete()
    bring(40)
    made(pool)
    before = dict(ChunkFeatures.objects.values_list("chunk__number", "file"))
    assert len(before) == 3
    bring(12)
    PoolGraph.objects.all().delete()  # which would be given way to
    assert features.sweep_features() == 1
    job = PoolFeatures.objects.first()
    looked_at: list[tuple[int, int, int]] = []
    whole = lambda part: (part.chunk.number, part.start, part.stop)  # noqa: E731
    compute = learning.open_backbone(job, lambda: None)
    features.run_features(
        job_id=job.pk,
        load=lambda _job, _beat: lambda part, report: looked_at.append(whole(part)) or compute(part, report),
    )
    assert looked_at == [(2, 8, 16), (3, 0, 4)]  # the last one has grown, another is new
    after = dict(ChunkFeatures.objects.values_list("chunk__number", "file"))
    assert [before[number] == after[number] for number in range(3)] == [True, True, False]
    assert PoolFeatures.objects.get().images == 52


def test_a_killed_worker_goes_on_at_the_next_part_of_a_chunk(pool, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    made(pool)
    whole = vectors_of(pool)
    for model in (PoolFeatures, ChunkFeatures, PoolGraph):  # the graph would be given way to
        model.objects.all().delete()
    monkeypatch.setattr("labeler.services.features.PART", 12)
    job = features.request_features(project=pool)
    compute, starts = learning.open_backbone(job, lambda: None), []

    def load(_job, _beat):
        def look(part, report):
            starts.append(part.start)
            if starts == [0, 12]:
                raise Killed
            return compute(part, report)

        return look

    with pytest.raises(Killed):
        features.run_features(job_id=job.pk, load=load)
    job.refresh_from_db()
    assert (job.state, job.done) == (JobState.RUNNING, 12)
    assert ready_features(pool) is None  # a part of a pool is not taken for it
    PoolFeatures.objects.update(heartbeat_at=clock.now() - timedelta(hours=1))
    features.run_features(job_id=job.pk, load=load)
    job.refresh_from_db()
    assert (job.state, job.images) == (JobState.DONE, 30)
    assert starts == [0, 12, 12, 24]
    assert np.array_equal(vectors_of(pool), whole)


def test_parts_whose_vectors_are_lost_are_looked_at_again(pool, monkeypatch) -> None:
    made(pool)
    whole = vectors_of(pool)
    row = ChunkFeatures.objects.get()
    storage.delete(row.file)
    ChunkFeatures.objects.update(count=12)
    PoolFeatures.objects.all().delete()
    PoolGraph.objects.all().delete()  # which would be given way to
    made(pool)
    assert np.array_equal(vectors_of(pool), whole)


def test_before_the_job_is_there_it_says_what_comes_next(pool, manager, client_of) -> None:
    client = client_of(manager)
    assert "as soon as no import is under way. Until they are ready, images go by their pixels." in page(client)
    assert 'hx-trigger="every 1s"' in page(client).split('id="features"')[1].split(">")[0]
    assert "; not computed yet; by their pixels until they are ready" in page(client, "monitor")
    assert features.sweep_features() == 1
    assert "; waiting for a worker; by their pixels until they are ready" in page(client, "monitor")
    assert "Images are seen by their pixels. A network" in page(client)
    tasks.compute_features(PoolFeatures.objects.get().pk)
    assert f"Images are seen by features of {DEFAULT_BACKBONE}. A network" in page(client)


def test_of_few_images_it_says_from_how_many_on(project, bring, manager, client_of) -> None:
    bring(19)
    client = client_of(manager)
    assert "They are computed from 20 images on. Until then images go by their pixels." in page(client)
    assert ", from 20 images on; by their pixels until then" in page(client, "monitor")
    assert features.sweep_features() == 0


def test_it_says_when_it_will_be_done(pool, manager, client_of) -> None:
    job = features.request_features(project=pool)
    PoolFeatures.objects.update(
        state=JobState.RUNNING,
        heartbeat_at=clock.now(),
        done=10,
        total=30,
        ready_at=clock.now() + timedelta(minutes=4.5),
    )
    assert "10 of 30 images, 4 min left" in page(client_of(manager))
    assert "33 %, 4 min left" in page(client_of(manager), "monitor")
    PoolFeatures.objects.update(heartbeat_at=clock.now() - timedelta(seconds=11))  # its worker was killed, perhaps
    assert "10 of 30 images." in page(client_of(manager))
    assert "left" not in page(client_of(manager), "monitor").split("33 %")[1].split("</dd>")[0]
    Worker.objects.create(name="background@here", queues="background", doing="drawing a map")
    PoolFeatures.objects.filter(pk=job.pk).update(state=JobState.QUEUED, done=0)
    assert "wait for a worker, which is drawing a map just now" in page(client_of(manager))


def test_another_worker_does_not_take_over_what_the_last_one_expected(pool) -> None:
    job = features.request_features(project=pool)
    soon = clock.now() + timedelta(minutes=4)
    PoolFeatures.objects.update(
        state=JobState.RUNNING,
        claim=new_claim("killed@here"),
        heartbeat_at=clock.now() - timedelta(hours=1),
        ready_at=soon,
    )
    found = []

    def load(job, beat):
        found.append(PoolFeatures.objects.get().ready_at)
        return learning.open_backbone(job, beat)

    features.run_features(job_id=job.pk, load=load)
    assert found == [None]


def test_a_worker_that_is_told_to_stop_takes_its_forecast_along(pool) -> None:
    features.request_features(project=pool)
    soon = clock.now() + timedelta(minutes=4)
    PoolFeatures.objects.update(
        state=JobState.RUNNING, claim=new_claim("background@here"), heartbeat_at=clock.now(), ready_at=soon, attempts=1
    )
    assert give_back_work(worker="background@here") == 1
    assert PoolFeatures.objects.get().ready_at is None


def test_one_that_was_taken_for_dead_changes_nothing(pool) -> None:
    job = features.request_features(project=pool)

    def load(_job, _beat):
        PoolFeatures.objects.update(claim="another")
        return lambda _chunk, _report: lambda file: file.write(b"late")

    features.run_features(job_id=job.pk, load=load)
    assert not ChunkFeatures.objects.exists()
    assert storage.names_in(f"{storage.project_folder(pool)}/features") == []


def test_it_makes_room_for_a_map_after_each_part(pool, monkeypatch, sent, django_capture_on_commit_callbacks) -> None:
    monkeypatch.setattr("labeler.services.features.PART", 16)
    PoolMap.objects.create(project=pool)
    job = features.request_features(project=pool)
    load = lambda _job, _beat: lambda _chunk, _report: lambda file: file.write(b"x")  # noqa: E731
    with django_capture_on_commit_callbacks(execute=True):
        features.run_features(job_id=job.pk, load=load)
    job.refresh_from_db()
    assert (job.state, ChunkFeatures.objects.get().count) == (JobState.QUEUED, 16)
    assert (features.COMPUTE, job.pk) in sent
    PoolMap.objects.all().delete()
    features.run_features(job_id=job.pk, load=load)
    job.refresh_from_db()
    assert job.state == JobState.DONE


def test_a_cancelled_one_stops_and_stays_away(pool, manager, client_of) -> None:
    client = client_of(manager)
    job = features.request_features(project=pool)
    assert "wait for a worker" in page(client)
    client.post(reverse("features-stop", args=["signs"]))
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert features.sweep_features() == 0
    assert "were stopped" in page(client)
    client.post(reverse("features-start", args=["signs"]))
    assert PoolFeatures.objects.first().state == JobState.QUEUED


def test_features_that_are_nan_fail_the_job_in_words(pool, monkeypatch, manager, client_of) -> None:
    class Broken(Small):
        def forward(self, images):
            return super().forward(images / (0 if len(images) > 1 else 1) * 0 if len(images) > 1 else images)

    def broken():
        module = Broken()
        return backbones.Untrained(module, 8, (0.0,) * 3, (255.0,) * 3, module.state_dict)

    monkeypatch.setitem(backbones.BUILDERS, DEFAULT_BACKBONE, broken)
    job = features.request_features(project=pool)
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "NaN or infinite features" in job.error
    assert "NaN or infinite features" in page(client_of(manager)) and "by their pixels meanwhile" in page(
        client_of(manager), "monitor"
    )
    assert features.sweep_features() == 0  # of the same images it would fail again


def test_a_picture_that_is_gone_fails_the_job_in_words(pool) -> None:
    storage.delete(pool.packs.get().name)
    job = features.request_features(project=pool)
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "cannot be read in the storage" in job.error
