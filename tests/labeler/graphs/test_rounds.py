"""Rounds that ask by the graph and learn from it."""

from __future__ import annotations

import numpy as np
import pytest

from labeler import storage, tasks
from labeler.learning import requests, rounds
from labeler.learning.kept import read_training
from labeler.models import Annotation, Candidate, ImageState, Reason, RoundState, Trigger
from labeler.selectors.graphs import current_graph
from labeler.selectors.pool import pending_positions
from labeler.services import claims, graphs
from labeler.services.draw import Place
from labeler.services.lease import lease_next
from labeler.services.rounds import request_round, start_cold_round
from labeler.told import Told
from tests.labeler.graphs.conftest import made, queue, right, run
from tests.labeler.rounds import answer, truth, tune

pytestmark = pytest.mark.django_db


def test_a_round_learns_from_images_that_look_like_answered_ones(pool, annotator) -> None:
    tune(pool, budget=60, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 4) == 4
    known = run(pool)
    assert known.config["graph"] == current_graph(pool).pk
    assert any("images besides, that look like those with an answer" in note for note in known.notes)
    assert all(isinstance(note, Told) for note in known.notes)  # so that every language can say it
    assert right(known) > 0.9
    pool.learning.propagation = False
    pool.learning.save()
    alone = run(pool)
    assert not any("look like" in note for note in alone.notes)


def test_the_holdout_is_not_learned_from_that_way_either(pool, annotator, monkeypatch) -> None:
    from learner import teachers

    tune(pool, budget=60, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 4)
    pool.images.filter(position__gte=30, label__isnull=True).update(is_holdout=True)
    seen: list[int] = []
    passed_on = teachers.propagate

    def watched(*args: object, **kwargs: object) -> teachers.Propagated:
        found = passed_on(*args, **kwargs)
        seen.extend(found.positions.tolist())
        return found

    monkeypatch.setattr(teachers, "propagate", watched)
    run(pool)
    assert seen and max(seen) < 30


@pytest.mark.parametrize("content", [None, b"no graph", "other"])
def test_a_graph_that_cannot_be_used_fails_the_round_in_words_and_is_made_again(pool, annotator, content) -> None:
    """Gone, damaged, or of another version of the product."""
    tune(pool, budget=60, retrain_every=0)
    graph = made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 12)
    storage.delete(graph.file)
    if content is not None:
        other = lambda file: np.savez(file, allow_pickle=False, version=np.array(99))  # noqa: E731
        storage.write_once(graph.file, other if content == "other" else content)
    round_ = request_round(project=pool, trigger=Trigger.BUTTON, reason="a test")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.FAILED
    assert "being found again" in round_.error
    assert graphs.sweep_graphs() == 1


def test_a_round_asks_about_groups_without_a_name_before_all_else(pool, annotator) -> None:
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 2) == 2  # of the three kinds
    round_ = run(pool)
    first, *others = queue(pool)
    assert first.reason == Reason.GROUP
    asked = {truth(image.position) for image in pool.images.filter(label__isnull=False)}
    assert truth(first.image.position) not in asked
    assert {place.reason for place in others} >= {Reason.ACQUIRED}
    assert first.details["group"] > 1 and len(first.details["likely"]) == 3
    assert round_.notes


def groups_asked(pool) -> list[int]:
    """Of which kind the groups are that the queue asks about as a whole."""
    places = {place.image_id: place for place in queue(pool) if place.reason == Reason.GROUP}
    return [truth(place.image.position) for place in places.values() if place.details["group"] == 20]


def test_a_group_whose_image_is_on_a_screen_has_no_second_question(pool, annotator) -> None:
    """Browsers fetch images ahead: with every round it cost as many answers about groups that had been asked about."""
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 2) == 2
    (held,) = lease_next(project=pool, annotator=annotator)
    assert held.reason == Reason.GROUP
    run(pool)
    assert truth(held.image.position) not in groups_asked(pool)
    assert len(queue(pool)) == 20
    held.refresh_from_db()
    assert held.state == "open"  # it is still theirs to answer
    Candidate.objects.filter(pk=held.pk).update(leased_to=None, leased_until=None)
    run(pool)
    first, *_ = queue(pool)
    assert (first.reason, truth(first.image.position)) == (Reason.GROUP, truth(held.image.position))


def test_nor_has_one_whose_image_came_to_a_screen_while_the_queue_was_chosen(pool, annotator, monkeypatch) -> None:
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 2) == 2
    choose, held = rounds.acquire, []

    def meanwhile(*args: object) -> list[Place]:
        found = choose(*args)
        held.extend(lease_next(project=pool, annotator=annotator) if not held else [])
        return found

    monkeypatch.setattr(rounds, "acquire", meanwhile)
    run(pool)
    assert held[0].reason == Reason.GROUP
    assert truth(held[0].image.position) not in groups_asked(pool)


