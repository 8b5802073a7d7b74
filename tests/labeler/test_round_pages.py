"""The pages of rounds: the list, and one of them with what it learned from, asked for and was interrupted by."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from labeler.models import Candidate, Round, RoundState
from labeler.selectors.rounds import CARRIED, REFILLED, queue_reasons
from labeler.selectors.workers import PROGRAMS
from labeler.services.refill import refill_queue
from labeler.services.rounds import start_cold_round
from tests.labeler.monitored import alive
from tests.labeler.rounds import answer, tune


def test_a_round_has_a_page(at, manager, client_of, measured) -> None:
    text = client_of(manager).get(at + "rounds/2/").content.decode()
    for words in ("10 new answers", "1.1 min", "65 s", "owl", "Small convolutional network", "a" * 64, "single label"):
        if words != "1.1 min" and words != "65 s":
            assert words in text
    assert "not measured yet: no holdout image of it has an answer" in text
    assert text.count("confusion-wrong") == 2
    assert "30 labels, to tell 3 classes apart" in text  # not that each of them has one


def test_a_round_before_the_first_model_does_not_say_how_its_images_were_found(
    at, manager, client_of, measured
) -> None:
    """Most of them are typical of images that look alike, once it is known which do; the queue's reasons say so."""
    text = client_of(manager).get(at + "rounds/1/").content.decode()
    assert "nothing: there was no model yet" in text
    assert "images were drawn at random" not in text


def test_the_images_of_a_queue_beside_those_asked_for_are_named(project, make_images, annotator) -> None:
    make_images(project, 60)
    tune(project, budget=10, overlap=2, random_share=0.0, holdout_questions=0.0)
    start_cold_round(project=project)
    answer(project, annotator, 4)
    second = start_cold_round(project=project)
    assert sum(queue_reasons(second).values()) == 14
    assert queue_reasons(second)[CARRIED] == 4
    Candidate.objects.filter(round=second).update(state="answered")
    Round.objects.create(project=project, number=9, trigger="button", reason="", seed=1)
    project.refresh_from_db()
    assert refill_queue(project=project, annotator=annotator) > 0
    reasons = queue_reasons(second)
    assert reasons[REFILLED] == sum(reasons.values()) - 14
    assert CARRIED not in queue_reasons(project.rounds.get(number=1))


@pytest.mark.parametrize(
    ("state", "seconds", "began", "is_again"),
    [
        (RoundState.FITTING, {}, 0, False),
        (RoundState.FITTING, {}, 40, True),
        (RoundState.SCORING, {"fit": 12.0}, 12, False),
        (RoundState.ACQUIRING, {"fit": 12.0, "score": 5.0}, 17, False),
        (RoundState.ACQUIRING, {"fit": 12.0, "score": 5.0}, 57, True),
        (RoundState.DONE, {"fit": 12.0, "score": 5.0, "acquire": 3.0}, 17.2, False),
        (RoundState.DONE, {"fit": 12.0, "score": 5.0, "acquire": 3.0}, 57, True),
    ],
)
def test_a_round_that_began_again_says_so(at, manager, client_of, measured, state, seconds, began, is_again) -> None:
    alive(*PROGRAMS)
    start = timezone.now() - timedelta(seconds=100)
    Round.objects.filter(pk=measured.pk).update(
        state=state, started_at=start, phase_started_at=start + timedelta(seconds=began), phase_seconds=seconds,
        attempts=1 + is_again, claim="a", heartbeat_at=timezone.now(), progress_done=30, progress_total=120,
    )  # fmt: skip
    page = client_of(manager).get(at + "rounds/2/").content.decode()
    assert ("Started again" in page) is is_again
    text = " ".join(client_of(manager).get(at).content.decode().split())
    assert ("It was started again" in text) is (is_again and state != RoundState.DONE)
    if state == RoundState.FITTING:
        assert ("is fitting again, 2nd attempt (25 %" in text) is is_again
        assert ("2nd attempt" in page) is is_again


def test_a_round_that_was_given_back_waits_to_start_again(at, manager, client_of, measured) -> None:
    alive(*PROGRAMS)
    now = timezone.now()
    Round.objects.filter(pk=measured.pk).update(state=RoundState.QUEUED, started_at=now, phase_started_at=now)
    assert "is waiting for a learner to start again" in client_of(manager).get(at).content.decode()


def test_the_list_says_of_which_rounds_nothing_was_measured(at, manager, client_of, measured) -> None:
    rows = re.findall(r"<tr>.*?</tr>", client_of(manager).get(at + "rounds/").content.decode(), re.S)
    by_round = {re.search(r"/rounds/(\d+)/", row).group(1): row for row in rows if "/rounds/" in row}
    assert "90.0 %" in by_round["2"]
    assert "not measured" not in by_round["2"]
    assert "not measured" in by_round["1"]


@pytest.mark.parametrize(("state", "moves"), [(RoundState.FITTING, True), (RoundState.DONE, False)])
def test_the_page_of_a_round_and_the_list_move_while_it_runs(at, manager, client_of, measured, state, moves) -> None:
    running = {"progress_done": 30, "progress_total": 120, "phase_started_at": timezone.now()}
    Round.objects.filter(pk=measured.pk).update(state=state, **running)
    page = client_of(manager).get(at + "rounds/2/").content.decode()
    assert ('hx-get="/p/signs/rounds/2/" hx-trigger="every 1s"' in page) is moves
    assert ("fitting: 30 of 120" in page) is moves
    every = "every 1s" if moves else "every 20s"
    assert f'hx-trigger="{every}, focus from:window"' in client_of(manager).get(at + "rounds/").content.decode()


def test_the_list_has_few_statements(at, manager, client_of, measured, django_assert_max_num_queries) -> None:
    client = client_of(manager)
    with django_assert_max_num_queries(8):
        text = client.get(at + "rounds/").content.decode()
    assert "before the first model" in text


def test_a_round_that_is_not_there(at, manager, client_of) -> None:
    assert client_of(manager).get(at + "rounds/99/").status_code == 404
