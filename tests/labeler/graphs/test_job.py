"""The graph as a job: made after an import, swept up, and the first queue in its order."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse

from labeler import clock, storage, tasks
from labeler.models import (
    Candidate,
    ImageState,
    ImportJob,
    JobState,
    PoolGraph,
    Reason,
    Round,
    RoundState,
    Trigger,
    Worker,
)
from labeler.selectors.graphs import LEAST_IMAGES, current_graph, first_questions
from labeler.services import claims, graphs
from labeler.services.rounds import start_cold_round
from tests.labeler.graphs.conftest import made, queue
from tests.labeler.rounds import answer, paint, truth, tune

pytestmark = pytest.mark.django_db


def test_it_says_how_many_images_and_groups_there_are(pool) -> None:
    graph = made(pool)
    assert (graph.images, graph.total, graph.groups) == (60, 60, 3)
    assert "principal components" in graph.reason


def test_the_first_queue_is_put_in_its_order(pool, cold) -> None:
    assert {place.reason for place in queue(pool)} == {Reason.COLD_START}
    graph = made(pool)
    places = queue(pool)
    assert pool.queue_round.number == cold.number + 1
    assert "look alike" in pool.queue_round.reason
    assert [place.image.position for place in places] == [each.position for each in first_questions(graph)]
    assert {place.reason for place in places} == {Reason.GROUP}
    kinds = [truth(place.image.position) for place in places[:3]]
    assert sorted(kinds) == [0, 1, 2]
    assert all(0 < place.selection_probability <= 1 for place in places)


def test_images_that_are_held_stay_with_whom_they_are(pool, cold, annotator) -> None:
    from labeler.services.lease import lease_next

    held = lease_next(project=pool, annotator=annotator, want=4)
    made(pool)
    images = [place.image_id for place in queue(pool)]
    assert not {place.image_id for place in held} & set(images)
    assert len(images) == 56


def test_what_is_not_in_the_graph_comes_after_it_at_random(pool) -> None:
    graph = made(pool)
    with storage.local_path(graph.file) as path:
        arrays = dict(np.load(path, allow_pickle=False))
    few = {name: values[:10] if name.startswith("first_") else values for name, values in arrays.items()}
    PoolGraph.objects.update(file=storage.new_name(pool, "graphs", "npz"))
    storage.write_once(current_graph(pool).file, lambda file: np.savez(file, allow_pickle=False, **few))
    start_cold_round(project=pool)
    reasons = [place.reason for place in queue(pool)]
    assert reasons == [Reason.GROUP] * 10 + [Reason.COLD_START] * 50
    assert len({place.image_id for place in queue(pool)}) == 60


def test_a_share_is_drawn_at_random_all_the_same(pool) -> None:
    pool.learning.random_share = 0.5
    pool.learning.save()
    made(pool)
    start_cold_round(project=pool)
    reasons = [place.reason for place in queue(pool)]
    assert 15 < reasons.count(Reason.RANDOM) < 45
    assert reasons.count(Reason.RANDOM) + reasons.count(Reason.GROUP) == 60


def test_a_file_that_is_gone_is_said_and_the_queue_is_random(pool) -> None:
    storage.delete(made(pool).file)
    round_ = start_cold_round(project=pool)
    round_.refresh_from_db()
    assert "the file of the graph cannot be read" in round_.reason
    assert len(queue(pool)) == 60
    assert graphs.sweep_graphs() == 1
    tasks.make_graph(PoolGraph.objects.get().pk)
    assert {place.reason for place in queue(pool)} == {Reason.GROUP}


def test_a_worker_that_dies_before_the_queue_is_in_order_leaves_the_job_to_another(pool, cold, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    def die(_project: object) -> None:
        raise Killed

    job = graphs.request_graph(project=pool)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(graphs, "follow_graph", die)
        tasks.make_graph(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.RUNNING
    PoolGraph.objects.update(heartbeat_at=clock.now() - timedelta(hours=1))
    tasks.make_graph(job.pk)
    assert {place.reason for place in queue(pool)} == {Reason.GROUP}


def test_a_queue_that_a_model_made_is_left_alone(pool, cold) -> None:
    Round.objects.update(trigger="answers")
    made(pool)
    assert pool.rounds.count() == 1


class TestRoundsThatBeganBefore:
    """A round by pixels takes minutes; once the graph is there, one by likeness takes seconds."""

    @pytest.fixture(autouse=True)
    def quick(self, pool, cold, annotator) -> None:  # noqa: ARG002
        tune(pool, learns_from="likeness", retrain_every=6, budget=60, holdout_questions=0, random_share=0)
        answer(pool, annotator, 6)

    def begun(self, pool) -> Round:
        round_ = pool.rounds.first()
        assert (round_.trigger, round_.state) == ("answers", RoundState.QUEUED)
        claimed = claims.claim_fit(round_id=round_.pk, claim="slow 0001")
        from labeler.learning.rounds import take_snapshot

        take_snapshot(claimed)
        assert claimed.config["has_likeness"] is False
        return claimed

    def test_end_and_the_next_one_goes_by_likeness_with_the_same_answers(
        self, pool, annotator, manager, client_of, sent, django_capture_on_commit_callbacks
    ) -> None:
        slow = self.begun(pool)
        answer(pool, annotator, 2)
        with django_capture_on_commit_callbacks(execute=True):
            made(pool)
        with pytest.raises(claims.RoundLost):
            claims.beat(round_=slow, done=1, total=2)
        slow.refresh_from_db()
        assert slow.state == RoundState.CANCELLED
        page = client_of(manager).get(reverse("round", args=["signs", slow.number])).content.decode()
        assert "Which images look alike is known now" in page
        ordered, new = pool.rounds.get(number=slow.number + 1), pool.rounds.get(number=slow.number + 2)
        assert (ordered.trigger, ordered.state) == ("cold_start", RoundState.DONE)
        assert {place.reason for place in queue(pool)} == {Reason.GROUP, Reason.COLD_START}  # some groups have labels
        assert pool.queue_round == ordered
        assert (new.trigger, new.state) == ("answers", RoundState.QUEUED)
        assert (claims.RUN, new.pk) in sent
        tasks.run_round(new.pk)
        new.refresh_from_db()
        assert new.state == RoundState.DONE, new.error
        assert new.config["has_likeness"] is True
        assert (new.reason, new.training_count) == ("8 new answers", 8)

    def test_one_that_looked_for_the_graph_in_vain_ends_too(self, pool) -> None:
        claimed = claims.claim_fit(round_id=pool.rounds.first().pk, claim="slow 0001")
        made(pool)
        claimed.refresh_from_db()
        assert claimed.state == RoundState.CANCELLED

    def test_one_that_could_have_the_graph_before_goes_on(self, pool) -> None:
        PoolGraph.objects.create(project=pool, state=JobState.DONE, vectors="graphs/older.npy", images=50)
        claimed = claims.claim_fit(round_id=pool.rounds.first().pk, claim="quick 0001")
        made(pool)
        claimed.refresh_from_db()
        assert claimed.state == RoundState.FITTING

    def test_one_that_waits_for_a_learner_is_left_alone(self, pool) -> None:
        made(pool)
        assert [round_.state for round_ in pool.rounds.all()] == [RoundState.QUEUED, RoundState.DONE]

    @pytest.mark.parametrize("why", ["comparison", "by pixels as chosen"])
    def test_what_is_wanted_as_it_is_goes_on(self, pool, why) -> None:
        slow = self.begun(pool)
        if why == "comparison":
            Round.objects.filter(pk=slow.pk).update(trigger="comparison")
        else:
            tune(pool, learns_from="images")
        made(pool)
        slow.refresh_from_db()
        assert slow.state == RoundState.FITTING

    def test_after_a_model_the_queue_is_left_to_it(self, pool) -> None:
        Round.objects.filter(number=1).update(trigger="answers")
        slow = self.begun(pool)
        made(pool)
        assert [round_.number for round_ in pool.rounds.all()] == [slow.number + 1, slow.number, 1]
        assert pool.rounds.first().state == RoundState.QUEUED


def test_answers_that_waited_for_the_graph_start_a_round_when_it_is_there(pool, cold, annotator) -> None:
    tune(pool, learns_from="likeness", retrain_every=6, budget=60, holdout_questions=0)
    Worker.objects.create(name="background@here", queues="background")
    job = graphs.request_graph(project=pool)
    answer(pool, annotator, 8)
    assert pool.rounds.count() == 1
    tasks.make_graph(job.pk)
    new = pool.rounds.first()
    assert (new.trigger, new.reason, new.state) == ("answers", "3 new answers", RoundState.QUEUED)
    assert pool.rounds.get(number=2).trigger == Trigger.COLD_START
    tasks.run_round(new.pk)
    new.refresh_from_db()
    assert (new.state, new.reason) == (RoundState.DONE, "8 new answers"), new.error


def test_it_is_made_once(pool) -> None:
    job = graphs.request_graph(project=pool)
    assert graphs.request_graph(project=pool) is None
    tasks.make_graph(job.pk)
    tasks.make_graph(job.pk)
    assert PoolGraph.objects.get().attempts == 1


def test_the_sweep_asks_for_one_that_is_missing_or_too_small(
    pool, make_images, sent, django_capture_on_commit_callbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert graphs.sweep_graphs() == 1
    job = PoolGraph.objects.get()
    assert sent == [(graphs.MAKE, job.pk)]
    tasks.make_graph(job.pk)
    assert graphs.sweep_graphs() == 0
    make_images(pool, 5)
    paint(pool)
    importing = ImportJob.objects.create(project=pool, state=JobState.RUNNING)
    assert graphs.sweep_graphs() == 0  # more may come
    importing.delete()
    assert graphs.sweep_graphs() == 1
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert PoolGraph.objects.get().images == 65  # the older one is forgotten


def test_one_that_failed_waits_for_other_images(pool, make_images) -> None:
    pool.chunks.update(pixels="nothing.npy")
    job = graphs.request_graph(project=pool)
    tasks.make_graph(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "missing in the storage" in job.error
    assert graphs.sweep_graphs() == 0
    PoolGraph.objects.update(images=59)
    assert graphs.sweep_graphs() == 1


def test_few_images_need_none(project, make_images) -> None:
    make_images(project, LEAST_IMAGES - 1)
    paint(project)
    assert graphs.sweep_graphs() == 0


def test_an_annotator_is_told_that_the_image_stands_for_a_group(pool, annotator, client_of) -> None:
    made(pool)
    start_cold_round(project=pool)
    page = client_of(annotator).get(reverse("label", args=["signs"])).content.decode()
    assert "typical of images that look alike" in page


def test_of_a_group_of_one_nobody_is_told_that_others_look_like_it(pool, annotator, manager, client_of) -> None:
    made(pool)
    start_cold_round(project=pool)
    Candidate.objects.filter(reason=Reason.GROUP).update(details={"group": 1})
    place = Candidate.objects.filter(reason=Reason.GROUP).first()
    pages = [
        client_of(annotator).get(reverse("label", args=["signs"])),
        client_of(manager).get(reverse("image", args=["signs", place.image_id])),
        client_of(manager).get(reverse("round", args=["signs", place.round.number])),
    ]
    for page in pages:
        text = page.content.decode()
        assert "unlike all other images: no other answer tells about it" in text
        assert "typical of images that look alike" not in text


def test_a_manager_sees_how_it_goes(pool, manager, client_of) -> None:
    def shown() -> str:
        return client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()

    assert "Groups that look alike" not in shown()
    job = graphs.request_graph(project=pool)
    assert "waiting for a worker" in shown()
    PoolGraph.objects.update(state=JobState.RUNNING, done=30, total=60)
    assert "being looked for, 50 %" in shown()
    PoolGraph.objects.update(state=JobState.QUEUED)
    tasks.make_graph(job.pk)
    assert "about 3" in shown()
    assert "one image of each group, for groups hang together" in shown()
    PoolGraph.objects.update(is_cohesive=False)
    assert "images that stand for many others, for groups hang together loosely" in shown()
    PoolGraph.objects.update(state=JobState.FAILED, error="The pixels are gone.")
    assert "not found. The pixels are gone." in shown()


def test_where_groups_hang_together_loosely_images_that_cover_the_pool_come_first(
    pool, annotator, client_of, monkeypatch
) -> None:
    from learner.graph import pool_graph

    monkeypatch.setattr(pool_graph, "COHESIVE", 2.0)
    known = pool.images.get(position=7)
    known.state, known.label = ImageState.LABELLED, pool.classes.first()
    known.save()
    graph = made(pool)
    assert not graph.is_cohesive
    start_cold_round(project=pool)
    places = queue(pool)
    assert {place.reason for place in places} == {Reason.COVERS}
    assert [place.image.position for place in places] == [each.position for each in first_questions(graph)]
    assert sorted(truth(place.image.position) for place in places[:2]) == sorted({0, 1, 2} - {truth(7)})
    assert all(place.details["stands"] >= 1 and place.measured is None for place in places)
    text = client_of(annotator).get(reverse("label", args=["signs"])).content.decode()
    assert f"Stands for about {places[0].details['stands']} images" in text
    assert "standing for many other images" in text and "look alike" not in text.split("data-alike")[1][:200]