def test_nor_in_the_first_queue_of_groups(pool, annotator, manager) -> None:
    """Who began before the groups were found has images of the random queue on the screen, or has answered some."""
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 1) == 1
    (held,) = lease_next(project=pool, annotator=manager)
    said = {truth(pool.images.get(label__isnull=False).position), truth(held.image.position)}
    made(pool)  # and with it comes the queue
    assert queue(pool)[0].round.number == 2
    assert set(groups_asked(pool)) == {0, 1, 2} - said


def test_a_group_with_the_first_of_two_answers_has_no_second_question(pool, annotator) -> None:
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 2) == 2
    pool.learning.overlap = 2
    pool.learning.save()
    run(pool)
    assert queue(pool)[0].reason == Reason.GROUP
    assert answer(pool, annotator, 1) == 1
    asked = Annotation.objects.latest("pk").image
    assert asked.state == ImageState.POOL
    run(pool)
    assert groups_asked(pool).count(truth(asked.position)) == 1
    assert queue(pool)[0].image_id == asked.pk


def test_a_holdout_image_on_a_screen_teaches_no_group(pool, annotator) -> None:
    image = pool.images.first()
    assert pending_positions(pool, {image.position}).tolist() == [image.position]
    pool.images.filter(pk=image.pk).update(is_holdout=True)
    assert pending_positions(pool, {image.position}).tolist() == []


def test_once_all_groups_have_a_name_the_network_chooses(pool, annotator) -> None:
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 18) == 18
    run(pool)
    assert [place.reason for place in queue(pool)] == [Reason.ACQUIRED] * 20


def test_a_queue_may_be_all_of_groups(pool, annotator) -> None:
    made(pool)
    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 2) == 2
    tune(pool, budget=1, retrain_every=0, holdout_target=0)
    run(pool)
    assert [place.reason for place in queue(pool)] == [Reason.GROUP]


def test_random_questions_stay_random(pool, annotator) -> None:
    tune(pool, budget=20, retrain_every=0, holdout_target=0, acquisition="random")
    made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 2)
    run(pool)
    assert {place.reason for place in queue(pool)} == {Reason.ACQUIRED}


def test_a_graph_that_was_replaced_in_mid_round_leaves_its_place_to_the_new_one(pool, annotator) -> None:
    from labeler import learning

    tune(pool, budget=20, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 4)
    round_ = request_round(project=pool, trigger=Trigger.BUTTON, reason="a test")
    claimed = claims.claim_fit(round_id=round_.pk, claim="first0001")
    learning.fit(round_=claimed)
    made(pool)
    tasks.score_chunks(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.DONE, round_.error


def test_what_looks_like_bad_images_is_asked_about_last(pool, annotator) -> None:
    """A third of the pool shows nothing: once a few answers say so its other images are left alone, and no label is
    passed on to them."""
    tune(pool, budget=30, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 12, bad=0) == 12
    bad = pool.images.filter(state=ImageState.BAD).values_list("position", flat=True)
    assert len(bad) >= 2
    round_ = run(pool)
    assert sorted(read_training(round_).training.rejected.tolist()) == sorted(bad)
    words = f"{20 - len(bad)} images look like the {len(bad)} that people rejected: they are asked about last"
    assert words in round_.notes
    asked = [truth(candidate.image.position) for candidate in queue(pool)]
    assert len(asked) == 30
    assert 0 not in asked


def test_what_looks_like_bad_images_is_asked_about_last_where_groups_are_loose_too(
    pool, annotator, monkeypatch
) -> None:
    """The graph has no part in what the model learns from there."""
    monkeypatch.setattr("learner.graph.pool_graph.COHESIVE", 2.0)
    tune(pool, budget=30, retrain_every=0, holdout_target=0, learns_from="likeness")
    made(pool)
    start_cold_round(project=pool)
    assert answer(pool, annotator, 12, bad=0) == 12
    assert pool.images.filter(state=ImageState.BAD).count() >= 2
    round_ = run(pool)
    assert round_.metrics["fit"]["doubts_graph"]
    assert any("whose class answers and pool together make clear" in note for note in round_.notes)
    asked = queue(pool)
    assert len(asked) == 30 and {candidate.reason for candidate in asked} == {Reason.ACQUIRED}
    assert 0 not in {truth(candidate.image.position) for candidate in asked}


def test_bad_images_are_asked_about_where_nothing_else_is_left(pool, annotator) -> None:
    tune(pool, budget=60, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 12, bad=0)
    run(pool)
    assert len(queue(pool)) == 48


def test_an_image_that_becomes_a_bad_one_while_labels_are_read_fails_no_round(pool, annotator, monkeypatch) -> None:
    tune(pool, budget=30, retrain_every=0, holdout_target=0)
    made(pool)
    start_cold_round(project=pool)
    answer(pool, annotator, 8)
    read = requests.rejected_positions

    def meanwhile(project, **arguments):
        one = pool.images.filter(state=ImageState.LABELLED).first()
        pool.images.filter(pk=one.pk).update(state=ImageState.BAD, label=None)
        return read(project, **arguments)

    monkeypatch.setattr(requests, "rejected_positions", meanwhile)
    assert len(read_training(run(pool)).training.positions) == 8
