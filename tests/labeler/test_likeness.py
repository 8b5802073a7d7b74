"""Rounds that learn from where images stand among those that look alike: the vectors that come with the graph."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from labeler import clock, storage, tasks
from labeler.models import JobState, PoolGraph, Reason, Round, RoundChunk, RoundState, Trigger
from labeler.selectors.graphs import current_graph
from labeler.selectors.scores import predicted_classes, summary_of
from labeler.services import graphs
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.rounds import request_round, start_cold_round
from tests.labeler.rounds import answer, paint, truth, tune

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    """60 images of three kinds, that look alike within a kind."""
    make_images(project, 60)
    paint(project)
    tune(project, budget=70, retrain_every=0, holdout_questions=0, random_share=0, learns_from="likeness")
    return project


def made(project) -> PoolGraph:
    job = graphs.request_graph(project=project)
    assert job is not None
    tasks.make_graph(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job


def run(project) -> Round:
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    return round_


def there(name: str) -> bool:
    return default_storage.exists(name)


def test_a_round_learns_from_the_graphs_vectors(pool, annotator, manager, client_of) -> None:
    graph = made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 6)
    round_ = run(pool)
    assert round_.state == RoundState.DONE, round_.error
    row = RoundChunk.objects.get(round=round_)
    assert (row.features, row.row, row.count) == (graph.vectors, 0, 60)
    classes = list(pool.classes.order_by("order", "id"))
    predicted = predicted_classes(round_, summary_of(round_))
    assert np.mean([classes[truth(position)].pk == predicted[position] for position in range(60)]) == 1.0
    page = client_of(manager).get(reverse("round", args=["signs", round_.number])).content.decode()
    assert "images that look alike, by pixels" in page
    assert "One hidden layer" in page


@pytest.mark.parametrize("why", ["it is chosen", "no graph is there yet"])
def test_it_learns_from_pixels_where(pool, annotator, why) -> None:
    if why == "it is chosen":
        pool.learning.learns_from = "images"
        pool.learning.save()
        made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 12)
    round_ = run(pool)
    assert round_.state == RoundState.DONE, round_.error
    assert round_.config["has_likeness"] is False
    assert RoundChunk.objects.get(round=round_).features == ""


@pytest.mark.parametrize("content", [None, b"no vectors", "few"])
def test_vectors_that_are_lost_or_damaged_fail_the_round_in_words_and_are_made_again(pool, annotator, content) -> None:
    graph = made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 6)
    storage.delete(graph.vectors)
    if content is not None:
        few = lambda file: np.save(file, np.zeros((10, 4), np.float16))  # noqa: E731
        storage.write_once(graph.vectors, few if content == "few" else content)
    round_ = run(pool)
    assert round_.state == RoundState.FAILED
    assert "being computed again" in round_.error
    assert current_graph(pool) is None
    assert graphs.sweep_graphs() == 1


def test_images_that_came_after_the_graph_wait_for_the_next(pool, annotator, make_images) -> None:
    made(pool)
    make_images(pool, 10)
    paint(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 70) == 70
    round_ = run(pool)
    assert round_.state == RoundState.DONE, round_.error
    assert RoundChunk.objects.get(round=round_).count == 60
    assert round_.training_count == 60
    made(pool)
    later = run(pool)
    assert (RoundChunk.objects.get(round=later).count, later.training_count) == (70, 70)


def test_the_vectors_of_a_replaced_graph_stay_a_day(pool, annotator, monkeypatch) -> None:
    old = made(pool)
    new = made(pool)
    forget_unnamed_files(pool)
    assert there(old.vectors) and there(new.vectors)
    later = clock.now() + timedelta(days=1, hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    forget_unnamed_files(pool)
    assert not there(old.vectors) and there(new.vectors)


def test_what_is_asked_next_is_of_the_same_pool(pool, annotator) -> None:
    made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 18)
    round_ = run(pool)
    pool.refresh_from_db()
    places = round_.candidates.order_by("rank")
    assert {place.reason for place in places} == {Reason.ACQUIRED}
    assert places.count() == 42
