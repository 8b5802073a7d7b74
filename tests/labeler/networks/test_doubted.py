"""Where a network is in use that the graph has taught, people are asked about parts of the pool that a model doubts."""

from __future__ import annotations

import pytest

from labeler import tasks
from labeler.learning import rounds
from labeler.models import Reason, Round, RoundState
from learner import scores
from learner.graph import pool_graph
from tests.labeler.graphs.conftest import queue, run
from tests.labeler.networks.conftest import trained
from tests.labeler.queues import fresh
from tests.labeler.rounds import answer, tune

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def contradicting(monkeypatch) -> None:
    """A model that gives every image to another class than the graph: the three kinds are easily told."""
    found = scores.opinion_of

    def opinion_of(directory, positions, classes):
        best, probs = found(directory, positions, classes)
        assert best.shape == probs.shape == classes.shape
        return (classes + 1) % 3, probs * 0

    monkeypatch.setattr(scores, "opinion_of", opinion_of)


def doubted(pool) -> list:
    """Those of the queue of a new round: where a network has just taken over, one waits."""
    waiting = Round.objects.filter(project=pool, state=RoundState.QUEUED).first()
    tasks.run_round(waiting.pk) if waiting else run(fresh(pool))
    return [place for place in queue(fresh(pool)) if place.details.get("doubted")]


def test_parts_that_the_model_doubts_are_asked_about_in_turns_with_what_nobody_doubts(pool) -> None:
    """A round begins long before a queue is through: what came after all of it would never be asked about."""
    tune(pool, learns_from="likeness", retrain_every=0, random_share=0.0, holdout_questions=0.0)
    assert doubted(pool) == []  # the model has learned from the very graph, and sees nothing else
    assert trained(fresh(pool)).is_accepted
    places = doubted(pool)
    assert len(places) > 1 and all(place.reason == Reason.GROUP and place.score > 0 for place in places)
    assert all(place.details["likely"] and place.details["group"] >= 1 for place in places)
    assert [place.score for place in places] == sorted((place.score for place in places), reverse=True)
    is_doubted = [bool(place.details.get("doubted")) for place in queue(fresh(pool))]
    assert {sum(is_doubted[at : at + 2]) for at in range(0, 2 * len(places), 2)} == {1}
    assert not any(is_doubted[2 * len(places) :])


@pytest.mark.parametrize("values", [{"acquisition": "random"}, {"propagation": False}])
def test_not_where_the_graph_asks_nothing(pool, values) -> None:
    tune(pool, learns_from="likeness", retrain_every=0, random_share=0.0, holdout_questions=0.0)
    assert trained(fresh(pool)).is_accepted
    tune(fresh(pool), **values)
    assert doubted(pool) == []


def test_not_where_the_network_has_taught_itself(pool, monkeypatch) -> None:
    """As one of photographs: there the graph says little that a model could doubt."""
    tune(pool, learns_from="likeness", retrain_every=0, random_share=0.0, holdout_questions=0.0)
    assert trained(fresh(pool)).is_accepted
    monkeypatch.setattr("labeler.learning.asking.teaches_itself", lambda _project: True)
    assert doubted(pool) == []


def test_what_people_say_after_the_model_began_is_no_doubt(pool, make_user, monkeypatch) -> None:
    """The positions of answers since then, and of those that were taken back, are told to the graph."""
    tune(pool, learns_from="likeness", retrain_every=0, random_share=0.0, holdout_questions=0.0)
    assert trained(fresh(pool)).is_accepted
    given, asked = [], pool_graph.questions_about_parts

    def questions_about_parts(*of, unseen, **rest):
        given.append(unseen.tolist())
        return asked(*of, unseen=unseen, **rest)

    monkeypatch.setattr(pool_graph, "questions_about_parts", questions_about_parts)
    chosen, people = rounds.acquire, [make_user("zoe")]

    def acquire(*of):
        if people:
            answer(pool, people.pop(), 2)  # a moment before
        return chosen(*of)

    monkeypatch.setattr(rounds, "acquire", acquire)
    doubted(pool)
    said = pool.annotations.order_by("-pk").values_list("image__position", flat=True)[:2]
    assert len(said) == 2 and given[0] == sorted(said)
