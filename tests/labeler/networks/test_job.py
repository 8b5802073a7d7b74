"""A training as a job: killed, stopped, in turns with others. And when one begins by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from labeler import clock, storage, tasks
from labeler.models import (
    Chunk,
    Image,
    ImageState,
    JobState,
    LearningConfig,
    PoolGraph,
    PoolNetwork,
    Project,
    Round,
    RoundState,
)
from labeler.selectors import networks as selected
from labeler.selectors.graphs import current_graph
from labeler.services import graphs, networks
from labeler.services.jobs import request_cancel
from labeler.services.rounds import RoundRefused
from labeler.services.stops import give_back_work
from learner import distillation
from tests.labeler.networks.conftest import N, asked, files, label, page

pytestmark = pytest.mark.django_db


class KilledError(BaseException):
    pass


def steps_of(monkeypatch, *, kill_at: int = 0) -> list[int]:
    """The steps that are made, until one is the last."""
    steps: list[int] = []
    step = distillation._Training.step

    def count(self, number: int) -> None:
        if number == kill_at > 0:
            raise KilledError
        steps.append(number)
        step(self, number)

    monkeypatch.setattr(distillation._Training, "step", count)
    return steps


def test_a_killed_worker_goes_on_at_the_last_checkpoint(pool, monkeypatch) -> None:
    job = asked(pool)
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        steps_of(patch, kill_at=25)
        tasks.train_network(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.RUNNING and default_storage.exists(job.checkpoint)
    PoolNetwork.objects.update(heartbeat_at=clock.now() - timedelta(hours=1))
    steps = steps_of(monkeypatch)
    label(pool, [100])  # an answer meanwhile is no other training, nor what people dispute or put aside
    Image.objects.filter(project=pool, position__in=range(110, 150)).update(state=ImageState.SET_ASIDE)
    assert networks.sweep_networks() == 1
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, steps) == (JobState.DONE, list(range(20, 30)))
    assert not default_storage.exists(job.checkpoint)


def test_the_longer_the_more_answers_its_teacher_has(pool, monkeypatch) -> None:
    given = []
    recipe_for = distillation.recipe_for
    monkeypatch.setattr(distillation, "recipe_for", lambda *of, **how: given.append(of) or recipe_for(*of, **how))
    job = asked(pool)
    tasks.train_network(job.pk)
    ((answers, taught),) = given
    assert (answers, job.answers) == (15, 15) and 15 < taught <= N + 4 * 15


def test_it_makes_room_for_others_where_nothing_is_lost(
    pool, monkeypatch, sent, django_capture_on_commit_callbacks
) -> None:
    steps, job = steps_of(monkeypatch), asked(pool)
    asks = iter([False])
    monkeypatch.setattr(networks, "others_wait", lambda: next(asks, True))  # one came after it had begun
    with django_capture_on_commit_callbacks(execute=True):
        tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts, steps) == (JobState.QUEUED, 0, list(range(10)))
    assert sent[-1] == (networks.TRAIN, job.pk)
    tasks.train_network(job.pk)  # another message of the same job: the other still waits
    job.refresh_from_db()
    assert (job.state, steps) == (JobState.QUEUED, list(range(10)))
    monkeypatch.setattr(networks, "others_wait", lambda: False)
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, steps) == (JobState.DONE, list(range(30)))


def test_it_stands_still_while_a_round_is_at_work(pool, monkeypatch) -> None:
    round_ = Round.objects.first()
    Round.objects.update(state=RoundState.FITTING, heartbeat_at=clock.now())
    slept = []

    def sleep(_seconds: float) -> None:
        slept.append(distillation_began)
        Round.objects.filter(pk=round_.pk).update(state=RoundState.DONE)

    distillation_began = steps_of(monkeypatch)
    monkeypatch.setattr(networks.time, "sleep", sleep)
    job = asked(pool)
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE and len(slept) == 1
    Round.objects.exclude(pk=round_.pk).delete()
    Round.objects.update(state=RoundState.FITTING, heartbeat_at=clock.now() - timedelta(hours=1))
    assert not networks.is_round_at_work()  # its worker is dead


def test_it_can_be_stopped(pool, manager, client_of, monkeypatch) -> None:
    job, client = asked(pool), client_of(manager)
    assert "waits for a worker" in page(client)
    train = tasks.networks._Turn.__call__

    def stop(self, done, total, is_kept=False) -> None:
        if done > 200:
            request_cancel(job=job)
            self.next_at = 0.0
        train(self, done, total, is_kept)

    monkeypatch.setattr(networks._Turn, "__call__", stop)
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, job.is_accepted) == (JobState.CANCELLED, None)
    assert not files(pool, "networks") and "was stopped" in page(client)
    asked(pool)
    client.post(reverse("network-stop", args=["signs"]))
    assert PoolNetwork.objects.first().state == JobState.CANCELLED


def test_one_that_was_taken_for_dead_changes_nothing(pool, monkeypatch) -> None:
    job, before = asked(pool), current_graph(pool)

    def train(_job, _report):
        PoolNetwork.objects.update(claim="another")
        name = storage.new_name(pool, "features", "npy")
        storage.write_once(name, b"late")
        graph = networks.Derived(lambda file: file.write(b"late"), N, {"groups": 1, "reason": ""})
        chunk = Chunk.objects.get()
        return networks.Judged(True, {}, lambda file: file.write(b"late"), [(chunk, N, name)], graph)

    networks.run_network(job_id=job.pk, train=train)
    job.refresh_from_db()
    assert (job.state, job.is_accepted) == (JobState.RUNNING, None)
    assert current_graph(pool) == before and not files(pool, "networks", "features")


def test_a_worker_that_is_told_to_stop_hands_it_back(pool, monkeypatch) -> None:
    job = asked(pool)
    monkeypatch.setattr("labeler.services.jobs.this_worker", lambda: "here")

    def train(_job, _report):
        assert give_back_work(worker="here") == 1
        raise networks.ClaimLost

    networks.run_network(job_id=job.pk, train=train)
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


def test_what_cannot_be_trained_on_is_said_in_words(pool, monkeypatch, manager, client_of) -> None:
    job = asked(pool)
    PoolGraph.objects.all().delete()
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (
        JobState.FAILED,
        "Which images look alike is not known any more. Try again in a few minutes.",
    )
    text = page(client_of(manager))
    assert "could not be trained" in text and "Images are seen as before" in text


def test_the_sweep_begins_one_where_it_pays(pool, django_capture_on_commit_callbacks, sent) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert networks.sweep_networks() == 1
    job = PoolNetwork.objects.get()
    assert sent == [(networks.TRAIN, job.pk)] and job.created_by is None
    assert networks.sweep_networks() == 0  # one at a time
    PoolNetwork.objects.update(state=JobState.DONE, is_accepted=False)
    label(pool, range(20, 26))
    assert networks.sweep_networks() == 0  # 21 labels after 15
    label(pool, [26])
    assert networks.sweep_networks() == 1


@pytest.mark.parametrize("why", ["no", "few", "round", "graph", "photographs", "paused", "small"])
def test_the_sweep_begins_none_where(pool, why, monkeypatch) -> None:
    if why == "no":
        LearningConfig.objects.update(trains_network=False)
    elif why == "few":
        Image.objects.filter(position__gte=9).update(state=ImageState.POOL, label=None)
    elif why == "round":
        Round.objects.update(state=RoundState.QUEUED)
    elif why == "graph":
        graphs.request_graph(project=pool)  # which is being made
    elif why == "photographs":  # taught by answers alone, which takes more of them
        Project.objects.update(small_colour_images=1)
    elif why == "paused":
        Project.objects.update(paused_at=clock.now())
    else:
        monkeypatch.setattr(selected, "LEAST_IMAGES", 1000)
    assert networks.sweep_networks() == 0
    if why == "photographs":
        label(pool, range(40))
        assert networks.sweep_networks() == 1


def test_when_the_next_one_begins_is_said_by_what_there_is(pool, manager, client_of) -> None:
    """While one was being trained on 315 labels it was "at 316 labels", with 943 in the project."""
    client = client_of(manager)
    words = "as soon as nothing else is to be done: it has 15 labels to learn from, and 10 are enough"
    assert f"The next one begins by itself {words}" in page(client)
    job = asked(pool)
    said = page(client)
    assert f"trained on {job.answers} labels" in said or "waits for a worker" in said
    assert "The next one begins by itself at 22 labels, when nothing else is to be done. There are 15." in said
    label(pool, range(40))
    words = "after this one, when nothing else is to be done: it has 40 labels to learn from, and 22 are enough"
    assert f"The next one begins by itself {words}" in page(client)
    assert networks.sweep_networks() == 0  # not before the one that waits for a worker
    PoolNetwork.objects.update(state=JobState.DONE, is_accepted=False)
    assert "begins by itself as soon as nothing else is to be done: it has 40 labels" in page(client)
    assert networks.sweep_networks() == 1
    PoolNetwork.objects.update(state=JobState.DONE, is_accepted=False, answers=N)
    words = f"No further one begins by itself: it would take {round(N * 1.5)} labels, and there are {N} images to learn"
    assert words in page(client)


def test_the_button_says_what_is_missing(pool, manager, client_of) -> None:
    client = client_of(manager)
    client.post(reverse("network-start", args=["signs"]))
    assert PoolNetwork.objects.get().created_by == manager
    client.post(reverse("network-start", args=["signs"]))
    assert PoolNetwork.objects.count() == 1
    PoolNetwork.objects.all().delete()
    PoolGraph.objects.all().delete()
    assert "Which images look alike is not known yet" in page(client)
    client.post(reverse("network-start", args=["signs"]))
    assert not PoolNetwork.objects.exists()
    Image.objects.update(state=ImageState.POOL, label=None)
    with pytest.raises(RoundRefused, match="labels of two classes"):
        networks.request_network(project=pool)
