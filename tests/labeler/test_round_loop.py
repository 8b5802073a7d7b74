"""The whole loop in one process, with real pixels and the real learner."""

from __future__ import annotations

import pytest

from labeler import learning, tasks
from labeler.models import Annotation, Candidate, CandidateState, Image, ImageState, Reason, Round, RoundState, Trigger
from labeler.selectors import scores
from labeler.services.rounds import request_round
from labeler.services.triggers import start_due_rounds
from labeler.storage import round_folder
from tests.labeler.rounds import answer, begun, open_places, tune

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool(project, make_images):
    return begun(project, make_images)


def run_messages(sent) -> None:
    while sent:
        name, *ids = sent.pop(0)
        {"learner.run_round": tasks.run_round, "learner.score_chunks": tasks.score_chunks}[name](*ids)


def test_answers_start_rounds_and_the_model_gets_better(pool, annotator, sent) -> None:
    for number in range(2, 6):
        while not sent and answer(pool, annotator, 1):
            pass
        run_messages(sent)
        last = Round.objects.filter(project=pool).first()
        assert (last.number, last.state, last.error) == (number, RoundState.DONE, "")
        assert pool.queue_round_id != last.pk
        pool.refresh_from_db()
        assert pool.queue_round_id == last.pk
    assert last.metrics["accuracy"]["value"] > 0.6
    assert last.metrics["accuracy"]["low"] < last.metrics["accuracy"]["value"]
    assert set(last.phase_seconds) == {"fit", "score", "acquire"}
    assert last.training_count == Image.objects.filter(is_holdout=False, state=ImageState.LABELLED).count()
    assert last.answers_spent >= last.training_count
    assert len(last.training_digest) == 64
    places = open_places(pool)
    ranks = [place.rank for place in places]
    assert sorted(set(ranks)) == list(range(1, max(ranks) + 1))
    acquired = [place for place in places if place.reason == Reason.ACQUIRED]
    assert acquired
    assert all(place.selection_probability is None for place in acquired)  # a batch as a whole: not known
    assert all(place.details["likely"][0]["mean"] >= place.details["likely"][1]["mean"] for place in acquired)


def test_a_round_is_summed_up_for_explore_once_its_queue_stands(pool, annotator, sent, monkeypatch) -> None:
    answer(pool, annotator, 9)
    run_messages(sent)
    last = Round.objects.filter(project=pool, state=RoundState.DONE).first()
    assert (round_folder(last) / "summary.npz").exists()
    scores._summary.cache_clear()  # as in another process
    monkeypatch.setattr("learner.summary._sum_up", lambda *_: pytest.fail("a web process read the score files"))
    assert len(scores.summary_of(last)) == 90


def test_a_round_that_cannot_be_summed_up_is_done_all_the_same(pool, annotator, sent, monkeypatch) -> None:
    monkeypatch.setattr("learner.summary._sum_up", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    answer(pool, annotator, 9)
    run_messages(sent)
    last = Round.objects.filter(project=pool).first()
    assert (last.state, last.error) == (RoundState.DONE, "")
    assert pool.__class__.objects.get(pk=pool.pk).queue_round_id == last.pk


def test_a_round_can_be_run_again_exactly(pool, annotator, manager, sent) -> None:
    answer(pool, annotator, 9)
    sent.clear()
    Round.objects.filter(state=RoundState.QUEUED).delete()
    Candidate.objects.update(leased_until=None, leased_to=None)
    queues = []
    for _ in range(2):
        round_ = request_round(project=pool, trigger=Trigger.BUTTON, reason="test")
        Round.objects.filter(pk=round_.pk).update(seed=7)
        tasks.run_round(round_.pk)
        places = Candidate.objects.filter(round=round_).order_by("rank", "slot")
        queues.append(list(places.values_list("image_id", "reason", "score", "selection_probability")))
        sent.clear()
    first, second = Round.objects.filter(trigger=Trigger.BUTTON)
    assert first.training_digest == second.training_digest
    assert first.metrics["fit"]["model_digest"] == second.metrics["fit"]["model_digest"]
    assert queues[0] == queues[1]


def test_everything_labelled_ends_quietly(pool, annotator, sent) -> None:
    tune(pool, budget=40, retrain_every=30)
    for _ in range(20):
        answer(pool, annotator, 50)
        start_due_rounds()
        run_messages(sent)
    assert not Image.objects.filter(state=ImageState.POOL, is_holdout=False).exists()
    assert not Candidate.objects.filter(state=CandidateState.OPEN).exists()
    before = Round.objects.count()
    assert before < 10
    start_due_rounds()
    assert Round.objects.count() == before


@pytest.fixture(autouse=True)
def one_thread(settings) -> None:
    settings.LEARNER_THREADS = 1


def test_the_curve_counts_the_answers_that_a_model_could_know(pool, annotator, sent, monkeypatch) -> None:
    """People go on while it is fitted: what they answer meanwhile is not what its accuracy has cost."""
    while not sent:
        answer(pool, annotator, 1)
    known = Annotation.objects.filter(project=pool).count()
    choose = learning.choose

    def answer_and_choose(**values) -> int:
        answer(pool, annotator, 3)
        return choose(**values)

    monkeypatch.setattr(learning, "choose", answer_and_choose)
    run_messages(sent)
    last = Round.objects.filter(project=pool, state=RoundState.DONE).first()
    assert last.number == 2
    assert Annotation.objects.filter(project=pool).count() == known + 3
    assert last.answers_spent == known
    assert last.reason == f"{known} new answers"
