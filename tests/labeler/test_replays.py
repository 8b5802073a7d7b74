"""What ordering saved: asked for by a manager, played piece by piece, told with its interval or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from django.urls import reverse

from labeler import tasks
from labeler.learning import replays as playing
from labeler.models import Candidate, Image, ImageState, JobState, LabelClass, Replay, Worker
from labeler.selectors.replays import why_no_replay
from labeler.services import graphs, replays
from labeler.services.jobs import request_cancel
from labeler.services.rounds import RoundRefused
from learner.config import Recipe
from tests.labeler.queues import fresh
from tests.labeler.rounds import paint, truth, tune

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images, settings, monkeypatch):
    """60 labelled images, 10 that wait, 40 labelled ones of the holdout, and their graph; two seeds are played."""
    settings.LEARNER_THREADS = 1
    monkeypatch.setattr(playing, "SEEDS", 2)
    monkeypatch.setattr(playing, "SHARE", 3.0)
    monkeypatch.setattr(Recipe, "steps_for", lambda _self, _n: 60)
    make_images(project, 70)
    make_images(project, 40, is_holdout=True)
    paint(project)
    tune(project)
    label(project, [*range(60), *range(70, 110)])
    graphs.request_graph(project=project)
    tasks.make_graph(project.graphs.get().pk)
    return fresh(project)


def label(project, positions) -> None:
    classes = list(LabelClass.objects.filter(project=project))
    images = list(Image.objects.filter(project=project, position__in=positions))
    for image in images:
        image.state, image.label = ImageState.LABELLED, classes[truth(image.position)]
    Image.objects.bulk_update(images, ["state", "label"])


def played(pool, manager) -> Replay:
    job = replays.request_replay(project=pool, by=manager)
    assert job is not None
    for _ in range(4):
        tasks.run_replay(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.DONE, "")
    return job


def test_a_manager_starts_it_sees_how_far_it_is_and_what_it_says(
    pool, manager, client_of, sent, django_capture_on_commit_callbacks
) -> None:
    client = client_of(manager)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(reverse("replay-start", args=["signs"]))
    job = Replay.objects.get()
    assert sent[-1] == (replays.PLAY, job.pk)
    state = reverse("replay-state", args=["signs"])
    assert "No background worker is alive" in client.get(state).content.decode()
    Worker.objects.create(name="here", queues="background")
    with django_capture_on_commit_callbacks(execute=True):
        tasks.run_replay(job.pk)
    job.refresh_from_db()
    assert (job.state, len(job.curves), job.attempts) == (JobState.QUEUED, 1, 0)
    assert sent[-1] == (replays.PLAY, job.pk)  # the next piece, after whatever else waits
    assert job.done and "models fitted" in client.get(state).content.decode()  # however quick it was
    for _ in range(3):
        tasks.run_replay(job.pk)
    assert client.get(state).headers["HX-Refresh"] == "true"
    text = client.get(reverse("replay", args=["signs"])).content.decode()
    assert "In the project’s order" in text and "40 holdout images" in text and 'class="replay-line replay-own"' in text


def test_both_orders_ask_about_labelled_images_only_and_end_alike(pool, manager) -> None:
    before = list(Image.objects.order_by("pk").values_list("pk", "state", "label_id"))
    job = played(pool, manager)
    assert list(Image.objects.order_by("pk").values_list("pk", "state", "label_id")) == before
    assert not Candidate.objects.exists()
    assert [(curve["order"], curve["seed"]) for curve in job.curves] == [
        ("own", 0), ("random", 0), ("own", 1), ("random", 1),
    ]  # fmt: skip
    assert job.result["answers"][-1] == 60 and job.result["measured"] == 40
    assert job.result["final"][0] > 0.9
    own, random = (np.array(job.result["curves"][order]) for order in ("own", "random"))
    assert own[1][-1] > 0.9 and random[1][-1] > 0.9
    assert job.result["saved"][1] <= job.result["saved"][0] <= job.result["saved"][2]


def test_answers_that_come_meanwhile_change_nothing(pool, manager) -> None:
    job = replays.request_replay(project=pool, by=manager)
    tasks.run_replay(job.pk)
    label(pool, range(60, 70))
    Image.objects.filter(project=pool, position=0).update(state=ImageState.POOL, label=None)
    for _ in range(3):
        tasks.run_replay(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE and job.result["answers"][-1] == 60


def test_a_cancelled_one_stops_and_another_can_start(pool, manager, client_of) -> None:
    job = replays.request_replay(project=pool, by=manager)
    tasks.run_replay(job.pk)
    client_of(manager).post(reverse("replay-cancel", args=["signs"]))
    tasks.run_replay(job.pk)
    job.refresh_from_db()
    assert (job.state, len(job.curves)) == (JobState.CANCELLED, 1)
    assert replays.request_replay(project=pool, by=manager) is not None


def test_a_running_one_stops_at_its_next_beat(pool, manager, monkeypatch) -> None:
    job = replays.request_replay(project=pool, by=manager)
    material = playing._material

    def cancelled_meanwhile(*arguments):
        request_cancel(job=job)
        monkeypatch.setattr("labeler.services.jobs.BEAT_SECONDS", 0)
        return material(*arguments)

    monkeypatch.setattr(playing, "_material", cancelled_meanwhile)
    tasks.run_replay(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_only_one_is_played_at_a_time_and_a_new_one_replaces_the_last(pool, manager, monkeypatch) -> None:
    first = replays.request_replay(project=pool, by=manager)
    assert replays.request_replay(project=pool, by=manager) is None
    Replay.objects.filter(pk=first.pk).update(state=JobState.DONE)
    second = replays.request_replay(project=pool, by=manager)
    replays.run_replay(job_id=second.pk, play=lambda _job, _report: replays.Played({}, {}, 8, 8))
    assert list(Replay.objects.values_list("pk", flat=True)) == [second.pk]


def test_lost_pixels_are_told_in_words(pool, manager, client_of) -> None:
    pool.chunks.update(pixels="signs/chunks/gone.npy")
    job = replays.request_replay(project=pool, by=manager)
    tasks.run_replay(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED and "missing in the storage" in job.error
    assert "could not be replayed" in client_of(manager).get(reverse("replay", args=["signs"])).content.decode()


@pytest.mark.parametrize(
    ("unlabel", "learning", "words"),
    [
        (range(30), {}, "Too few labels to say: 30 of at least 40"),
        (range(70, 85), {}, "Too few labels to say: 25 of at least 30 on holdout images"),
        ([n for n in range(60) if truth(n)], {}, "Too few labels to say: 20 of at least 40"),
        ((), {"acquisition": "random"}, "asks at random"),
    ],
)
def test_what_would_say_nothing_is_refused_with_what_is_missing(
    pool, manager, client_of, unlabel, learning, words
) -> None:
    Image.objects.filter(project=pool, position__in=list(unlabel)).update(state=ImageState.POOL, label=None)
    tune(pool, **learning)
    pool = fresh(pool)
    assert words in why_no_replay(pool)
    with pytest.raises(RoundRefused, match=words):
        replays.request_replay(project=pool, by=manager)
    client = client_of(manager)
    page = client.get(reverse("replay", args=["signs"])).content.decode()
    assert words in page and reverse("replay-start", args=["signs"]) not in page
    assert words in client.post(reverse("replay-start", args=["signs"]), follow=True).content.decode()


def test_labels_of_one_class_are_refused(pool) -> None:
    Image.objects.filter(project=pool, state=ImageState.LABELLED).update(label=pool.classes.first())
    assert "of one class" in why_no_replay(pool)
