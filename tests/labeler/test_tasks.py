"""How a round ends when something goes wrong, and who may end it."""

from __future__ import annotations

import errno
from datetime import timedelta

import numpy as np
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError

from labeler import learning, storage, tasks
from labeler.models import Candidate, CandidateState, Image, Project, Round, RoundChunk, RoundState, Trigger
from labeler.models.images import CHUNK_SIZE
from labeler.services import claims
from labeler.services.rounds import cancel_round, request_round, start_cold_round
from tests.labeler.rounds import paint, truth, tune

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def round_(project, make_images, settings) -> Round:
    settings.LEARNER_THREADS = 1
    images = make_images(project, 40)
    classes = list(project.classes.all())
    for image in images[:12]:
        image.state, image.label = "labelled", classes[truth(image.position)]
        image.save()
    paint(project)
    tune(project)
    start_cold_round(project=project)
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="test")
    assert round_ is not None
    return round_


def run(round_: Round) -> Round:
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    return round_


def the_queue_stays(project: Project) -> None:
    project.refresh_from_db()
    assert project.queue_round.number == 1
    assert Candidate.objects.filter(round=project.queue_round, state=CandidateState.OPEN).exists()


def breaks(error: Exception):
    def broken(*_args, **_kwargs):
        raise error

    return broken


def test_a_fit_that_diverges_fails_in_words(round_, project, monkeypatch) -> None:
    from torch.nn import functional

    real = functional.cross_entropy
    monkeypatch.setattr(functional, "cross_entropy", lambda *args, **kw: real(*args, **kw) * float("nan"))
    assert run(round_).state == RoundState.FAILED
    assert "The fit diverged" in round_.error
    the_queue_stays(project)


def test_one_class_only_fails_in_words(round_, project) -> None:
    Image.objects.filter(state="labelled").update(label=project.classes.first())
    assert run(round_).state == RoundState.FAILED
    assert "of one class" in round_.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SoftTimeLimitExceeded(), "ROUND_TIME_LIMIT"),
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
@pytest.mark.parametrize("phase", ["fit", "score", "choose"])
def test_what_can_be_foreseen_fails_in_words(error, words, phase, round_, project, monkeypatch) -> None:
    if phase == "score":  # a worker that scores holds a chunk when it breaks
        monkeypatch.setattr("learner.scoring.Scorer.score", breaks(error))
    else:
        monkeypatch.setattr(learning, phase, breaks(error))
    assert run(round_).state == RoundState.FAILED
    assert words in round_.error
    the_queue_stays(project)


def test_what_cannot_be_foreseen_fails_in_words_too_and_is_logged(round_, project, monkeypatch) -> None:
    monkeypatch.setattr(learning, "fit", breaks(ZeroDivisionError("oh")))
    with pytest.raises(ZeroDivisionError):
        tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.FAILED
    assert "ZeroDivisionError: oh" in round_.error


def test_missing_pixels_fail_in_words(round_, project) -> None:
    storage.delete(project.chunks.get().pixels)
    assert run(round_).state == RoundState.FAILED
    assert "The pixels of chunk 0 are missing" in round_.error


def test_a_database_that_is_away_leaves_the_round_to_the_sweep(round_, monkeypatch) -> None:
    monkeypatch.setattr(learning, "fit", breaks(OperationalError("gone")))
    with pytest.raises(OperationalError):
        tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert round_.state == RoundState.FITTING


def test_a_database_that_is_away_for_a_while_does_not_stop_the_fit(round_, monkeypatch) -> None:
    real, calls = claims.beat, []

    def flaky(**kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("gone")
        real(**kwargs)

    monkeypatch.setattr(claims, "beat", flaky)
    monkeypatch.setattr(learning.files, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(learning.files, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr("django.db.connection.close", lambda: None)  # the test's own database lives in it
    assert run(round_).state == RoundState.DONE
    assert len(calls) > 2


def test_a_cancelled_round_stops_and_changes_nothing(round_, project, manager, monkeypatch) -> None:
    real = claims.beat

    def cancel_first(**kwargs):
        cancel_round(round_=round_, by=manager)
        real(**kwargs)

    monkeypatch.setattr(claims, "beat", cancel_first)
    assert run(round_).state == RoundState.CANCELLED
    assert round_.error == "Cancelled by mia."
    the_queue_stays(project)


def test_a_message_that_comes_twice_is_harmless(round_) -> None:
    run(round_)
    finished = round_.finished_at
    run(round_)
    tasks.score_chunks(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.finished_at) == (RoundState.DONE, finished)


def test_a_round_that_is_not_yet_due_waits(round_) -> None:

    from django.utils import timezone

    Round.objects.filter(pk=round_.pk).update(not_before=timezone.now() + timedelta(minutes=1))
    assert run(round_).state == RoundState.QUEUED


def test_two_workers_score_together_and_one_publishes(round_) -> None:
    mine = claims.claim_fit(round_id=round_.pk, claim="fitter")
    learning.fit(round_=mine)
    row = claims.claim_chunk(round_id=round_.pk, claim="other")
    run(round_)
    assert round_.state == RoundState.SCORING  # the other one still has a chunk
    RoundChunk.objects.filter(pk=row.pk).update(claim="")
    run(round_)
    assert round_.state == RoundState.DONE
    assert claims.claim_acquire(round_id=round_.pk, claim="late") is None


def test_a_worker_that_was_taken_for_dead_changes_nothing(round_) -> None:
    mine = claims.claim_fit(round_id=round_.pk, claim="first")
    Round.objects.filter(pk=round_.pk).update(state=RoundState.QUEUED, claim="")
    again = claims.claim_fit(round_id=round_.pk, claim="second")
    with pytest.raises(claims.RoundLost):
        claims.beat(round_=mine, done=1, total=2)
    with pytest.raises(claims.RoundLost):
        claims.start_scoring(round_=mine, metrics={})
    assert not claims.fail_round(round_id=round_.pk, claim="first", words="no")
    assert mine.folder != again.folder
    claims.beat(round_=again, done=1, total=2)


def test_files_of_attempts_that_came_to_nothing_are_deleted_later(round_, project, monkeypatch) -> None:
    failed = learning.folder_of(claims.claim_fit(round_id=round_.pk, claim="first0001"))
    failed.mkdir(parents=True)
    Round.objects.filter(pk=round_.pk).update(state=RoundState.QUEUED, claim="")
    run(round_)
    assert failed.exists()
    monkeypatch.setattr(learning.rounds, "KEPT", timedelta(seconds=-1))
    learning.forget_leftovers(project)
    assert not failed.exists()
    assert (learning.folder_of(round_) / "model.json").exists()


def test_chunks_are_as_long_on_both_sides() -> None:
    from learner.pool import CHUNK_SIZE as LEARNERS

    assert CHUNK_SIZE == LEARNERS


def test_images_that_came_later_are_not_asked_about_yet(round_, project, make_images) -> None:
    mine = claims.claim_fit(round_id=round_.pk, claim="x")
    learning.fit(round_=mine)
    make_images(project, 30)
    run(round_)
    assert round_.state == RoundState.DONE
    late = np.array([39, 40, 69], dtype=np.int64)
    assert learning.rounds.scored(round_, late).tolist() == [39]
