"""Where answers do not show which of two models is right, people are asked where they disagree."""

from __future__ import annotations

import numpy as np
import pytest

from labeler import tasks
from labeler.models import Reason
from learner import trial
from tests.labeler.graphs.conftest import queue, run
from tests.labeler.networks.conftest import asked, label, page, trained
from tests.labeler.queues import fresh

pytestmark = pytest.mark.django_db

ODD = range(100, 108)


@pytest.fixture
def wrong() -> set[str]:
    """Which of the two models is wrong about the eight images."""
    return {"new"}


@pytest.fixture
def disagreeing(photographs, monkeypatch, wrong):
    """Photographs, of which the two models disagree about eight images that nobody has answered."""
    predict = trial.predict_classes

    def predict_classes(request, positions, **kwargs):
        found = predict(request, positions, **kwargs)
        return np.where(np.isin(positions, ODD) & (request.directory.name in wrong), (found + 1) % 3, found)

    monkeypatch.setattr(trial, "predict_classes", predict_classes)
    return photographs


def asked_now(pool):
    """The queue of a new round."""
    run(fresh(pool))
    return queue(fresh(pool))


def contested_in(places) -> set[int]:
    return {place.image.position for place in places if place.reason == Reason.CONTESTED}


def test_people_are_asked_first_where_the_two_disagree_and_the_next_network_is_told_by_it(
    disagreeing, manager, client_of
) -> None:
    pool = disagreeing
    refused = trained(pool)
    assert refused.evidence["objections"] == ["unproven"]
    contested = refused.evidence["contested"]
    assert len(set(contested)) == 5 and set(contested) <= set(ODD)
    words = "People are asked first about {} of the images on which it and the present model disagree"
    assert words.format(5) in page(client_of(manager))
    places = asked_now(pool)
    assert contested_in(places) == set(contested)
    chosen = [place.reason for place in places if place.reason not in (Reason.RANDOM, Reason.HOLDOUT)]
    assert chosen == [Reason.CONTESTED] * 5 + [Reason.ACQUIRED] * (len(chosen) - 5) and len(chosen) > 5
    assert len({place.image_id for place in places}) == len(places)
    assert all(place.details["likely"] for place in places if place.reason == Reason.CONTESTED)
    label(pool, contested[:2])
    assert words.format(3) in page(client_of(manager))
    assert contested_in(asked_now(pool)) == set(contested[2:])
    label(pool, contested)
    again = trained(fresh(pool))
    assert again.labels["contested"] == sorted(contested)
    assert again.evidence["kept"] == 9
    assert (again.evidence["old_right"], again.evidence["new_right"]) == (9, 4)  # all five were kept back from both
    assert "fewer_right" in again.evidence["objections"]
    assert again.evidence["contested"] == []  # it is not a proof that is missing
    text = page(client_of(manager))
    assert "People are asked first about" not in text
    assert "On 5 of them a network and the model of then had disagreed" in text


def test_answers_that_come_while_the_next_network_is_trained_count_for_it(disagreeing, wrong) -> None:
    """It takes minutes. Neither model has learned from them; other answers of since then prove nothing."""
    pool = disagreeing
    contested = trained(pool).evidence["contested"]
    label(pool, range(40, 60))
    job = asked(fresh(pool))
    label(pool, [*contested, *range(60, 64)])
    wrong.clear()
    wrong.add("present")
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert job.labels["contested"] == sorted(contested) and not set(contested) & set(job.labels["positions"])
    assert (job.evidence["kept"], job.evidence["since"], job.evidence["disagreed"]) == (12 + 5, 4, 5)
    assert job.is_accepted and job.evidence["is_proven"]


def test_answers_that_came_too_late_for_one_network_count_for_the_one_after_it(disagreeing) -> None:
    pool = disagreeing
    contested = trained(pool).evidence["contested"]
    label(pool, range(40, 60))
    later = trained(fresh(pool))
    label(pool, [*contested, *range(60, 80)])
    assert set(contested) <= set(asked(fresh(pool)).labels["contested"])
    assert set(later.evidence["contested"]) <= set(ODD)


def test_nobody_is_asked_so_in_a_random_order_or_once_a_network_is_accepted(disagreeing) -> None:
    pool = disagreeing
    refused = trained(pool)
    pool.learning.acquisition = "random"
    pool.learning.save()
    assert Reason.CONTESTED not in {place.reason for place in asked_now(pool)}
    pool.learning.acquisition = "power_predictive_entropy"
    pool.learning.save()
    refused.evidence = {**refused.evidence, "objections": [], "contested": []}
    refused.save()
    assert Reason.CONTESTED not in {place.reason for place in asked_now(pool)}
