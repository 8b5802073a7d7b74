"""Features of a backbone as a job: picked, computed chunk by chunk, swapped into graph and rounds."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import numpy as np
import pytest
import torch
from django.urls import reverse
from PIL import Image as Picture
from torch import nn

from labeler import clock, learning, storage, tasks
from labeler.choices import BACKBONE_NAME, DEFAULT_BACKBONE, WEIGHT_SUFFIXES
from labeler.models import (
    ChunkFeatures,
    ImportJob,
    JobState,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    Project,
    RoundState,
    Trigger,
    Worker,
)
from labeler.selectors import networks
from labeler.selectors.compare import estimator_words
from labeler.selectors.features import picked_representation, ready_features
from labeler.selectors.imports import lost_pixels
from labeler.selectors.rounds import settings_of
from labeler.selectors.scores import predicted_classes, summary_of
from labeler.services import features, graphs
from labeler.services.claims import new_claim
from labeler.services.importing import import_local
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.rounds import request_round, start_cold_round
from labeler.services.stops import give_back_work
from learner import backbones
from tests.labeler.imports import make_zip, png
from tests.labeler.rounds import answer, truth, tune

pytestmark = pytest.mark.django_db


class Small(nn.Sequential):
    """Sixteen pixels of an image, in colour, are its features."""

    def __init__(self) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 2))


def small() -> backbones.Untrained:
    module = Small()
    return backbones.Untrained(module, 8, (0.0,) * 3, (255.0,) * 3, module.state_dict)


@pytest.fixture(autouse=True)
def quick_backbone(monkeypatch) -> None:
    monkeypatch.setitem(backbones.BUILDERS, DEFAULT_BACKBONE, small)
    monkeypatch.setitem(backbones.BUILDERS, "small", small)


def photograph(position: int) -> bytes:
    """One of three colours, in some shade; `truth` says which."""
    rng = np.random.default_rng(position)
    pixels = rng.integers(0, 90, (20, 24, 3), dtype=np.uint8)
    pixels[..., truth(position)] += 150
    out = io.BytesIO()
    Picture.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def bring(project, tmp_path, manager):
    """Imports photographs, in colour."""

    def bring(count: int) -> None:
        start = project.images.count()
        path = make_zip(tmp_path / f"{start}.zip", {f"{n:04}.png": photograph(n) for n in range(start, start + count)})
        assert import_local(project=project, path=path, by=manager).state == JobState.DONE
        project.refresh_from_db()

    return bring


@pytest.fixture
def pool(project, bring):
    tune(project, retrain_every=0, holdout_target=0, holdout_share=0.0, holdout_questions=0.0, random_share=0.0)
    bring(30)
    return project


def made(project) -> PoolFeatures:
    job = features.request_features(project=project)
    assert job is not None
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job


def run(project):
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.DONE, round_.error
    return round_


def vectors_of(project) -> np.ndarray:
    with storage.local_path(ChunkFeatures.objects.get(chunk__project=project).file) as path:
        return np.load(path)


def page_of(client, job: ImportJob) -> str:
    return client.get(reverse("import", args=["signs", job.pk])).content.decode()


def page(client, name: str = "learning-settings") -> str:
    return client.get(reverse(name, args=["signs"])).content.decode()


def form_of(client, **changes: object) -> dict[str, object]:
    form = client.get(reverse("learning-settings", args=["signs"])).context["form"]
    values = {name: value for name, value in form.initial.items() if value is not None and value is not False}
    values |= {name: form[name].value() for name in ("random_share", "holdout_questions", "holdout_share")}
    return {**values, "made_from": form.made_from, **changes}


def choose(client, **changes: object):
    return client.post(reverse("learning-settings", args=["signs"]), form_of(client, **changes), follow=True)


# --- The pick -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "backbone", "words"),
    [
        ((60, 0, 0, 0), "", "picked, since the images are small and grey"),
        ((0, 60, 0, 0), DEFAULT_BACKBONE, "picked, since the images are larger than 40 pixels"),
        ((0, 0, 60, 0), DEFAULT_BACKBONE, "picked, since the images are in colour"),
        ((0, 0, 0, 60), DEFAULT_BACKBONE, "picked, since the images are in colour"),
        ((30, 0, 0, 2062), DEFAULT_BACKBONE, "picked, since 2,062 of 2,092 images are in colour"),
        ((30, 10, 10, 10), DEFAULT_BACKBONE, "picked, since 30 of 60 images are in colour or larger than 40 pixels"),
        ((31, 10, 10, 10), "", "picked, since 31 of 61 images are small and grey"),
        ((0, 0, 0, 0), "", "there are no images yet"),
    ],
)
def test_the_images_decide_all_of_them(counts, backbone, words) -> None:
    names = ("small_grey_images", "large_grey_images", "small_colour_images", "large_colour_images")
    picked = picked_representation(Project(**dict(zip(names, counts, strict=True))))
    assert (picked.backbone, picked.reason) == (backbone, words)


def test_a_few_small_grey_images_first_do_not_decide_for_the_photographs_that_follow(
    project, manager, tmp_path, bring, client_of, sent, django_capture_on_commit_callbacks
) -> None:
    first = make_zip(tmp_path / "first.zip", {f"{n}.png": png(n, 12) for n in range(25)})
    job = import_local(project=project, path=first, by=manager)
    project.refresh_from_db()
    assert features.sweep_features() == 0
    assert not networks.teaches_itself(project)
    assert "network on pixels sees" not in page_of(client_of(manager), job)
    bring(15)
    assert (project.small_grey_images, project.small_colour_images + project.large_colour_images) == (25, 15)
    assert features.sweep_features() == 0
    bring(20)
    assert (project.pixel_side, project.pixel_channels) == (28, 1)
    assert networks.teaches_itself(project)
    with django_capture_on_commit_callbacks(execute=True):
        assert features.sweep_features() == 1
    made_now = PoolFeatures.objects.get()
    assert (features.COMPUTE, made_now.pk) in sent
    tasks.compute_features(made_now.pk)
    assert vectors_of(project).shape == (60, 48)
    text = page_of(client_of(manager), project.imports.first())
    assert "35 images without colour" in text and "grey, 28 × 28 pixels" in text


def test_the_import_page_says_what_the_learner_sees_of_larger_images(project, manager, tmp_path) -> None:
    import_local(project=project, path=make_zip(tmp_path / "a.zip", {"a.png": png(1, 20)}), by=manager)
    import_local(
        project=project, path=make_zip(tmp_path / "b.zip", {"b.png": png(2, 41), "c.png": png(3, 40)}), by=manager
    )
    project.refresh_from_db()
    assert (project.small_grey_images, project.large_grey_images) == (2, 1)
    assert "1 image of more than 40 pixels brought to 28 × 28" in lost_pixels(project)
    assert "colour" not in lost_pixels(project)


def test_names_are_the_learners() -> None:
    assert DEFAULT_BACKBONE == backbones.DEFAULT
    assert backbones.NAME.pattern == BACKBONE_NAME
    assert WEIGHT_SUFFIXES == backbones.SUFFIXES


# --- The job --------------------------------------------------------------------------------------------------------


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


# --- Rounds ---------------------------------------------------------------------------------------------------------


def test_a_round_learns_from_features_and_says_so(pool, annotator, manager, client_of) -> None:
    tune(pool, learns_from="images", retrain_every=0)
    made(pool)
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert answer(pool, annotator, 6) == 6
    round_ = run(pool)
    assert round_.config["features"] == DEFAULT_BACKBONE
    assert round_.chunks.get().features == ChunkFeatures.objects.get().file
    words = {row.words: row.value for row in settings_of(round_)}
    assert words["Learns from"] == f"features of {DEFAULT_BACKBONE}"
    assert words["Network"] == "One hidden layer"
    assert f"head of {DEFAULT_BACKBONE}" in estimator_words(round_.config)
    model = json.loads((learning.folder_of(round_) / "model.json").read_text())
    assert "48" in json.dumps(model["saved"]["shape"]) and model["config"]["architecture"] == "head"
    number = {row.pk: index for index, row in enumerate(pool.classes.all())}
    said = [number[pk] for pk in predicted_classes(round_, summary_of(round_)).tolist()]
    assert np.mean([one == truth(position) for position, one in enumerate(said)]) > 0.9
    tune(pool, feature_architecture="mlp", retrain_every=0)
    assert run(pool).config["feature_architecture"] == "mlp"
    client = client_of(manager)
    assert "head of" in page(client, "compare") and "mlp of" in page(client, "compare")
    assert client.get(reverse("explore", args=["signs"])).status_code == 200


def test_until_features_are_ready_rounds_learn_from_pixels(pool, annotator) -> None:
    start_cold_round(project=pool)
    answer(pool, annotator, 8)
    round_ = run(pool)
    assert round_.config["features"] is None and round_.chunks.get().features == ""


def test_images_without_features_wait_for_them(pool, bring, annotator) -> None:
    made(pool)
    answer(pool, annotator, 8)
    bring(5)
    round_ = run(pool)
    assert round_.chunks.get().count == 30
    made(pool)
    assert run(pool).chunks.get().count == 35


@pytest.mark.parametrize("content", [None, b"no array", "nan"])
def test_features_that_cannot_be_used_fail_the_round_in_words_and_are_made_again(pool, annotator, content) -> None:
    made(pool)
    answer(pool, annotator, 8)
    file = ChunkFeatures.objects.get().file
    storage.delete(file)
    if content is not None:
        nan = lambda file: np.save(file, np.full((30, 48), np.nan, np.float16), allow_pickle=False)  # noqa: E731
        storage.write_once(file, nan if content == "nan" else content)
    round_ = request_round(project=pool, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.FAILED
    assert "vectors of chunk 0 were lost or damaged" in round_.error
    assert features.sweep_features() == 1
    tasks.compute_features(PoolFeatures.objects.first().pk)
    assert run(pool).config["features"] == DEFAULT_BACKBONE


def test_files_that_are_read_are_kept(pool, bring, annotator, monkeypatch) -> None:
    monkeypatch.setattr("labeler.services.leftovers.KEPT", timedelta(days=-1))
    made(pool)
    forget_unnamed_files(pool)
    with storage.local_path(ChunkFeatures.objects.get().file):
        pass
    old = ChunkFeatures.objects.get().file
    bring(3)
    made(pool)
    assert ChunkFeatures.objects.get().file != old
    assert forget_unnamed_files(pool) >= 1
    assert storage.names_in(f"{storage.project_folder(pool)}/features") == [ChunkFeatures.objects.get().file]


# --- The choice -----------------------------------------------------------------------------------------------------


def test_the_pages_say_what_was_picked_and_why(pool, manager, client_of) -> None:
    client = client_of(manager)
    for name in ("learning-settings", "monitor"):
        text = page(client, name).lower()
        assert f"features of {DEFAULT_BACKBONE}" in text and "picked, since the images are in colour" in text
    made(pool)
    assert "features of 30 images are ready" in page(client)


def test_a_manager_chooses_pixels_and_back(pool, manager, client_of) -> None:
    client = client_of(manager)
    made(pool)
    tasks.make_graph(PoolGraph.objects.first().pk)
    choose(client, representation="pixels")
    assert ready_features(pool.__class__.objects.get(pk=pool.pk)) is None
    assert graphs.sweep_graphs() == 1  # the graph follows
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert PoolGraph.objects.get().features is None
    choose(client, representation="default")
    assert graphs.sweep_graphs() == 1
    assert not PoolFeatures.objects.exclude(state=JobState.DONE).exists()  # they were there already


def test_another_backbone_is_tried_at_once_though_there_are_no_images(project, manager, client_of) -> None:
    client = client_of(manager)
    choose(client, representation="other", backbone="small")
    job = PoolFeatures.objects.get()
    tasks.compute_features(job.pk)
    assert "The backbone works" in page(client)
    choose(client, representation="other", backbone="no_such_thing")
    job = PoolFeatures.objects.first()
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "There is no backbone" in page(client)


@pytest.mark.parametrize("has_features", [False, True])
def test_a_bad_choice_leaves_rounds_as_they_were(pool, manager, annotator, client_of, has_features) -> None:
    client = client_of(manager)
    if has_features:
        made(pool)
        tasks.make_graph(PoolGraph.objects.first().pk)
    start_cold_round(project=pool)
    answer(pool, annotator, 8)
    choose(client, representation="other", backbone="no_such_thing")
    tasks.compute_features(PoolFeatures.objects.first().pk)
    pool.learning.refresh_from_db()
    words = f"features of {DEFAULT_BACKBONE}" if has_features else "their pixels"
    assert f"Images go by {words} meanwhile" in page(client)
    assert run(pool).config["features"] == (DEFAULT_BACKBONE if has_features else None)
    assert graphs.sweep_graphs() == (0 if has_features else 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": ""}, "Name the backbone"),
        ({"backbone": "../../etc"}, "A name such as"),
        ({"backbone": "timm/x y"}, "A name such as"),
        ({"backbone": "small", "backbone_file": "elsewhere.pth"}, "Choose one from the list."),
        ({"backbone": "small", "backbone_file": "text.pth"}, "holds no weights"),
        ({"backbone": "small", "backbone_file": "text.safetensors"}, "holds no weights"),
    ],
)
def test_a_choice_that_is_none_is_refused_at_once(
    project, manager, client_of, settings, tmp_path, changes, words
) -> None:
    settings.BACKBONE_DIR = tmp_path / "backbones"
    settings.BACKBONE_DIR.mkdir()
    for name in ("text.pth", "text.safetensors", "notes.txt"):
        (settings.BACKBONE_DIR / name).write_text("no weights at all, as long as this may be")
    reply = choose(client_of(manager), representation="other", **changes)
    assert words in reply.content.decode()
    assert "notes.txt" not in reply.content.decode()
    project.learning.refresh_from_db()
    assert project.learning.representation == "auto"
    assert not PoolFeatures.objects.exists()


def test_a_file_of_weights_is_taken(pool, manager, client_of, settings, tmp_path) -> None:
    settings.BACKBONE_DIR = tmp_path / "backbones"
    settings.BACKBONE_DIR.mkdir()
    torch.save(Small().state_dict(), settings.BACKBONE_DIR / "mine.pth")
    torch.save({"0.weight": torch.zeros(3)}, settings.BACKBONE_DIR / "other.pth")
    client = client_of(manager)
    choose(client, representation="other", backbone="small", backbone_file="mine.pth")
    job = PoolFeatures.objects.first()
    tasks.compute_features(job.pk)
    job.refresh_from_db()
    assert (job.state, job.key) == (JobState.DONE, "small mine.pth")
    assert {row.backbone for row in ChunkFeatures.objects.all()} == {"small mine.pth"}
    choose(client, representation="other", backbone="small", backbone_file="other.pth")
    tasks.compute_features(PoolFeatures.objects.first().pk)
    assert "The file other.pth does not fit" in page(client)


def test_only_managers_see_and_start_features(pool, annotator, stranger, client_of) -> None:
    for name, method in (("features", "get"), ("features-start", "post"), ("features-stop", "post")):
        for person, status in ((annotator, 403), (stranger, 404)):
            assert getattr(client_of(person), method)(reverse(name, args=["signs"])).status_code == status
    assert client_of(annotator).get(reverse("features-start", args=["signs"])).status_code == 405


def test_an_import_that_runs_is_waited_for(pool) -> None:
    ImportJob.objects.create(project=pool, state=JobState.RUNNING)
    assert features.sweep_features() == 0
